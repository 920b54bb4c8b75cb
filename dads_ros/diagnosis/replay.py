"""Replay: recorded states and commands beside what the bundle makes of them.

Letters: A actuators, D skill dimensions.
"""

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import ControlConfig
from dads_ros.diagnosis.predictions import Predictions
from dads_ros.diagnosis.records import Array, Check, Command, Verdict
from dads_ros.observation import RobotState
from dads_ros.planning.command_gate import CommandGate
from dads_ros.planning.controller import make_loop

OK, WARNING, WRONG, NOT_SEEN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.NOT_SEEN
TOLERANCE = 1e-3
"""Of an actuator's range: what another processor makes of the same networks is far nearer."""
PATIENCE_S = 0.5
"""So much later than a command its state and its skill may stand in a recording."""
MAX_KEPT = 4096
"""States, and skills, that are kept for the commands that answer them."""
SAME_STEP = 1.5
"""Of a control step: commands further apart are not of two successive steps."""
JUMP = 0.5
"""Of an actuator's range, from one command to the next, if the policy did not ask for it."""
FEW_PARTED, MANY_PARTED = 0.02, 0.5
"""Of all commands: fewer may be a recorder that lost messages; more are another bundle's."""
MAX_TRIED = 50_000
"""Commands that differ are tried with other states that the planner may have had, until so many
were in vain."""
MAX_NAMES = 6


class _Skill(NamedTuple):
    sent_ns: int
    skill: NDArray[np.float32] | None
    """None where no policy was asked. Shape (D,)."""


class _Sent(NamedTuple):
    command: Command
    sent_ns: int
    at_s: float


class Rebuilt(NamedTuple):
    """A state, put together from what was recorded."""

    state: RobotState
    others: Callable[[], Iterable[RobotState]] = tuple
    """That the planner may have put together, had the same messages come in another order."""
    is_sure: Callable[[], bool] = lambda: True
    """Whether there are no more than these."""


@dataclass
class _Tally:
    """How often something was, and when first."""

    num: int = 0
    first: str = ""

    def add(self, at_s: float, text: str = "") -> None:
        self.num += 1
        self.first = self.first or f"first at {at_s:.2f} s{text}"


@dataclass
class _Apart:
    """Commands that differ from what they are to be."""

    num: int = 0
    num_sure: int = 0
    """Of these, those whose state the planner can have had in no other way."""
    first: str = ""
    worst: str = ""
    worst_error: float = 0.0
    actuators: set[int] = field(default_factory=set)


