"""Messages and core types say the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, Quaternion
from nav_msgs.msg import OccupancyGrid, Odometry
from nav_msgs.msg import Path as PathMessage
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory

from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.errors import ConfigError
from dads_ros.files import share_folder
from dads_ros.nodes.conversions import (
    Frames,
    MessageError,
    answered_stamp_ns,
    command_message,
    command_of,
    goal_of,
    grid_of,
    header_of,
    joint_state_message,
    odometry_message,
    path_message,
    path_of,
    robot_state,
    to_ns,
    to_pose,
)
from dads_ros.observation import RobotState, build_policy_obs
from dads_ros.robot import RobotSpec
from dads_ros.transform import Transform

ROBOTS = sorted(path.stem for path in Path(share_folder(), "config", "robots").glob("*.yaml"))
FRAMES = Frames.of("")


def tumbling_env(robot: str, num: int = 16) -> VectorEnv:
    """Robots in mid-air, turned any way, every part moving."""
    model, rng = RobotModel(RobotSpec.load(robot)), np.random.default_rng(1)
    env = VectorEnv(model, num, rng=rng, episode_steps=1000)
    nq, nv = model.mj_model.nq, model.mj_model.nv
    states = env.physics.states
    states[:, 1 + nq : 1 + nq + nv] = 4.0 * rng.standard_normal((num, nv))
    if model.spec.base.kind == "free":
        states[:, 3] += 3.0
        turn = rng.standard_normal((num, 4))
        states[:, 4:8] = turn / np.linalg.norm(turn, axis=1, keepdims=True)
    for _ in range(3):
        env.step(rng.uniform(-1.0, 1.0, (num, model.spec.command_dim)))
    return env


def imu_message(state: RobotState, north_rad: float) -> Imu:
    """Of one robot, by an imu whose heading is 0 where the robot's is ``north_rad``."""
    w, x, y, z = state.orientation
    c, s = np.cos(-north_rad / 2.0), np.sin(-north_rad / 2.0)
    turned = [c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w]
    message = Imu(orientation=to_pose(np.zeros(3), turned).orientation)
    rates = message.angular_velocity
    rates.x, rates.y, rates.z = state.angular_velocity.tolist()
    return message


@pytest.mark.parametrize("robot", ROBOTS)
def test_an_imu_gives_tilt_and_turn_rates_and_odom_the_heading(robot: str) -> None:
    env, rng = tumbling_env(robot), np.random.default_rng(2)
    expected = env.policy_obs()
    for index in range(env.num_envs):
        state = env.state[index]
        imu, yaw = imu_message(state, rng.uniform(-3.0, 3.0)), float(state.yaw())
        joints = joint_state_message(env.spec, state, 0)
        odometry = odometry_message(state, 0, FRAMES)
        odometry.twist.twist.angular.x = 9.0
        whole = odometry.pose.pose.orientation
        flat = [np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)]
        odometry.pose.pose.orientation = to_pose(np.zeros(3), flat).orientation
        found = robot_state(env.spec, [joints], odometry, imu)
        sign = np.where(found.orientation @ state.orientation < 0.0, -1.0, 1.0)
        found = replace(found, orientation=sign * found.orientation)
        obs = build_policy_obs(env.spec, found, env.last_command[index])
        np.testing.assert_allclose(obs, expected[index], rtol=0.0, atol=1e-6)
        imu.orientation_covariance[0] = -1.0  # it has none
        odometry.pose.pose.orientation = whole
        found = robot_state(env.spec, [joints], odometry, imu)
        obs = build_policy_obs(env.spec, found, env.last_command[index])
        np.testing.assert_allclose(obs, expected[index], rtol=0.0, atol=1e-6)


def test_an_imu_that_cannot_be_used_is_named() -> None:
    env = tumbling_env("ant", 1)
    joints = joint_state_message(env.spec, env.state[0], 0)
    odometry, imu = odometry_message(env.state[0], 0, FRAMES), imu_message(env.state[0], 0.0)
    imu.angular_velocity.z = 1e6
    with pytest.raises(MessageError, match="imu's yaw is 1e\\+06"):
        robot_state(env.spec, [joints], odometry, imu)
    imu.orientation.w = 3.0
    with pytest.raises(MessageError, match="imu has quaternion"):
        robot_state(env.spec, [joints], odometry, imu)


