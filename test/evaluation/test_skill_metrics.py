"""Skills on a grid: the figures against numbers worked by hand and a robot that is known."""

import functools
from pathlib import Path

import numpy as np
import pytest

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import SkillPriorConfig
from dads_ros.envs.model import RobotModel
from dads_ros.evaluation import skills as skills_module
from dads_ros.evaluation.skills import (
    SkillMetrics,
    count_xy_bins,
    evaluate_skills,
    evaluate_standing,
    evaluate_switching,
)
from dads_ros.evaluation.statistics import fraction_interval, ratio_interval
from dads_ros.files import find_file
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace
from hovercraft import SPEED


def metrics_of(ends: np.ndarray, **changes: np.ndarray) -> SkillMetrics:
    num = len(ends)
    tracks = np.stack([np.zeros((num, 2)), ends], axis=1)
    values = {
        "skills": np.zeros((num, 2), np.float32),
        "tracks": tracks,
        "predicted": tracks,
        "flipped": np.zeros(num, bool),
        "fall_step": np.full(num, tracks.shape[1]),
    }
    return SkillMetrics(**(values | changes))


def standing_rollout(start: np.ndarray, skills: np.ndarray, steps: float) -> np.ndarray:
    """Nothing ever moves."""
    return np.repeat(start[:, None, :2], skills.shape[1] + 1, axis=1)


def ring(num: int, radius: float) -> np.ndarray:
    angle = (np.arange(num) + 0.5) / num * 2.0 * np.pi
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_a_sector_counts_from_a_64th_of_the_skills_beyond_three_metres_on() -> None:
    assert metrics_of(ring(48, 3.1)).to_dict()["sectors_3m"] == 12
    assert metrics_of(ring(48, 2.9)).to_dict()["sectors_3m"] == 0
    for num, sectors in ((48, 12), (36, 0)):  # four of 256 in each, and three
        ends = np.concatenate([ring(num, 3.1), np.zeros((256 - num, 2))])
        assert metrics_of(ends).to_dict()["sectors_3m"] == sectors
    assert metrics_of(ring(48, 3.1)).skills_per_sector().tolist() == [4] * 12
    one = metrics_of(np.tile([[5.0, 0.1]], (4, 1))).skills_per_sector()
    assert one.tolist() == [4] + [0] * 11


