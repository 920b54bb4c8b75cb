"""Pictures of skills, ways, predictions, falls and training: what is drawn in them."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from dads_ros import colours
from dads_ros.errors import ConfigError
from dads_ros.evaluation.curves import read_curves, training_figure
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.evaluation.pictures import (
    falls_figure,
    fan_figure,
    prediction_figure,
    save,
    skills_figure,
)
from dads_ros.evaluation.skills import SkillMetrics
from dads_ros.robot import RobotSpec

NUM, STEPS, PREDICTIONS = 12, 30, 6
ANGLE = np.linspace(0.0, 2.0 * np.pi, NUM, endpoint=False)
ENDS = 5.0 * np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)
OFF = np.array([0.3, -0.4])
"""From the actual end to the predicted one."""
ANT = RobotSpec.load("ant")
DT = ANT.control_dt


def straight(ends: np.ndarray, steps: int) -> np.ndarray:
    """Straight tracks from the origin. Shape (NUM, steps + 1, 2)."""
    return np.linspace(0.0, 1.0, steps + 1)[:, None] * ends[:, None]


def skills_to(ends: np.ndarray, fall_step: np.ndarray | None = None) -> SkillMetrics:
    return SkillMetrics(
        skills=(0.2 * ends).astype(np.float32),
        tracks=straight(ends, STEPS),
        predicted=straight(ends + OFF, PREDICTIONS),
        flipped=np.zeros(NUM, bool),
        fall_step=np.full(NUM, STEPS + 1) if fall_step is None else fall_step,
    )


def goals_at(ends: np.ndarray, is_up: np.ndarray) -> GoalMetrics:
    tracks = straight(ends, STEPS)
    rest = {"commands": np.zeros((STEPS, NUM, 1)), "yaws": tracks[..., 0]}
    return GoalMetrics(goals=ends, tracks=tracks, fell=~is_up, is_up=is_up, body={}, **rest)


def crosses(axes: Axes) -> np.ndarray:
    """Where they are. Shape (N, 2)."""
    last = axes.collections[-1]
    assert len(last.get_paths()[0].vertices) == 4  # of a marker x
    return np.asarray(last.get_offsets())


def is_drawn(figure: Figure, path: Path) -> bool:
    """Each panel of the PNG has ink in it."""
    save(figure, path)
    pixels = image.imread(path)[..., :3]
    halves = np.array_split(pixels, 2, axis=1)
    return all((half.min(axis=-1) < 0.5).mean() > 0.001 for half in halves)


def test_a_fan_has_every_track_in_the_colour_of_its_direction(tmp_path: Path) -> None:
    figure = fan_figure(ANT, skills_to(ENDS, np.where(np.arange(NUM) == 3, 7, STEPS + 1)))
    (axes,) = figure.axes
    (lines,) = (c for c in axes.collections if isinstance(c, LineCollection))
    np.testing.assert_allclose(np.array(lines.get_segments()), straight(ENDS, STEPS))
    np.testing.assert_allclose(lines.get_colors()[:, :3], colours.of_directions(ENDS))
    assert is_drawn(figure, tmp_path / "fan.png")


def test_skills_that_fell_and_goals_that_were_missed_are_crossed() -> None:
    fall_step = np.where(np.arange(NUM) == 3, 7, STEPS + 1)
    goals = goals_at(ENDS, np.arange(NUM) != 5)
    fan, ways = skills_figure(ANT, skills_to(ENDS, fall_step), goals).axes
    np.testing.assert_allclose(crosses(fan)[:, :2], ENDS[3:4])
    np.testing.assert_allclose(crosses(ways), ENDS[5:6])
    texts = [text.get_text() for axes in (fan, ways) for text in axes.texts]
    assert any("1 fell" in text for text in texts)
    assert any("11 of 12 goals reached" in text for text in texts)


def test_predicted_tracks_lie_dashed_beside_those_that_were_walked() -> None:
    fell = np.arange(NUM) == 0  # a prediction knows nothing of it
    left, _ = prediction_figure(ANT, skills_to(ENDS, np.where(fell, 7, STEPS + 1))).axes
    np.testing.assert_allclose(crosses(left), ENDS[fell])
    walked = [line for line in left.lines if line.get_linestyle() == "-"]
    predicted = [line for line in left.lines if line.get_linestyle() == "--"]
    assert len(walked) == len(predicted) >= 5
    for actual, other in zip(walked, predicted, strict=True):
        end = actual.get_xydata()[-1]
        np.testing.assert_allclose(other.get_xydata()[-1], end + OFF)
        np.testing.assert_allclose(
            to_rgb(actual.get_color()), colours.of_directions(end + OFF), atol=1e-6
        )
        assert actual.get_xydata().shape == (STEPS + 1, 2)
    ends = np.array([line.get_xydata()[-1] for line in walked])
    gaps = np.diff(np.sort(np.arctan2(*ends.T)))
    assert gaps.max() < np.pi  # all ways, not one


def test_the_error_over_time_has_its_median_and_its_90th_percentile() -> None:
    skills = skills_to(ENDS)
    wrong = straight(ENDS + np.linspace(0.0, 2.0, NUM)[:, None] * OFF, PREDICTIONS)
    skills = SkillMetrics(skills.skills, skills.tracks, wrong, skills.flipped, skills.fall_step)
    _, right = prediction_figure(ANT, skills).axes
    half, most, way = right.lines
    time = np.linspace(0.0, STEPS * DT, PREDICTIONS + 1)
    error = 0.5 * np.linspace(0.0, 2.0, NUM)  # |OFF| is 0.5 m
    for line, end in ((half, np.median(error)), (most, np.percentile(error, 90)), (way, 5.0)):
        np.testing.assert_allclose(line.get_xdata(), time)
        np.testing.assert_allclose(line.get_ydata(), np.linspace(0.0, end, PREDICTIONS + 1))
    assert len({line.get_linestyle() for line in right.lines}) == 3  # told apart without colours


def test_falls_are_crossed_where_the_skill_leads_and_counted_when_they_happen(
    tmp_path: Path,
) -> None:
    fall_step = np.full(NUM, STEPS + 1)
    fall_step[[3, 6, 9]] = 10, 10, 20
    figure = falls_figure(ANT, skills_to(ENDS, fall_step))
    which, when = figure.axes
    expected = skills_to(ENDS).predicted[[3, 6, 9], -1]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)  # all skills have length 1
    np.testing.assert_allclose(crosses(which), expected, rtol=1e-6)
    (line,) = when.lines
    share = dict(zip(np.rint(line.get_xdata() / DT), line.get_ydata(), strict=True))
    found = [share[step] * NUM / 100.0 for step in (0, 9, 10, 19, 20, STEPS)]
    np.testing.assert_allclose(found, [0, 0, 2, 2, 3, 3])
    assert is_drawn(figure, tmp_path / "falls.png")


def test_a_robot_on_a_line_is_drawn_over_time(tmp_path: Path) -> None:
    spec = RobotSpec.load("half_cheetah")
    skills = skills_to(ENDS * spec.ground_axes)
    left, _ = prediction_figure(spec, skills).axes
    for line in left.lines:
        np.testing.assert_allclose(line.get_xdata()[-1], STEPS * spec.control_dt)
    goals = goals_at(ENDS * spec.ground_axes, np.ones(NUM, bool))
    for number, figure in enumerate(
        (
            skills_figure(spec, skills, goals),
            prediction_figure(spec, skills),
            falls_figure(spec, skills),
        )
    ):
        assert is_drawn(figure, tmp_path / f"{number}.png")


def test_curves_of_a_run_are_drawn_over_its_control_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"iteration": 1, "num_env_steps": 100, "reward": -1.0},
        {"iteration": 2, "num_env_steps": 200, "reward": 0.5, "skill_fall_fraction": 0.25}
        | {"switch_fall_fraction": 0.5, "sectors_3m": 7, "mean_displacement_m": 4.0}
        | {"zero_skill_fall_fraction": 0.75},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"iteration": 3')
    figure = training_figure(read_curves(path))
    curves = {
        (axes.get_title(loc="left"), line.get_label()): line.get_xydata().tolist()
        for axes in figure.axes
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }
    assert curves == {
        ("reward", "reward"): [[100.0, -1.0], [200.0, 0.5]],
        ("reach", "mean"): [[200.0, 4.0]],
        ("reach", "longest"): [],
        ("coverage", "sectors"): [[200.0, 7.0]],
        ("falls", "one skill held"): [[200.0, 25.0]],
        ("falls", "skills that change"): [[200.0, 50.0]],
        ("falls", "standing, pushed once"): [[200.0, 75.0]],
    }
    assert is_drawn(figure, tmp_path / "training.png")


def test_a_run_that_has_done_nothing_yet_says_so(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match="no line of a training run yet"):
        read_curves(tmp_path / "metrics.jsonl")
