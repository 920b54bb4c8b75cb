"""Pictures of skills and ways, looked at pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.evaluation.pictures import save_fan, save_picture
from dads_ros.evaluation.skills import SkillMetrics
from dads_ros.robot import RobotSpec

NUM, STEPS = 12, 30
ANGLE = np.linspace(0.0, 2.0 * np.pi, NUM, endpoint=False)
ENDS = 5.0 * np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)


def straight(ends: np.ndarray) -> np.ndarray:
    """Straight tracks from the origin. Shape (NUM, STEPS + 1, 2)."""
    return np.linspace(0.0, 1.0, STEPS + 1)[:, None] * ends[:, None]


def skills_to(ends: np.ndarray) -> SkillMetrics:
    return SkillMetrics(ends.astype(np.float32), straight(ends), ends, *np.zeros((2, NUM), bool))


def colours(path: Path) -> np.ndarray:
    """Hues in the picture that are not grey: how often each of 12 is there, in pixels."""
    rgb = image.imread(path)[..., :3]
    rgb = rgb[np.ptp(rgb, axis=-1) > 0.25]
    a = rgb[:, 0] - 0.5 * (rgb[:, 1] + rgb[:, 2])
    b = np.sqrt(0.75) * (rgb[:, 1] - rgb[:, 2])
    return np.histogram(np.arctan2(b, a), bins=12, range=(-np.pi, np.pi))[0]


def test_a_fan_shows_every_direction_in_a_colour_of_its_own(tmp_path: Path) -> None:
    ant = RobotSpec.load("ant")
    save_fan(tmp_path / "all.png", ant, skills_to(ENDS))
    save_fan(tmp_path / "one.png", ant, skills_to(np.repeat(ENDS[:1], NUM, axis=0)))
    assert (colours(tmp_path / "all.png") > 100).sum() >= 6
    assert (colours(tmp_path / "one.png") > 100).sum() <= 2


@pytest.mark.parametrize("robot", ["ant", "half_cheetah", "humanoid"])
def test_a_picture_has_two_halves_in_colour_in_any_format(tmp_path: Path, robot: str) -> None:
    spec = RobotSpec.load(robot)
    ends = ENDS * spec.ground_axes
    rest = {"commands": np.zeros((STEPS, NUM, 1)), "fell": np.zeros(NUM, bool)}
    rest["is_up"] = ~rest["fell"]
    tracks = straight(ends)
    goals = GoalMetrics(goals=ends, tracks=tracks, yaws=tracks[..., 0], **rest)
    save_picture(tmp_path / "both.svg", spec, skills_to(ends), goals)
    save_picture(tmp_path / "both.png", spec, skills_to(ends), goals)
    assert colours(tmp_path / "both.png").sum() > 5000
    height, width = image.imread(tmp_path / "both.png").shape[:2]
    assert width > 1.5 * height
    assert (tmp_path / "both.svg").read_text().startswith("<?xml")
