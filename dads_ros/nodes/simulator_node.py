"""simulator: one robot in MuJoCo behind the topics that a real one has."""

import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import Wrench
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.envs.links import RobotLinks
from dads_ros.envs.model import RobotModel
from dads_ros.envs.shapes import RobotShapes
from dads_ros.envs.vector_env import Physics
from dads_ros.nodes.conversions import (
    Frames,
    MessageError,
    answered_stamp_ns,
    command_of,
    joint_state_message,
    odometry_message,
    to_ns,
    to_stamp,
    wrench_of,
)
from dads_ros.nodes.link_frames import LinkFrames
from dads_ros.nodes.markers import RobotMarkers
from dads_ros.nodes.parameters import NodeParameters
from dads_ros.nodes.runner import (
    LATCHED_QOS,
    OK,
    RELIABLE_QOS,
    WAKE_S,
    WARN,
    Diagnostics,
    Level,
    outlive,
    run_node,
    spin_once,
    watch_parent,
)
from dads_ros.nodes.settings import SimulatorConfig
from dads_ros.process import STOP
from dads_ros.robot import RobotSpec

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not everywhere where rclpy is; markers and odometry show without it
    TFMessage = None

Array = npt.NDArray[np.float64]
MAX_LAG_S = 0.2  # when the machine is this late, simulated time is let slip


