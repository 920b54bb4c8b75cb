"""What the tests of nodes share: nodes in processes of their own, and a probe on their topics."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from visualization_msgs.msg import MarkerArray

from dads_ros.nodes.conversions import Frames, joint_state_message, odometry_message
from dads_ros.nodes.runner import NO_SUBSCRIPTION_EVENTS
from dads_ros.observation import RobotState
from dads_ros.robot import RobotSpec
from waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
LATCHED = QoSProfile(
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
LINE = re.compile(r"^(ok|warning|wrong|not seen) +(\S+(?: \S+)*) {2,}(.*)$", re.MULTILINE)
"""A check of the doctor's table."""
ADDRESS = re.compile(r"look on at http://127\.0\.0\.1:(\d+)")
START = "import sys; from dads_ros.nodes.start import {0}; sys.exit({0}())"
"""What the executable of a node does."""
STATE_TIMEOUT_S, ANSWER_S = 0.5, 15.0
EVERY_MESSAGE = QoSProfile(depth=2000, reliability=ReliabilityPolicy.RELIABLE)


class NodeProcess:
    """One of our nodes in a process of its own."""

    def __init__(
        self, node: str, log: Path, terminal: int | None = None, **parameters: object
    ) -> None:
        """Parameters are the node's; a terminal that is named gets its output instead of a log."""
        self.log = log / f"{node}.{time.monotonic_ns()}.log"
        self._children: list[int] = []
        namespace, name = parameters.pop("namespace", ""), parameters.pop("name", node)
        script = parameters.pop("script", START.format(node))
        remap, file = parameters.pop("remap", None), parameters.pop("params_file", None)
        settings = [item for k, v in parameters.items() for item in ("-p", f"{k}:={_text(v)}")]
        ros_args = ["--ros-args", "-r", f"__ns:=/{namespace}", "-r", f"__node:={name}", *settings]
        ros_args += ["-r", str(remap)] if remap else []
        ros_args += ["--params-file", str(file)] if file else []
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # not ignored, whatever started these tests
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-c", str(script), *ros_args],
                stdout=stream if terminal is None else terminal,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pid in self._children:  # the guard of a planner outlives it, as it should
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait. Returns: the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def wait_for_handlers(self) -> None:
        """Until it would answer SIGTERM: the earliest moment at which it promises anything."""
        status = Path(f"/proc/{self.process.pid}/status")

        def has_handlers() -> bool:
            assert self.process.poll() is None, self.said()
            caught = next(x for x in status.read_text().splitlines() if x.startswith("SigCgt"))
            return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

        wait_until(has_handlers, EVENT_S, self.said)

    def children(self) -> list[int]:
        """Processes that it started and that are still there."""
        return children_of(self.process)

    def kill(self) -> None:
        """End it the hard way."""
        self._children += self.children()
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """Everything that it wrote so far."""
        return self.log.read_text(errors="replace")


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Processes that it started and that are still there."""
    found: list[int] = []
    for thread in Path(f"/proc/{process.pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            found += map(int, (thread / "children").read_text().split())
    return sorted(found)


SHORT_RUN = """
robot: point_mass
evaluate_every: 5
prediction: {steps: 5}
skill_dynamics: {hidden: [16, 16], gradient_steps: 2}
sac: {hidden: [16, 16], gradient_steps: 2}
collect: {num_envs: 16, steps_per_iteration: 20, warmup_steps: 600, episode_steps: 50}
"""
"""Training settings of a run that takes next to nothing."""
EVENT_S = 90.0
"""An event may take so long on a busy machine; pytest ends a test after twice that."""
GONE_S = 2.0
"""So long nodes may take to go; those that were killed are known for longer."""


class Probe:
    """A node of the test's own, which keeps every message that it gets."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        # Nothing that no test uses: now and then rclpy crashes in destroy_node, nobody knows why.
        options = {
            "enable_rosout": False,
            "parameter_overrides": [Parameter("start_type_description_service", value=False)],
        }
        self.node = Node("probe", context=self._context, **options)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.messages: dict[str, list[Any]] = defaultdict(list)
        self.times: dict[str, list[float]] = defaultdict(list)
        self._subscriptions: dict[str, Subscription] = {}
        self._clients: dict[str, Client] = {}
        self._goals = self.node.create_publisher(PoseStamped, "goal_pose", 5)

    def add(self, node: Node) -> None:
        """Let another node of this process run whenever this one does."""
        self._executor.add_node(node)

    def close(self) -> None:
        """Once the other nodes are gone: while one goes, rclpy now and then crashes here."""
        self._executor.shutdown()
        deadline = time.monotonic() + GONE_S
        while len(self.node.get_node_names()) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def listen(self, kind: type, topic: str, qos: QoSProfile = EVERY_MESSAGE) -> None:
        def take(message: object) -> None:
            self.messages[topic].append(message)
            self.times[topic].append(time.monotonic())

        self._subscriptions[topic] = self.node.create_subscription(
            kind, topic, take, qos, event_callbacks=NO_SUBSCRIPTION_EVENTS
        )

    def is_heard(self, topic: str) -> bool:
        """A publisher is known of a topic that was listened to."""
        return self._subscriptions[topic].get_publisher_count() > 0

    def wait_for(self, claim: Callable[[], object], timeout_s: float = EVENT_S) -> None:
        """Spin until the claim holds."""
        deadline = time.monotonic() + timeout_s
        while not claim():
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not happen in time; the planner: {health(self)}")
            self._executor.spin_once(timeout_sec=0.05)

    def wait_for_next(self, topic: str, count: int = 1, timeout_s: float = EVENT_S) -> Any:  # noqa: ANN401
        """The newest message after ``count`` more have come."""
        before = len(self.messages[topic])
        self.wait_for(lambda: len(self.messages[topic]) >= before + count, timeout_s)
        return self.messages[topic][-1]

    def call(self, kind: Any, service: str, **fields: object) -> Any:  # noqa: ANN401
        """Call a service. Returns: its response.

        A node may know of a service before that knows of it; then the response is lost, and the
        call is made once more.
        """
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        self.wait_for(client.service_is_ready)
        futures = [client.call_async(kind.Request(**fields))]
        deadline = time.monotonic() + ANSWER_S
        self.wait_for(lambda: futures[0].done() or time.monotonic() > deadline, 2.0 * ANSWER_S)
        if not futures[0].done():
            futures.append(client.call_async(kind.Request(**fields)))
            self.wait_for(lambda: any(future.done() for future in futures), 30.0)
        return next(future for future in futures if future.done()).result()

    def send_goal(self, x: float, y: float, frame: str = "odom") -> None:
        self.wait_for(lambda: self._goals.get_subscription_count() > 0)
        message = PoseStamped()
        message.header.frame_id = frame
        message.pose.position.x, message.pose.position.y = x, y
        self._goals.publish(message)