class Replay:
    """Takes states, skills and commands in the order of the recording; ``at_s`` is from its start.

    The observation is built, the policy asked and the command judged by what the planner does it
    with. The last command in it is the recorded one, so that each step is judged by itself.
    """

    def __init__(self, bundle: SkillBundle, state_timeout_s: float) -> None:
        """``bundle`` is the one that drove; longer gaps than ``state_timeout_s`` are named."""
        self._bundle, self._robot, self._timeout_s = bundle, bundle.robot, state_timeout_s
        self._loop = make_loop(bundle.robot, bundle.command, bundle, ControlConfig(), 0, 1)
        self._gate = CommandGate(bundle.robot)
        low, high = bundle.robot.command_limits
        self._range = high - low
        self._states: OrderedDict[int, Rebuilt] = OrderedDict()
        self._skills: OrderedDict[int, _Skill] = OrderedDict()
        self._waiting: deque[_Sent] = deque()
        self._last: tuple[Array, int | None] | None = None  # command, stamp that it answers
        self._meant: Array | None = None  # what the planner sent if that was changed on its way
        self._predictions = Predictions(bundle)
        # What was found.
        self.num_states = 0
        self._refused, self._fallen = _Tally(), _Tally()
        self._state_s: float | None = None
        self._gap_s, self._gap_at_s = 0.0, 0.0
        self._num_judged = self._num_idle = self._num_stateless = self._num_skillless = 0
        self._num_unjudged = 0
        self._apart, self._num_tried = _Apart(), 0
        self._of_guard, self._safe, self._strange = _Tally(), _Tally(), _Tally()
        self._jump, self._odd_jump = (0.0, ""), (0.0, "")  # by the policy, and by others

    # --- the recording -------------------------------------------------------------------------

    def take_state(self, rebuilt: Rebuilt, stamp_ns: int, at_s: float) -> None:
        """A complete state."""
        state = rebuilt.state
        self.num_states += 1
        if self._state_s is not None and at_s - self._state_s > self._gap_s:
            self._gap_s, self._gap_at_s = at_s - self._state_s, self._state_s
        self._state_s = at_s
        if not state.is_finite():
            self.refuse("the state is not finite", at_s)
        elif state.has_fallen(self._robot):
            self._fallen.add(at_s)
        self._states[stamp_ns] = rebuilt
        if len(self._states) > MAX_KEPT:
            self._states.popitem(last=False)

    def refuse(self, text: str, at_s: float) -> None:
        """A message that the planner would not have taken for a state."""
        self._refused.add(at_s, f": {text}")

    def take_skill(self, numbers: Array, stamp_ns: int, sent_ns: int) -> None:
        """The skill that the command for the state of that stamp was made for. (D,) or (0,)."""
        skill = numbers.astype(np.float32) if len(numbers) else None
        if skill is None or len(skill) == self._bundle.skill_space.dim:
            self._skills[stamp_ns] = _Skill(sent_ns, skill)
        if len(self._skills) > MAX_KEPT:
            self._skills.popitem(last=False)

    def take_command(self, command: Command, sent_ns: int, at_s: float) -> None:
        """A command; it is judged once all that it answers must have come."""
        self._waiting.append(_Sent(command, sent_ns, at_s))
        if len(self._waiting) > MAX_KEPT:
            self._judge(self._waiting.popleft())

    def advance(self, at_s: float) -> None:
        """The recording is there: judge the commands that have waited for long enough."""
        while self._waiting and self._waiting[0].at_s < at_s - PATIENCE_S:
            self._judge(self._waiting.popleft())

    def finish(self) -> None:
        """The recording has ended."""
        while self._waiting:
            self._judge(self._waiting.popleft())

    # --- a command -----------------------------------------------------------------------------

    def _judge(self, sent: _Sent) -> None:
        command, last = sent.command, self._last
        numbers = command.numbers
        if len(numbers) != self._robot.command_dim:
            return  # which is said of all commands
        if command.is_guards:
            self._last = numbers, None  # the planner goes on from there
            self._of_guard.add(sent.at_s)
            self._predictions.interrupt()
            return
        stamp_ns = self._answered(sent)
        if last is not None and stamp_ns is not None and last[1] == stamp_ns:
            return  # said again, in lock step
        if stamp_ns is None and not self._is_safe(numbers, last):
            self._strange.add(sent.at_s)
            self._odd_jump = self._bigger_jump(self._odd_jump, sent, last)
            return
        self._last = numbers, stamp_ns
        if stamp_ns is None:
            self._safe.add(sent.at_s)
            self._predictions.interrupt()
            return
        if last is None:
            return  # what the policy saw as the last command was not recorded
        rebuilt, skill = self._states.get(stamp_ns), self._skills.get(stamp_ns)
        self._num_stateless += rebuilt is None
        self._num_skillless += skill is None
        if rebuilt is None or skill is None:
            self._predictions.interrupt()
            self._jump = self._bigger_jump(self._jump, sent, last)  # whosever it is
            return
        if not self._num_judged:  # a recorder finds one topic after the other
            self._num_stateless = self._num_skillless = 0
        is_next = last[1] is not None and self._is_next(stamp_ns, last[1])
        if not is_next:
            self._predictions.interrupt()
        self._predictions.take(rebuilt.state, skill.skill, last[0])
        if skill.skill is None and self._robot.command_scale is not None:
            self._num_unjudged += 1  # it is led, by nobody knows how much, or stands
            self._meant = None
            self._jump = self._bigger_jump(self._jump, sent, last)
            return
        lasts = [last[0]] if self._meant is None else [last[0], self._meant]
        expected = self._nearest(numbers, rebuilt, skill.skill, lasts)
        is_right = self._compare(sent, expected, rebuilt, is_next=is_next)
        self._meant = None if is_right else expected
        self._num_judged += 1
        self._num_idle += skill.skill is None
        if is_right:
            self._jump = self._bigger_jump(self._jump, sent, last)
        else:
            self._odd_jump = self._bigger_jump(self._odd_jump, sent, last)

    def _is_safe(self, numbers: Array, last: tuple[Array, int | None] | None) -> bool:
        """The safe command or, of a robot that is commanded by positions, on the way to it."""
        safe = np.array(self._robot.safe_command)
        if self._robot.command_scale is None:
            return self._are_same(numbers, safe)
        start = numbers if last is None else last[0]
        between = np.clip(numbers, np.minimum(start, safe), np.maximum(start, safe))
        return self._are_same(numbers, between)

    def _answered(self, sent: _Sent) -> int | None:
        """Stamp of the state; of a trajectory, that of the skill which was sent right after it."""
        if sent.command.answered_ns is not None:
            return sent.command.answered_ns
        if not sent.command.is_trajectory:
            return None
        until_ns = self._waiting[0].sent_ns if self._waiting else 1 << 62
        for stamp_ns, skill in reversed(self._skills.items()):
            if skill.sent_ns < sent.sent_ns:
                break
            if skill.sent_ns < until_ns:
                return stamp_ns
        return None

    def _nearest(
        self,
        numbers: Array,
        rebuilt: Rebuilt,
        skill: NDArray[np.float32] | None,
        lasts: Sequence[Array],
    ) -> Array:
        """The first command that the planner may have sent and is this one, or the first.

        Args:
            numbers: the recorded command. Shape (A,).
            rebuilt: the state that it answers.
            skill: that it was made for. Shape (D,).
            lasts: what the planner may have sent before. Shape (A,) each.
        """
        may_be: Iterable[Array]
        if skill is None:
            of_none = (self._robot.standing_command, self._robot.safe_command)
            still = [np.array(command) for command in of_none if command is not None]
            may_be = [
                *(self._robot.filtered(command, last) for command in still for last in lasts),
                *still,
            ]
        else:
            others = rebuilt.others if self._num_tried < MAX_TRIED else tuple
            states = itertools.chain([rebuilt.state], _lazily(others))
            may_be = (self._command(state, skill, last) for state in states for last in lasts)
        first, num = None, 0
        for command in may_be:
            if self._are_same(numbers, command):
                return command
            first = command if first is None else first
            num += 1
        self._num_tried += num
        assert first is not None  # there is a safe command, and there is a state
        return first

    def _command(self, state: RobotState, skill: NDArray[np.float32], last: Array) -> Array:
        """What the planner sends. Shape (A,)."""
        states = state[None]
        self._loop.skill = skill[None]
        fallen = states.has_fallen(self._robot)
        result = self._gate.check(
            self._loop.command(states, last[None], fallen),
            last_command=last[None],
            state_age_s=0.0,
            state_timeout_s=self._timeout_s,
            is_active=True,
            is_state_finite=states.is_finite(),
            has_fallen=fallen,
        )
        command: Array = result.command[0]
        return command

    def _compare(self, sent: _Sent, expected: Array, rebuilt: Rebuilt, *, is_next: bool) -> bool:
        numbers, apart = sent.command.numbers, self._apart
        if self._are_same(numbers, expected):
            return True
        errors = np.abs(numbers - expected) / self._range
        errors = np.where(np.isnan(errors), np.inf, errors)
        apart.num += 1
        apart.num_sure += is_next and self._num_tried <= MAX_TRIED and rebuilt.is_sure()
        apart.actuators.update(np.flatnonzero(errors > TOLERANCE).tolist())
        worst = int(errors.argmax())
        error = float(errors[worst])
        name = self._robot.actuators[worst]
        is_instead = f"{numbers[worst]:.3g} instead of {expected[worst]:.3g}"
        text = f"at {sent.at_s:.2f} s ('{name}' {is_instead})"
        apart.first = apart.first or text
        if error > apart.worst_error:
            apart.worst_error, apart.worst = error, text
        return False

    def _are_same(self, some: Array, other: Array) -> bool:
        return bool((np.abs(some - other) <= TOLERANCE * self._range).all())  # nor is NaN

    def _is_next(self, stamp_ns: int, before_ns: int) -> bool:
        return 0 < stamp_ns - before_ns <= SAME_STEP * self._robot.control_dt * 1e9

    def _bigger_jump(
        self, jump: tuple[float, str], sent: _Sent, last: tuple[Array, int | None] | None
    ) -> tuple[float, str]:
        """That one, or the one to this command, as part of the range and in words."""
        if last is None:
            return jump
        jumps = np.abs(sent.command.numbers - last[0]) / self._range
        worst = int(jumps.argmax())
        name, size = self._robot.actuators[worst], float(jumps[worst])
        text = f"{size:.0%} of the range from one to the next, of '{name}' at {sent.at_s:.2f} s"
        return max(jump, (size, text))

    # --- what was found ------------------------------------------------------------------------

    def checks(self) -> Iterator[Check]:
        """All of it."""
        yield self._states_check()
        if self._fallen.num:
            found = f"in {self._fallen.num} states, {self._fallen.first}"
            cure = "see what happened then: the robot gets its safe command while it lies"
            yield Check("fallen", WARNING, found, cure)
        yield self._policy_check()
        if self._strange.num:
            found = f"{self._strange.num} answer no state, {self._strange.first}"
            cure = "end who sends them beside the planner"
            yield Check("other commands", WRONG, found, cure)
        if self._safe.num or self._of_guard.num:
            whose = (("planner", self._safe), ("guard", self._of_guard))
            found = "; ".join(f"{s.num} of the {who}, {s.first}" for who, s in whose if s.num)
            cure = "/diagnostics and the planner's log of that time say why"
            yield Check("safe commands", WARNING, found, cure)
        yield from self._jumps_check()
        yield self._predictions.check()

    def _jumps_check(self) -> Iterator[Check]:
        name, (size, text), (odd_size, odd) = "command jumps", self._jump, self._odd_jump
        if odd_size > JUMP:
            found = f"{odd}, which the policy did not ask for"
            yield Check(name, WARNING, found, "see who sent it, and what it did to the robot")
        elif size > 0.0:
            yield Check(name, OK, f"at most {text}")

    def _states_check(self) -> Check:
        name, num = "states", self.num_states
        found = f"{num} complete"
        if self._refused.num:
            found += f", {self._refused.num} messages refused, {self._refused.first}"
            cure = "the robot gets its safe command for each: mend what the sentence names"
            return Check(name, WRONG, found, cure)
        if not num:
            cure = "see the other lines: joint_states and odom must name all joints, and pair"
            return Check(name, WRONG, "none is complete", cure)
        if self._gap_s > self._timeout_s:
            found += f", with a gap of {self._gap_s:.2f} s at {self._gap_at_s:.2f} s"
            cure = "find what stopped then, the driver or the recorder: load, network, disk"
            return Check(name, WARNING, found, cure)
        return Check(name, OK, f"{found}, at most {1e3 * self._gap_s:.3g} ms apart")

    def _policy_check(self) -> Check:
        name, num, apart = "policy", self._num_judged, self._apart
        unknown = [
            f"{self._num_stateless} answer no state of the recording" * bool(self._num_stateless),
            f"of {self._num_skillless} no skill was recorded" * bool(self._num_skillless),
            f"{self._num_unjudged} were made for no skill" * bool(self._num_unjudged),
        ]
        more = "".join(f"; {text}" for text in unknown if text)
        if not num:
            found = f"no command can be judged{more}"
            cure = "record joint_commands, or name by --commands what it was remapped to"
            if self._num_skillless:
                cure = "record the planner's ~/skill as well: it says what a command was made for"
            elif self._num_stateless:
                cure = "record joint_states and odom as well, whole"
            elif self._num_unjudged:
                cure = "record a robot that does a task: these led it to standing, or let it stand"
            return Check(name, WARNING, found, cure)
        if not apart.num:
            idle = f", {self._num_idle} of them standing" if self._num_idle else ""
            found = f"{num} commands are this bundle's{idle}{more}"
            is_whole = max(self._num_stateless, self._num_skillless) <= FEW_PARTED * num
            cure = "" if is_whole else "let the recorder lose nothing: load, disk, queues"
            return Check(name, OK if is_whole else WARNING, found, cure)
        names = [self._robot.actuators[index] for index in sorted(apart.actuators)]
        shown = ", ".join(names[:MAX_NAMES]) + (" ..." if len(names) > MAX_NAMES else "")
        found = f"{apart.num} of {num} differ from the policy's, in {shown}: first {apart.first}"
        found += f", most {apart.worst}{more}" if apart.worst != apart.first else more
        if apart.num > MANY_PARTED * num:
            cure = (
                "name the bundle that drove by --bundle; if it is this one, the planner saw other "
                "states than were recorded: compare order, signs and units of the joints, and odom"
            )
            return Check(name, WRONG, found, cure)
        cure = (
            "see who else sends or changes commands or states, and whether the recorder lost any"
        )
        return Check(name, WRONG if apart.num_sure else WARNING, found, cure)


def _lazily(make: Callable[[], Iterable[RobotState]]) -> Iterator[RobotState]:
    """Made only once the first is asked for."""
    yield from make()