class SimulatorNode(Node):
    """Moves the robot in real time, or step by step with the commands, and publishes its state."""

    def __init__(self) -> None:
        """Load the robot and put it at its start pose. Raises: ConfigError."""
        super().__init__("simulator")
        self._settings = NodeParameters(self, SimulatorConfig)
        config = self._settings.config
        self._model = RobotModel(RobotSpec.load(config.robot))
        self._spec = self._model.spec
        self._rng = np.random.default_rng(config.seed)
        self._physics = Physics(self._model, self._model.reset_state(1, self._rng))
        self._shapes = RobotShapes(self._model)
        self._frames = Frames.of(config.frame_prefix)
        self._markers = RobotMarkers(self._shapes.solids, self._frames.odom)
        self._links = RobotLinks(self._model, config.frame_prefix)
        self._link_frames = LinkFrames(self._links.links)
        self._limits = self._command_limits()
        self._safe_command = np.array(self._spec.safe_command)
        self._command, self._has_command = self._safe_command, False
        self._keeps_last = self._spec.safe_mode != "pose"  # where none comes
        self._instead = f"the {'last' if self._keeps_last else 'safe'} command is applied"
        self._coming: deque[tuple[int, Array]] = deque()
        """Commands that do not act yet, and the simulation step from which each one does."""
        self._command_time = self._state_time = self._markers_time = -np.inf
        self._published: dict[int, float] = {}  # when the states of the newest stamps left
        self._num_ignored = 0  # commands
        self._push, self._push_steps = np.zeros(6), 0
        self._is_paused, self._is_waiting = config.start_paused, False
        self._num_steps = 0  # simulation steps since the start; our own /clock never goes back
        self._deadline = time.monotonic()  # of the next step
        self._rate_from = (time.monotonic(), 0)
        self._follows_clock = not config.publish_clock and not config.lock_step
        self._has_clock, self._clock_steps = False, 0
        self._skipped_steps = 0  # that the clock was ahead by, since the last diagnostics
        self._connect(config)
        watch_parent(self)
        pace = "as /clock says" if self._follows_clock else f"at speed {config.speed:g}"
        self.get_logger().info(
            f"simulating '{self._spec.name}', {1.0 / self._spec.control_dt:g} states a second "
            f"{pace}, seed {config.seed}"
        )

    def _command_limits(self) -> tuple[Array, Array]:
        """Of positions also all that joints reach: from there robots are led to standing. (A,)."""
        low, high = self._spec.command_limits
        if self._spec.command_scale is None:
            return low, high
        lowest, highest, _ = self._model.joint_ranges()
        columns = self._spec.actuated_columns
        return np.minimum(low, lowest[columns]), np.maximum(high, highest[columns])

    def spin(self) -> None:
        """Run until ``STOP`` is asked: callbacks and simulation steps take turns."""
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        is_begun = self._is_paused
        while not STOP.is_asked:
            try:
                if not is_begun:
                    self._publish_state()
                    is_begun = True
                self._run(executor)
            except (Exception, SystemExit) as error:
                outlive(self, error)
                time.sleep(WAKE_S)  # where all of the loop fails, do not burn the processor

    def _run(self, executor: SingleThreadedExecutor) -> None:
        """One turn of the loop."""
        config = self._settings.config
        if self._is_paused:
            spin_once(executor, self, WAKE_S)
            self._deadline = time.monotonic()
        elif config.lock_step and self._is_waiting:
            self._wait_for_answer(executor, config.lock_step_timeout_s)
        elif self._follows_clock:
            self._follow_clock(executor)
        else:
            spin_once(executor, self, _wait_s(self._deadline))
            now = time.monotonic()
            if now >= self._deadline:
                num_steps = self._spec.num_substeps if config.lock_step else 1
                period_s = num_steps * self._spec.sim_dt / config.speed
                self._deadline = max(self._deadline, now - MAX_LAG_S) + period_s
                self._advance(num_steps)

    def on_callback_error(self, _: BaseException) -> None:
        """Whatever failed, no command of before comes to act."""
        self._drop_command()

    # --- the simulation ------------------------------------------------------------------------

    def _wait_for_answer(self, executor: SingleThreadedExecutor, timeout_s: float) -> None:
        """Lock step: the robot moves when the published state has been answered, not before."""
        deadline = self._state_time + timeout_s
        spin_once(executor, self, _wait_s(deadline))
        if self._is_waiting and time.monotonic() >= deadline:
            self._publish_state()

    def _follow_clock(self, executor: SingleThreadedExecutor) -> None:
        """Another simulator has the clock: come as far as that."""
        due = self._clock_steps > self._num_steps
        spin_once(executor, self, 0.0 if due else WAKE_S)
        if due:
            self._advance(1)

    def _take_clock(self, message: Clock) -> None:
        """Begin at its time, and again where it jumps: back, or on faster than can be followed."""
        seconds, spec = to_ns(message.clock) / 1e9, self._spec
        self._clock_steps = round(seconds / spec.sim_dt)
        behind_s = (self._clock_steps - self._num_steps) * spec.sim_dt
        if not -MAX_LAG_S <= behind_s <= max(MAX_LAG_S, 2.0 * spec.control_dt):
            before, control_steps = self._num_steps, round(seconds / spec.control_dt)
            self._num_steps = control_steps * spec.num_substeps
            self._published.clear()
            self._skipped_steps += max(0, self._num_steps - before) if self._has_clock else 0
        self._has_clock = True

    def _advance(self, num_steps: int) -> None:
        """Move by simulation steps under the command in force; publish at control steps."""
        config, now = self._settings.config, time.monotonic()
        if not config.lock_step and now - self._command_time > config.command_timeout_s:
            self._drop_command()
        wrench = None
        if self._push_steps > 0:
            wrench, self._push_steps = self._push[None], self._push_steps - num_steps
        commands = np.empty((1, num_steps, len(self._safe_command)))
        for step in range(num_steps):
            while self._coming and self._coming[0][0] <= self._num_steps + step:
                self._command = self._coming.popleft()[1]
            commands[0, step] = self._command
        diverged = self._physics.advance(commands, wrench)
        self._num_steps += num_steps
        if diverged.any():
            self.get_logger().error("the simulation diverged: the world is reset")
            self._reset()
        if self._num_steps % self._spec.num_substeps == 0:
            self._publish_state()

    def _reset(self) -> None:
        self._physics.states[:] = self._model.reset_state(1, self._rng)
        self._drop_command()
        self._command = self._safe_command
        self._push_steps = 0
        self._published.clear()  # what answers the world before acts no more

    def _drop_command(self) -> None:
        if not self._keeps_last:
            self._command = self._safe_command
        self._has_command = False
        self._coming.clear()

    @property
    def _stamp_ns(self) -> int:
        return round(self._num_steps * self._spec.sim_dt * 1e9)

    # --- topics and services -------------------------------------------------------------------

    def _connect(self, config: SimulatorConfig) -> None:
        def publisher(kind: type[Any], topic: str) -> Publisher:
            return self.create_publisher(kind, topic, RELIABLE_QOS)

        self._clock_publisher = publisher(Clock, "/clock") if config.publish_clock else None
        if self._follows_clock:
            self.create_subscription(Clock, "/clock", self._take_clock, RELIABLE_QOS)
        self._joints_publisher = publisher(JointState, "joint_states")
        self._odometry_publisher = publisher(Odometry, "odom")
        self._markers_publisher = publisher(MarkerArray, "~/robot_markers")
        self._tf_publisher = None if TFMessage is None else publisher(TFMessage, "/tf")
        self._description_publisher = self.create_publisher(
            String, "robot_description", LATCHED_QOS
        )
        self._description_publisher.publish(String(data=self._links.urdf()))
        self.create_subscription(
            Float64MultiArray, "joint_commands", self._take_command, RELIABLE_QOS
        )
        self.create_subscription(Wrench, "~/push", self._take_push, RELIABLE_QOS)
        self.create_service(Trigger, "~/reset_world", self._reset_world)
        self.create_service(SetBool, "~/set_pause", self._set_pause)
        self._diagnostics = Diagnostics(self, "simulation", self._health, lambda: self._spec.name)

    def _publish_state(self) -> None:
        stamp_ns, state = self._stamp_ns, self._physics.robot_state()[0]
        now, timeout_s = time.monotonic(), self._settings.config.command_timeout_s
        self._is_waiting, self._state_time = True, now
        while self._published and now - next(iter(self._published.values())) > timeout_s:
            del self._published[next(iter(self._published))]
        self._published.pop(stamp_ns, None)  # it may leave anew, and comes last then
        self._published[stamp_ns] = now
        if self._clock_publisher is not None:
            self._clock_publisher.publish(Clock(clock=to_stamp(stamp_ns)))
        self._joints_publisher.publish(joint_state_message(self._spec, state, stamp_ns))
        odometry = odometry_message(state, stamp_ns, self._frames)
        self._odometry_publisher.publish(odometry)
        if self._tf_publisher is not None:
            poses = self._links.poses(self._physics.states[0])
            transforms = self._link_frames.update(odometry, *poses)
            self._tf_publisher.publish(TFMessage(transforms=transforms))
        rate_hz = self._settings.config.markers_rate_hz
        if (
            self._state_time - self._markers_time >= 1.0 / rate_hz
            and self._markers_publisher.get_subscription_count()
        ):
            self._markers_time = self._state_time
            poses = self._shapes.poses(self._physics.states[0])
            self._markers_publisher.publish(self._markers.update(*poses, to_stamp(stamp_ns)))

    def _take_command(self, message: Float64MultiArray) -> None:
        """Its age counts from the state that it answers; from now where it does not say which."""
        config, now = self._settings.config, time.monotonic()
        try:
            answered_ns = answered_stamp_ns(message)
            since = now if answered_ns is None else self._published.get(answered_ns, -np.inf)
            if config.lock_step:
                if not self._is_waiting or answered_ns not in (None, self._stamp_ns):
                    return
                since = now
            elif now - since > config.command_timeout_s:
                self._num_ignored += 1
                self.get_logger().warning(
                    f"command ignored: it answers stamp_ns={str(answered_ns)[:24]}, no state of "
                    f"the last {config.command_timeout_s:g} s",
                    throttle_duration_sec=1.0,
                )
                return
            self._is_waiting = False
            command = np.clip(command_of(self._spec, message), *self._limits)
        except MessageError as error:
            self.get_logger().warning(f"{error}; {self._instead}", throttle_duration_sec=1.0)
            self._drop_command()
            return
        delay_steps = round(config.command_delay_ms / 1000.0 / self._spec.sim_dt)
        self._coming.append((self._num_steps + delay_steps, command))
        self._has_command, self._command_time = True, since

    def _take_push(self, message: Wrench) -> None:
        try:
            self._push = wrench_of(message)
        except MessageError as error:
            self.get_logger().warning(str(error))
            return
        duration_s = self._settings.config.push_duration_s
        self._push_steps = max(1, round(duration_s / self._spec.sim_dt))

    def _reset_world(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        self._num_steps += self._spec.num_substeps - self._num_steps % self._spec.num_substeps
        self._publish_state()
        response.success, response.message = True, "the robot is at a new start pose"
        return response

    def _set_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._is_paused and not request.data:
            self._publish_state()
        self._is_paused = request.data
        response.success, response.message = True, "paused" if request.data else "running"
        return response

    def _health(self) -> tuple[Level, str, Mapping[str, object]]:
        now, (then, steps) = time.monotonic(), self._rate_from
        rate = (self._num_steps - steps) * self._spec.sim_dt / max(now - then, 1e-3)
        self._rate_from = now, self._num_steps
        config = self._settings.config
        values = {
            "robot": self._spec.name,
            "simulated seconds": self._stamp_ns / 1e9,
            "simulated seconds per second": rate,
            "command age, s": now - self._command_time,
            "commands ignored": self._num_ignored,
            "push duration, s": config.push_duration_s,
        }
        if self._is_paused:
            return OK, "paused", values
        if self._follows_clock and not self._has_clock:
            return WARN, "waits for /clock, which another simulator publishes", values
        skipped_s, self._skipped_steps = self._skipped_steps * self._spec.sim_dt, 0
        if skipped_s > 0.0:
            return WARN, f"too slow for /clock: {skipped_s:.2f} s were skipped", values
        if config.lock_step:
            return OK, "lock step", values
        if not self._has_command:
            return WARN, f"no fresh command: {self._instead}", values
        if rate < 0.9 * config.speed and not self._follows_clock:
            return WARN, f"runs at {rate:.2f} of real time, {config.speed:g} was asked for", values
        return OK, "running", values


def _wait_s(deadline: float) -> float:
    """How long to wait for messages, until a deadline of ``time.monotonic`` at most."""
    return min(max(0.0, deadline - time.monotonic()), WAKE_S)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal. Returns: the exit code."""
    return run_node(SimulatorNode, SimulatorNode.spin, args=args)


if __name__ == "__main__":
    sys.exit(main())
