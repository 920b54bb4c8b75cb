"""command_guard: sends a robot its safe command whenever the planner's process falls silent.

A process of its own, as small as can be: one publisher, no subscription, no callbacks, nothing of
dads_ros but this file. The planner starts it (``planning.guard.Guard``) and shares a page of
memory with it: there the planner writes until when it will have sent its next command, and the
guard that it is awake; after these two, both write what they sent last, and the planner how fast
it may change. Where the planner's promise runs out, because it was killed, stopped, or something
holds its interpreter, the guard sends the safe command, or a step on the way there, again and
again. Before the first command of a led robot it sends nothing.

It keeps out of the shared memory of Fast DDS where it can: a process that is stopped while it
hands a message over there keeps the lock of the receiver's port, through which nobody then reaches
the receiver for a second or two.

Once the planner's process has ended without releasing the robot, the guard stays until somebody
else sends commands, nobody is there to hear them, or it gets SIGTERM.
"""

import array
import gc
import json
import math
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray, Header, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

PERIOD_S = 0.05
"""Of the guard's look at the page; it wakes up earlier where a promise runs out."""
REPEAT_S = 0.1
"""Of the safe command."""
ALONE_S = 10.0
"""An orphan ends when nobody has listened to the commands for so long."""
RELIEVED = 3
"""So many commands of somebody else relieve an orphan: a new planner has a guard of its own."""
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
OTHER_RANGES = ("", "OFF", "SUBNET", "SYSTEM_DEFAULT")
"""All but LOCALHOST, for which rcl takes whatever else is set."""
PROFILE, DEFAULT_PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE", "DEFAULT_FASTRTPS_PROFILES.xml"
"""Where Fast DDS looks for a profile: a variable, the working folder."""
LOCALHOST_PROFILE = Path(__file__).with_name("guard_localhost.xml")
LABEL = "guard"
"""Of the second dimension of the guard's commands; the frame of its trajectories."""


def main() -> int:
    """Guard until the planner has ended. Arguments: the page's file descriptor, JSON."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends after the planner, not with it
    descriptor, planner, settings = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    with mmap.mmap(descriptor, 0) as page, memoryview(page).cast("d") as shared:
        _use_udp_alone()
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = Node(settings["name"], namespace=settings["namespace"], use_global_arguments=False)
        guard = _Guard(node, settings, shared)
        while os.getppid() == planner:
            now = time.monotonic()
            shared[1] = now  # the planner drives only while this is fresh
            wait_s = shared[0] - now
            if wait_s <= 0.0:
                guard.send_safe_command()
                wait_s = REPEAT_S
            time.sleep(min(wait_s, PERIOD_S))
        if shared[0] < math.inf and guard.next_command():
            guard.stand_in()
        node.destroy_node()
        del guard, node
        gc.collect()  # only then DDS announces that they are gone
        rclpy.try_shutdown()
    return 0


class _Guard:
    def __init__(self, node: Node, settings: dict[str, Any], shared: "memoryview[float]") -> None:
        self._node, self._topic = node, settings["topic"]
        self._safe, self._shared = settings["safe_command"], shared
        is_trajectory = settings["command_type"] == "joint_trajectory"
        self._message = (_trajectory if is_trajectory else _labelled_array)(settings)
        self._qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = node.create_publisher(type(self._message), self._topic, self._qos)
        self._num_others, self._sent, self._must_end = 0, -math.inf, False

    def next_command(self) -> "array.array[float]":
        """The safe one, or so near to it as it may come in ``REPEAT_S``; empty: send nothing."""
        num = len(self._safe)
        way = self._shared.tolist()[2:]
        if math.isnan(sum(way[:num])):
            return array.array("d")
        steps = zip(self._safe, way[:num], (REPEAT_S * rate for rate in way[num:]), strict=True)
        return array.array("d", [min(max(to, at - most), at + most) for to, at, most in steps])

    def send_safe_command(self) -> None:
        """At most every ``REPEAT_S``."""
        now, last, command = time.monotonic(), self._sent, self.next_command()
        if command and now - last >= REPEAT_S:
            self._sent = now
            self._shared[2 : 2 + len(command)] = command
            if isinstance(self._message, JointTrajectory):
                self._message.points[0].positions = command
            else:
                self._message.data = command
            self._publisher.publish(self._message)  # before anything is said
            if now - last > 10.0 * REPEAT_S:
                self._node.get_logger().warning("the planner is silent: safe command")

    def stand_in(self) -> None:
        """The planner is gone: the safe command until somebody else drives."""
        self.send_safe_command()
        signal.signal(signal.SIGTERM, self._end)
        self._node.get_logger().error(
            "the planner's process has ended without releasing the robot: safe command until "
            f"somebody else sends commands; to end it: kill {os.getpid()}"
        )
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        self._node.create_subscription(type(self._message), self._topic, self._listen, self._qos)
        heard = time.monotonic()
        while (
            not self._must_end
            and self._num_others < RELIEVED
            and time.monotonic() - heard < ALONE_S
        ):
            self.send_safe_command()
            executor.spin_once(timeout_sec=PERIOD_S)
            if self._publisher.get_subscription_count() > 1:  # one is its own
                heard = time.monotonic()

    def _end(self, *_: object) -> None:
        self._must_end = True

    def _listen(self, message: Float64MultiArray | JointTrajectory) -> None:
        self._num_others += not is_by_guard(message)


def is_by_guard(message: Float64MultiArray | JointTrajectory) -> bool:
    """Whether a command is a guard's, this one's or another's."""
    if isinstance(message, JointTrajectory):
        return bool(message.header.frame_id == LABEL)
    dimensions = message.layout.dim
    return len(dimensions) > 1 and bool(dimensions[1].label == LABEL)


