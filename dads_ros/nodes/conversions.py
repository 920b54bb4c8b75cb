"""Messages to core types and back: the place of orders, frames, stamps and quaternions.

ROS writes quaternions (x, y, z, w), MuJoCo and RobotState (w, x, y, z). The twist of an Odometry
is in its child frame, base_link, as RobotState has it. Joints go by name, commands by the robot
file's order. Shapes: J joints, A actuators, P predicted fields, T points.
"""

import array
import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseStamped,
    Quaternion,
    Twist,
    TwistStamped,
    Vector3,
    Wrench,
)
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray, Header, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from dads_ros.errors import DadsError
from dads_ros.observation import BEYOND_REASON, MAX_QUATERNION_ERROR, RobotState, yaw_of
from dads_ros.robot import RobotSpec
from dads_ros.transform import Transform

Array = NDArray[np.float64]
NOT_MEASURED = -1.0
"""Of an Imu, the first covariance of what it has not."""
MAX_JOINTS = 1000
MAX_POSES, MAX_PATH_M = 100_000, 1e4
MAX_GOAL_M = 1e5
"""Further away, a float32 prediction no longer tells centimetres apart."""
COMMAND_TYPES: dict[str, type] = {
    "float64_multi_array": Float64MultiArray,
    "joint_trajectory": JointTrajectory,
}
"""Of joint_commands, by the parameter ``command_type``."""
_NS = 1_000_000_000
_MAX_HEADER_BYTES = 2000
_STAMP_LABEL = "stamp_ns="


class MessageError(DadsError):
    """A message that cannot be used; the sentence says why."""


class Frames(NamedTuple):
    """Names of the two frames of a robot."""

    odom: str
    base_link: str

    @classmethod
    def of(cls, prefix: str) -> "Frames":
        """With the ``frame_prefix`` of a node."""
        return cls(f"{prefix}odom", f"{prefix}base_link")


def to_stamp(stamp_ns: int) -> Time:
    """Nanoseconds as a stamp."""
    return Time(sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)


def to_ns(stamp: Time) -> int:
    """A stamp in nanoseconds."""
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def joint_state_message(spec: RobotSpec, state: RobotState, stamp_ns: int) -> JointState:
    """The joints of one robot."""
    return JointState(
        header=Header(stamp=to_stamp(stamp_ns)),
        name=list(spec.joints),
        position=array.array("d", state.joint_positions.tobytes()),
        velocity=array.array("d", state.joint_velocities.tobytes()),
    )


def odometry_message(state: RobotState, stamp_ns: int, frames: Frames) -> Odometry:
    """The base of one robot: pose in odom, twist in base_link."""
    message = Odometry(
        header=Header(stamp=to_stamp(stamp_ns), frame_id=frames.odom),
        child_frame_id=frames.base_link,
    )
    message.pose.pose = to_pose(state.position, state.orientation)
    message.twist.twist.linear = _vector3(state.linear_velocity)
    message.twist.twist.angular = _vector3(state.angular_velocity)
    return message


def robot_state(
    spec: RobotSpec, joints: Sequence[JointState], odometry: Odometry, imu: Imu | None = None
) -> RobotState:
    """The state of one robot.

    Args:
        spec: the robot file.
        joints: taken by name, in any order, from the first that has it.
        odometry: position and velocity of the base, and all else without an imu.
        imu: its angular velocity counts, and its orientation where it has one, turned about the
            vertical to odom's heading: an imu has a north of its own.
    Raises: MessageError when a joint is missing or has no velocity, a quaternion is none, or a
        velocity is beyond reason.
    """
    halves = [_columns(spec, message) for message in joints]
    if len(halves) == 1 and len(halves[0][0]) == len(spec.joints):  # nearly always
        _, positions, velocities = halves[0]
    else:
        positions, velocities = _merged(spec, joints, halves)
    pose, twist = odometry.pose.pose, odometry.twist.twist
    place, linear, angular = pose.position, twist.linear, twist.angular
    wxyz = _unit_quaternion(pose.orientation, "odom")
    if imu is not None:
        angular = imu.angular_velocity
        if imu.orientation_covariance[0] != NOT_MEASURED:
            wxyz = _with_heading_of(wxyz, _unit_quaternion(imu.orientation, "imu"))
    twist_numbers = [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]
    base = np.array([place.x, place.y, place.z, *wxyz, *twist_numbers])
    _check_speeds(spec, np.concatenate([base[7:], velocities]), "odom" if imu is None else "imu")
    return RobotState(
        position=base[:3],
        orientation=base[3:7],
        linear_velocity=base[7:10],
        angular_velocity=base[10:],
        joint_positions=positions,
        joint_velocities=velocities,
    )


