"""skill_planner: drives a robot to goals with a skill bundle.

Messages in, messages out: what is decided about a command, the SkillController decides, and
planning runs beside it in a thread of its own. The diagnostics say what is wrong; the robot stands
or, where its policy cannot be trusted to do so, gets its safe command, of the guard where this
process cannot send it. Imports neither MuJoCo nor torch: this runs on the robot.
"""

import functools
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.task import Future
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.errors import DadsError, PlanningError
from dads_ros.nodes.bundle_loader import BundleLoader, Drive
from dads_ros.nodes.conversions import COMMAND_TYPES, Frames, command_message
from dads_ros.nodes.lifecycle import SteadyLifecycleNode
from dads_ros.nodes.lookout import FOREVER_S, Lookout
from dads_ros.nodes.parameters import NodeParameters
from dads_ros.nodes.plan_display import PlanDisplay
from dads_ros.nodes.runner import (
    LATCHED_QOS,
    NO_PUBLISHER_EVENTS,
    RELIABLE_QOS,
    STEADY,
    WARN,
    Diagnostics,
    Level,
    describe,
    run_node,
    spin_until_stop,
    watch_parent,
)
from dads_ros.nodes.settings import SkillPlannerConfig
from dads_ros.nodes.state_input import StateInput
from dads_ros.nodes.task_inbox import TaskInbox
from dads_ros.observation import RobotState
from dads_ros.planning.command_gate import GateResult
from dads_ros.planning.controller import (
    REST_TIMEOUT_S,
    Errand,
    PlanRequest,
    SkillController,
)
from dads_ros.planning.planning_thread import PlanningThread
from dads_ros.planning.skill_planner import Plan
from dads_ros.planning.tasks import load_cost
from dads_ros.process import STOP

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
REST_POLL_S = 0.02
LAST_COMMAND_TIMEOUT_S = 0.1  # until everybody has acknowledged; DDS may ask only every 2 s
NUM_LAST_COMMANDS, LAST_COMMANDS_S = 3, 0.05
LOOKS = 8
"""So often within ``state_timeout_s`` the age of the newest state is looked at, and the safe
command sent where it is too old."""


