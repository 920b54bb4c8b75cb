"""RobotState and policy_obs."""

import dataclasses

import numpy as np
import pytest

from dads_ros.observation import (
    RobotState,
    build_policy_obs,
    observation_slices,
    policy_obs_dim,
    quaternion_to_matrix,
)
from dads_ros.robot import RobotSpec

ANT = RobotSpec.load("ant")


def random_state(num: int, spec: RobotSpec = ANT) -> RobotState:
    rng = np.random.default_rng(0)
    quaternion = rng.standard_normal((num, 4))
    joints = len(spec.joints)
    return RobotState(
        position=rng.normal(0.0, 3.0, (num, 3)),
        orientation=quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True),
        linear_velocity=rng.normal(0.0, 20.0, (num, 3)),
        angular_velocity=rng.normal(0.0, 20.0, (num, 3)),
        joint_positions=rng.normal(size=(num, joints)),
        joint_velocities=rng.normal(0.0, 20.0, (num, joints)),
    )


def test_each_field_stands_where_its_slice_says() -> None:
    state, command = random_state(5), np.random.default_rng(1).normal(size=(5, 8))
    obs, parts = build_policy_obs(ANT, state, command), observation_slices(ANT)
    assert obs.dtype == np.float32 and obs.shape == (5, policy_obs_dim(ANT))
    assert list(parts) == list(ANT.observation)
    np.testing.assert_allclose(obs[:, parts["height"]], state.position[:, 2:], rtol=1e-6)
    np.testing.assert_allclose(obs[:, parts["orientation"]], state.orientation, atol=1e-6)
    np.testing.assert_allclose(obs[:, parts["joint_positions"]], state.joint_positions, rtol=1e-6)
    np.testing.assert_allclose(obs[:, parts["last_command"]], command, rtol=1e-6)
    clipped = np.clip(state.joint_velocities, -20.0, 20.0)
    np.testing.assert_allclose(obs[:, parts["joint_velocities"]], clipped, rtol=1e-6)
    assert np.abs(state.joint_velocities).max() > 20.0


def test_projected_gravity_is_what_an_imu_at_rest_feels_downwards() -> None:
    spec = dataclasses.replace(ANT, observation=("projected_gravity",))
    state = random_state(5)
    down = -quaternion_to_matrix(state.orientation)[:, 2]
    obs = build_policy_obs(spec, state, np.zeros((5, 8)))
    np.testing.assert_allclose(obs, down, atol=1e-6)


def test_the_order_of_fields_is_the_robot_files() -> None:
    fields = ("joint_positions", "height")
    spec = dataclasses.replace(ANT, observation=fields)
    state = random_state(2)
    expected = np.concatenate([state.joint_positions, state.position[:, 2:]], axis=1)
    obs = build_policy_obs(spec, state, np.zeros((2, 8)))
    np.testing.assert_allclose(obs, expected, rtol=1e-6)


def test_one_robot_without_a_batch_axis_gives_the_same_numbers() -> None:
    state, command = random_state(3), np.ones((3, 8))
    batch = build_policy_obs(ANT, state, command)
    np.testing.assert_array_equal(build_policy_obs(ANT, state[1], command[1]), batch[1])


def test_position_in_the_plane_is_hidden_from_the_policy() -> None:
    state = random_state(1)
    moved = dataclasses.replace(state, position=np.add(state.position, [50.0, -7.0, 0.0]))
    commands = np.zeros((1, 8))
    np.testing.assert_array_equal(
        build_policy_obs(ANT, state, commands), build_policy_obs(ANT, moved, commands)
    )


def test_rotation_matrices_are_rotations_and_agree_with_yaw_and_up() -> None:
    state = random_state(50)
    matrix = quaternion_to_matrix(state.orientation)
    np.testing.assert_allclose(
        matrix @ np.swapaxes(matrix, 1, 2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(matrix), 1.0)
    np.testing.assert_allclose(state.up_z(), matrix[:, 2, 2], atol=1e-12)
    np.testing.assert_allclose(state.yaw(), np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    clipped = np.clip(state.linear_velocity, -ANT.max_velocity, ANT.max_velocity)
    in_world = [rotation @ v for rotation, v in zip(matrix, clipped, strict=True)]
    np.testing.assert_allclose(state.ground_velocity(ANT), np.array(in_world)[:, :2])


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    quarter = np.array([np.cos(np.pi / 4), 0.0, 0.0, np.sin(np.pi / 4)])
    np.testing.assert_allclose(quaternion_to_matrix(quarter) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(RobotState)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_seen(field: str, value: float) -> None:
    state = random_state(2)
    assert state.is_finite().tolist() == [True, True]
    getattr(state, field)[1, -1] = value
    assert state.is_finite().tolist() == [True, False]


def test_a_robot_on_its_back_or_too_low_has_fallen() -> None:
    spec = dataclasses.replace(
        ANT, fallen=dataclasses.replace(ANT.fallen, min_up_z=0.0, min_height_m=0.3)
    )
    state = random_state(4)
    state.orientation[:] = [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    state.position[:, 2] = [0.5, 0.5, 0.2, 0.5]
    assert state.has_fallen(spec).tolist() == [False, True, True, False]


def test_positions_of_wheels_are_seen_within_one_turn() -> None:
    spec = dataclasses.replace(ANT, wheels=ANT.joints[2:4], observation=("joint_positions",))
    state, command = random_state(1), np.zeros((1, 8))
    state.joint_positions[0, :4] = measured = [0.3, -4.0, 1e4 * 2.0 * np.pi + 1.0, -3.5]
    seen = build_policy_obs(spec, state, command)[0]
    np.testing.assert_allclose(seen[:4], [0.3, -4.0, 1.0, 2.0 * np.pi - 3.5], atol=1e-5)
    np.testing.assert_allclose(seen[4:], state.joint_positions[0, 4:], atol=1e-6)
    assert state.joint_positions[0, :4].tolist() == measured