class Robot(NamedTuple):
    """A point mass with its simulator and planner, and what they say."""

    probe: Probe
    simulator: NodeProcess
    planner: NodeProcess


def start_robot(
    probe: Probe,
    start: Callable[..., NodeProcess],
    bundle: Path,
    state_timeout_s: float = STATE_TIMEOUT_S,
) -> Robot:
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(Odometry, "odom")
    probe.listen(PoseStamped, "skill_planner/goal", LATCHED)
    probe.listen(Bool, "skill_planner/goal_reached", LATCHED)
    probe.listen(DiagnosticArray, "/diagnostics")
    simulator = start("simulator", robot="point_mass", speed=4.0)
    planner = start(
        "skill_planner", bundle=bundle, use_sim_time=True, state_timeout_s=state_timeout_s
    )
    probe.wait_for_next("odom", 2, 60.0)
    probe.wait_for_next("joint_commands", 2, 60.0)
    return Robot(probe, simulator, planner)


def stand(probe: Probe, robot: RobotSpec, joints: np.ndarray) -> None:
    """The drivers of a robot that does not move, with its joints there."""
    joint_states, odometry = (
        probe.node.create_publisher(JointState, "joint_states", 5),
        probe.node.create_publisher(Odometry, "odom", 5),
    )
    upright = np.array([1.0, 0.0, 0.0, 0.0])
    state = RobotState(
        np.array([0.0, 0.0, 0.5]), upright, *np.zeros((2, 3)), joints, np.zeros(len(joints))
    )

    def publish() -> None:
        stamp_ns = probe.node.get_clock().now().nanoseconds
        joint_states.publish(joint_state_message(robot, state, stamp_ns))
        odometry.publish(odometry_message(state, stamp_ns, Frames.of("")))

    probe.node.create_timer(robot.control_dt, publish)


def position(probe: Probe) -> np.ndarray:
    place = probe.messages["odom"][-1].pose.pose.position
    return np.array([place.x, place.y])


def send_goal_ahead(probe: Probe, distance_m: float) -> None:
    x, y = position(probe).tolist()
    probe.send_goal(x + distance_m, y)


def port_of(view: NodeProcess, probe: Probe) -> int:
    """Where a view serves its page."""
    probe.wait_for(lambda: ADDRESS.search(view.said()) or view.process.poll() is not None, 60.0)
    found = ADDRESS.search(view.said())
    assert found is not None, view.said()
    return int(found[1])


def health(probe: Probe) -> tuple[int, str]:
    """Level and message of the planner's newest report."""
    for report in reversed(probe.messages["/diagnostics"]):
        for status in report.status:
            if status.name == "skill_planner: control":
                return status.level[0], status.message
    return -1, ""


def is_doing(probe: Probe, activity: str, level: int = 0) -> bool:
    """By the planner's newest report; a busy machine may add that states come slowly."""
    found, message = health(probe)
    doing, _, addition = message.partition("; ")
    return doing == activity and (found == level or bool(addition))


def set_parameters(probe: Probe, values: dict[str, object]) -> None:
    """Set parameters of the planner."""
    parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
    answer = probe.call(SetParameters, "skill_planner/set_parameters", parameters=parameters)
    assert all(result.successful for result in answer.results)


def guard_of(planner: NodeProcess) -> int:
    (pid,) = (
        child
        for child in planner.children()
        if b"guard_node.py" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    return pid


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def doctor(probe: Probe, *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Its exit code, and verdict and finding of each check; the probe runs meanwhile."""
    command = [sys.executable, "-m", "dads_ros", "doctor", "--seconds", "3", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    ) as process:
        probe.wait_for(lambda: process.poll() is not None, 60.0)
        assert process.stdout is not None
        said = process.stdout.read()
    return process.returncode, {
        name: (verdict, found) for verdict, name, found in LINE.findall(said)
    }


def is_moving(probe: Probe) -> bool:
    """By the last command, if there is one."""
    return any(abs(v) > 0.1 for last in probe.messages["joint_commands"][-1:] for v in last.data)


def is_unique(message: MarkerArray) -> bool:
    """No two markers share namespace and id, which turns a display of RViz red."""
    ids = [(marker.ns, marker.id) for marker in message.markers]
    return len(set(ids)) == len(ids)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def isolate() -> None:
    """An own ROS domain for this test process, on this machine only."""
    from dads_ros.cli.demo import free_domain

    os.environ["ROS_DOMAIN_ID"] = str(free_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["FASTDDS_BUILTIN_TRANSPORTS"] = "UDPv4"
