"""Hearing: messages as the records that are examined, whether they come now or were recorded."""

from collections import deque

import numpy as np
from geometry_msgs.msg import Quaternion, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu as ImuMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from dads_ros.diagnosis.records import Array, Arrival, Base, Command, Imu, Joints
from dads_ros.nodes.conversions import NOT_MEASURED, MessageError, answered_stamp_ns
from dads_ros.nodes.guard_node import LABEL as GUARD

MAX_MESSAGES = 20_000
"""Of a topic; of more the newest are kept."""


class Hearing:
    """Keeps what came, each topic by itself."""

    def __init__(self) -> None:
        """Nothing came yet."""
        self.joints: deque[Joints] = deque(maxlen=MAX_MESSAGES)
        self.bases: deque[Base] = deque(maxlen=MAX_MESSAGES)
        self.imus: deque[Imu] = deque(maxlen=MAX_MESSAGES)
        self.commands: deque[Command] = deque(maxlen=MAX_MESSAGES)
        self.would_be_commands: deque[Command] = deque(maxlen=MAX_MESSAGES)
        self.clock_ns: int | None = None
        """The newest /clock."""
        self.num_clocks = 0

    def take_clock(self, clock_ns: int) -> None:
        """Take in a /clock."""
        self.clock_ns, self.num_clocks = clock_ns, self.num_clocks + 1

    def take_joints(self, message: JointState, arrival: Arrival) -> None:
        """Take in a joint_states."""
        positions, velocities = np.array(message.position), np.array(message.velocity)
        self.joints.append(Joints(arrival, tuple(message.name), positions, velocities))

    def take_odometry(self, message: Odometry, arrival: Arrival) -> None:
        """Take in an odom."""
        pose, twist, place = message.pose.pose, message.twist.twist, message.pose.pose.position
        self.bases.append(
            Base(
                arrival,
                message.header.frame_id,
                message.child_frame_id,
                np.array([place.x, place.y, place.z]),
                _wxyz(pose.orientation),
                _xyz(twist.linear),
                _xyz(twist.angular),
            )
        )

    def take_imu(self, message: ImuMessage, arrival: Arrival) -> None:
        """Take in an imu."""
        orientation: Array | None = _wxyz(message.orientation)
        if message.orientation_covariance[0] == NOT_MEASURED:
            orientation = None
        turning, felt = _xyz(message.angular_velocity), _xyz(message.linear_acceleration)
        self.imus.append(Imu(arrival, message.header.frame_id, orientation, turning, felt))


def command_record(message: Float64MultiArray | JointTrajectory, received_ns: int) -> Command:
    """A command of either type, which came then, wall clock."""
    if isinstance(message, JointTrajectory):
        positions = message.points[0].positions if message.points else ()
        names, is_guards = tuple(message.joint_names), message.header.frame_id == GUARD
        return Command(received_ns, np.array(positions), names, None, is_guards, True)
    try:
        answered_ns = answered_stamp_ns(message)
    except MessageError:
        answered_ns = None
    label, *others = [dimension.label for dimension in message.layout.dim] or [""]
    actuators = tuple(label.split(",")) if label else ()
    return Command(received_ns, np.array(message.data), actuators, answered_ns, GUARD in others)


def _xyz(vector: Vector3) -> Array:
    return np.array([vector.x, vector.y, vector.z])


def _wxyz(turn: Quaternion) -> Array:
    return np.array([turn.w, turn.x, turn.y, turn.z])