def _unit_quaternion(turn: Quaternion, what: str) -> list[float]:
    """As w, x, y, z. Raises: MessageError."""
    wxyz = [turn.w, turn.x, turn.y, turn.z]
    if abs(math.hypot(*wxyz) - 1.0) > MAX_QUATERNION_ERROR:
        raise MessageError(f"{what} has quaternion w, x, y, z {wxyz}; its length must be 1")
    return wxyz


def _with_heading_of(heading: list[float], tilt: list[float]) -> list[float]:
    """An orientation (w, x, y, z) turned about the world's z to the yaw of another one."""
    half = 0.5 * float(yaw_of(np.array(heading)) - yaw_of(np.array(tilt)))
    c, s = math.cos(half), math.sin(half)
    w, x, y, z = tilt
    return [c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w]


def _columns(spec: RobotSpec, message: JointState) -> tuple[NDArray[np.int64], Array, Array]:
    """Rows of a robot file's joints that a message names, with positions and velocities.

    Raises: MessageError.
    """
    rows, columns = joint_columns(spec.joints, tuple(message.name))
    size = len(message.name)
    if len(message.position) != size or len(message.velocity) != size:
        raise MessageError(
            f"joint_states names {size} joints but has {len(message.position)} positions and "
            f"{len(message.velocity)} velocities; publish positions of all of them, and "
            "velocities of all or none"
        )
    positions = np.frombuffer(message.position, np.float64)[columns]
    return rows, positions, np.frombuffer(message.velocity, np.float64)[columns]


def _merged(
    spec: RobotSpec,
    joints: Sequence[JointState],
    halves: Sequence[tuple[NDArray[np.int64], Array, Array]],
) -> tuple[Array, Array]:
    """Positions and velocities of all joints, (J,) each. Raises: MessageError."""
    num = len(spec.joints)
    merged, missing = np.full((2, num), np.nan), np.ones(num, bool)
    for rows, *values in reversed(halves):  # the first one that has it comes last
        merged[:, rows], missing[rows] = values, False
    if missing.any():
        names = [name for message in joints for name in message.name]
        lacking = [name for name, lacks in zip(spec.joints, missing, strict=True) if lacks]
        raise MessageError(
            f"joint_states lacks {', '.join(lacking)}; it has {', '.join(names) or 'none'}; "
            f"check that it comes from robot '{spec.name}'"
        )
    return merged[0], merged[1]


def _check_speeds(spec: RobotSpec, velocities: Array, gyroscope: str) -> None:
    """Of the base (6) and the joints. Raises: MessageError for what no robot does."""
    limit, speeds = BEYOND_REASON * spec.max_velocity, np.abs(velocities)
    if not speeds.max() <= limit and np.isfinite(velocities).all():
        names = [f"odom's twist {axis}" for axis in ("x", "y", "z")]
        names += [f"{gyroscope}'s {axis}" for axis in ("roll", "pitch", "yaw")]
        names += [f"joint '{name}'" for name in spec.joints]
        worst = int(speeds.argmax())
        raise MessageError(
            f"the velocity of {names[worst]} is {velocities[worst]:.3g}; more than {limit:g} is "
            f"beyond reason for robot '{spec.name}'"
        )


def check_odometry(message: Odometry, frames: Frames) -> None:
    """Raises: MessageError when pose or twist are in other frames than ours; unsaid is ours."""
    _check_own_frame("odom has frame_id", message.header.frame_id, frames.odom)
    _check_own_frame("odom has child_frame_id", message.child_frame_id, frames.base_link)


def check_imu(message: Imu, frames: Frames) -> None:
    """Raises: MessageError for another frame than ours, unsaid is ours, or without a gyroscope."""
    _check_own_frame("imu has frame_id", message.header.frame_id, frames.base_link)
    if message.angular_velocity_covariance[0] == NOT_MEASURED:
        raise MessageError(
            "imu says that it has no angular velocity (covariance -1); take another one, or set "
            "'use_imu' to false"
        )


