"""Observer: everything that goes over the topics, with the times at which DDS sent and received.

Times are those of ``time.time``, s; they come from DDS, so that an observer that is busy measures
the same. Judgements are sentences of what was wrong; no sentence means that it held.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from dads_ros.nodes.conversions import answered_stamp_ns, to_ns
from dads_ros.nodes.runner import NO_SUBSCRIPTION_EVENTS
from ros_graph import EVERY_MESSAGE, Probe

INTRUDER = "intruder"
"""Label of commands that a row sends by itself."""
DRIVING = 0.05
"""Further than this from the safe command, a command drives the robot."""

SKILL_WITHIN_S = 1.0
"""After its command, however busy the machine."""

KEPT_S = 2.0
"""So much of what was heard is not forgotten."""


class Command(NamedTuple):
    """What went over joint_commands."""

    sent: float
    received: float
    data: np.ndarray
    stamp_ns: int | None
    """Of the state that it answers."""


class Report(NamedTuple):
    """One status of /diagnostics, as text."""

    received: float
    text: str


class Observer(Probe):
    """Hears states, commands and reports of one robot."""

    def __init__(
        self,
        low: np.ndarray,
        high: np.ndarray,
        safe: np.ndarray,
        command_type: type = Float64MultiArray,
    ) -> None:
        """Hear from now on; commands must lie within limits. Shape (A,)."""
        super().__init__()
        self._low, self._high, self._safe = low, high, safe
        self.stamps_are_wall_time = False
        self.newest_stamp_ns, self.speed_m_s, self.place = 0, 0.0, (0.0, 0.0)
        self.commands: list[Command] = []
        self.reports: list[Report] = []
        self.published: dict[int, list[float]] = defaultdict(list)
        self._halves: dict[type, dict[int, float]] = {JointState: {}, Odometry: {}}
        self._says_what_it_answers = command_type is Float64MultiArray
        self._skills: list[tuple[float, int]] = []  # when it was sent, the stamp that it names
        self._hear(Float64MultiArray, "skill_planner/skill", self._take_skill)
        self._hear(command_type, "joint_commands", self._take_command)
        self._hear(JointState, "joint_states", self._take_state)
        self._hear(Odometry, "odom", self._take_state)
        self._hear(DiagnosticArray, "/diagnostics", self._take_report)

    def spin_for(self, seconds: float) -> None:
        """Listen for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left)

    # --- judgements ----------------------------------------------------------------------------

    def is_driving(self, command: Command) -> bool:
        return bool(np.abs(command.data - self._safe).max() > DRIVING)

    @property
    def drives(self) -> bool:
        """The newest command does."""
        return bool(self.commands) and self.is_driving(self.commands[-1])

    def wrong_commands(self, begin: float, max_age_s: float) -> Iterable[str]:
        """What no command may ever be, whatever is done to the robot."""
        if not self._says_what_it_answers:
            self._wait_for_skill()
        for command in self._since(begin):
            if command.data.shape != self._safe.shape:
                yield f"a command has {len(command.data)} numbers"
            elif not np.isfinite(command.data).all():
                yield f"a command is {command.data}"
            elif (command.data < self._low).any() or (command.data > self._high).any():
                yield f"the command {command.data} is out of limits"
            elif self.is_driving(command):
                age = self._age_s(command)
                if not age <= max_age_s:
                    yield f"a driving command answers a state {age:.2f} s old"

    def first_lasting_stop(self, begin: float, by_receipt: bool = True) -> float | None:
        """When the safe command came after which nothing drove; None where something does.

        Not by receipt, what was being sent when its process was stopped does not count.
        """
        stop = None
        for command in self._since(begin, by_receipt):
            if self.is_driving(command):
                stop = None
            elif stop is None:
                stop = command.received
        return stop

    def first_drive(self, begin: float) -> float | None:
        """When the first driving command after this time was received."""
        driving = filter(self.is_driving, self._since(begin))
        return next((command.received for command in driving), None)

    def longest_silence_s(self, begin: float, end: float) -> float:
        """Longest time without a command."""
        times = [c.received for c in self.commands if begin <= c.received <= end]
        return float(np.diff([begin, *times, end]).max())

    def slowest_answer_s(self, begin: float, end: float) -> float:
        """Longest time from a state to the next command that answers one."""
        states = [t for times in self.published.values() for t in times if begin <= t <= end]
        answers = [c.sent for c in self._since(begin) if c.stamp_ns is not None]
        following = np.searchsorted(answers, states)
        times = np.append(answers, end)[following] - states
        return float(times.max(initial=0.0 if states else np.inf))

    def stops(self, begin: float, end: float) -> int:
        """Number of safe commands."""
        return sum(not self.is_driving(c) for c in self._since(begin) if c.sent <= end)

    def heard(self, begin: float, matches: Callable[[str], object]) -> bool:
        """Whether a report since then matches."""
        return any(matches(report.text) for report in self.reports if report.received >= begin)

    def forget(self) -> None:
        """All that was heard, but for the newest command and what came in the last seconds."""
        newest = time.time() - KEPT_S
        self.commands = [c for c in self.commands[:-1] if c.sent > newest] + self.commands[-1:]
        self.reports = [report for report in self.reports if report.received > newest]
        self._skills = [skill for skill in self._skills if skill[0] > newest]
        for half in self._halves.values():
            half.clear()
        self.published = defaultdict(
            list, {k: v for k, v in self.published.items() if v[-1] > newest - KEPT_S}
        )

    # --- what comes in -------------------------------------------------------------------------

    def _hear(self, kind: Any, topic: str, take: Callable[[Any, float, float], None]) -> None:  # noqa: ANN401
        def callback(message: object, info: dict[str, int]) -> None:
            take(message, info["source_timestamp"] / 1e9, info["received_timestamp"] / 1e9)

        self.node.create_subscription(
            kind, topic, callback, EVERY_MESSAGE, event_callbacks=NO_SUBSCRIPTION_EVENTS
        )

    def _take_command(
        self, message: Float64MultiArray | JointTrajectory, sent: float, received: float
    ) -> None:
        if isinstance(message, JointTrajectory):
            numbers = message.points[0].positions if message.points else ()
            self.commands.append(Command(sent, received, np.array(numbers), None))
            return
        if any(dimension.label == INTRUDER for dimension in message.layout.dim):
            return
        data, stamp_ns = np.array(message.data), answered_stamp_ns(message)
        self.commands.append(Command(sent, received, data, stamp_ns))

    def _take_skill(self, message: Float64MultiArray, sent: float, _: float) -> None:
        stamp_ns = answered_stamp_ns(message)
        assert stamp_ns is not None
        self._skills.append((sent, stamp_ns))

    def _take_state(self, message: JointState | Odometry, sent: float, _: float) -> None:
        stamp_ns = to_ns(message.header.stamp)
        self.newest_stamp_ns = stamp_ns
        if isinstance(message, Odometry):
            linear, place = message.twist.twist.linear, message.pose.pose.position
            self.place = place.x, place.y
            self.speed_m_s = float(np.hypot(linear.x, linear.y))
        self._halves[type(message)][stamp_ns] = sent
        times = [half.get(stamp_ns) for half in self._halves.values()]
        if None not in times:
            self.published[stamp_ns].append(max(times))

    def _take_report(self, message: DiagnosticArray, _: float, received: float) -> None:
        for status in message.status:
            values = "; ".join(f"{item.key}={item.value}" for item in status.values)
            level = ("OK", "WARN", "ERROR", "STALE")[status.level[0]]
            text = f"{status.name} {level} {status.message}; {values}"
            self.reports.append(Report(received, text))

    def _since(self, begin: float, by_receipt: bool = False) -> list[Command]:
        """In the order of these times."""
        found = [((c.received if by_receipt else c.sent), c) for c in self.commands]
        return [c for at, c in sorted(found, key=lambda pair: pair[0]) if at >= begin]

    def _age_s(self, command: Command) -> float:
        """How old the state was that a command answers when it was sent, by all that is known."""
        stamp_ns = command.stamp_ns
        if not self._says_what_it_answers:
            stamp_ns = self._stamp_by_skill(command)
        if stamp_ns is None:
            return np.inf
        by_stamp = command.sent - stamp_ns / 1e9 if self.stamps_are_wall_time else 0.0
        # Of states that did not come here, the age of the next that did: they are older.
        newer = min((s for s in self.published if s >= stamp_ns), default=None)
        times = [t for t in self.published.get(newer, ()) if t <= command.sent]
        return max(by_stamp, command.sent - max(times, default=command.sent))

    def _stamp_by_skill(self, command: Command) -> int | None:
        """Of the state that a driving trajectory answers; None where nothing ever was answered.

        Its skill is sent right after it. Without one it answers no newer state than the last did.
        """
        drives = (c.sent for c in self.commands if c.sent > command.sent and self.is_driving(c))
        end = min(drives, default=np.inf)
        of_it = [stamp_ns for sent, stamp_ns in self._skills if command.sent <= sent < end]
        before = [stamp_ns for sent, stamp_ns in self._skills if sent < command.sent]
        return next(iter(of_it + before[::-1]), None)

    def _wait_for_skill(self) -> None:
        """Of the newest driving trajectory; none comes where its sender has ended in between."""
        deadline = time.monotonic() + SKILL_WITHIN_S
        while (left := deadline - time.monotonic()) > 0.0:
            drive = max((c.sent for c in self.commands if self.is_driving(c)), default=-np.inf)
            if drive <= max((sent for sent, _ in self._skills), default=-np.inf):
                return
            self._executor.spin_once(timeout_sec=left)