@pytest.mark.parametrize("robot", ROBOTS)
def test_observation_built_from_messages_equals_the_environments(robot: str) -> None:
    env = tumbling_env(robot)
    rng = np.random.default_rng(2)
    expected = env.policy_obs()
    for index in range(env.num_envs):
        stamp_ns = 1_500_000_000 + index
        joints = joint_state_message(env.spec, env.state[index], stamp_ns)
        order = rng.permutation(len(joints.name))
        joints.position = [joints.position[i] for i in order]
        joints.velocity = [joints.velocity[i] for i in order]
        joints.name = [joints.name[i] for i in order]
        odometry = odometry_message(env.state[index], stamp_ns, FRAMES)
        joints = deserialize_message(serialize_message(joints), JointState)
        odometry = deserialize_message(serialize_message(odometry), Odometry)
        state = robot_state(env.spec, [joints], odometry)
        obs = build_policy_obs(env.spec, state, env.last_command[index])
        np.testing.assert_allclose(obs, expected[index], rtol=0.0, atol=1e-6)
        assert to_ns(odometry.header.stamp) == to_ns(joints.header.stamp) == stamp_ns


def test_odometry_has_ros_quaternion_order_and_body_twist() -> None:
    half = np.sqrt(0.5)
    state = RobotState(
        position=np.array([1.0, 2.0, 3.0]),
        orientation=np.array([half, 0.0, 0.0, half]),
        linear_velocity=np.array([0.1, 0.2, 0.3]),
        angular_velocity=np.array([0.4, 0.5, 0.6]),
        joint_positions=np.zeros(0),
        joint_velocities=np.zeros(0),
    )
    message = odometry_message(state, 0, Frames.of("robot1/"))
    turn, twist = message.pose.pose.orientation, message.twist.twist
    assert (turn.x, turn.y, turn.z, turn.w) == (0.0, 0.0, half, half)
    assert (twist.linear.x, twist.linear.y, twist.linear.z) == (0.1, 0.2, 0.3)
    assert (twist.angular.x, twist.angular.y, twist.angular.z) == (0.4, 0.5, 0.6)
    assert (message.header.frame_id, message.child_frame_id) == ("robot1/odom", "robot1/base_link")


def test_missing_joint_and_missing_velocity_are_named() -> None:
    env = tumbling_env("ant", 1)
    joints = joint_state_message(env.spec, env.state[0], 0)
    odometry = odometry_message(env.state[0], 0, FRAMES)
    joints.velocity = joints.velocity[:3]
    with pytest.raises(MessageError, match="8 joints but has 8 positions and 3 velocities"):
        robot_state(env.spec, [joints], odometry)
    joints.velocity = joints.position
    joints.name = ["elbow", *joints.name[1:]]
    with pytest.raises(MessageError, match="lacks hip_1; it has elbow, ankle_1"):
        robot_state(env.spec, [joints], odometry)


def test_quaternion_that_is_no_rotation_is_refused() -> None:
    env = tumbling_env("point_mass", 1)
    joints, odometry = joint_state_message(env.spec, env.state[0], 0), Odometry()
    odometry.pose.pose.orientation.w = 0.0
    with pytest.raises(MessageError, match="quaternion"):
        robot_state(env.spec, [joints], odometry)


def test_command_goes_and_comes_back_with_names_and_stamp() -> None:
    spec = RobotSpec.load("ant")
    command = np.linspace(-1.0, 1.0, 8)
    message = command_message(spec, command, 12_345_678_901)
    message = deserialize_message(serialize_message(message), Float64MultiArray)
    assert message.layout.dim[0].label.startswith("hip_4,ankle_4,hip_1")
    assert message.layout.dim[0].size == 8
    np.testing.assert_array_equal(command_of(spec, message), command)
    assert answered_stamp_ns(message) == 12_345_678_901
    assert answered_stamp_ns(Float64MultiArray(data=[0.0] * 8)) is None
    message.layout.dim[1].label = "stamp_ns=abc"
    with pytest.raises(MessageError, match="answers 'stamp_ns=abc'"):
        answered_stamp_ns(message)


def test_command_by_joint_is_one_point_a_control_step_ahead() -> None:
    spec, command = RobotSpec.load("ant"), np.linspace(-1.0, 1.0, 8)
    message = command_message(spec, command, 12_345_678_901, "joint_trajectory")
    message = deserialize_message(serialize_message(message), JointTrajectory)
    assert message.header == Header()  # stamp 0: start now
    assert message.joint_names[:3] == ["hip_4", "ankle_4", "hip_1"]
    (point,) = message.points
    np.testing.assert_array_equal(point.positions, command)
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 50_000_000)
    assert not (point.velocities or point.accelerations or point.effort)
    slow = command_message(replace(spec, num_substeps=125), command, 0, "joint_trajectory")
    time = slow.points[0].time_from_start
    assert (time.sec, time.nanosec) == (1, 250_000_000)
    with pytest.raises(ConfigError, match="joints': push_x, push_y; commands by joint need"):
        command_message(RobotSpec.load("point_mass"), np.zeros(2), 0, "joint_trajectory")


