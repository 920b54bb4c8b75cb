"""skill_planner: drives a robot to goals with a skill bundle.

A complete state triggers one policy step and one command; planning runs beside it in a thread of
its own. Whatever is wrong, the CommandGate sends the safe command and the diagnostics say why.
Imports neither MuJoCo nor torch: this runs on the robot.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.serialization import serialize_message
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.errors import DadsError, PlanningError
from dads_ros.files import find_file
from dads_ros.nodes.conversions import (
    Array,
    Frames,
    MessageError,
    command_message,
    joint_state_message,
    labelled_array,
    odometry_message,
    robot_state,
    to_ns,
)
from dads_ros.nodes.parameters import NodeParameters
from dads_ros.nodes.plan_display import PlanDisplay
from dads_ros.nodes.planning_thread import PlanningThread
from dads_ros.nodes.runner import (
    ERROR,
    LATCHED_QOS,
    NO_PUBLISHER_EVENTS,
    NO_SUBSCRIPTION_EVENTS,
    OK,
    RELIABLE_QOS,
    STATE_QOS,
    STEADY,
    WARN,
    Diagnostics,
    Level,
    run_node,
    watch_parent,
)
from dads_ros.nodes.settings import SkillPlannerConfig
from dads_ros.nodes.state_pairs import StatePairs
from dads_ros.nodes.task_inbox import Errand, TaskInbox
from dads_ros.observation import RobotState
from dads_ros.planning.command_gate import CommandGate, GateResult
from dads_ros.planning.control_loop import ControlLoop, plan_start
from dads_ros.planning.costs import Cost, WeightedCosts
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs
from dads_ros.planning.tasks import Task, load_cost
from dads_ros.robot import RobotSpec

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
STATISTICS_LENGTH = 200  # control steps, plans
LAST_COMMAND_TIMEOUT_S = 0.5  # until somebody has acknowledged the safe command at the end


class Drive(NamedTuple):
    """A bundle and what is made from it; all of it is swapped as one."""

    bundle: SkillBundle
    loop: ControlLoop
    gate: CommandGate


@dataclass(frozen=True)
class PlanRequest:
    """What the planning thread works on."""

    loop: ControlLoop
    errand: Errand
    state: RobotState
    """Of one robot, with a leading axis of 1."""
    last_command: Array
    """Sent before that state came. Shape (1, A)."""
    stamp_ns: int


class SkillPlannerNode(LifecycleNode):
    """Lifecycle: configure loads the bundle and warms up, activate starts to drive."""

    def __init__(self) -> None:
        """Declare everything; with ``autostart`` also configure and activate.

        Raises: ConfigError, BundleError.
        """
        super().__init__("skill_planner")
        self._settings = NodeParameters(self, SkillPlannerConfig, self._update_watchdog)
        config = self._settings.config
        self._frames = Frames.of(config.frame_prefix)
        self._bundle: SkillBundle | None = None
        self._loop: ControlLoop | None = None
        self._gate: CommandGate | None = None
        self._planning: PlanningThread[PlanRequest] | None = None
        self._loading: threading.Thread | None = None
        self._lock = threading.Lock()  # guards errand, skill and plan error against the thread
        self._errand: Errand | None = None
        self._planned_errand: Errand | None = None  # of the last plan; only for who plans
        self._custom: tuple[str, Cost | None] = ("", None)  # the user's cost, by its name
        self._cost_terms: dict[str, float] = {}
        self._is_blocked = False
        self._plan_error = ""
        self._due_ns: int | None = None  # stamp since which a plan is due
        self._pairs: StatePairs[JointState, Odometry] = StatePairs()
        self._last_message: Float64MultiArray | None = None
        self._last_command: Array = np.zeros(0)
        self._last_result: GateResult | None = None
        self._stamp_ns: int | None = None
        self._state_time = -np.inf
        self._is_late = False
        self._periods: deque[float] = deque(maxlen=STATISTICS_LENGTH)
        self._tick_times: deque[float] = deque(maxlen=STATISTICS_LENGTH)
        self._plan_times: deque[float] = deque(maxlen=STATISTICS_LENGTH)
        self._num_replaced = 0
        self._connect()
        watch_parent(self, config.parent_pid)
        if config.autostart:
            self._take(self._load(config))  # here, so that its errors end the process
            if self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
                raise PlanningError("the node could not be activated; its log says why")

    # --- lifecycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and check the bundle, and run everything once."""
        try:
            if self._bundle is None:
                self._take(self._load(self._settings.config))
        except DadsError as error:
            self.get_logger().error(str(error))
            return FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to drive; the planner's generators start anew."""
        self._renew_loop(skill=None)
        if not self._settings.config.lock_step:
            self._planning = PlanningThread(self._plan)
        self._state_time = time.monotonic()
        self._stamp_ns = self._last_message = self._last_result = None
        result = super().on_activate(state)
        self._watchdog.reset()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Send the safe command once and stop driving; the goal is forgotten."""
        self._turn_to(None)
        self._send(None, is_active=False)
        if self._planning is not None:
            self._planning.close()
            self._planning = None
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the bundle."""
        self._bundle = self._loop = self._gate = None
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As deactivate and cleanup."""
        if self._planning is not None or self._is_active:
            self.on_deactivate(state)
        return self.on_cleanup(state)

    def destroy_node(self) -> None:
        """Leave the robot with the safe command and end the threads first."""
        if self._is_active:
            self._send(None, is_active=False)
            self._command_publisher.wait_for_all_acked(Duration(seconds=LAST_COMMAND_TIMEOUT_S))
        if self._planning is not None:
            self._planning.close()
            self._planning = None
        if self._loading is not None:
            self._loading.join()
        super().destroy_node()

    @property
    def _is_active(self) -> bool:
        return bool(self._command_publisher.is_activated)

    def _load(self, config: SkillPlannerConfig) -> Drive:
        """Load the bundle that the settings name and run it once; nothing of the node changes.

        Raises: BundleError, ConfigError, PlanningError.
        """
        robot = RobotSpec.load(config.robot) if config.robot else None
        bundle = SkillBundle(find_file(config.bundle, folder="models"), robot)
        if self._bundle is not None:
            bundle.manifest.check_robot(self._bundle.robot)
        self._warm_up(bundle, config)
        gate = CommandGate(bundle.robot, config.state_timeout_s)
        return Drive(bundle, self._make_loop(bundle, config), gate)

    def _take(self, drive: Drive) -> None:
        """Drive with a loaded bundle from now on; a skill that means the same there is kept."""
        bundle, loop, gate = drive
        with self._lock:
            if self._bundle is None or self._loop is None:
                self._last_command = np.array(bundle.robot.safe_command)
            elif self._bundle.skill_space == bundle.skill_space:
                loop.skill = self._loop.skill
            self._bundle, self._loop, self._gate, self._due_ns = bundle, loop, gate, None
        self.get_logger().info(
            f"bundle '{bundle.folder}' for robot '{bundle.robot.name}' is loaded"
        )

    def _make_loop(self, bundle: SkillBundle, config: SkillPlannerConfig) -> ControlLoop:
        rngs = robot_rngs(config.seed, 1)
        planner = SkillPlanner(bundle, config.planner, rngs=rngs)
        return ControlLoop(bundle.robot, bundle.command, planner)

    def _renew_loop(self, skill: NDArray[np.float32] | None) -> ControlLoop:
        """Start planning anew; what the planning thread still works on is dropped."""
        assert self._bundle is not None
        loop = self._make_loop(self._bundle, self._settings.config)
        loop.skill = skill
        with self._lock:
            self._loop, self._due_ns = loop, None
        return loop

    def _warm_up(self, bundle: SkillBundle, config: SkillPlannerConfig) -> None:
        """Run policy, planner and every message once: the first step is as fast as the others."""
        bundle.warm_up()
        loop = self._make_loop(bundle, config)
        spec, num = bundle.robot, len(bundle.robot.joints)
        upright = np.array([1.0, 0.0, 0.0, 0.0])
        still = RobotState(
            np.zeros(3), upright, np.zeros(3), np.zeros(3), np.zeros(num), np.zeros(num)
        )
        joints = joint_state_message(spec, still, 0)
        state = robot_state(spec, joints, odometry_message(still, 0, self._frames))[None]
        last_command = np.array(spec.safe_command)[None]
        for _ in range(3):
            cost = self._cost(Task(goals=np.array([[1.0, 0.0]])), np.zeros((1, 3)), loop, config)
            plan = loop.plan(state, last_command, cost)
            command = loop.command(state, last_command)[0]
        messages = (
            self._display.path(plan, bundle, config, 0.0, 0),
            self._display.rollouts(plan, config, 0.0, 0),
            labelled_array(plan.skill[0], "skill"),
            command_message(spec, command, 0),
        )
        for message in messages:
            serialize_message(message)

    # --- the control tick ----------------------------------------------------------------------

    def _take_joints(self, message: JointState) -> None:
        self._tick(self._pairs.add_left(to_ns(message.header.stamp), message))

    def _take_odometry(self, message: Odometry) -> None:
        self._tick(self._pairs.add_right(to_ns(message.header.stamp), message))

    def _tick(self, pair: tuple[JointState, Odometry] | None) -> None:
        """One policy step and one command for each complete state."""
        loop, gate = self._loop, self._gate
        if pair is None or loop is None or gate is None or not self._is_active:
            return
        now, config = time.monotonic(), self._settings.config
        stamp_ns = to_ns(pair[1].header.stamp)
        if stamp_ns == self._stamp_ns:  # a lock-step simulator asks again
            if config.lock_step and self._last_message is not None:
                self._command_publisher.publish(self._last_message)
            return
        self._watchdog.reset()
        last_ns, self._stamp_ns = self._stamp_ns, stamp_ns
        if last_ns is not None:
            self._periods.append(now - self._state_time)
        self._state_time = now
        try:
            if last_ns is not None and stamp_ns < last_ns:
                self.get_logger().warning("the stamps went back: starting anew from this state")
                loop = self._renew_loop(skill=None)
            if loop.planner.config != config.planner:
                loop = self._renew_loop(loop.skill)
            state = robot_state(loop.robot, *pair)[None]
            if not state.is_finite():
                self._send(None, is_state_finite=False)
                return
            request = self._follow(loop, state, stamp_ns)
            command = loop.command(state, self._last_command[None])[0]
            self._send(command, has_fallen=bool(state.has_fallen(loop.robot)[0]))
            if request is not None and self._planning is not None:
                # Only now, so that planning does not compete with the command for the interpreter.
                self._num_replaced += not self._planning.submit(request)
        except MessageError as error:
            self._send(None, error=str(error))
        except Exception as error:  # whatever it is, the robot must stop
            self.get_logger().error(f"control step failed: {error!r}", throttle_duration_sec=1.0)
            self._send(None, error=f"control step failed: {error!r}")
        self._tick_times.append(time.monotonic() - now)

    def _follow(self, loop: ControlLoop, state: RobotState, stamp_ns: int) -> PlanRequest | None:
        """What is to be planned beside this tick, if anything; in lock step it is planned here.

        A plan that is late is not waited for.
        """
        errand, config = self._errand, self._settings.config
        if errand is None:
            return None
        if errand.is_silent(config):
            self._turn_to(None)
            self.get_logger().info("cmd_vel is silent: the robot stands")
            return None
        if errand.update(state, stamp_ns, config):
            self._reached_publisher.publish(Bool(data=True))
            self.get_logger().info("goal reached")
        request = None
        if loop.plan_due:
            if self._due_ns is None:
                self._due_ns = stamp_ns
            request = PlanRequest(loop, errand, state, self._last_command[None], stamp_ns)
            if self._planning is None:
                self._plan(request)
        with self._lock:
            waited_s = 0.0 if self._due_ns is None else (stamp_ns - self._due_ns) / 1e9
            self._is_late = waited_s > config.skill_timeout_s
            if self._is_late:
                loop.skill = None
        return request

    def _send(
        self,
        command: Array | None,
        *,
        is_active: bool = True,
        is_state_finite: bool = True,
        has_fallen: bool = False,
        error: str = "",
    ) -> None:
        """Publish what the gate lets through; no other command leaves, but for its repetition."""
        gate, loop = self._gate, self._loop
        if gate is None or loop is None:
            return
        gate.state_timeout_s = self._settings.config.state_timeout_s
        result = gate.check(
            command,
            state_age_s=self._state_age_s,
            is_active=is_active,
            is_state_finite=is_state_finite,
            has_fallen=has_fallen,
            error=error or self._plan_error,
        )
        if result.is_safe_stop and (
            self._last_result is None or not self._last_result.is_safe_stop
        ):
            self.get_logger().warning(f"safe command: {result.reason}")
        self._last_result, self._last_command = result, result.command
        self._last_message = command_message(loop.robot, result.command, self._stamp_ns or 0)
        self._command_publisher.publish(self._last_message)

    @property
    def _state_age_s(self) -> float:
        """Since receipt, steady clock; in lock step the simulator waits, so no state ages."""
        return 0.0 if self._settings.config.lock_step else time.monotonic() - self._state_time

    def _check_state_age(self) -> None:
        """Fires when no complete state came for ``state_timeout_s``."""
        if self._is_active and not self._settings.config.lock_step:
            self._send(None)

    def _update_watchdog(self) -> None:
        """Wait by the present ``state_timeout_s``, from now on when it has changed."""
        period_ns = int(self._settings.config.state_timeout_s * 1e9)
        if self._watchdog.timer_period_ns != period_ns:
            self._watchdog.timer_period_ns = period_ns
            self._watchdog.reset()

    # --- planning ------------------------------------------------------------------------------

    def _plan(self, request: PlanRequest) -> None:
        """Make one plan and hand its skill over; runs in the planning thread, or in lock step."""
        begin = time.monotonic()
        try:
            if request.errand is not self._planned_errand:  # what is left of the old misleads
                request.loop.planner.reset()
                self._planned_errand = request.errand
            config = self._settings.config
            start = plan_start(request.loop.robot, request.state, request.last_command)
            cost = self._cost(request.errand.task, start, request.loop, config)
            plan = request.loop.planner.plan(start, cost)
            terms = request.loop.planner.cost_terms(plan, cost)
        except Exception as error:  # whatever it is, the robot must stop
            text = (
                str(error) if isinstance(error, PlanningError) else f"planning failed: {error!r}"
            )
            self.get_logger().error(text, throttle_duration_sec=1.0)
            with self._lock:
                if request.errand is self._errand and request.loop is self._loop:
                    self._plan_error = text
            return
        with self._lock:
            if request.errand is not self._errand or request.loop is not self._loop:
                return
            bundle = self._bundle
            assert bundle is not None  # whose loop this is
            request.loop.hold(plan)
            self._plan_error, self._due_ns = "", None
            self._is_blocked = bool(plan.is_blocked[0])
            self._cost_terms = {name: float(values[0]) for name, values in terms.items()}
        self._plan_times.append(time.monotonic() - begin)
        height = float(request.state.position[0, 2])
        self._display.show(plan, bundle, config, height, request.stamp_ns)

    def _cost(
        self, task: Task, start: Array, loop: ControlLoop, config: SkillPlannerConfig
    ) -> WeightedCosts:
        """The cost of a task now. Raises: PlanningError for a cost of the user's own."""
        if self._custom[0] != config.costs.custom:
            self._custom = (config.costs.custom, load_cost(config.costs.custom))
        return task.cost(
            start,
            config.costs,
            held=loop.skill,
            robot_radius_m=loop.robot.radius_m,
            standing_radius_m=config.planner.standing_radius_m,
            custom=self._custom[1],
        )

    # --- tasks ---------------------------------------------------------------------------------

    def _cancel(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        had_task = self._errand is not None
        self._turn_to(None)
        response.success = True
        response.message = "the task is cancelled" if had_task else "there was no task"
        return response

    def _turn_to(self, errand: Errand | None) -> None:
        """Forget the present task and turn to another one, or to none: then the robot stands."""
        with self._lock:
            self._errand, self._plan_error, self._due_ns = errand, "", None
            self._is_blocked, self._cost_terms = False, {}
            if self._loop is not None:
                self._loop.request_plan()
                if errand is None:
                    self._loop.skill = None
        self._is_late = False
        self._reached_publisher.publish(Bool(data=False))

    # --- connections ---------------------------------------------------------------------------

    def _connect(self) -> None:
        self._command_publisher = self.create_lifecycle_publisher(
            Float64MultiArray, "joint_commands", RELIABLE_QOS
        )
        self._display = PlanDisplay(self, self._frames)
        self._reached_publisher = self.create_publisher(
            Bool, "~/goal_reached", LATCHED_QOS, event_callbacks=NO_PUBLISHER_EVENTS
        )
        self._inbox = TaskInbox(
            self,
            self._frames,
            config=lambda: self._settings.config,
            bundle=lambda: self._bundle if self._is_active else None,
            errand=lambda: self._errand,
            take=self._turn_to,
        )
        quiet = {"event_callbacks": NO_SUBSCRIPTION_EVENTS}
        self.create_subscription(JointState, "joint_states", self._take_joints, STATE_QOS, **quiet)
        self.create_subscription(Odometry, "odom", self._take_odometry, STATE_QOS, **quiet)
        self.create_service(Trigger, "~/cancel", self._cancel)
        self.create_service(
            Trigger,
            "~/load_bundle",
            self._load_bundle,
            callback_group=MutuallyExclusiveCallbackGroup(),  # else all others waited for it
        )
        self._watchdog = self.create_timer(
            self._settings.config.state_timeout_s, self._check_state_age, clock=STEADY
        )
        self._diagnostics = Diagnostics(self, "control", self._health)

    async def _load_bundle(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Take the bundle that the parameter ``bundle`` names; the robot goes on meanwhile."""
        response.success = False
        if self._bundle is None:
            response.message = "not configured: configure loads the bundle"
            return response
        config, loaded = self._settings.config, Future()

        def load() -> None:
            try:
                loaded.set_result(self._load(config))
            except Exception as error:  # whatever it is, the robot goes on
                loaded.set_exception(error)

        self._loading = threading.Thread(target=load, name="loading")
        self._loading.start()
        try:
            drive = await loaded
        except Exception as error:
            text = str(error) if isinstance(error, DadsError) else f"loading failed: {error!r}"
            response.message = f"{text}; the old bundle stays"
            return response
        if self._bundle is None:
            response.message = "no longer configured: configure loads the bundle"
            return response
        self._take(drive)
        response.success, response.message = True, f"'{drive.bundle.folder}' is in use"
        return response

    def _health(self) -> tuple[Level, str, Mapping[str, object]]:
        errand = self._errand
        watch = None if errand is None else errand.watch
        values = {
            "bundle": "" if self._bundle is None else self._bundle.folder,
            "state age, s": time.monotonic() - self._state_time,
            "distance to goal, m": np.nan if watch is None else watch.distance_m,
            "waiting plans replaced": self._num_replaced,
            **_milliseconds("loop period", self._periods),
            **_milliseconds("control step", self._tick_times),
            **_milliseconds("plan time", self._plan_times),
            **{f"cost of the plan: {name}": value for name, value in self._cost_terms.items()},
        }
        if not self._is_active:
            return WARN, "not active", values
        result = self._last_result
        if result is None or result.is_safe_stop:
            reason = "no state yet" if result is None else result.reason
            detail = self._pairs.complaint()
            return ERROR, f"safe command: {reason}{'; ' if detail else ''}{detail}", values
        if self._is_late:
            return WARN, "the plan is late: standing command", values
        if errand is None:
            return OK, "no task: standing command", values
        if self._is_blocked:
            return WARN, "every way is forbidden (obstacles, bounds): standing command", values
        has_reached = watch is not None and watch.has_reached
        return OK, "goal reached" if has_reached else "on the way", values


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


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal. Returns: the exit code."""
    # A control tick that wants the interpreter while a plan is made or a bundle is loaded would
    # wait for up to the default of 5 ms.
    sys.setswitchinterval(5e-4)
    return run_node(SkillPlannerNode, args=args)


if __name__ == "__main__":
    sys.exit(main())
