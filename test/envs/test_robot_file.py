"""What a robot file adds to an MJCF that nobody edits: home, servos, held joints, a floor."""

import logging

import mujoco
import numpy as np
import pytest

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.errors import BundleMismatchError, ConfigError
from dads_ros.robot import RobotSpec
from legged import JOINTS, LEGGED, legged_spec

HOME = np.array([0.2, -0.4, 0.2, -0.4])


def test_commands_are_the_keyframes_pose_plus_and_minus_the_scale() -> None:
    spec = RobotModel(legged_spec()).spec
    low, high = spec.command_limits
    np.testing.assert_allclose(low, HOME - [0.3, 0.1, 0.3, 0.1])
    np.testing.assert_allclose(high, HOME + np.array([0.3, 0.1, 0.3, 0.1]))
    assert list(spec.safe_command) == list(spec.standing_command or ()) == HOME.tolist()
    assert spec.reset.height_m == 0.32 and spec.home == dict(zip(JOINTS, HOME, strict=True))
    # What a bundle keeps is complete, and means the same when it is read.
    again = RobotSpec.from_dict(spec.to_dict())
    assert again == spec and again.is_home_known and RobotModel(again).spec == spec


def test_the_robot_file_goes_before_its_keyframe() -> None:
    reset = {"keyframe": "stand", "height_m": 0.5, "joint_positions": {"left_hip": 0.1}}
    spec = RobotModel(legged_spec(reset=reset, standing_command=None, mirror=None)).spec
    assert spec.home["left_hip"] == 0.1 and spec.home["right_hip"] == 0.2
    assert spec.reset.height_m == 0.5 and spec.standing_command is None


def test_without_a_keyframe_the_mjcf_is_not_needed() -> None:
    reset = {"height_m": 0.32, "joint_positions": dict(zip(JOINTS, HOME, strict=True))}
    spec = legged_spec(reset=reset)
    assert spec.is_home_known and list(spec.safe_command) == HOME.tolist()
    assert not legged_spec().is_home_known


def test_servos_hold_the_pose_and_keep_the_motors_limits() -> None:
    model = RobotModel(legged_spec())
    low, high = model.torque_limits  # 10 N m, gear 2
    assert set(low) == {-20.0} and set(high) == {20.0}
    env = VectorEnv(model, 4, rng=np.random.default_rng(0), episode_steps=400)
    for _ in range(200):
        env.step(np.tile(HOME, (4, 1)))
    np.testing.assert_allclose(env.state.joint_positions, np.tile(HOME, (4, 1)), atol=0.05)
    data = mujoco.MjData(model.mj_model)
    data.qpos[:] = model.mj_model.key_qpos[0]
    wanted = HOME + np.array([5.0, 0.0, -5.0, 0.1])
    data.ctrl[:] = model.to_ctrl(wanted)
    mujoco.mj_forward(model.mj_model, data)
    forces = data.qfrc_actuator[model.joint_dof]
    np.testing.assert_allclose(forces, [20.0, 0.0, -20.0, 60.0 * 0.1], atol=1e-9)
    positions, still = model.mj_model.key_qpos[0][model.joint_qpos], np.zeros(4)
    parts = model.torques(wanted, positions, still)
    np.testing.assert_allclose(parts, forces / 20.0, atol=1e-9)
    weak = model.torques(wanted, positions, still, gains=0.5)
    np.testing.assert_allclose(weak, [1.0, 0.0, -1.0, 0.5 * 0.3], atol=1e-9)


def test_a_servo_pulls_one_way_as_hard_as_its_motor() -> None:
    motor = 'joint="left_knee" gear="2" ctrllimited="true" ctrlrange="-10 10"'
    turned = 'joint="left_knee" gear="-2" ctrllimited="true" ctrlrange="-3 10"'
    model = RobotModel(legged_spec(LEGGED.replace(motor, turned), mirror=None))
    np.testing.assert_array_equal(model.torque_limits[:, 1], [-20.0, 6.0])
    positions, still = np.array(HOME), np.zeros(4)
    parts = model.torques(HOME + np.array([0.0, 0.05, 0.0, -0.1]), positions, still)
    np.testing.assert_allclose(parts, [0.0, 0.5, 0.0, -0.3])


def test_joints_that_nothing_drives_stay_free() -> None:
    spring = LEGGED.replace('<motor name="m_shoulder" joint="shoulder"/>', "")
    assert RobotModel(legged_spec()).held == {"shoulder": 0.5}
    assert RobotModel(legged_spec(spring)).held == {}


