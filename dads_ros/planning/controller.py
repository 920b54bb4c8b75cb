"""SkillController: from states to commands. All that decides about a command is decided here.

The planner node and the evaluation drive through it: the tick, the task, lateness, the hand-over
of plans and the gate. It knows no ROS, and no time but the clock that it is given.

Shapes: R robots, A actuators, D skill dimensions.
"""

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import ControlConfig
from dads_ros.errors import PlanningError
from dads_ros.observation import RobotState
from dads_ros.planning.command_gate import CommandGate, GateResult
from dads_ros.planning.control_loop import Array, ControlLoop, Policy, plan_start
from dads_ros.planning.costs import Cost, angle_of
from dads_ros.planning.goal_watch import STALL_M, GoalWatch
from dads_ros.planning.mppi import SkillModel
from dads_ros.planning.pace import Pace
from dads_ros.planning.skill_planner import Plan, SkillPlanner, robot_rngs
from dads_ros.planning.stamp_order import StampOrder
from dads_ros.planning.start_ramp import StartRamp
from dads_ros.planning.tasks import Task
from dads_ros.prediction import FALLS
from dads_ros.robot import RobotSpec

logger = logging.getLogger(__name__)

STATISTICS_LENGTH = 200  # control steps, plans
JUMP_STATES = 3
"""So many states in a row from before the newest one are a real jump back, as after a reset."""
STILL_MPS, STILL_RADPS, STILL_S = 0.2, 0.5, 0.25
"""A robot whose base has been no faster for so long, with nothing to do, stands."""
REST_TIMEOUT_S = 2.5
"""A robot that is to be left alone comes to a stand first, if it does within so long."""
OK, WARN, ERROR = 0, 1, 2
"""Levels of a status, as in diagnostic_msgs."""
LOOKING = "looking for a way"
"""What a task waits for while the way to its goal is being found."""
STARTING = "led to standing from the pose that it was in"
"""What is going on before any task."""
WAITING = "nothing is sent before the joints are known"
"""What is wrong with robots that are commanded by positions."""
BY_HAND = "skill by hand"
NO_TASK = "no task: standing command"
"""What is going on while nothing is planned."""


@dataclass(eq=False)
class Errand:
    """What the robots are to do; compared by identity: the same place asked for twice is two."""

    task: Task
    watch: GoalWatch | None = None
    """Of the goal of a single robot, or of its path's end; None for all else."""
    waits_for: str = ""
    """Why it cannot be planned yet, for people: the ways around obstacles are not known."""
    remark: str = ""
    """What people should know of it meanwhile."""
    received: float = field(default_factory=time.monotonic)
    """When the last message of it came, by the controller's clock, s."""

    @property
    def is_ready(self) -> bool:
        """It can be planned."""
        return not self.waits_for

    def update(
        self, state: RobotState, stamp_ns: int, config: ControlConfig, *, is_driven: bool = True
    ) -> bool:
        """Take in a state; whether the goal is reached with it.

        Not driven, the robots stand for another reason than the plan's.
        """
        if self.watch is None:
            return False
        path, headings, faces_it = self.task.path, self.task.headings, True
        if headings is not None:
            faces_it = not _differ(state.yaw()[0] - headings[0], config)
        return self.watch.update(
            state.position[0, :2],
            stamp_ns,
            tolerance_m=config.goal_tolerance_m,
            hold_s=config.goal_hold_s,
            faces_it=faces_it,
            yaw=float(state.yaw()[0]),
            left_m=0.0 if path is None else float(path.left_m[0]),
            is_driven=is_driven,
        )

    def ends_near(self, other: "Errand", distance_m: float) -> bool:
        """Both lead to nearly the same place."""
        if self.watch is None or other.watch is None:
            return self is other
        return bool(np.linalg.norm(self.watch.goal - other.watch.goal) <= distance_m)

    def go_on_from(self, other: "Errand", distance_m: float) -> None:
        """What was seen of the robot on its way to nearly the same place counts."""
        if (
            self.watch is not None
            and other.watch is not None
            and self.ends_near(other, distance_m)
        ):
            self.watch.go_on_from(other.watch)

    def is_silent(self, now: float, config: ControlConfig) -> bool:
        """It must be repeated, as a velocity, and nobody has done so for too long."""
        return self.task.is_repeated and now - self.received > config.cmd_vel_timeout_s


