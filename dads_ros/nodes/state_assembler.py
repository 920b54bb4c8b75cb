"""StateAssembler: joint_states of one or several drivers, odom and perhaps imu make states."""

import array
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import Imu, JointState

from dads_ros.nodes.conversions import (
    Frames,
    check_imu,
    check_odometry,
    joint_columns,
    robot_state,
    to_ns,
)
from dads_ros.observation import RobotState
from dads_ros.planning.joint_velocities import JointVelocities
from dads_ros.planning.pace import MAX_STEPS
from dads_ros.robot import RobotSpec

MAX_WAITING = 512
"""Messages of a kind that are kept until their other half comes: half a second at 1 kHz."""
VOICE_S, NUM_REPEATS = 2.0, 5
"""A sequence number that does not rise is a driver that was restarted; so many within this time
are two publishers."""
_ALL = np.array([0])


class StateAssembler:
    """Keeps what still waits for its other half, a little of it, and gives out each state once.

    Of what lies within ``max_difference_ns`` of odom's stamp the newest is taken; nothing is
    interpolated. Messages that name none of the robot's joints are nobody's business here; those
    that name some of them are put together. Velocities that a driver does not send are differences
    of its positions.
    """

    def __init__(
        self,
        robot: RobotSpec,
        frames: Frames,
        max_difference_ns: int,
        *,
        use_imu: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Start with nothing. ``say`` takes a sentence that people should know, once."""
        self._robot, self._frames, self._max_difference_ns = robot, frames, max_difference_ns
        self._use_imu, self._say = use_imu, say
        self._joints: deque[tuple[int, JointState]] = deque(maxlen=MAX_WAITING)
        self._odometry: deque[tuple[int, Odometry]] = deque(maxlen=MAX_WAITING)
        self._imu: deque[tuple[int, Imu]] = deque(maxlen=MAX_WAITING)
        self._new: list[int] = []  # stamps of what came since a state was asked for
        num = len(robot.joints)
        self._max_gap_s = MAX_STEPS * robot.control_dt
        self._velocities = JointVelocities(num, round(1e9 * self._max_gap_s))
        self._has_said, self._lacks_velocities = False, False
        self._voices = {"joint_states": _Voices(num), "odom": _Voices(1), "imu": _Voices(1)}

    def add_joints(self, message: JointState, sequence: int | None, now: float) -> None:
        """Take in joint_states.

        Args:
            message: of any joints.
            sequence: its number among those of its publisher; None where DDS does not say.
            now: steady clock, s.
        Raises: MessageError for one that names a joint twice.
        """
        rows, columns = joint_columns(self._robot.joints, tuple(message.name))
        if len(rows) == 0:
            return
        self._voices["joint_states"].hear(rows, sequence, now)
        stamp_ns = to_ns(message.header.stamp)
        if _has_positions_alone(message, columns):
            self._differentiate(message, rows, columns, stamp_ns)
            if self._lacks_velocities:
                return
        self._keep(self._joints, stamp_ns, message)

    def add_odometry(self, message: Odometry, sequence: int | None, now: float) -> None:
        """Take in odom. Arguments as in ``add_joints``. Raises: MessageError for other frames."""
        self._voices["odom"].hear(_ALL, sequence, now)
        check_odometry(message, self._frames)
        self._keep(self._odometry, to_ns(message.header.stamp), message)

    def add_imu(self, message: Imu, sequence: int | None, now: float) -> None:
        """Take in imu. Arguments as in ``add_joints``.

        Raises: MessageError for another frame, or without a gyroscope.
        """
        self._voices["imu"].hear(_ALL, sequence, now)
        check_imu(message, self._frames)
        self._keep(self._imu, to_ns(message.header.stamp), message)

    def take(self) -> tuple[RobotState, int] | None:
        """The newest state that is complete and was not given out, with odom's stamp in ns.

        What came before it is dropped. Raises: MessageError where its messages cannot be used.
        """
        new, self._new = self._new, []
        for index in range(len(self._odometry) - 1, -1, -1):
            stamp_ns, odometry = self._odometry[index]
            if all(abs(stamp - stamp_ns) > self._max_difference_ns for stamp in new):
                continue  # it lacks what it lacked before
            newest = self._newest_imu(stamp_ns)
            if newest is None and self._use_imu:
                continue
            parts = self._parts(stamp_ns)
            if parts is not None:
                imu = None if newest is None else self._imu[newest][1]
                _drop_through(self._odometry, index)
                _drop_through(self._imu, newest)
                return robot_state(self._robot, parts, odometry, imu), stamp_ns
        return None

    def _keep(self, waiting: deque[Any], stamp_ns: int, message: Any) -> None:  # noqa: ANN401
        """Until its other half comes."""
        waiting.append((stamp_ns, message))
        self._new.append(stamp_ns)

    def _newest_imu(self, stamp_ns: int) -> int | None:
        """Index of the newest near a stamp."""
        for index in range(len(self._imu) - 1, -1, -1):
            if abs(self._imu[index][0] - stamp_ns) <= self._max_difference_ns:
                return index
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
        _drop_through(self._joints, newest)
        return parts

    def _differentiate(
        self,
        message: JointState,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        stamp_ns: int,
    ) -> None:
        """Give a message velocities, where they can be told."""
        if not self._has_said:
            self._has_said = True
            self._say("joint_states has no velocities: taken are differences of its positions")
        positions = np.frombuffer(message.position, np.float64)[columns]
        velocities = self._velocities.of(rows, positions, stamp_ns)
        self._lacks_velocities = velocities is None
        if velocities is not None:
            of_all = np.zeros(len(message.name))
            of_all[columns] = velocities
            message.velocity = array.array("d", of_all.tobytes())

    def complaint(self) -> str:
        """What is missing, for people; empty when nothing waits."""
        if not self._joints and not self._odometry:
            return ""
        if not self._joints and self._lacks_velocities:
            return (
                "joint_states has no velocities, and does not come within "
                f"{self._max_gap_s:g} s of the one before, so that nobody can tell them"
            )
        if not self._joints and self._robot.joints:
            return f"odom comes without joint_states of {', '.join(self._robot.joints)}"
        named = {name for _, message in self._joints for name in message.name}
        missing = [name for name in self._robot.joints if name not in named]
        if missing:
            return f"joint_states lacks {', '.join(missing)}"
        if not self._odometry:
            return "joint_states comes without odom"
        if self._use_imu and not self._imu:
            return "joint_states and odom come without imu, which 'use_imu' asks for"
        others = {"joint_states": self._joints, "imu": self._imu}
        newest = [f", of {topic} {m[-1][0] / 1e9:.3f}" for topic, m in others.items() if m]
        return (
            f"joint_states{', imu' if self._use_imu else ''} and odom come, but never within "
            f"{self._max_difference_ns / 1e9:g} s of the same stamp: the last one of odom is "
            f"{self._odometry[-1][0] / 1e9:.3f}{''.join(newest)}"
        )

    def second_voice(self, now: float) -> str:
        """The topic on which two publishers say the same thing; empty when there is none."""
        return next((topic for topic, voices in self._voices.items() if voices.are_two(now)), "")


def _has_positions_alone(message: JointState, columns: NDArray[np.int64]) -> bool:
    """No velocities, or NaN for each of these joints: so some drivers say that they have none."""
    if len(message.position) != len(message.name):
        return False
    velocities = message.velocity
    if len(velocities) == len(message.name):
        return all(math.isnan(velocities[column]) for column in columns)
    return len(velocities) == 0


def _drop_through(waiting: deque[Any], index: int | None) -> None:
    """All up to that one."""
    for _ in range(0 if index is None else index + 1):
        waiting.popleft()


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
