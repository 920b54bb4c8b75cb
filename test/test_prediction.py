"""PredictionSpec: how predictions follow one another."""

from itertools import pairwise

import numpy as np
import pytest

from dads_ros.errors import ConfigError
from dads_ros.observation import observation_slices, policy_obs_dim
from dads_ros.prediction import BODY, PredictionSpec
from dads_ros.robot import RobotSpec

ANT = RobotSpec.load("ant")
OBS_DIM = policy_obs_dim(ANT)


def chain(spec: PredictionSpec, pose: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Predictions (1, H + 1, P) of a model that says these changes (1, H, P)."""
    skills = np.zeros((*deltas.shape[:2], 2), np.float32)
    return spec.rollout(ANT, lambda _: deltas[0], pose, skills, spec.steps)


def test_predictions_in_the_world_frame_add_up() -> None:
    deltas = np.array([[[1.0, 0.0], [0.5, 2.0]]], np.float32)
    path = chain(PredictionSpec(), np.array([10.0, 20.0, 1.5]), deltas)
    np.testing.assert_allclose(path, [[[10.0, 20.0], [11.0, 20.0], [11.5, 22.0]]])
    assert path.dtype == np.float32


def test_predictions_in_the_heading_frame_turn_with_the_robot() -> None:
    """One metre forward and a quarter turn to the left, four times: a square."""
    spec = PredictionSpec(fields=("x", "y", "yaw"), frame="heading")
    quarter = np.pi / 2.0
    deltas = np.tile([1.0, 0.0, quarter], (1, 4, 1))
    path = chain(spec, np.array([[2.0, 0.0, quarter]]), deltas)[0]
    corners = [[2, 0], [2, 1], [1, 1], [1, 0], [2, 0]]
    np.testing.assert_allclose(path[:, :2], corners, atol=1e-12)
    np.testing.assert_allclose(path[:, 2], quarter * np.arange(1, 6))
    np.testing.assert_array_equal(deltas[0, :, 0], 1.0)


def test_a_shorter_skill_goes_its_part_of_a_prediction() -> None:
    spec, skills = PredictionSpec(steps=10), np.ones((3, 2, 2), np.float32)
    path = spec.rollout(ANT, lambda skill: skill, np.zeros(3), skills, 5)
    np.testing.assert_allclose(path, np.broadcast_to([[[0.0], [0.5], [1.0]]], (3, 3, 2)))


def test_only_the_first_skill_of_a_plan_starts_from_a_known_body_state() -> None:
    spec, calls = PredictionSpec(body_state=True), []

    def delta(skill: np.ndarray, obs: np.ndarray, known: np.ndarray) -> np.ndarray:
        calls.append((obs, known))
        return skill + 10.0 * known

    skills = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    obs = np.random.default_rng(0).normal(size=(2, OBS_DIM))
    part = observation_slices(ANT)["orientation"]
    obs[:, part] = [0.6, 0.0, 0.8, 0.0]
    start = np.concatenate([np.zeros((2, BODY)), obs], axis=1)
    path = spec.rollout(ANT, delta, start, skills, spec.steps)
    changes = skills.copy()
    changes[:, 0] += 10.0
    np.testing.assert_allclose(path[:, 1:], np.cumsum(changes, axis=1))
    ((seen, known),) = calls
    np.testing.assert_allclose(seen.reshape(2, 3, -1)[:, 0], obs, rtol=1e-6)
    assert known.ravel().tolist() == [1, 0, 0, 1, 0, 0]
    blind = spec.rollout(ANT, delta, np.zeros((2, 3)), skills, spec.steps)
    np.testing.assert_allclose(blind[:, 1:], np.cumsum(skills, axis=1))


def test_where_the_whole_observation_is_predicted_each_prediction_starts_from_the_last() -> None:
    spec = PredictionSpec(fields=("x", "y", *ANT.observation), body_state=True, steps=1)
    part, seen = observation_slices(ANT)["orientation"], []
    rng = np.random.default_rng(0)
    change = rng.normal(size=(4, spec.dim(ANT))).astype(np.float32)

    def delta(skill: np.ndarray, obs: np.ndarray, known: np.ndarray) -> np.ndarray:
        assert known.all()
        seen.append(obs)
        return change

    obs = rng.normal(size=(4, OBS_DIM))
    obs[:, part.start] = np.abs(obs[:, part.start])
    obs[:, part] /= np.linalg.norm(obs[:, part], axis=1, keepdims=True)
    start = np.concatenate([np.ones((4, BODY)), obs], axis=1)
    path = spec.rollout(ANT, delta, start, np.zeros((4, 3, 2), np.float32), 1)
    assert path.shape == (4, 4, 2 + OBS_DIM)
    np.testing.assert_allclose(path[:, 0, :2], 1.0)
    np.testing.assert_allclose(seen[0], obs, rtol=1e-6)
    for before, now in pairwise([*seen, path[:, -1, 2:]]):
        expected = before + change[:, 2:]
        expected[:, part] /= np.linalg.norm(expected[:, part], axis=1, keepdims=True)
        expected[:, part] *= np.where(expected[:, part.start] < 0.0, -1.0, 1.0)[:, None]
        np.testing.assert_allclose(now, expected, rtol=1e-5, atol=1e-6)
    for index, obs in enumerate(seen):
        np.testing.assert_allclose(path[:, index, 2:], obs, rtol=1e-6)


def test_from_a_state_a_long_skill_is_as_many_predictions_as_it_lasts() -> None:
    """Velocity goes to the skill with a time constant of 1 s; exact for one control step."""
    robot = RobotSpec.load("point_mass")
    spec = PredictionSpec(fields=("x", "y", *robot.observation), body_state=True, steps=1)
    dt, columns = robot.control_dt, spec.observation_columns(robot)
    kept = np.exp(-dt)

    def delta(skill: np.ndarray, obs: np.ndarray, known: np.ndarray) -> np.ndarray:
        velocity = obs[:, :2]
        moved = skill * dt + (velocity - skill) * (1.0 - kept)
        change = np.zeros_like(obs)
        change[:, :2] = (skill - velocity) * (1.0 - kept)
        return np.concatenate([moved, change[:, columns]], axis=1)

    assert robot.observation[0] == "linear_velocity"
    skills = np.array([[[1.0, -0.5]]], np.float32)
    start = np.zeros((1, BODY + policy_obs_dim(robot)))
    path = spec.rollout(robot, delta, start, skills, 25)
    time = 25 * dt
    expected = skills[0, 0] * (time - 1.0 + np.exp(-time))
    np.testing.assert_allclose(path[0, 1, :2], expected, rtol=1e-5)
    np.testing.assert_allclose(path[0, 1, 2:4], skills[0, 0] * (1.0 - np.exp(-time)), rtol=1e-5)


def test_both_signs_of_a_quaternion_are_one_start() -> None:
    spec = PredictionSpec(fields=("x", "y", "orientation"), body_state=True, steps=5)
    part, seen = observation_slices(ANT)["orientation"], []

    def delta(skill: np.ndarray, obs: np.ndarray, known: np.ndarray) -> np.ndarray:
        seen.append(obs)
        return np.full((len(skill), 6), 0.1, np.float32)

    start = np.zeros((2, BODY + OBS_DIM))
    start[:, BODY:][:, part] = [[0.6, 0.0, 0.0, 0.8], [-0.6, 0.0, 0.0, -0.8]]
    path = spec.rollout(ANT, delta, start, np.zeros((2, 1, 2), np.float32), 5)
    np.testing.assert_allclose(seen[0][0], seen[0][1])
    np.testing.assert_allclose(path[0], path[1])
    np.testing.assert_allclose(np.linalg.norm(path[0, :, 2:], axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        {"fields": ["x"]},
        {"fields": ["y", "x"]},
        {"fields": ["height", "x", "y"]},
        {"fields": ["x", "y", "height", "height"]},
        {"fields": ["x", "y", "colour"]},
        {"frame": "heading"},
        {"frame": "heading", "fields": ["x", "y", "yaw", "orientation"]},
    ],
)
def test_predictions_that_nobody_can_chain_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="fields"):
        PredictionSpec.from_dict(values)


def test_what_the_robot_does_not_observe_cannot_be_predicted() -> None:
    spec = PredictionSpec(fields=("x", "y", "height"))
    robot = RobotSpec.load("point_mass")
    with pytest.raises(ConfigError, match=r"has height, which robot 'point_mass' does not"):
        spec.dim(robot)
    assert spec.dim(ANT) == 3
    assert PredictionSpec(fields=("x", "y", "yaw")).dim(robot) == 3