def _differ(turn: float, config: ControlConfig) -> bool:
    """Headings that are so far apart, rad, are not the same."""
    return bool(angle_of(turn) > config.goal_tolerance_rad)


@dataclass(frozen=True)
class PlanRequest:
    """What is to be planned."""

    loop: ControlLoop
    errand: Errand
    state: RobotState
    """With a leading axis of R."""
    last_command: Array
    """Sent before that state came. Shape (R, A)."""
    stamp_ns: int


class Step(NamedTuple):
    """What comes of a state."""

    result: GateResult
    request: PlanRequest | None = None
    """To be planned beside the control steps: pass it to ``plan``."""
    plan: Plan | None = None
    """What was made of it within this step, in lock step."""
    is_answer: bool = True
    """To this state; not so where it is too old to be answered."""
    is_repeated: bool = False
    """The state was answered before, and this is the same answer."""
    is_reached: bool = False
    """The goal is reached with this state."""
    is_silent: bool = False
    """A velocity or a skill by hand was dropped with this state: nobody sends it any longer."""
    is_given_up: bool = False
    """The task was dropped with this state: the robots have been down for too long."""
    skill: NDArray[np.float32] | None = None
    """That the policy made the command for; None of a standing or safe command. Shape (R, D)."""


class SkillController:
    """One or many robots with one task each.

    Every method but ``plan`` belongs to one thread, the control thread; ``plan`` may run in
    another one.
    """

    def __init__(
        self,
        loop: ControlLoop,
        config: Callable[[], ControlConfig],
        *,
        seed: int,
        custom: Cost | None = None,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = logger.warning,
        tell: Callable[[str], None] = logger.info,
    ) -> None:
        """Not active yet.

        Args:
            loop: policy, skill dynamics and planner, from ``make_loop``.
            config: the present settings.
            seed: of the planner's samples, at every start.
            custom: a cost of the user's own, part of every task.
            clock: steady, s.
            say: takes a sentence about what is wrong, for people, from either thread.
            tell: takes one about what is as it should be, likewise.
        """
        self._read_config, self._custom, self._seed = config, custom, seed
        self._clock, self._say, self._tell = clock, say, tell
        self._loop = loop
        self._gate = CommandGate(loop.robot, loop.num_robots)
        self._ramp = StartRamp(loop.robot, loop.num_robots)
        self._awaited = ""  # what was wrong while the joints were not known
        self._lock = threading.Lock()  # guards loop, errand, skill and plan error against plan()
        self._errand: Errand | None = None
        self._planned_errand: Errand | None = None  # of the last plan
        self._plan_error = ""
        self._due_ns: int | None = None  # stamp since which a plan is due
        self._order, self._pace = StampOrder(), Pace(loop.robot.control_dt)
        self._jumped_from_ns: int | None = None  # newest stamp before a jump, until one drives
        self._objections: dict[str, str] = {}
        self._stands_for = ""  # why robots stand whatever their task
        self._failure = -np.inf, ""  # the last one and when it was
        self.is_active = False
        self.num_replaced = 0
        """Plan requests that a newer one replaced before they were begun."""
        self._is_late = False
        self._forbidding: list[str] | None = None  # costs that leave no way at all
        self._num_late = self._num_stale = self._num_thinned = 0
        self._num_same = 0  # states since the last control step with its stamp
        self._cost_terms: dict[str, float] = {}
        self._deters = ""  # the cost that speaks most against moving, of a plan to stand
        self._last_command = np.tile(np.array(loop.robot.safe_command), (loop.num_robots, 1))
        self._last_result: GateResult | None = None
        self._steps_down = np.zeros(loop.num_robots, int)  # for how long each has been down
        self._steps_still = np.zeros(loop.num_robots, int)  # with nothing to do
        self._step_time = self._state_time = self._sent_time = -np.inf
        self._periods: deque[float] = deque(maxlen=STATISTICS_LENGTH)
        self._step_times: deque[float] = deque(maxlen=STATISTICS_LENGTH)
        self._plan_times: deque[float] = deque(maxlen=STATISTICS_LENGTH)

    # --- what may be driven --------------------------------------------------------------------

    @property
    def loop(self) -> ControlLoop:
        """What is driven with."""
        return self._loop

    @property
    def errand(self) -> Errand | None:
        """What the robots are to do now; without one they stand."""
        return self._errand

    def activate(self) -> None:
        """Drive from the next state on; the planner's generators start anew."""
        self._renew_loop(goes_on=False)
        self._ramp.begin()
        self._awaited = ""
        self._order, self._jumped_from_ns, self._last_result = StampOrder(), None, None
        self._steps_down[:] = self._steps_still[:] = 0
        self._stands_for = ""
        self._step_time = -np.inf
        self._pace = Pace(self._loop.robot.control_dt)
        self._state_time, self.is_active = self._clock(), True

    @property
    def is_waiting(self) -> bool:
        """Nothing may be sent: robots are commanded by positions, and their joints not known."""
        return self._ramp.is_waiting

    @property
    def is_moving(self) -> bool:
        """Robots are driven that do not stand yet, or are led there: left alone some tip over."""
        result, control_dt = self._last_result, self._loop.robot.control_dt
        if not self.is_active or result is None or result.reason:
            return False
        is_known = self._state_age_s <= self._read_config().state_timeout_s
        are_moving = self._ramp.leads | (self._steps_still * control_dt < STILL_S)
        return is_known and bool(are_moving.any())

    def deactivate(self) -> GateResult | None:
        """Drive no longer and forget the task. Returns: the last thing to send, if any.

        A robot that is commanded by positions is left where it is, at most a control step nearer
        to its safe command.
        """
        self.is_active = False
        self.turn_to(None)
        return self._judge(None)

    def take(self, loop: ControlLoop) -> None:
        """Drive with another bundle from now on; a skill that means the same there is kept."""
        with self._lock:
            if self._loop.planner.model.skill_space == loop.planner.model.skill_space:
                loop.go_on_from(self._loop)
            self._loop, self._due_ns = loop, None

    def relieve(self, command: Array) -> None:
        """Go on from the last of the safe commands that somebody else sent. Shape (R, A)."""
        stopped = np.ones(len(command), bool)
        self._last_command = command
        self._last_result = GateResult(command, stopped, "this process was silent")

    @property
    def blind_rates(self) -> Array:
        """How fast commands may go to the safe one without a state, per second. Shape (R, A)."""
        ramp_s = self._read_config().start_ramp_s
        return self._ramp.blind_rates(1.0 / ramp_s if ramp_s else np.inf)

    def object(self, name: str, objection: str) -> None:
        """From now on the safe command is sent for this reason; with an empty one no longer.

        Where it is about the ``state``, that does not say where the joints are.
        """
        self._objections[name] = objection

    def let_stand(self, reason: str) -> None:
        """From now on the robots stand for this reason and keep their task; with "" no longer.

        For what is wrong beside states and policy: with these a robot stands better than without.
        One that gets its safe command meanwhile, or got it before, gets no other.
        """
        is_other = bool(reason) != bool(self._stands_for)
        if is_other and self.is_active:
            if reason:
                self._say(f"{reason}: standing command")
            else:
                self._tell(f"the task goes on; before: {self._stands_for}")
        with self._lock:
            if is_other:
                self._loop.request_plan()
                self._loop.skill, self._due_ns = None, None
            self._stands_for = reason

    def turn_to(self, errand: Errand | None) -> None:
        """Forget the present task and turn to another one, or to none: then the robots stand."""
        old, near_m = self._errand, self._read_config().goal_tolerance_m
        with self._lock:
            self._errand, self._plan_error = errand, ""
            self._forbidding, self._cost_terms = None, {}
            if errand is not None and old is not None:
                errand.go_on_from(old, near_m)
            self._loop.request_plan()
            if errand is None or not errand.is_ready:
                self._loop.skill, self._due_ns = None, None
            # Else a plan that is late stays so, however often somebody changes his mind.
            if errand is None:
                self._planned_errand = None
        self._is_late = False

    def move(self, goal: Array, task: Task) -> bool:
        """Put the end of the present errand elsewhere; what was learned about it stays.

        Args:
            goal: x, y, world frame, m. Shape (2,).
            task: to that goal, or along a path to there; map and way stay the present ones.
        Returns: False, and nothing is done, where that takes a new errand.
        """
        errand, config = self._errand, self._read_config()
        if errand is None or errand.watch is None:
            return False
        old, new = errand.task.headings, task.headings
        if old is not None and new is not None and _differ(old[0] - new[0], config):
            return False
        if not errand.watch.move(goal, config.goal_tolerance_m):
            return False
        errand.task = dataclasses.replace(task, maps=errand.task.maps, ways=errand.task.ways)
        return True

    def let_wait(self, errand: Errand, reason: str) -> None:
        """A task cannot be planned any longer, and the robots stand; no reason: it can again."""
        if errand.waits_for == reason:
            return
        with self._lock:
            errand.waits_for = reason
            if errand is self._errand:
                self._loop.request_plan()
                if reason:
                    self._loop.skill, self._due_ns, self._plan_error = None, None, ""
                    self._is_late = False

    # --- the control step ----------------------------------------------------------------------

    @property
    def plan_due(self) -> bool:
        """Whether a plan is made from the next state."""
        return self._loop.plan_due

    def step(self, state: RobotState, stamp_ns: int, measured: float | None = None) -> Step | None:
        """One policy step and one command for each robot.

        Args:
            state: of all robots, with a leading axis of R.
            stamp_ns: when it was measured, the robot's time.
            measured: when that was, by the controller's clock, s; None is now. Whatever happens
                between then and the command counts as age.
        Returns: None for a state that came late, for one that was answered before, for one
            between two control steps, and while ``is_waiting``; in lock step each new state is a
            control step.
        """
        now, config = self._clock(), self._read_config()
        measured = now if measured is None else measured
        newest_ns = self._order.newest_ns
        order = self._order.judge(stamp_ns, 1 if config.lock_step else JUMP_STATES)
        if order == "same":  # a lock-step simulator asks again
            if not config.lock_step or self._last_result is None:
                self._num_same += 1
                return None
            return Step(self._last_result, is_repeated=True)
        if order == "late":
            self._num_late += 1
            return None
        if order == "jump":
            self._jumped_from_ns, self._pace = newest_ns, Pace(self._loop.robot.control_dt)
        age_s, limit_s = now - measured, config.state_timeout_s
        if not (config.lock_step or age_s <= limit_s):
            self._num_stale += 1
            old = f"the state is {age_s:.2f} s old; at most {limit_s:g} s is allowed"
            result = self._judge(None, error=f"{old}: check the clocks and the load")
            return None if result is None else Step(result, is_answer=False)
        if not (self._pace.take(stamp_ns) or config.lock_step):
            self._num_thinned += 1
            return None
        if np.isfinite(self._step_time):
            self._periods.append(now - self._step_time)
        self._step_time, self._state_time, self._num_same = now, measured, 0
        self._sent_time = -np.inf  # whatever was sent since the last control step
        loop = self._loop
        step: Step | None
        try:
            jumped_from_ns, self._jumped_from_ns = self._jumped_from_ns, None
            if jumped_from_ns is not None and stamp_ns < jumped_from_ns:
                self._say("the stamps went back: starting anew from this state")
                loop = self._renew_loop(goes_on=False)
            elif loop.planner.config != config.planner:
                loop = self._renew_loop(goes_on=True)
            step = self._drive(loop, state, stamp_ns, now, config)
        except Exception as error:  # whatever it is, the robots must stop
            result = self.fail(f"control step failed: {error!r}", state)
            step = None if result is None else Step(result)
        self._step_times.append(self._clock() - now)
        return step

    def check_age(self) -> GateResult | None:
        """The safe command where no state has come for ``state_timeout_s``, else None.

        To be called several times within it; never needed in lock step, where no robot moves by
        itself. Robots that are commanded by positions go on to their safe command by a control
        step's way each time, the slower the less often it is called.
        """
        config = self._read_config()
        if config.lock_step or self._state_age_s <= config.state_timeout_s:
            return None
        failed, error = self._failure
        is_recent = self._clock() - failed <= config.state_timeout_s
        is_first = self._order.newest_ns is None  # of a driver that was started later
        is_normal = is_first and not is_recent
        if not is_recent:
            error = ""
            if self._num_same:
                error = (
                    f"no state for {self._state_age_s:.2f} s, only {self._num_same} that have the "
                    "stamp of the last one: the driver must stamp each when it is measured"
                )
        return self._judge(None, error=error, is_normal=is_normal)

    def fail(self, error: str, state: RobotState | None = None) -> GateResult | None:
        """The safe command, because of an error; None while ``is_waiting``.

        Args:
            error: for people.
            state: a fresh one, where that is not what is wrong.
        """
        self._failure = self._clock(), error
        return self._judge(None, error=error, state=state)

    def _drive(
        self,
        loop: ControlLoop,
        state: RobotState,
        stamp_ns: int,
        now: float,
        config: ControlConfig,
    ) -> Step | None:
        is_finite, measured = state.is_finite(), state
        error = self._pace.complaint if self._pace.is_too_slow else ""
        if not (is_finite.all() if self.is_waiting else is_finite.any()):
            which = int(is_finite.argmin())
            error = error or (
                f"the state is not finite: {measured[which].what_is_not_finite(loop.robot)}"
            )
        elif self.is_waiting:
            error = error or self._ramp.implausible_joint(state)
        if error:
            stopped = self._judge(None, error=error, state=measured)
            return None if stopped is None else Step(stopped)
        if not is_finite.all():
            state = _with_zeros(state)
        last = self._last_result
        are_stopped = np.zeros(loop.num_robots, bool) if last is None else last.is_safe_stop
        part = self._ramp_part(config)
        self._last_command = self._ramp.step(
            state, self._last_command, part, are_stopped, self._are_down(config)
        )
        are_led = self._ramp.leads
        has_fallen = state.has_fallen(loop.robot)
        self._steps_down = np.where(has_fallen, self._steps_down + 1, 0)
        are_still = _is_still(state) if self._errand is None else False
        self._steps_still = np.where(are_still, self._steps_still + 1, 0)
        is_given_up = self._gives_up(config)
        errand, request, plan, is_reached = self._errand, None, None, False
        is_silent = errand is not None and errand.is_silent(now, config)
        if is_silent:
            self.turn_to(None)
        elif errand is not None:
            before = self._stall(errand)
            is_reached = errand.update(state, stamp_ns, config, is_driven=self._is_driven)
            if not before and (stall := self._stall(errand)):
                self._say(stall)
            if errand.is_ready and not self._stands_for:
                request, plan = self._follow(errand, loop, state, stamp_ns, config)
        command = loop.command(state, self._last_command, has_fallen, stands=are_led)
        result = self._judge(
            command, is_state_finite=is_finite, has_fallen=has_fallen, state=measured
        )
        assert result is not None  # the joints are known
        skill = None if result.reason or are_led.any() else loop.asked_skill
        return Step(
            result,
            request,
            plan,
            is_reached=is_reached,
            is_silent=is_silent,
            is_given_up=is_given_up,
            skill=skill,
        )

    def _are_down(self, config: ControlConfig) -> NDArray[np.bool_]:
        """Robots that have been down for longer than a state may be old. Shape (R,)."""
        are_down: NDArray[np.bool_] = (
            self._steps_down * self._loop.robot.control_dt > config.state_timeout_s
        )
        return are_down

    def _gives_up(self, config: ControlConfig) -> bool:
        """Drop the task of robots that stay down; one that is repeated ends by itself.

        Whoever stands one up is not to hold one that sets off. In lock step nobody does.
        """
        errand = self._errand
        if config.lock_step or errand is None or errand.task.is_repeated:
            return False
        if not self._are_down(config).all():
            return False
        self.turn_to(None)
        return True

    def _ramp_part(self, config: ControlConfig) -> float:
        """Of ``start_ramp_s`` since the last command, one control step of it at most."""
        if config.start_ramp_s == 0.0:
            return np.inf
        passed_s = min(self._loop.robot.control_dt, self._clock() - self._sent_time)
        return passed_s / config.start_ramp_s

    def _follow(
        self,
        errand: Errand,
        loop: ControlLoop,
        state: RobotState,
        stamp_ns: int,
        config: ControlConfig,
    ) -> tuple[PlanRequest | None, Plan | None]:
        """What is to be planned from this state, if anything; in lock step it is planned here.

        A plan that is late is not waited for, and a skill by hand is not planned.
        """
        request, plan, by_hand = None, None, errand.task.skill
        if by_hand is not None:
            with self._lock:
                loop.hold_by_hand(by_hand)
                self._due_ns, self._is_late = None, False
            return None, None
        if loop.plan_due:
            if self._due_ns is None:
                self._due_ns = stamp_ns
            request = PlanRequest(loop, errand, state, self._last_command, stamp_ns)
            if config.lock_step:
                plan = self.plan(request)
        with self._lock:
            waited_s = 0.0 if self._due_ns is None else (stamp_ns - self._due_ns) / 1e9
            self._is_late = waited_s > config.skill_timeout_s
            if self._is_late:
                loop.skill = None
        return request, plan

    def _judge(
        self,
        command: Array | None,
        *,
        is_state_finite: np.ndarray | bool = True,
        has_fallen: np.ndarray | bool = False,
        state: RobotState | None = None,
        error: str = "",
        is_normal: bool = False,
    ) -> GateResult | None:
        """What the gate lets through; no other command leaves, but for its repetition.

        Returns: None while ``is_waiting``.
        """
        config = self._read_config()
        if command is None:  # the policy is not asked, and forgets what it was asked for
            self._loop.asked_skill = None
        standing = next(filter(None, self._objections.values()), "")
        if self._last_result is None or self._last_result.reason:
            standing = standing or self._stands_for
        if self.is_waiting:
            if error and not self._awaited and self.is_active:
                self._say(f"{WAITING}: {error}")
            self._awaited = standing or error or self._awaited
            return None
        result = self._gate.check(
            command,
            last_command=self._last_command,
            ramp=self._ramp,
            ramp_part=self._ramp_part(config),
            state=None if self._objections.get("state") else state,
            state_age_s=0.0 if config.lock_step else self._state_age_s,
            state_timeout_s=config.state_timeout_s,
            is_active=self.is_active,
            is_state_finite=is_state_finite,
            has_fallen=has_fallen,
            error=standing or error,
        )
        before = "" if self._last_result is None else self._last_result.reason
        if self.is_active and result.reason and not before:
            (self._tell if is_normal else self._say)(f"safe command: {result.reason}")
        elif self.is_active and before and not result.reason:
            self._tell(f"all is well again: no safe command any longer; it was: {before}")
        self._last_result, self._last_command = result, result.command
        self._sent_time = self._clock()
        return result

    @property
    def _state_age_s(self) -> float:
        """Since the newest state that was answered was measured, s."""
        return self._clock() - self._state_time

    # --- planning ------------------------------------------------------------------------------

    def plan(self, request: PlanRequest) -> Plan | None:
        """Make one plan and hand its skill over, from whichever thread.

        Returns: None when it failed (then the robots stand until one is made, and ``status`` says
            why), and when what it was made for has changed meanwhile (then it is dropped).
        """
        begin, loop, config = self._clock(), request.loop, self._read_config()
        try:
            planned, self._planned_errand = self._planned_errand, request.errand
            if planned is None or not planned.ends_near(request.errand, config.goal_tolerance_m):
                loop.planner.reset()  # what is left of the old misleads
            start = plan_start(loop.robot, request.state, request.last_command)
            cost = request.errand.task.cost(
                start,
                config.costs,
                held=loop.skill,
                robot_radius_m=loop.robot.radius_m,
                standing_radius_m=min(
                    config.planner.standing_radius_m, 0.5 * config.goal_tolerance_m
                ),
                predicts_falls=FALLS in loop.planner.model.fields,
                custom=self._custom,
            )
            plan = loop.planner.plan(start, cost)
            terms = loop.planner.cost_terms(plan, cost)
        except Exception as error:  # whatever it is, the robots must come to a stand
            known = isinstance(error, PlanningError)
            text = str(error) if known else f"planning failed: {error!r}"
            if self._custom is not None:
                text += f"; 'costs.custom' is {config.costs.custom}"
            with self._lock:
                if not self._wants(request):
                    return None
                before, self._plan_error, loop.skill = self._plan_error, text, None
            if not before:
                self._say(f"{text}: standing command")
            return None
        with self._lock:
            if not self._wants(request):
                return None
            loop.hold(plan)
            before, self._plan_error, self._due_ns = self._plan_error, "", None
            self._forbidding = cost.forbidding if plan.is_blocked[0] else None
            self._cost_terms = {name: float(values[0, 0]) for name, values in terms.items()}
            self._deters = max(terms, key=lambda name: _more(*terms[name][0].tolist()), default="")
        if before:
            self._tell(f"a plan is made again; before: {before}")
        self._plan_times.append(self._clock() - begin)
        return plan

    @property
    def _is_driven(self) -> bool:
        """Robots do what their plan says, and no reason that is reported by itself holds them."""
        last, loop = self._last_result, self._loop
        is_held = last is None or bool(last.reason) or self._ramp.leads.any()
        return loop.skill is not None and self._forbidding is None and not is_held

    @property
    def plan_error(self) -> str:
        """Why the last plan could not be made; empty when it could."""
        return self._plan_error

    def _wants(self, request: PlanRequest) -> bool:
        is_same = request.errand is self._errand and request.loop is self._loop
        return is_same and request.errand.is_ready and not self._stands_for

    def _renew_loop(self, *, goes_on: bool) -> ControlLoop:
        """Start planning anew; what is still being planned is dropped."""
        loop = self._loop.renewed(self._read_config().planner, self._seed)
        with self._lock:
            if goes_on:
                loop.go_on_from(self._loop)
            self._loop, self._due_ns = loop, None
        return loop

    # --- what to tell people -------------------------------------------------------------------

    def status(self) -> tuple[int, str, dict[str, float]]:
        """Level, what is going on or wrong, and figures by name."""
        errand, result = self._errand, self._last_result
        watch = None if errand is None else errand.watch
        values = {
            "state age, s": self._state_age_s,
            "distance to goal, m": np.nan if watch is None else watch.distance_m,
            "waiting plans replaced": self.num_replaced,
            "late states dropped": self._num_late,
            "old states refused": self._num_stale,
            "states between control steps": self._num_thinned,
            "rate of states, Hz": self._pace.rate_hz,
            "rate of control steps, Hz": 1.0 / self._loop.robot.control_dt,
            **_milliseconds("loop period", self._periods),
            **_milliseconds("control step", self._step_times),
            **_milliseconds("plan time", self._plan_times),
            **{f"cost of the plan: {name}": value for name, value in self._cost_terms.items()},
        }
        if not self.is_active:
            return WARN, "not active", values
        if self.is_waiting:
            return ERROR, f"{WAITING}: {self._awaited or 'no state yet'}", values
        if result is None or result.reason:
            reason = "no state yet" if result is None else result.reason
            return ERROR, f"safe command: {reason}", values
        level, text = self._activity(errand)
        if self._pace.complaint:
            level, text = WARN, f"{text}; {self._pace.complaint}"
        return level, text, values

    def _activity(self, errand: Errand | None) -> tuple[int, str]:
        """Level, and what is going on while commands pass."""
        if self._stands_for or self._plan_error:
            return ERROR, f"{self._stands_for or self._plan_error}: standing command"
        if self._ramp.leads.any():
            return OK, STARTING
        if self._is_late:
            return WARN, "the plan is late: standing command"
        if errand is None:
            return OK, NO_TASK
        if not errand.is_ready:
            level = OK if errand.waits_for == LOOKING else WARN
            return level, f"{errand.waits_for}: standing command"
        if errand.task.skill is not None:
            return OK, BY_HAND
        forbidding = self._forbidding  # once: a plan may be made meanwhile
        if forbidding is not None:
            by = ", ".join(forbidding)
            if "custom" in forbidding:
                by += f": {self._read_config().costs.custom}"
            return WARN, f"every way is forbidden ({by}): standing command"
        has_reached = errand.watch is not None and errand.watch.has_reached
        if stall := self._stall(errand):
            return WARN, stall
        text = "goal reached" if has_reached else "on the way"
        return (WARN, f"{text}; {errand.remark}") if errand.remark else (OK, text)

    def _stall(self, errand: Errand) -> str:
        """What keeps the robot from its goal, for people; empty where it gets on."""
        watch = errand.watch
        if watch is None or not watch.is_stalled:
            return ""
        if errand.remark:
            why = errand.remark
        elif self._loop.stands.all():
            why = f"its plan is to stand: most against moving is the cost '{self._deters}'"
        else:
            why = "it does not go where its plan leads: look what holds it"
        turned = "" if watch.faces_it else ", with another heading"
        return (
            f"no progress: {watch.distance_m:.2f} m from the goal{turned}, moved less than "
            f"{STALL_M:g} m in {watch.stalled_s:.0f} s; {why}"
        )