def test_joints_left_out_are_held_at_the_keyframe() -> None:
    model = RobotModel(legged_spec())
    env = VectorEnv(model, 2, rng=np.random.default_rng(0), episode_steps=400)
    shoulder = 1 + model.mj_model.joint("shoulder").qposadr[0]
    for step in range(100):
        assert env.physics.states[0, shoulder] == pytest.approx(0.5, abs=0.01), step
        env.step(np.tile(HOME, (2, 1)))


def test_a_floor_that_is_added_bears_a_robot_that_does_not_touch_itself() -> None:
    default = '<default><geom contype="1" conaffinity="0"/></default>'
    model = RobotModel(legged_spec(LEGGED.replace("<worldbody>", f"{default}<worldbody>")))
    env = VectorEnv(model, 1, rng=np.random.default_rng(0), episode_steps=500)
    for _ in range(50):
        env.step(np.array([model.spec.safe_command]))
    assert env.state.position[0, 2] > 0.1


def test_a_floor_is_added_where_there_is_none() -> None:
    def planes(mjcf: str) -> int:
        model = RobotModel(legged_spec(mjcf)).mj_model
        return int((model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE).sum())

    floor = LEGGED.replace("<worldbody>", '<worldbody><geom type="plane" size="9 9 1"/>')
    box = LEGGED.replace("<worldbody>", '<worldbody><geom type="box" size="9 9 1" pos="0 0 -1"/>')
    assert planes(LEGGED) == planes(floor) == 1 and planes(box) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reset": {"keyframe": "sit"}}, "'sit'; the MJCF has stand"),
        ({"reset": {"keyframe": "stand", "height_m": 0.2}}, "m below the ground; raise"),
        ({"reset": {"height_m": 0.5}}, "'left_knee' at 0, outside its range -2 .. -0.2"),
        ({"feet": ["paw"]}, "'feet' of robot 'legged' names 'paw'; the MJCF has no such"),
        ({"fallen": {"contacts": ["head"]}}, "'fallen.contacts' of robot 'legged' names 'head'"),
        ({"servos": {"kp": [1.0, 2.0], "kd": [1.0]}}, "'servos.kp' has 2 values; expected 1 or 4"),
        ({"command_scale": [1.0] * 3}, "'command_scale' has 3 values; expected 1 or 4"),
        (
            {"actuators": [f"m_{name}" for name in JOINTS]},
            "has actuators that are not named as one of its 'joints': m_left_hip",
        ),
        ({"actuators": [*JOINTS, "elbow"], "command_scale": None}, "lists actuators left_hip"),
        (
            {"mirror": {"joints": {name: name for name in JOINTS}}},
            "raise 'mirror.tolerance'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RobotModel(legged_spec(**changes))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_servos_go_only_where_a_motor_drives_a_joint() -> None:
    motor = '<motor name="m_left_hip" joint="left_hip" gear="2"'
    mjcf = LEGGED.replace(motor, '<motor name="left_hip" site="tip" gear="1 0 0 0 0 0"')
    mjcf = mjcf.replace('<geom name="left_thigh"', '<site name="tip"/><geom name="left_thigh"')
    with pytest.raises(ConfigError, match="'left_hip' of the MJCF does not drive a joint"):
        RobotModel(legged_spec(mjcf, mirror=None))


def test_a_mirror_that_nearly_holds_is_taken_and_its_error_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heavier = LEGGED.replace('name="left_thigh" type', 'name="left_thigh" mass="0.2225" type')
    with caplog.at_level(logging.INFO):
        RobotModel(legged_spec())
        assert not caplog.records
        RobotModel(legged_spec(heavier))
    (record,) = caplog.records
    assert "'mirror' of robot 'legged' holds to" in record.getMessage()
    much_heavier = LEGGED.replace('name="left_thigh" type', 'name="left_thigh" mass="2" type')
    with pytest.raises(ConfigError, match=r"tolerance 0\.001"):
        RobotModel(legged_spec(much_heavier))


def test_a_bundle_drives_another_model_of_the_same_robot() -> None:
    """With other servos, feet and simulation steps, and where the MJCF is not to be had."""
    manifest = BundleManifest(
        robot=RobotModel(legged_spec()).spec, files={}, training_config={}, versions={}
    )
    servos = {"kp": [50.0], "kd": [1.0]}
    manifest.check_robot(legged_spec())
    other = legged_spec(servos=servos, feet=[], sim_dt=0.002, num_substeps=10)
    manifest.check_robot(other)
    manifest.check_robot(RobotModel(other).spec)
    for changes, key in (
        ({"num_substeps": 5}, "control_dt"),
        ({"command_scale": [0.2]}, "command_scale"),
        ({"command_filter": {"low_pass": 0.5}}, "command_filter"),
    ):
        with pytest.raises(BundleMismatchError, match=key):
            manifest.check_robot(legged_spec(**changes))