def _check_own_frame(what: str, frame: str, expected: str) -> None:
    if frame not in ("", expected):
        raise MessageError(
            f"{what} '{frame}'; expected '{expected}': publish it so, or set 'frame_prefix'"
        )


@functools.lru_cache
def joint_columns(
    joints: tuple[str, ...], names: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of a robot file's joints a message names, and where they stand in it.

    Returns: rows of ``joints`` and columns of ``names``. Raises: MessageError for a joint that is
        named twice.
    """
    if len(names) > MAX_JOINTS:
        raise MessageError(
            f"joint_states names {len(names)} joints; at most {MAX_JOINTS} are read"
        )
    rows = [row for row, name in enumerate(joints) if name in names]
    for row in rows:
        if names.count(joints[row]) > 1:
            raise MessageError(f"joint_states names '{joints[row]}' twice; which one is right?")
    return np.array(rows, int), np.array([names.index(joints[row]) for row in rows], int)


def command_message(
    spec: RobotSpec,
    command: Array,
    stamp_ns: int | None = None,
    command_type: str = "float64_multi_array",
) -> Float64MultiArray | JointTrajectory:
    """One command in the robot file's order, which answers the state of that stamp, or none.

    Raises: ConfigError for a joint_trajectory where the actuators are not named as joints.
    """
    if command_type == "joint_trajectory":
        return _trajectory(spec, command)
    return _labelled_command(spec, command, stamp_ns)


def _labelled_command(spec: RobotSpec, command: Array, stamp_ns: int | None) -> Float64MultiArray:
    """The message type has neither names nor stamp.

    The first dimension's label lists the actuators, the second's says which state is answered.
    """
    message = labelled_array(command, ",".join(spec.actuators))
    if stamp_ns is not None:
        _say_stamp(message, stamp_ns)
    return message


def skill_message(skill: NDArray[np.floating] | None, stamp_ns: int) -> Float64MultiArray:
    """The skill that the command for the state of that stamp was made for. Shape (D,).

    Empty for None: it is the standing or the safe command.
    """
    message = labelled_array(np.empty(0) if skill is None else skill, "skill")
    _say_stamp(message, stamp_ns)
    return message


def _say_stamp(message: Float64MultiArray, stamp_ns: int) -> None:
    label = f"{_STAMP_LABEL}{stamp_ns}"
    message.layout.dim.append(MultiArrayDimension(label=label, size=1, stride=1))


def _trajectory(spec: RobotSpec, command: Array) -> JointTrajectory:
    """Positions to be at after one control step.

    The stamp stays 0, which is "start now": it does not say which state is answered.
    """
    return JointTrajectory(
        joint_names=list(spec.actuated_joints),
        points=[
            JointTrajectoryPoint(
                positions=array.array("d", np.asarray(command, np.float64).tobytes()),
                time_from_start=_duration(spec.control_dt),
            )
        ],
    )


def command_of(spec: RobotSpec, message: Float64MultiArray) -> Array:
    """The command in a message, in the robot file's order. Shape (A,).

    Raises: MessageError when length, names or numbers are wrong.
    """
    command = np.frombuffer(message.data, np.float64)
    if len(command) != spec.command_dim:
        raise MessageError(
            f"joint_commands has {len(command)} numbers; robot '{spec.name}' has "
            f"{spec.command_dim} actuators: {', '.join(spec.actuators)}"
        )
    if not np.isfinite(command).all():
        raise MessageError(f"joint_commands is {command.tolist()}; every number must be finite")
    names = message.layout.dim[0].label.split(",") if message.layout.dim else [""]
    if names != [""] and tuple(names) != spec.actuators:
        raise MessageError(
            f"joint_commands is for {', '.join(names)}; robot '{spec.name}' takes "
            f"{', '.join(spec.actuators)}, in this order"
        )
    return command


def answered_stamp_ns(message: Float64MultiArray) -> int | None:
    """Stamp of the state that a command or a skill answers; None where the sender does not say.

    Raises: MessageError when the sender says something else than a number.
    """
    for dimension in message.layout.dim[1:]:
        if dimension.label.startswith(_STAMP_LABEL):
            try:
                return int(dimension.label.removeprefix(_STAMP_LABEL))
            except ValueError:
                raise MessageError(
                    f"joint_commands answers '{dimension.label}'; expected {_STAMP_LABEL} and the "
                    "stamp of a state in nanoseconds"
                ) from None
    return None


def labelled_array(values: NDArray[np.floating], label: str) -> Float64MultiArray:
    """Numbers with one label for all of them."""
    numbers = np.ascontiguousarray(values, np.float64).ravel()
    message = Float64MultiArray(data=array.array("d", numbers.tobytes()))
    size = len(numbers)
    message.layout.dim = [MultiArrayDimension(label=label, size=size, stride=size)]
    return message


def header_of(serialised: bytes, what: str) -> Header:
    """Of a serialised message that begins with one, without reading the rest.

    Raises: MessageError.
    """
    try:
        return deserialize_message(serialised[:_MAX_HEADER_BYTES], Header)
    except RuntimeError as error:
        raise MessageError(
            f"{what} refused: its header cannot be read; it is damaged, or the name of its frame "
            f"is longer than {_MAX_HEADER_BYTES} letters"
        ) from error


def goal_of(message: PoseStamped, transform: Transform, what: str = "goal") -> Array:
    """The goal's x, y (m) and yaw (rad) in odom. Shape (3,).

    Args:
        message: in any frame.
        transform: of that into odom.
        what: it is, for people.
    Raises: MessageError when a number is not finite or absurd.
    """
    place = _places([message.pose], transform, what)[0]
    return np.array([*place[:2], yaw_of(place[[6, 3, 4, 5]])])


def path_of(message: Path, transform: Transform) -> Array:
    """x, y of a path's poses in odom, metres. Shape (M, 2). ``transform``: of its frame into odom.

    Raises: MessageError.
    """
    num = len(message.poses)
    if not 0 < num <= MAX_POSES:
        cure = f"at most {MAX_POSES} are followed" if num else "call ~/cancel to stop"
        raise MessageError(f"path refused: it has {num or 'no'} poses; {cure}")
    whole = message.header.frame_id
    others = {pose.header.frame_id or whole for pose in message.poses} - {whole}
    if others:
        raise MessageError(
            f"path refused: its frame is '{whole}', that of some of its poses '{min(others)}'; "
            "send all of it in one"
        )
    points = _places([pose.pose for pose in message.poses], transform, "path")[:, :2]
    whole_m = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    if whole_m > MAX_PATH_M:
        raise MessageError(
            f"path refused: it is {whole_m:.3g} m long; at most {MAX_PATH_M:g} m are followed"
        )
    return points


def _places(poses: Sequence[Pose], transform: Transform, what: str) -> Array:
    """Position (m) and quaternion (x, y, z, w) of each, in odom. Shape (N, 7).

    Raises: MessageError.
    """
    pairs = ((pose.position, pose.orientation) for pose in poses)
    numbers = np.array([(p.x, p.y, p.z, q.x, q.y, q.z, q.w) for p, q in pairs])
    x, y, z = numbers[np.argmin(np.isfinite(numbers).all(axis=1)), :3]
    if not np.isfinite(numbers).all():
        raise MessageError(
            f"{what} refused: x {x}, y {y}, z {z} and its orientation must be finite numbers"
        )
    numbers = transform.apply(numbers)
    x, y = numbers[np.abs(numbers[:, :2]).max(axis=1).argmax(), :2]
    if not max(abs(x), abs(y)) <= MAX_GOAL_M:
        raise MessageError(
            f"{what} refused: x {x:g}, y {y:g}; at most {MAX_GOAL_M:g} m from the origin is "
            "expected"
        )
    return numbers


def velocity_of(message: Twist | TwistStamped, frames: Frames) -> Array:
    """x, y (m/s) and yaw rate (rad/s) in base_link. Shape (3,).

    Raises: MessageError when a stamped one names another frame, or a number is not finite.
    """
    if isinstance(message, TwistStamped):
        frame = message.header.frame_id
        if frame not in ("", frames.base_link):
            raise MessageError(
                f"cmd_vel refused: its frame is '{frame}'; send it in '{frames.base_link}'"
            )
        message = message.twist
    linear, angular = message.linear, message.angular
    velocity = np.array([linear.x, linear.y, angular.z])
    if not np.isfinite(velocity).all():
        raise MessageError(f"cmd_vel refused: {velocity.tolist()} must be finite numbers")
    return velocity


def skill_of(message: Float64MultiArray, dim: int) -> Array:
    """A skill of that many dimensions. Shape (dim,). Raises: MessageError."""
    skill = np.frombuffer(message.data, np.float64)
    if len(skill) != dim or not np.isfinite(skill).all():
        numbers = ", ".join(f"{value:g}" for value in skill[:8].tolist()) or "nothing"
        raise MessageError(f"skill refused: it is {numbers}; expected {dim} finite numbers")
    return skill


def grid_of(message: OccupancyGrid, transform: Transform) -> tuple[float, float, float]:
    """x, y (m) and yaw (rad) in odom of the outer corner of a map's first cell.

    ``transform``: of its frame into odom. Raises: MessageError for a map whose cells are not as
        many as it says.
    """
    info = message.info
    if len(message.data) != info.height * info.width:
        raise MessageError(
            f"map refused: {len(message.data)} cells; expected {info.height} rows of {info.width}"
        )
    corner = PoseStamped(header=message.header, pose=info.origin)
    x, y, yaw = goal_of(corner, transform, "map").tolist()
    return x, y, yaw


def goal_message(goal: Array, heading: float, stamp: Time, frames: Frames) -> PoseStamped:
    """A goal at x, y, shape (2,), to be reached with a heading, rad."""
    message = PoseStamped(header=Header(stamp=stamp, frame_id=frames.odom))
    message.pose.position = Point(x=float(goal[0]), y=float(goal[1]))
    message.pose.orientation = _quaternion_of(heading)
    return message


def heading_to(goal: Array, position: Array) -> float:
    """That of the straight way from a position to a goal, rad: of goals that have none. (2,)."""
    return math.atan2(goal[1] - position[1], goal[0] - position[0])


def _quaternion_of(yaw: float) -> Quaternion:
    return Quaternion(z=math.sin(yaw / 2.0), w=math.cos(yaw / 2.0))


def path_message(
    points: NDArray[np.floating], height: float, stamp_ns: int, step_s: float, frames: Frames
) -> Path:
    """Predicted x, y (and yaw) as a path at a height, a pose every step_s. Shape (T, P)."""
    message = Path(header=Header(stamp=to_stamp(stamp_ns), frame_id=frames.odom))
    yaws = points[:, 2] if points.shape[1] > 2 else _headings(points)
    for index, (point, yaw) in enumerate(zip(points.tolist(), yaws.tolist(), strict=True)):
        time = to_stamp(stamp_ns + round(index * step_s * _NS))
        item = PoseStamped(header=Header(stamp=time, frame_id=frames.odom))
        item.pose.position = Point(x=point[0], y=point[1], z=height)
        item.pose.orientation = _quaternion_of(yaw)
        message.poses.append(item)
    return message


def wrench_of(message: Wrench) -> Array:
    """Force (N) and torque (N m), world frame. Shape (6,). Raises: MessageError."""
    force, torque = message.force, message.torque
    wrench = np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z])
    if not np.isfinite(wrench).all():
        raise MessageError(f"push is {wrench.tolist()}; every number must be finite")
    return wrench


def to_pose(position: Iterable[float], orientation: Iterable[float]) -> Pose:
    """A pose from a position and a quaternion (w, x, y, z)."""
    x, y, z = map(float, position)
    qw, qx, qy, qz = map(float, orientation)
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def _duration(seconds: float) -> Duration:
    whole, rest = divmod(round(seconds * _NS), _NS)
    return Duration(sec=whole, nanosec=rest)


def _vector3(values: Sequence[float] | Array) -> Vector3:
    x, y, z = map(float, values)
    return Vector3(x=x, y=y, z=z)


def _headings(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Direction of each piece of a polyline; the last point keeps the last one. Shape (T,)."""
    if len(points) < 2:
        return np.zeros(len(points))
    pieces = np.diff(points[:, :2], axis=0)
    angles = np.arctan2(pieces[:, 1], pieces[:, 0])
    return np.append(angles, angles[-1])