class SkillPlannerNode(SteadyLifecycleNode):
    """Lifecycle: configure loads the bundle and warms up, activate starts to drive."""

    def __init__(self, *, dry_run: bool = False) -> None:
        """Declare everything; with ``autostart`` also configure and activate.

        Args:
            dry_run: whatever parameter files say.
        Raises: ConfigError, BundleError, PlanningError.
        """
        overrides = [Parameter("dry_run", value=True)] if dry_run else None
        super().__init__("skill_planner", parameter_overrides=overrides)
        self._settings = NodeParameters(self, SkillPlannerConfig, self._use_settings)
        config = self._settings.config
        self._frames = Frames.of(config.frame_prefix)
        self._custom = load_cost(config.costs.custom)
        self._has_other_type = False
        self._bundle: SkillBundle | None = None
        self._controller: SkillController | None = None
        self._planning: PlanningThread[PlanRequest] | None = None
        self._command_publisher: Publisher | None = None  # only while it is active
        self._last_message: Float64MultiArray | JointTrajectory | None = None
        self._rest_until: float | None = None  # by the steady clock, once it is to come to a stand
        self._connect()
        self._loader = BundleLoader(config, self._frames, self._display)
        check_parent = watch_parent(self)
        if config.autostart:
            drive = self._loader.load(config)  # here, so that its errors end the process
            self._take(drive)
            if not config.dry_run:
                self._lookout.start_guard(drive.bundle.robot, config.command_type)
                self._lookout.wait_until_alone(check_parent)
            if STOP.is_asked:
                return
            if self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
                raise PlanningError("the node could not be activated; its log says why")

    # --- lifecycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and check the bundle, and run everything once."""
        try:
            if self._bundle is None:
                self._take(self._loader.load(self._settings.config))
        except DadsError as error:
            self.get_logger().error(str(error))
            return FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to drive, if nobody else does; the planner's generators start anew."""
        controller, config, robot = self._controller, self._settings.config, self._loader.robot
        assert controller is not None and robot is not None  # it was configured
        if config.dry_run:
            self.get_logger().info("dry run: commands go to ~/would_be_commands alone")
            self._command_publisher = self.create_publisher(
                COMMAND_TYPES[config.command_type], "~/would_be_commands", RELIABLE_QOS
            )
        else:
            try:
                self._lookout.start_guard(robot, config.command_type)
                self._lookout.check_alone()
            except DadsError as error:
                self.get_logger().error(f"not activated: {error}")
                return FAILURE
            # Not before, so that a planner that only waits commands nobody.
            self._command_publisher = self.create_publisher(
                COMMAND_TYPES[config.command_type], "joint_commands", RELIABLE_QOS
            )
        self._last_message = self._rest_until = None
        controller.activate()
        self._look_around()
        self._states.start(robot, config.max_stamp_difference_s)
        if not config.lock_step:
            self._planning = PlanningThread(self._plan)
        result = super().on_activate(state)
        self._promise()
        self._watchdog.reset()
        self._show_goal()  # of a planner that was killed one is still shown
        self._inbox.resume()
        return result

    def rest(self) -> bool:
        """Take no tasks, and let the robot come to a stand; to be called again until True.

        A robot that is left alone in mid-stride may tip over; in lock step it would stay there.
        """
        controller, config = self._controller, self._settings.config
        if controller is None or not self._is_active or config.dry_run or config.lock_step:
            return True
        if self._rest_until is None:
            self._rest_until = time.monotonic() + REST_TIMEOUT_S
            self._inbox.stop()
            self._turn_to(None)
        return not controller.is_moving or time.monotonic() > self._rest_until

    async def before_inactive(self, transition: str) -> None:
        """Let the robot come to a stand."""
        if transition == "deactivate":  # and not kept should the process be ended meanwhile
            self._inbox.forget()
        rested: Future = Future()
        timer = self.create_timer(
            REST_POLL_S,
            lambda: rested.set_result(None) if self.rest() else None,
            clock=STEADY,
        )
        await rested
        self.destroy_timer(timer)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Send the safe command and stop driving; the goal is forgotten."""
        self._release()
        self._inbox.forget()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the bundle; whatever is loaded next must be for the same robot."""
        self._bundle = self._controller = None
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As deactivate and cleanup."""
        self._release()
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition failed in a way that nobody thought of: as deactivate and cleanup."""
        self._release()
        self._bundle = self._controller = None
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Leave the robot with the safe command, and end the threads."""
        self._release()
        self._inbox.close()
        super().destroy_node()

    def on_callback_error(self, error: BaseException) -> None:
        """Stop the robot: a callback failed in a way that nobody thought of."""
        if self._is_active:
            self._refuse_state(describe(error))

    @property
    def _is_active(self) -> bool:
        return self._command_publisher is not None

    @property
    def _takes_tasks(self) -> bool:
        return self._is_active and self._rest_until is None

    def _relieve(self) -> bool:
        """Let the controller go on from what the guard sent meanwhile, if it sent anything."""
        controller, sent = self._controller, self._lookout.stood_in()
        if controller is None or sent is None:
            return False
        controller.relieve(sent[None])
        return True

    def _release(self) -> None:
        """The last command of this node, until it is activated again, is the safe one."""
        self._states.stop()
        self._inbox.stop()
        self._relieve()
        publisher, controller = self._command_publisher, self._controller
        if publisher is not None and controller is not None:
            result = controller.deactivate()
            for _ in range(NUM_LAST_COMMANDS):  # a driver may listen best effort
                if not self._send(result):
                    break
                publisher.wait_for_all_acked(Duration(seconds=LAST_COMMAND_TIMEOUT_S))
                time.sleep(LAST_COMMANDS_S)
            self._reached_publisher.publish(Bool(data=False))
            self._show_goal()
            self._command_publisher = None
            self.destroy_publisher(publisher)
        self._lookout.release()
        if self._planning is not None:
            self._planning.close()
            self._planning = None

    # --- bundles -------------------------------------------------------------------------------

    def _take(self, drive: Drive) -> None:
        """Drive with a loaded bundle from now on."""
        bundle, loop = drive
        if self._controller is None:
            self._controller = SkillController(
                loop,
                lambda: self._settings.config,
                seed=self._settings.config.seed,
                custom=self._custom,
                say=self._warn,
                tell=self.get_logger().info,
            )
        else:
            self._controller.take(loop)
        self._bundle = bundle
        self.get_logger().info(
            f"bundle '{bundle.folder}' for robot '{bundle.robot.name}' is loaded"
        )
        unit = bundle.robot.command_unit
        if self._settings.config.command_type == "joint_trajectory" and "position" not in unit:
            self.get_logger().warning(
                f"joint_trajectory sends commands as positions of joints; by 'command_unit' of "
                f"the robot file they are '{unit}'"
            )

    def _warn(self, text: str) -> None:
        cure = "; stand it up, in simulation by the service simulator/reset_world"
        self.get_logger().warning(text + (cure if "has fallen" in text else ""))

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
                loaded.set_result(self._loader.load(config))
            except Exception as error:  # whatever it is, the robot goes on
                loaded.set_exception(error)

        threading.Thread(target=load, name="loading", daemon=True).start()
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

    # --- the control step ----------------------------------------------------------------------

    def _take_state(self, state: RobotState, stamp_ns: int, measured: float) -> None:
        """One policy step and one command for each complete state."""
        self._relieve()
        controller = self._controller
        assert controller is not None  # states come only while the node is active
        self._inbox.update(np.append(state.position[:2], state.yaw()), stamp_ns)
        topic = self._states.second_voice()
        controller.object("state", f"two publishers on {topic} say the same" if topic else "")
        step = controller.step(state[None], stamp_ns, measured)
        if step is None:
            return
        if step.is_repeated and self._last_message is not None:
            self._publish(self._last_message)
            return
        self._watchdog.reset()
        is_sent = self._send(step.result, stamp_ns if step.is_answer else None)
        if step.is_answer and is_sent:
            self._display.show_skill(None if step.skill is None else step.skill[0], stamp_ns)
        if step.is_silent:
            self._reached_publisher.publish(Bool(data=False))
            self.get_logger().info("cmd_vel or ~/skill_by_hand is silent: the robot stands")
        if step.is_given_up:
            self._inbox.cancel()
            text = "the robot is down: its task is dropped; send it another once it stands"
            self.get_logger().warning(text)
        if step.is_reached:
            self._reached_publisher.publish(Bool(data=True))
            self._inbox.forget()
            self.get_logger().info("goal reached")
        if step.request is not None and self._planning is not None:
            # Only now, so that planning does not compete with the command for the interpreter.
            controller.num_replaced += not self._planning.submit(step.request)
        if step.request is not None and step.plan is not None:
            self._show(step.plan, step.request)

    def _refuse_state(self, text: str) -> None:
        self._relieve()
        if self._controller is not None:
            self._send(self._controller.fail(text))

    def _send(self, result: GateResult | None, stamp_ns: int | None = None) -> bool:
        """Publish what the gate let through; it answers the state of that stamp, or none.

        With None nothing may be sent yet, nor by the guard. Where the guard has sent something
        since the command was made, going on from before would be a jump back: nothing is sent, and
        the next state answers.

        Returns: whether it was sent.
        """
        robot, controller = self._loader.robot, self._controller
        assert robot is not None and controller is not None
        if result is not None:
            command, command_type = result.command[0], self._settings.config.command_type
            message = command_message(robot, command, stamp_ns, command_type)
            if not self._relieve():  # looked at last: of a stop after this nobody would know
                self._last_message = message
                self._lookout.note(command, controller.blind_rates[0])
                self._publish(message)
                return True
        if self._is_active:
            self._promise()
        return False

    def _publish(self, message: Float64MultiArray | JointTrajectory) -> None:
        if self._command_publisher is not None:
            self._command_publisher.publish(message)
            self._promise()

    def _promise(self) -> None:
        """All is well until the next command is due; in lock step until this process ends."""
        config = self._settings.config
        self._lookout.promise(FOREVER_S if config.lock_step else config.state_timeout_s)

    def _look_around(self) -> None:
        """Guard and rivals, once a second; a dry run needs no guard and has no rivals."""
        self._look_for_other_type()
        self._inbox.try_waiting()
        if self._settings.config.dry_run:
            return
        if self._is_active and self._controller is not None:
            self._controller.let_stand(self._lookout.guard_complaint())
            self._controller.object("rivals", self._lookout.rivals())

    def _look_for_other_type(self) -> None:
        """Nothing comes of velocities that are sent as the other of the two types."""
        other = "Twist" if self._settings.config.stamped_cmd_vel else "TwistStamped"
        infos = self.get_publishers_info_by_topic("cmd_vel")
        nodes = [info.node_name for info in infos if info.topic_type.endswith(f"/{other}")]
        if nodes and not self._has_other_type:
            self.get_logger().warning(
                f"{', '.join(nodes)} publishes cmd_vel as {other}, of which nothing comes: set "
                f"stamped_cmd_vel to {str(other == 'TwistStamped').lower()}"
            )
        self._has_other_type = bool(nodes)

    def _check_state_age(self) -> None:
        """Fires again and again while no complete state comes; a command may get lost."""
        self._relieve()
        controller = self._controller
        if not self._is_active or controller is None:
            return
        result = controller.check_age()
        if result is not None or controller.is_waiting:
            self._send(result)

    def _use_settings(self) -> None:
        """From now on: wait by another ``state_timeout_s``, show another ``goal_tolerance_m``."""
        period_ns = int(self._settings.config.state_timeout_s * 1e9 / LOOKS)
        if self._watchdog.timer_period_ns != period_ns:
            self._watchdog.timer_period_ns = period_ns
            self._watchdog.reset()
            if self._is_active:
                self._promise()
        self._show_goal()

    def _plan(self, request: PlanRequest) -> None:
        """Make one plan and show it; runs in the planning thread."""
        controller = self._controller
        plan = None if controller is None else controller.plan(request)
        if plan is not None and request.errand is self._errand:  # else it was cancelled meanwhile
            self._show(plan, request)

    def _show(self, plan: Plan, request: PlanRequest) -> None:
        bundle = self._bundle
        if bundle is not None:
            height = float(request.state.position[0, 2])
            self._display.show(plan, bundle, self._settings.config, height, request.stamp_ns)

    # --- tasks ---------------------------------------------------------------------------------

    def _cancel(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        had_task = self._errand is not None
        self._inbox.cancel()
        response.success = True
        response.message = "the task is cancelled" if had_task else "there was no task"
        return response

    @property
    def _errand(self) -> Errand | None:
        return None if self._controller is None else self._controller.errand

    def _turn_to(self, errand: Errand | None) -> None:
        if self._controller is not None:
            self._controller.turn_to(errand)
        self._show_goal()
        self._reached_publisher.publish(Bool(data=False))

    def _show_goal(self) -> None:
        """Whether there is one, and where it counts as reached."""
        watch = None if self._errand is None else self._errand.watch
        goal = None if watch is None else watch.goal
        self._display.show_goal(goal, self._settings.config.goal_tolerance_m)

    # --- connections ---------------------------------------------------------------------------

    def _connect(self) -> None:
        self._lookout = Lookout(self, "joint_commands")
        self._display = PlanDisplay(self, self._frames)
        self._reached_publisher = self.create_publisher(
            Bool, "~/goal_reached", LATCHED_QOS, event_callbacks=NO_PUBLISHER_EVENTS
        )
        self._inbox = TaskInbox(
            self,
            self._frames,
            config=lambda: self._settings.config,
            bundle=lambda: self._bundle if self._takes_tasks else None,
            controller=lambda: self._controller,
            take=self._turn_to,
        )
        self._states = StateInput(
            self,
            self._frames,
            use_imu=self._settings.config.use_imu,
            timeout_s=lambda: self._settings.config.state_timeout_s,
            take=self._take_state,
            refuse=self._refuse_state,
        )
        self.create_service(Trigger, "~/cancel", self._cancel)
        self.create_service(
            Trigger,
            "~/load_bundle",
            self._load_bundle,
            callback_group=MutuallyExclusiveCallbackGroup(),  # else all others waited for it
        )
        self._watchdog = self.create_timer(
            self._settings.config.state_timeout_s / LOOKS, self._check_state_age, clock=STEADY
        )
        self.create_timer(1.0, self._look_around, clock=STEADY)
        self._diagnostics = Diagnostics(
            self,
            "control",
            self._health,
            lambda: "" if self._loader.robot is None else self._loader.robot.name,
        )

    def _health(self) -> tuple[Level, str, Mapping[str, object]]:
        controller, bundle = self._controller, self._bundle
        if controller is None or bundle is None:
            return WARN, "not configured", {}
        level, text, values = controller.status()
        detail = ""
        if self._is_active:
            if level > WARN:
                is_silent = values["state age, s"] > self._settings.config.state_timeout_s
                detail = self._states.complaint() if is_silent else ""
            elif self._states.is_other_clock:
                level = max(level, WARN)
                cure = "use_sim_time is true and /clock says something else: set it to false on a "
                cure += "real robot"
                if not self.get_clock().ros_time_is_active:
                    cure = "set use_sim_time for a simulation, else synchronise the clocks"
                detail = (
                    "the stamps are not of this node's clock, so that only DDS says how old a "
                    f"state is; {cure}"
                )
            elif self._inbox.complaint:
                level, detail = max(level, WARN), self._inbox.complaint
        if self._settings.config.dry_run:
            text = f"dry run, nothing goes to the robot: {text}"
        prior = bundle.skill_space.config
        found = {
            "bundle": bundle.folder,
            "skill prior": prior.kind,
            "skill dimensions": prior.dim,
            **values,
        }
        return level, f"{text}{'; ' if detail else ''}{detail}", found


def main(args: Sequence[str] | None = None, *, dry_run: bool = False) -> int:
    """Run the node until a signal. Returns: the exit code."""
    # A control step that wants the interpreter while a plan is made or a bundle is loaded would
    # wait for up to the default of 5 ms.
    sys.setswitchinterval(5e-4)
    make = functools.partial(SkillPlannerNode, dry_run=dry_run)
    return run_node(make, lambda node: spin_until_stop(node, node.rest), args)


if __name__ == "__main__":
    sys.exit(main())