def test_prediction_error_is_relative_to_the_mean_displacement() -> None:
    ends = np.array([[3.0, 0.0], [0.0, 1.0]])
    predicted = np.array([[[0.0, 0.0], [3.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])
    values = metrics_of(ends, predicted=predicted).to_dict()
    assert values["mean_displacement_m"] == pytest.approx(2.0)
    assert values["prediction_error"] == pytest.approx(0.5 / 2.0)


def test_displacement_does_not_depend_on_where_a_track_starts() -> None:
    tracks = np.array([[[5.0, 5.0], [5.0, 9.0]]])
    assert metrics_of(np.zeros((1, 2)), tracks=tracks).distance.tolist() == [4.0]


def test_xy_bins_are_squares_of_one_metre() -> None:
    tracks = np.array([[[0.1, 0.1], [0.9, 0.9], [1.1, 0.5]], [[-0.1, 0.1], [0.5, 0.5], [0.2, 0]]])
    assert count_xy_bins(tracks) == 3


def test_skills_of_the_point_mass_go_where_they_say(point_mass_bundle: Path) -> None:
    bundle = SkillBundle(point_mass_bundle)
    model = RobotModel(bundle.robot)
    metrics = evaluate_skills(
        model,
        bundle.skill_space,
        bundle.command,
        bundle.rollout,
        bundle.manifest.prediction.steps,
        seed=3,
        num_skills=64,
        steps=100,
    )
    values = metrics.to_dict()
    assert values["sectors_3m"] == 12
    assert values["flip_fraction"] == 0.0
    assert values["prediction_error"] < 0.06
    np.testing.assert_allclose(metrics.displacement, metrics.skills * 10.0, atol=1.0)
    assert metrics.tracks.shape == (64, 101, 2)
    assert set(metrics.intervals()) <= set(values)


def test_the_same_seed_gives_the_same_tracks_on_any_number_of_threads(
    point_mass_bundle: Path,
) -> None:
    bundle = SkillBundle(point_mass_bundle)
    tracks = [
        evaluate_skills(
            RobotModel(bundle.robot),
            bundle.skill_space,
            bundle.command,
            bundle.rollout,
            bundle.manifest.prediction.steps,
            seed=seed,
            num_skills=9,
            steps=20,
            num_threads=threads,
        ).tracks
        for seed, threads in ((1, 1), (1, 2), (2, 1))
    ]
    np.testing.assert_array_equal(tracks[0], tracks[1])
    assert not np.array_equal(tracks[0], tracks[2])


def test_a_heading_frame_prediction_starts_from_the_yaw_of_each_robot() -> None:
    """Ants that do nothing, under a model that says: 1 m forward, without a turn."""
    model = RobotModel(RobotSpec.load("ant"))
    metrics = evaluate_skills(
        model,
        SkillSpace(SkillPriorConfig(kind="disc")),
        lambda obs, skill: np.zeros((len(obs), 8)),
        functools.partial(
            PredictionSpec(fields=("x", "y", "yaw"), frame="heading", steps=5).rollout,
            model.spec,
            lambda skill: np.tile([[0.5, 0.0, 0.0]], (len(skill), 1)),
        ),
        5,
        seed=0,
        num_skills=8,
        steps=10,
    )
    assert metrics.prediction_steps.tolist() == [0, 5, 10]
    predicted = metrics.predicted[:, -1] - metrics.tracks[:, 0]
    np.testing.assert_allclose(np.linalg.norm(predicted, axis=1), 1.0)
    assert np.std(np.arctan2(*predicted.T)) > 0.5
    assert metrics.distance.max() < 0.5


def test_skills_of_the_heading_are_seen_from_it_and_turns_by_themselves(
    hovercraft_bundle: Path,
) -> None:
    """From any yaw: forward is +x, and a turn of 1.2 rad/s is nearly twice around in 10 s."""
    bundle = SkillBundle(hovercraft_bundle)
    metrics = evaluate_skills(
        RobotModel(bundle.robot),
        bundle.skill_space,
        bundle.command,
        bundle.rollout,
        5,
        seed=0,
        frame=bundle.frame,
        num_skills=64,
        steps=100,
    )
    away = metrics.leads_away
    assert away.sum() == 48 and (metrics.skills[away, 2] == 0.0).all()
    assert metrics.yaw_change is not None
    np.testing.assert_allclose(metrics.skills[~away, :2], 0.0)
    lengths = np.sort(metrics.skills[~away, 2])
    np.testing.assert_allclose(lengths, [*np.arange(-8, 0) / 8, *np.arange(1, 9) / 8])
    expected = 10.0 * metrics.skills[away, :2] * SPEED[:2]
    np.testing.assert_allclose(metrics.displacement[away], expected, atol=0.8)
    values = metrics.to_dict()
    assert values["turn_deg"] == pytest.approx(np.degrees(12.0), rel=0.06)
    assert values["yaw_drift_deg"] < 3.0
    assert values["mean_displacement_m"] == pytest.approx(metrics.distance[away].mean())
    assert values["prediction_error"] < 0.2
    assert values["max_x_m"] > 8.0 and values["min_x_m"] < -8.0


def test_who_always_turns_alike_does_not_turn_at_will() -> None:
    skills = np.zeros((8, 3), np.float32)
    skills[4:, 2] = [1.0, -1.0, 0.5, -0.5]
    spinning = metrics_of(np.ones((8, 2)), skills=skills, yaw_change=np.full(8, np.pi))
    assert spinning.to_dict()["turn_deg"] == pytest.approx(0.0)
    assert spinning.to_dict()["yaw_drift_deg"] == pytest.approx(180.0)
    willing = metrics_of(np.ones((8, 2)), skills=skills, yaw_change=1.0 + 2.0 * skills[:, 2])
    assert willing.to_dict()["turn_deg"] == pytest.approx(np.degrees(2.0))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = np.zeros(2)
    for _ in range(200):
        low, high = fraction_interval(rng.uniform(size=80) < 0.9)
        hits[0] += low <= 0.9 <= high
        low, high = ratio_interval(rng.exponential(2.0, 80))
        hits[1] += low <= 2.0 <= high
    assert (hits / 200.0 > 0.88).all()
    assert fraction_interval(np.ones(50, bool))[0] > 0.9
    assert fraction_interval(np.ones(50, bool))[1] == pytest.approx(1.0)


def test_a_robot_whose_fall_ends_the_episode_has_flipped() -> None:
    model = RobotModel(RobotSpec.load("half_cheetah"))
    assert model.spec.fallen.ends_episode
    rng = np.random.default_rng(0)
    metrics = evaluate_skills(
        model,
        SkillSpace(SkillPriorConfig(dim=1)),
        lambda obs, skill: np.where(obs[:, :1] > 0.0, 1.0, -1.0) * rng.choice([-1, 1], (1, 6)),
        standing_rollout,
        10,
        seed=0,
        num_skills=64,
        steps=100,
    )
    assert metrics.fallen.any()
    np.testing.assert_array_equal(metrics.flipped, metrics.fallen)
    fell = metrics.fallen
    for track, step in zip(metrics.tracks[fell], metrics.fall_step[fell], strict=True):
        assert (track[step:] == track[-1]).all()  # and it stays where it fell
        assert (track[step - 1] != track[-1]).any()


@pytest.mark.parametrize("prediction_steps", [1, 5])
def test_falls_under_changing_skills_are_counted_by_the_robot(prediction_steps: int) -> None:
    """Skills change as often as the planner changes them, however short a prediction is."""
    model, space = RobotModel(RobotSpec.load("half_cheetah")), SkillSpace(SkillPriorConfig(dim=1))
    rng, held = np.random.default_rng(0), []

    def thrash(obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        held.append(skill)
        sign = np.where(obs[:, :1] > 0.0, 1.0, -1.0) * (skill > -0.5)
        return sign * rng.choice([-1, 1], (1, 6))

    metrics = evaluate_switching(
        model,
        space,
        thrash,
        standing_rollout,
        prediction_steps,
        seed=0,
        num_robots=64,
        steps=100,
    )
    assert 0 < metrics.fallen.sum() < 64
    held_to_the_end = np.isfinite(metrics.displacement[:, -1, 0])
    np.testing.assert_array_equal(held_to_the_end, ~metrics.fallen)
    still = evaluate_switching(
        model,
        space,
        lambda obs, z: np.zeros((64, 6)),
        standing_rollout,
        5,
        seed=0,
        num_robots=64,
    )
    assert not still.fallen.any()
    for step, skills in enumerate(held):
        assert np.array_equal(skills, held[step - step % 5])
    assert not np.array_equal(held[0], held[5])


def test_robots_that_stand_are_pushed_once_every_second_after_a_skill() -> None:
    model, space = RobotModel(RobotSpec.load("point_mass")), SkillSpace(SkillPriorConfig(dim=2))
    skills, speeds = [], []

    def idle(obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        skills.append(skill.copy())
        speeds.append(obs[:, :2].copy())
        return np.zeros((8, 2))

    fallen = evaluate_standing(model, space, idle, seed=0, num_robots=8, steps=20)
    assert fallen.shape == (8,) and not fallen.any()
    held = np.any(np.array(skills) != 0.0, axis=2)
    assert held[:4, 1::2].all() and not held[:4, ::2].any() and not held[4:].any()
    faster = np.linalg.norm(np.diff(speeds, axis=0), axis=2) > 0.3
    assert np.flatnonzero(faster.any(axis=1)).tolist() == [12] and faster[12].all()


def test_those_count_as_fallen_that_fall_where_they_stand_or_are_pushed_too_hard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = SkillBundle(find_file("humanoid", folder="models"))
    model, space = RobotModel(bundle.robot), bundle.skill_space

    def limp(obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        return np.zeros((8, bundle.robot.command_dim))

    fallen = evaluate_standing(model, space, limp, seed=0, num_robots=8)
    assert fallen.tolist() == [True] * 4  # the others fell under another skill
    assert evaluate_standing(model, space, bundle.command, seed=0, num_robots=8).mean() < 0.5
    monkeypatch.setattr(skills_module, "PUSH_M_S", 3.0)
    assert evaluate_standing(model, space, bundle.command, seed=0, num_robots=8).all()


def test_predictions_of_changing_skills_are_compared_with_what_each_skill_did(
    point_mass_bundle: Path,
) -> None:
    bundle = SkillBundle(point_mass_bundle)
    steps = bundle.manifest.prediction.steps

    def doubled(start: np.ndarray, skills: np.ndarray, duration_steps: float) -> np.ndarray:
        return bundle.rollout(start, 2.0 * skills, duration_steps)

    right, wrong = (
        evaluate_switching(
            RobotModel(bundle.robot),
            bundle.skill_space,
            bundle.command,
            rollout,
            steps,
            seed=0,
            num_robots=32,
        )
        for rollout in (bundle.rollout, doubled)
    )
    assert right.predicted.shape == (32, 200 // steps, 2)
    off = np.linalg.norm(right.predicted - right.displacement, axis=2).sum()
    error = off / np.linalg.norm(right.displacement, axis=2).sum()
    assert right.to_dict()["switch_prediction_error"] == pytest.approx(error)
    assert wrong.to_dict()["switch_prediction_error"] > error + 0.5