def test_wrong_commands_are_refused() -> None:
    spec = RobotSpec.load("point_mass")
    with pytest.raises(MessageError, match="3 numbers; robot 'point_mass' has 2 actuators"):
        command_of(spec, Float64MultiArray(data=[0.0] * 3))
    with pytest.raises(MessageError, match="must be finite"):
        command_of(spec, Float64MultiArray(data=[0.0, float("nan")]))
    other = replace(spec, actuators=("push_y", "push_x"))
    with pytest.raises(MessageError, match="is for push_y, push_x"):
        command_of(spec, command_message(other, np.zeros(2), 0))


TURNED = Transform.on_ground(10.0, 20.0, np.pi / 2)
"""Of a frame whose x-axis is odom's y-axis."""


def test_goal_is_turned_into_odom_and_one_that_is_not_finite_or_absurd_is_refused() -> None:
    goal = PoseStamped()
    goal.pose.position.x, goal.pose.orientation = 1.5, Quaternion(z=0.6, w=0.8)
    yaw = 2.0 * np.arctan2(0.6, 0.8)
    np.testing.assert_allclose(goal_of(goal, Transform()), [1.5, 0.0, yaw])
    np.testing.assert_allclose(goal_of(goal, TURNED), [10.0, 21.5, np.pi / 2 + yaw])
    with pytest.raises(MessageError, match="x 100002, y 0; at most"):
        goal_of(goal, Transform(x=1e5))
    goal.pose.position.y = float("nan")
    with pytest.raises(MessageError, match="y nan"):
        goal_of(goal, Transform())
    goal.pose.position.y = -1e39  # overflows in the planner's float32
    with pytest.raises(MessageError, match="y -1e\\+39; at most"):
        goal_of(goal, Transform())


def test_path_is_turned_into_odom_and_is_in_one_frame() -> None:
    path = PathMessage(header=Header(frame_id="map"), poses=[PoseStamped(), PoseStamped()])
    path.poses[1].pose.position.x = 3.0
    path.poses[1].header.frame_id = "map"
    np.testing.assert_allclose(path_of(path, TURNED), [[10.0, 20.0], [10.0, 23.0]])
    path.poses[1].header.frame_id = "odom"
    with pytest.raises(MessageError, match="frame is 'map', that of some of its poses 'odom'"):
        path_of(path, TURNED)


def test_map_is_turned_into_odom() -> None:
    grid = OccupancyGrid(data=[0] * 6)
    grid.info.width, grid.info.height, grid.info.origin.position.x = 3, 2, -1.0
    np.testing.assert_allclose(grid_of(grid, TURNED), [10.0, 19.0, np.pi / 2])


def test_header_is_read_from_the_first_bytes_of_a_message() -> None:
    header = Header(frame_id="map", stamp=Time(sec=3, nanosec=4))
    serialised = serialize_message(OccupancyGrid(header=header, data=[0] * 100_000))
    assert header_of(serialised, "map") == header
    for broken in (b"", serialised[:13], serialise_frame("f" * 3000)):
        with pytest.raises(MessageError, match="map refused: its header cannot be read"):
            header_of(broken, "map")


def serialise_frame(name: str) -> bytes:
    return bytes(serialize_message(Header(frame_id=name)))


def test_path_takes_yaw_from_prediction_or_from_its_direction() -> None:
    line = np.array([[0.0, 0.0], [0.0, 1.0]])
    poses = path_message(line, 0.3, 10**9, 0.25, FRAMES).poses
    assert poses[0].pose.orientation.z == pytest.approx(np.sin(np.pi / 4))
    assert poses[1].pose.position.z == 0.3
    stamps = [(p.header.stamp.sec, p.header.stamp.nanosec) for p in poses]
    assert stamps == [(1, 0), (1, 250_000_000)]
    turned = np.array([[0.0, 0.0, np.pi], [0.0, 1.0, np.pi]])
    poses = path_message(turned, 0.3, 0, 0.25, FRAMES).poses
    assert poses[1].pose.orientation.z == pytest.approx(1.0)