def make_loop(
    robot: RobotSpec, policy: Policy, model: SkillModel, config: ControlConfig, seed: int, num: int
) -> ControlLoop:
    """What a controller drives ``num`` robots with."""
    planner = SkillPlanner(model, config.planner, rngs=robot_rngs(seed, num))
    return ControlLoop(robot, policy, planner)


def _is_still(state: RobotState) -> NDArray[np.bool_]:
    """Shape (R,)."""
    speed = np.linalg.norm(state.linear_velocity, axis=-1)
    turning = np.linalg.norm(state.angular_velocity, axis=-1)
    is_still: NDArray[np.bool_] = (speed <= STILL_MPS) & (turning <= STILL_RADPS)
    return is_still


def _more(one: float, other: float) -> float:
    """By how much the other is more; 0 where both are infinite."""
    return 0.0 if one == other else other - one


def _with_zeros(state: RobotState) -> RobotState:
    """Zeros for the numbers that are not finite, so that the other robots go on."""
    names = [field.name for field in dataclasses.fields(state)]
    return RobotState(
        *(np.nan_to_num(getattr(state, name), posinf=0.0, neginf=0.0) for name in names)
    )


def _milliseconds(name: str, samples: deque[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum of the newest samples."""
    if not samples:
        return {}
    numbers = 1e3 * np.array(tuple(samples))
    return {
        f"{name} p50, ms": float(np.median(numbers)),
        f"{name} p99, ms": float(np.percentile(numbers, 99)),
        f"{name} max, ms": float(numbers.max()),
    }
