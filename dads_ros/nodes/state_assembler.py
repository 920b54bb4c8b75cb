"""StateAssembler: joint_states of one or several drivers, and odom, make states."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from dads_ros.nodes.conversions import Frames, check_odometry, joint_columns, robot_state, to_ns
from dads_ros.observation import RobotState
from dads_ros.robot import RobotSpec

MAX_WAITING = 32
"""Messages of a kind that are kept until their other half comes."""
VOICE_S, NUM_REPEATS = 2.0, 5
"""A sequence number that does not rise is a driver that was restarted; so many within this time
are two publishers."""
_ALL = np.array([0])


class StateAssembler:
    """Keeps what still waits for its other half, a little of it, and gives out each state once.

    Of what lies within ``max_difference_ns`` of each other the newest is taken; nothing is
    interpolated. Messages that name none of the robot's joints are nobody's business here; those
    that name some of them are put together.
    """

    def __init__(self, robot: RobotSpec, frames: Frames, max_difference_ns: int) -> None:
        """Start with nothing."""
        self._robot, self._frames, self._max_difference_ns = robot, frames, max_difference_ns
        self._joints: deque[tuple[int, JointState]] = deque(maxlen=MAX_WAITING)
        self._odometry: deque[tuple[int, Odometry]] = deque(maxlen=MAX_WAITING)
        self._voices = {"joint_states": _Voices(len(robot.joints)), "odom": _Voices(1)}

    def add_joints(self, message: JointState, sequence: int | None, now: float) -> None:
        """Take in joint_states.

        Args:
            message: of any joints.
            sequence: its number among those of its publisher; None where DDS does not say.
            now: steady clock, s.
        Raises: MessageError for one that names a joint twice.
        """
        rows, _ = joint_columns(self._robot.joints, tuple(message.name))
        if len(rows):
            self._voices["joint_states"].hear(rows, sequence, now)
            self._joints.append((to_ns(message.header.stamp), message))

    def add_odometry(self, message: Odometry, sequence: int | None, now: float) -> None:
        """Take in odom. Arguments as in ``add_joints``. Raises: MessageError for other frames."""
        self._voices["odom"].hear(_ALL, sequence, now)
        check_odometry(message, self._frames)
        self._odometry.append((to_ns(message.header.stamp), message))

    def take(self) -> tuple[RobotState, int] | None:
        """The newest state that is complete and was not given out, with odom's stamp in ns.

        What came before it is dropped. Raises: MessageError where its messages cannot be used.
        """
        for index in range(len(self._odometry) - 1, -1, -1):
            stamp_ns, odometry = self._odometry[index]
            parts = self._parts(stamp_ns)
            if parts is not None:
                for _ in range(index + 1):
                    self._odometry.popleft()
                return robot_state(self._robot, parts, odometry), stamp_ns
        return None

    def _parts(self, stamp_ns: int) -> Sequence[JointState] | None:
        """Messages near a stamp that name all joints together, newest first; they are dropped."""
        if self._joints:
            stamp, message = self._joints[-1]
            rows, _ = joint_columns(self._robot.joints, tuple(message.name))
            is_near = abs(stamp - stamp_ns) <= self._max_difference_ns
            if is_near and len(rows) == len(self._robot.joints):  # nearly always
                self._joints.clear()
                return [message]
        missing, parts, newest = set(range(len(self._robot.joints))), [], -1
        for index in range(len(self._joints) - 1, -1, -1):
            if not missing:
                break
            stamp, message = self._joints[index]
            if abs(stamp - stamp_ns) <= self._max_difference_ns:
                rows, _ = joint_columns(self._robot.joints, tuple(message.name))
                if not missing.isdisjoint(rows):
                    missing.difference_update(rows)
                    parts.append(message)
                    newest = max(newest, index)
        if missing:
            return None
        for _ in range(newest + 1):
            self._joints.popleft()
        return parts

    def complaint(self) -> str:
        """What is missing, for people; empty when nothing waits."""
        if not self._joints and not self._odometry:
            return ""
        if not self._joints and self._robot.joints:
            return f"odom comes without joint_states of {', '.join(self._robot.joints)}"
        named = {name for _, message in self._joints for name in message.name}
        missing = [name for name in self._robot.joints if name not in named]
        if missing:
            return f"joint_states lacks {', '.join(missing)}"
        if not self._odometry:
            return "joint_states comes without odom"
        return (
            "joint_states and odom come, but never within "
            f"{self._max_difference_ns / 1e9:g} s of the same stamp"
        )

    def second_voice(self, now: float) -> str:
        """The topic on which two publishers say the same thing; empty when there is none."""
        return next((topic for topic, voices in self._voices.items() if voices.are_two(now)), "")


class _Voices:
    """Whether one thing is said by two: the sequence numbers of one publisher only rise."""

    def __init__(self, num: int) -> None:
        self._newest = np.full(num, -1)
        self._last_rows, self._last_sequence = np.empty(0, int), -1  # of the last message
        self._repeats: deque[float] = deque(maxlen=NUM_REPEATS)

    def hear(self, rows: NDArray[np.int64], sequence: int | None, now: float) -> None:
        if sequence is None:
            return
        if rows is self._last_rows and sequence > self._last_sequence:  # nearly always
            self._last_sequence = sequence
            return
        self._newest[self._last_rows] = self._last_sequence
        if (self._newest[rows] >= sequence).any():
            self._repeats.append(now)
        self._newest[rows] = sequence
        self._last_rows, self._last_sequence = rows, sequence

    def are_two(self, now: float) -> bool:
        return len(self._repeats) == NUM_REPEATS and now - self._repeats[0] < VOICE_S
