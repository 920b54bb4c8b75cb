"""Auditor: recorded messages as what the doctor hears and as what the planner makes of them.

Neither node nor DDS: messages are only deserialised, and put together as the planner does it.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.diagnosis.examination import examine
from dads_ros.diagnosis.graph import COMMAND_TYPES, TYPES
from dads_ros.diagnosis.parts import Parts
from dads_ros.diagnosis.records import (
    Arrival,
    Check,
    Endpoint,
    Heard,
    JointRanges,
    PlannerSettings,
    Verdict,
)
from dads_ros.diagnosis.replay import PATIENCE_S, Rebuilt, Replay
from dads_ros.isolation import one_line
from dads_ros.nodes.conversions import (
    Frames,
    MessageError,
    answered_stamp_ns,
    robot_state,
    to_ns,
)
from dads_ros.nodes.hearing import Hearing, command_record
from dads_ros.nodes.recording import CDR, Recorded, Topic
from dads_ros.nodes.state_assembler import StateAssembler
from dads_ros.observation import RobotState

PART_S = 10.0
"""So much of a recording is examined at once."""
MIN_PART_S = 2.0
"""The rest at the end is examined unless it is shorter."""
MAX_RECENT = 1 << 14
"""Messages of which states are made: at 5 kHz each, those of a second."""
COMMANDS = "joint_commands"
DRIVER = "the recorded driver"
FLOAT64_MULTI_ARRAY, JOINT_TRAJECTORY = COMMAND_TYPES.values()
KINDS: dict[str, type] = {
    TYPES["joint_states"]: JointState,
    TYPES["odom"]: Odometry,
    TYPES["imu"]: Imu,
    FLOAT64_MULTI_ARRAY: Float64MultiArray,
    JOINT_TRAJECTORY: JointTrajectory,
    "rosgraph_msgs/msg/Clock": Clock,
}
Take = Callable[[Any, Recorded, float], None]


class _Part(NamedTuple):
    """A message of which states are made."""

    at_s: float
    stamp_ns: int
    message: Any
    is_as_sent: bool
    """Its velocities are no differences."""


class Auditor:
    """Takes a recording, message by message; then says what it found."""

    def __init__(
        self,
        bundle: SkillBundle,
        settings: PlannerSettings,
        namespace: str,
        ranges: JointRanges | None,
        no_ranges: str,
        commands: str = COMMANDS,
    ) -> None:
        """Begin.

        Args:
            bundle: that drove.
            settings: of the planner that drove; the prefix of its frames is that of the odometry.
            namespace: of the topics.
            ranges: of the robot's joints, where the MJCF can be read.
            no_ranges: why not.
            commands: topic that the planner's ``joint_commands`` was remapped to.
        """
        self._robot, self._settings = bundle.robot, settings
        self._ranges, self._no_ranges = ranges, no_ranges
        name = namespace.strip("/")
        self._inside = f"/{name}/" if name else "/"
        self._commands = commands if commands.startswith("/") else self._inside + commands
        self._replay = Replay(bundle, settings.state_timeout_s)
        self._difference_ns = round(
            (settings.max_stamp_difference_s or 0.5 * bundle.robot.control_dt) * 1e9
        )
        self._assembler: StateAssembler | None = None
        self._recent: deque[_Part] = deque(maxlen=MAX_RECENT)
        # A command is judged so much later, and may itself come so late.
        self._recent_s = PATIENCE_S + settings.state_timeout_s + self._difference_ns / 1e9
        self._takes: dict[Topic, Take | None] = {}
        self._parts, self._heard = Parts(), Hearing()
        self._begin_ns: int | None = None
        self._part_s = self._now_s = 0.0
        self._num_bad, self._bad = 0, ""
        self._dry_planners: set[str] = set()

    @property
    def seconds(self) -> float:
        """Length of the recording so far."""
        return self._now_s

    def take(self, recorded: Recorded) -> None:
        """Take in the next message."""
        if self._begin_ns is None:
            self._begin_ns = recorded.log_ns
        topic = recorded.topic
        if topic not in self._takes:
            self._takes[topic] = self._take_of(topic)
        take = self._takes[topic]
        at_s = (recorded.log_ns - self._begin_ns) / 1e9
        self._now_s = max(self._now_s, at_s)
        if take is None:
            return
        self._replay.advance(at_s)
        if at_s - self._part_s >= PART_S:
            self._end_part(at_s)
        try:
            message = deserialize_message(recorded.content, KINDS[topic.type])
        except Exception as error:  # whatever the deserialiser makes of bytes that mean nothing
            self._num_bad += 1
            self._bad = self._bad or f"'{topic.name}' at {at_s:.2f} s: {one_line(error)}"
            return
        with np.errstate(all="ignore"):  # a driver may say any number
            take(message, recorded, at_s)

    def finish(self) -> list[Check]:
        """All that was found."""
        if self._now_s - self._part_s >= MIN_PART_S:
            self._end_part(self._now_s)
        if not self._parts.num:
            self._examine(self._now_s)
        with np.errstate(all="ignore"):
            self._replay.finish()
            checks = [*self._parts.checks(), *self._replay.checks()]
        if self._num_bad:
            found = f"{self._num_bad} cannot be decoded, the first on {self._bad}"
            cure = "record with the message packages of the nodes that were recorded"
            checks.insert(0, Check("messages", Verdict.WRONG, found, cure))
        return checks

    # --- topics --------------------------------------------------------------------------------

    def _take_of(self, topic: Topic) -> Take | None:
        """What takes the messages of a topic; None where nobody does."""
        if topic.encoding != CDR or topic.type not in KINDS:
            return None
        if topic.name == "/clock":
            return self._take_clock if KINDS[topic.type] is Clock else None
        if topic.name == self._commands:
            return self._take_command if topic.type in COMMAND_TYPES.values() else None
        if not topic.name.startswith(self._inside):
            return None
        name = topic.name.removeprefix(self._inside)
        of_states: dict[str, Take] = {
            "joint_states": self._take_joints,
            "odom": self._take_odometry,
            "imu": self._take_imu,
        }
        if name in of_states:
            return of_states[name] if topic.type == TYPES[name] else None
        planner, _, last = name.rpartition("/")
        if topic.type in COMMAND_TYPES.values() and last == "would_be_commands":
            self._dry_planners.add(planner)
            return self._take_would_be
        if last == "skill" and topic.type == FLOAT64_MULTI_ARRAY:
            return lambda message, recorded, at_s: self._take_skill(planner, message, recorded)
        return None

    def _endpoints(self) -> dict[str, list[Endpoint]]:
        """Who was recorded, by the relative names of topics."""
        names = {name: self._inside + name for name in TYPES} | {COMMANDS: self._commands}
        return {
            name: [Endpoint(DRIVER, topic.type) for topic in self._takes if topic.name == whole]
            for name, whole in names.items()
        }

    def _elsewhere(self, name: str) -> list[str]:
        """Topics of that name and type in other namespaces."""
        return sorted(
            topic.name
            for topic in self._takes
            if topic.name.endswith(f"/{name}")
            and topic.name != self._inside + name
            and topic.type == TYPES[name]
        )

    # --- messages ------------------------------------------------------------------------------

    def _arrival(self, message: Any, recorded: Recorded) -> Arrival:  # noqa: ANN401
        stamp_ns = to_ns(message.header.stamp)
        return Arrival(stamp_ns, recorded.log_ns, self._heard.clock_ns, recorded.sequence)

    def _take_clock(self, message: Clock, recorded: Recorded, at_s: float) -> None:
        self._heard.take_clock(to_ns(message.clock))

    def _take_joints(self, message: JointState, recorded: Recorded, at_s: float) -> None:
        self._heard.take_joints(message, self._arrival(message, recorded))
        if any(name in self._robot.joints for name in message.name):
            self._add(StateAssembler.add_joints, message, recorded, at_s)

    def _take_odometry(self, message: Odometry, recorded: Recorded, at_s: float) -> None:
        self._heard.take_odometry(message, self._arrival(message, recorded))
        if self._assembler is None:
            self._assembler = self._make_assembler(message)
        self._add(StateAssembler.add_odometry, message, recorded, at_s)

    def _take_imu(self, message: Imu, recorded: Recorded, at_s: float) -> None:
        self._heard.take_imu(message, self._arrival(message, recorded))
        if self._settings.use_imu:
            self._add(StateAssembler.add_imu, message, recorded, at_s)

    def _take_command(
        self, message: Float64MultiArray | JointTrajectory, recorded: Recorded, at_s: float
    ) -> None:
        command = command_record(message, recorded.log_ns)
        self._heard.commands.append(command)
        self._replay.take_command(command, recorded.sent_ns, at_s)

    def _take_would_be(
        self, message: Float64MultiArray | JointTrajectory, recorded: Recorded, at_s: float
    ) -> None:
        command = command_record(message, recorded.log_ns)
        self._heard.would_be_commands.append(command)
        if not self._endpoints()[COMMANDS]:
            self._replay.take_command(command, recorded.sent_ns, at_s)

    def _take_skill(self, planner: str, message: Float64MultiArray, recorded: Recorded) -> None:
        if planner in self._dry_planners and self._endpoints()[COMMANDS]:
            return  # another one drove
        try:
            stamp_ns = answered_stamp_ns(message)
        except MessageError:
            return
        if stamp_ns is not None:
            self._replay.take_skill(np.array(message.data), stamp_ns, recorded.sent_ns)

    # --- states --------------------------------------------------------------------------------

    def _make_assembler(self, message: Odometry) -> StateAssembler:
        frame, child = message.header.frame_id, message.child_frame_id
        prefix = frame.removesuffix("odom")
        if (frame, child) != Frames.of(prefix):
            prefix = ""
        self._settings = self._settings._replace(frame_prefix=prefix)
        return StateAssembler(
            self._robot,
            Frames.of(prefix),
            self._difference_ns,
            use_imu=self._settings.use_imu,
        )

    def _add(
        self,
        add: Callable[[StateAssembler, Any, int | None, float], None],
        message: Any,  # noqa: ANN401
        recorded: Recorded,
        at_s: float,
    ) -> None:
        if self._assembler is None:
            return
        stamp_ns, sent = to_ns(message.header.stamp), getattr(message, "velocity", None)
        try:
            add(self._assembler, message, recorded.sequence, at_s)
            is_as_sent = getattr(message, "velocity", None) is sent
            self._recent.append(_Part(at_s, stamp_ns, message, is_as_sent))
            while self._recent[0].at_s < at_s - self._recent_s:
                self._recent.popleft()
            complete = self._assembler.take()
        except MessageError as error:
            self._replay.refuse(str(error), at_s)
            return
        if complete is not None:
            state, stamp_ns = complete
            if not self._replay.num_states:  # from here on something drives
                self._heard, self._part_s = self._renewed(), at_s
            self._replay.take_state(self._rebuilt(state, stamp_ns), stamp_ns, at_s)

    def _rebuilt(self, state: RobotState, stamp_ns: int) -> Rebuilt:
        """With the others that messages near its stamp make: which of them came first counts."""

        def is_sure() -> bool:
            # Half the joints each, and faster: too many ways. And velocities that are differences
            # hang on the message before, which the recorder may have lost.
            joints = self._near(JointState, stamp_ns)
            names = [tuple(part.message.name) for part in joints]
            has_all = bool(joints) or not self._robot.joints
            is_simple = len(set(names)) in (1, len(names))
            return has_all and is_simple and all(part.is_as_sent for part in joints)

        def others() -> Iterator[RobotState]:
            joints = [part.message for part in self._near(JointState, stamp_ns)]
            odoms = [
                part.message
                for part in self._near(Odometry, stamp_ns)
                if part.stamp_ns == stamp_ns
            ]
            imus = [part.message for part in self._near(Imu, stamp_ns)]
            for part, odometry, imu in itertools.product(joints, odoms, imus or [None]):
                with contextlib.suppress(MessageError):  # the planner had another one
                    yield robot_state(self._robot, [part], odometry, imu)

        return Rebuilt(state, others, is_sure)

    def _near(self, kind: type, stamp_ns: int) -> list[_Part]:
        """The recent messages of a type whose stamps are near, the nearest first."""
        near = [
            part
            for part in self._recent
            if isinstance(part.message, kind)
            and abs(part.stamp_ns - stamp_ns) <= self._difference_ns
        ]
        return sorted(near, key=lambda part: abs(part.stamp_ns - stamp_ns))

    # --- parts ---------------------------------------------------------------------------------

    def _end_part(self, at_s: float) -> None:
        """Examine what came since the last one ended, if it is anything of a robot."""
        if self._heard.joints or self._heard.bases:
            self._examine(at_s)
        self._heard, self._part_s = self._renewed(), at_s

    def _examine(self, at_s: float) -> None:
        heard, publishers = self._heard, self._endpoints()
        types = {kind: name for name, kind in COMMAND_TYPES.items()}
        named = [types.get(end.type, "") for end in publishers[COMMANDS]]
        checks = examine(
            self._robot,
            Heard(
                seconds=at_s - self._part_s,
                is_recorded=True,
                joints=heard.joints,
                bases=heard.bases,
                imus=heard.imus,
                commands=heard.commands,
                would_be_commands=heard.would_be_commands,
                num_clocks=heard.num_clocks,
                publishers=publishers,
                elsewhere={name: self._elsewhere(name) for name in TYPES},
                planner=self._settings._replace(command_type=(*named, "")[0]),
            ),
            self._ranges,
            self._no_ranges,
        )
        # What did not happen cannot be made up for, as beside a robot.
        seen = (c._replace(cure="") if c.verdict is Verdict.NOT_SEEN else c for c in checks)
        self._parts.add(seen, self._part_s)

    def _renewed(self) -> Hearing:
        heard = Hearing()
        heard.clock_ns = self._heard.clock_ns
        return heard
