"""From state to command over DDS, beside a node that does nothing but answer.

    python benchmark/control_latency.py [--bundle ant] [--minutes 1] [--seed 0]

Starts the simulator in real time, the planner, and a bare rclpy node that publishes an array of
zeros for each pair of joint_states and odom. This process notes when DDS receives each state and
both answers, whatever it is at itself then, sends a goal every 5 s, listens to every marker, and
has the bundle loaded again every 20 s. Ticks that are lost: states that no command answers.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from report import percentiles_ms, print_report
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.demo import NodeProcess, free_domain
from dads_ros.files import find_file
from dads_ros.nodes.conversions import answered_stamp_ns, to_ns
from dads_ros.nodes.runner import RELIABLE_QOS, STATE_QOS

ECHO_TOPIC, GOAL_S, LOAD_S, SETTLE_S, GOAL_RANGE_M = "echo", 5.0, 20.0, 5.0, 8.0
LAST_S = 1.0
"""Whoever has not answered a state by then has lost it."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="ant")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.echo:
        echo()
        return
    bundle = SkillBundle(find_file(args.bundle, folder="models"))
    os.environ.setdefault("ROS_DOMAIN_ID", str(free_domain()))
    settings = {"bundle": str(bundle.folder), "seed": args.seed, "use_sim_time": True}
    nodes = [
        NodeProcess("simulate", {"robot": bundle.robot.name, "seed": args.seed}),
        NodeProcess("plan", settings),
    ]
    answering = subprocess.Popen([sys.executable, __file__, "--echo"])
    try:
        watch = Watch(bundle, args.seed)
        watch.run(60.0 * args.minutes)
    finally:
        answering.terminate()
        answering.wait()
        for node in nodes:
            node.ask_to_end()
        for node in nodes:
            node.end(time.monotonic() + 5.0)
    print_report("control_latency", {"robot": bundle.robot.name, **watch.results()})


class Watch:
    """Goals, bundles and markers for the planner; times of states and answers."""

    def __init__(self, bundle: SkillBundle, seed: int) -> None:
        """Connect."""
        rclpy.init()
        self._node, self._rng = Node("watch"), np.random.default_rng(seed)
        self._axes = bundle.robot.ground_axes
        self._states: dict[int, float] = {}
        self._answers: dict[str, dict[int, float]] = defaultdict(dict)
        self._num_markers = self._num_loads = 0
        self._begin = np.inf
        node = self._node
        node.create_subscription(Odometry, "odom", self._take_state, STATE_QOS)
        for topic in ("joint_commands", ECHO_TOPIC):
            node.create_subscription(
                Float64MultiArray, topic, self._taker(self._answers[topic]), RELIABLE_QOS
            )
        for topic in ("skill_planner/rollouts", "simulator/robot_markers"):
            node.create_subscription(MarkerArray, topic, self._take_markers, RELIABLE_QOS)
        self._goals = node.create_publisher(PoseStamped, "goal_pose", RELIABLE_QOS)
        self._load = node.create_client(Trigger, "skill_planner/load_bundle")

    def run(self, duration_s: float) -> None:
        """Wait until everybody answers, settle, and measure."""
        self._spin_until(lambda: all(self._answers.values()) and self._load.service_is_ready())
        end = time.time() + SETTLE_S + duration_s
        next_goal = next_load = time.time()
        self._begin = next_goal + SETTLE_S
        while (now := time.time()) < end + LAST_S:
            if now >= next_goal:
                next_goal += GOAL_S
                goal = PoseStamped()
                goal.header.frame_id = "odom"
                x, y = self._rng.uniform(-GOAL_RANGE_M, GOAL_RANGE_M, 2) * self._axes
                goal.pose.position.x, goal.pose.position.y = float(x), float(y)
                self._goals.publish(goal)
            if now >= next_load:
                next_load += LOAD_S
                self._load.call_async(Trigger.Request())
                self._num_loads += 1
            rclpy.spin_once(self._node, timeout_sec=0.05)
        self._end = end
        rclpy.shutdown()

    def results(self) -> dict[str, Any]:
        """Latencies, what they differ by, and ticks that were lost."""
        states = {ns: at for ns, at in self._states.items() if self._begin <= at < self._end}
        found: dict[str, Any] = {"states": len(states), "bundles_loaded": self._num_loads}
        for name, topic in (("planner", "joint_commands"), ("echo", ECHO_TOPIC)):
            answers = self._answers[topic]
            seconds = [answers[ns] - at for ns, at in states.items() if ns in answers]
            found[name] = {
                **percentiles_ms(np.array(seconds)),
                "lost": len(states) - len(seconds),
            }
        for key in ("p50_ms", "p99_ms"):
            found[f"more_{key}"] = round(found["planner"][key] - found["echo"][key], 4)
        return found | {"marker_messages": self._num_markers}

    def _spin_until(self, claim: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30.0
        while not claim():
            if time.monotonic() > deadline:
                raise RuntimeError("simulator, planner or echo did not answer within 30 s")
            rclpy.spin_once(self._node, timeout_sec=0.05)

    def _take_state(self, message: Odometry, info: dict[str, int]) -> None:
        self._states[to_ns(message.header.stamp)] = received_s(info)

    def _take_markers(self, _: MarkerArray) -> None:
        self._num_markers += 1

    def _taker(
        self, answers: dict[int, float]
    ) -> Callable[[Float64MultiArray, dict[str, int]], None]:
        def take(message: Float64MultiArray, info: dict[str, int]) -> None:
            stamp_ns = answered_stamp_ns(message)
            if stamp_ns is not None:
                answers.setdefault(stamp_ns, received_s(info))

        return take


def received_s(info: dict[str, int]) -> float:
    """When DDS received a message, by the system's clock."""
    return info["received_timestamp"] / 1e9


def echo() -> None:
    """Answer each pair of states at once."""
    rclpy.init()
    node = Node("echo")
    publisher = node.create_publisher(Float64MultiArray, ECHO_TOPIC, RELIABLE_QOS)
    halves: dict[int, JointState | Odometry] = {}

    def take(half: JointState | Odometry) -> None:
        stamp_ns = to_ns(half.header.stamp)
        other = halves.pop(stamp_ns, None)
        if other is None:
            halves[stamp_ns] = half
            return
        joints = half if isinstance(half, JointState) else other
        message = Float64MultiArray(data=[0.0] * len(joints.position))
        label = f"stamp_ns={stamp_ns}"
        message.layout.dim = [MultiArrayDimension(), MultiArrayDimension(label=label)]
        publisher.publish(message)
        halves.clear()

    node.create_subscription(JointState, "joint_states", take, STATE_QOS)
    node.create_subscription(Odometry, "odom", take, STATE_QOS)
    ended = (
        KeyboardInterrupt,
        rclpy.executors.ExternalShutdownException,
        rclpy_implementation.RCLError,
    )
    with contextlib.suppress(*ended):
        rclpy.spin(node)


if __name__ == "__main__":
    main()