def _use_udp_alone() -> None:
    """Unless the environment chooses transports; to be called before the first node."""
    if not rclpy.get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        return
    if not os.environ.get("FASTDDS_BUILTIN_TRANSPORTS"):
        os.environ["FASTDDS_BUILTIN_TRANSPORTS"] = "UDPv4"  # transports of a profile win over it
    # With LOCALHOST rmw_fastrtps adds shared memory itself, whatever that variable says.
    is_former = os.environ.get("ROS_LOCALHOST_ONLY") == "1"  # wins, and ignores peers
    is_local = is_former or os.environ.get(RANGE, "") not in OTHER_RANGES
    has_peers = bool(os.environ.get("ROS_STATIC_PEERS")) and not is_former
    has_profile = bool(os.environ.get(PROFILE)) or Path(DEFAULT_PROFILE).exists()
    if is_local and not (has_peers or has_profile):  # with these it has to stay
        os.environ |= {PROFILE: str(LOCALHOST_PROFILE), RANGE: "SYSTEM_DEFAULT"}
        os.environ.pop("ROS_LOCALHOST_ONLY", None)


def _labelled_array(settings: dict[str, Any]) -> Float64MultiArray:
    names = settings["actuators"]
    message = Float64MultiArray()
    message.layout.dim = [
        MultiArrayDimension(label=label, size=size, stride=size)
        for label, size in ((",".join(names), len(names)), (LABEL, 1))
    ]
    return message


def _trajectory(settings: dict[str, Any]) -> JointTrajectory:
    """A controller pays no heed to the frame of a trajectory of joints."""
    duration_s = REPEAT_S if settings["is_led"] else settings["control_dt"]
    whole, rest = divmod(round(duration_s * 1e9), 1_000_000_000)
    point = JointTrajectoryPoint(time_from_start=Duration(sec=whole, nanosec=rest))
    header = Header(frame_id=LABEL)
    return JointTrajectory(header=header, joint_names=settings["actuators"], points=[point])


if __name__ == "__main__":
    sys.exit(main())
