"""Stage: a robot with its planner in processes of their own, to which faults can be done."""

import array
import contextlib
import os
import pty
import resource
import shutil
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from geometry_msgs.msg import PoseStamped, Twist, Wrench
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import OccupancyGrid, Odometry
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from std_srvs.srv import Trigger

from bundles import write_bundle
from dads_ros.nodes.conversions import (
    COMMAND_TYPES,
    Frames,
    joint_state_message,
    odometry_message,
)
from dads_ros.nodes.runner import RELIABLE_QOS
from dads_ros.observation import RobotState
from dads_ros.robot import RobotSpec
from faults.machine import Burners, DelayMeter, sweep_shared_memory
from faults.observer import INTRUDER, Observer
from ros_graph import LATCHED, ROOT, START, STATE_TIMEOUT_S, NodeProcess, isolate

START_TIMEOUT_S = 60.0
FAR = (60.0, 0.0)
"""A goal that no row lasts long enough to reach, m."""
REST = {"ankle_1": 1.0, "ankle_2": -1.0, "ankle_3": -1.0, "ankle_4": 1.0}
FRAMES = Frames.of("")
TOPICS = {
    OccupancyGrid: "map",
    PathMessage: "goal_path",
    PoseStamped: "goal_pose",
    Twist: "cmd_vel",
    Wrench: "simulator/push",
}
COSTS = Path(__file__).parent / "costs"


@dataclass(frozen=True)
class Setup:
    """What a row begins with: a robot that drives."""

    robot: str = "point_mass"
    is_simulated: bool = True
    """Else its states are made here, so that anything can be done to them."""
    has_wall_time: bool = True
    """Of states that are made here; else their stamps begin at 10 s."""
    burns: bool = False
    """A process beside it burns each core."""
    has_terminal: bool = False
    """The planner writes on a terminal, which a row can hold."""
    cost: str = ""
    """A class of costs/misbehaves.py as costs.custom."""
    command_type: str = "float64_multi_array"
    """Of joint_commands; the simulator takes no other."""
    simulator: Mapping[str, object] = field(default_factory=dict)
    """Parameters of the simulator."""

    without: str = ""
    """Function of without.py that takes a protection out of the planner."""

    def __hash__(self) -> int:
        return hash(str(self))


class Twin(NamedTuple):
    """Is sent by a second publisher."""

    joints: JointState


Messages = Iterable[JointState | Odometry | Twin]


class MadeStates(threading.Thread):
    """States of a robot that stands upright, at the control rate; ``tamper`` may do anything."""

    def __init__(self, observer: Observer, robot: RobotSpec, has_wall_time: bool) -> None:
        super().__init__(daemon=True)
        self.robot, self.has_wall_time = robot, has_wall_time
        self.late_ns = 0
        """How far the stamps lie behind the time at which they are sent."""
        self.tamper: Callable[[JointState, Odometry], Messages] = lambda *both: both
        self._publishers = {
            JointState: observer.node.create_publisher(JointState, "joint_states", RELIABLE_QOS),
            Odometry: observer.node.create_publisher(Odometry, "odom", RELIABLE_QOS),
        }
        self._twin = observer.node.create_publisher(JointState, "joint_states", RELIABLE_QOS)
        self._count, self._begin_ns = 0, time.time_ns() if has_wall_time else 10_000_000_000
        self._must_end = threading.Event()
        self.start()

    def run(self) -> None:
        begin = time.monotonic()
        while not self._must_end.wait(max(0.0, begin + self._elapsed_s - time.monotonic())):
            stamp_ns = self._begin_ns + round(self._elapsed_s * 1e9) - self.late_ns
            for message in self.tamper(*self.state(stamp_ns)):
                if isinstance(message, Twin):
                    self._twin.publish(message.joints)
                else:
                    self._publishers[type(message)].publish(message)
            self._count += 1

    def state(self, stamp_ns: int) -> tuple[JointState, Odometry]:
        """Of the robot, untampered."""
        joints = np.array([REST.get(name, 0.0) for name in self.robot.joints])
        still, upright = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        place = np.array([0.0, 0.0, 0.55])
        state = RobotState(place, upright, still, still, joints, 0.0 * joints)
        return (
            joint_state_message(self.robot, state, stamp_ns),
            odometry_message(state, stamp_ns, FRAMES),
        )

    def close(self) -> None:
        self._must_end.set()
        self.join()

    @property
    def _elapsed_s(self) -> float:
        return self._count * self.robot.control_dt


class Stage:
    """Processes, topics and services of one robot; what it starts ends with it."""

    def __init__(self, folder: Path, setup: Setup) -> None:
        """Name a folder for logs and bundles; entering starts everything."""
        self.setup, self.folder, self._stack = setup, folder, ExitStack()
        self.robot = RobotSpec.load(setup.robot)
        self.trigger, self.home = folder / "trigger", folder / "home"
        self.simulator: NodeProcess | None = None
        self.states: MadeStates | None = None
        self._publishers: dict[str, Publisher] = {}
        self._clients: dict[str, Client] = {}

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_all(self) -> None:
        """In a ROS domain of its own, until the robot drives to its goal."""
        isolate()
        self._stack.callback(sweep_shared_memory, time.time())  # last of all
        setup = self.setup
        low, high = self.robot.command_limits
        safe = np.array(self.robot.safe_command)
        self.observer = Observer(low, high, safe, COMMAND_TYPES[setup.command_type])
        self._stack.callback(self.observer.close)
        self.bundle = self._bundle(self.home / "bundle")
        self.meter = DelayMeter(self.folder)
        self._stack.callback(self.meter.close)
        if setup.burns:
            self._stack.enter_context(Burners(len(os.sched_getaffinity(0))))
        if setup.is_simulated:
            self.start_simulator()
        else:
            self.states = MadeStates(self.observer, self.robot, setup.has_wall_time)
            self._stack.callback(self.states.close)
            self.observer.stamps_are_wall_time = setup.has_wall_time
        self.start_planner()
        self.drive()

    # --- processes -----------------------------------------------------------------------------

    def start_simulator(self) -> None:
        """Its stamps begin at 0."""
        self.observer.published.clear()
        self.simulator = self._start("simulator", robot=self.setup.robot, **self.setup.simulator)

    def start_planner(self, **parameters: object) -> NodeProcess:
        cost = {"costs.custom": f"misbehaves:{self.setup.cost}"} if self.setup.cost else {}
        settings = {
            "bundle": self.bundle,
            "use_sim_time": self.setup.is_simulated,
            "state_timeout_s": STATE_TIMEOUT_S,
            "command_type": self.setup.command_type,
            **cost,
        }
        if self.setup.without:
            take_out = f"from faults.without import {self.setup.without} as out; out(); "
            settings["script"] = take_out + START.format("skill_planner")
        if self.setup.has_terminal:
            screen, self._terminal = pty.openpty()
            for descriptor in (screen, self._terminal):
                self._stack.callback(os.close, descriptor)
            threading.Thread(target=_read_all, args=(screen,), daemon=True).start()
            settings["terminal"] = self._terminal
        self.planner = self._start("skill_planner", **settings | parameters)
        return self.planner

    def hold_terminal(self, holds: bool = True) -> None:
        """As Ctrl-S does: whoever writes there waits until it is let go."""
        termios.tcflow(self._terminal, termios.TCOOFF if holds else termios.TCOON)

    def start_second_planner(self) -> NodeProcess:
        """Another one for the same robot."""
        return self._start("skill_planner", name="second_planner", bundle=self.bundle)

    def _start(self, node: str, **parameters: object) -> NodeProcess:
        path = os.environ.get("PYTHONPATH")
        os.environ |= {"PYTHONPATH": f"{COSTS}:{COSTS.parents[1]}", "MISBEHAVE": str(self.trigger)}
        try:
            return self._stack.enter_context(NodeProcess(node, self.folder, **parameters))
        finally:
            os.environ.pop("PYTHONPATH")
            if path is not None:
                os.environ["PYTHONPATH"] = path

    def signal(self, number: int, node: str = "planner") -> None:
        """Send a signal to the planner, the simulator or the planner's guard."""
        if node == "guard":
            guards = self.children()
            assert "guard" in guards, "the planner has no guard"
            os.kill(guards["guard"], number)
        else:
            getattr(self, node).process.send_signal(number)

    def children(self) -> dict[str, int]:
        """Processes that the planner has started, by what their command lines say."""
        found = {}
        for pid in self.planner.children():
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                found["guard" if b"guard" in command else f"worker {len(found)}"] = pid
        return found

    def exit_code(self, node: NodeProcess, timeout_s: float) -> int | None:
        """The code with which a process ends; None when it does not."""
        try:
            return node.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def limit_memory(self) -> None:
        """The planner gets no more memory than it has."""
        pages = int(Path(f"/proc/{self.planner.process.pid}/statm").read_text().split()[0])
        size = pages * resource.getpagesize()
        resource.prlimit(self.planner.process.pid, resource.RLIMIT_AS, (size, size))

    def num_open_files(self) -> int:
        """Of the planner."""
        return len(list(Path(f"/proc/{self.planner.process.pid}/fd").iterdir()))

    def misbehave(self, does: bool = True) -> None:
        """Let the planner's custom cost do what its class is named after."""
        self.trigger.touch() if does else self.trigger.unlink(missing_ok=True)

    # --- topics --------------------------------------------------------------------------------

    def drive(self, at_most_s: float = START_TIMEOUT_S) -> None:
        """Send the goal until the robot drives there."""
        deadline = time.monotonic() + at_most_s
        begin = time.time()
        while self.observer.first_drive(begin) is None:
            assert time.monotonic() < deadline, (
                f"the robot does not drive; {self.planner.said()[-500:]}"
            )
            self.publish(goal(*FAR))
            self.observer.spin_for(0.3)

    def publish(self, message: Any) -> None:  # noqa: ANN401
        """Send a message once its topic has a subscriber; a map is latched."""
        kind = type(message)
        qos = LATCHED if kind is OccupancyGrid else RELIABLE_QOS
        publisher = self._publisher(kind, TOPICS[kind], qos)
        self.observer.wait_for(publisher.get_subscription_count, START_TIMEOUT_S)
        publisher.publish(message)

    def intrude(self, stamp_ns: int | None = None) -> None:
        """Another publisher sends a command of its own, once, in answer to a state if it says."""
        size = self.robot.command_dim
        message = Float64MultiArray(data=[0.5] * size)
        labels = [",".join(self.robot.actuators), INTRUDER]
        labels += [] if stamp_ns is None else [f"stamp_ns={stamp_ns}"]
        message.layout.dim = [MultiArrayDimension(label=label, size=size) for label in labels]
        self._publisher(Float64MultiArray, "joint_commands", RELIABLE_QOS).publish(message)

    def _publisher(self, kind: type, topic: str, qos: QoSProfile) -> Publisher:
        if topic not in self._publishers:
            self._publishers[topic] = self.observer.node.create_publisher(kind, topic, qos)
        return self._publishers[topic]

    def withdraw(self, topic: str) -> None:
        """Publish on a topic no longer."""
        if topic in self._publishers:
            self.observer.node.destroy_publisher(self._publishers.pop(topic))

    # --- services ------------------------------------------------------------------------------

    def set(self, **values: object) -> bool:
        """Set parameters of the planner. Returns: whether it took them all."""
        parameters = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        answer = self.observer.call(
            SetParameters, "skill_planner/set_parameters", parameters=parameters
        )
        return all(result.successful for result in answer.results)

    def change(self, *transitions: int) -> bool:
        """Ask the planner for lifecycle transitions. Returns: whether all of them succeeded."""
        return all(
            self.observer.call(
                ChangeState, "skill_planner/change_state", transition=Transition(id=number)
            ).success
            for number in transitions
        )

    def load(self, bundle: Path) -> bool:
        """Ask the planner to load a bundle. Returns: whether it did; the parameter is restored."""
        try:
            return self.set(bundle=str(bundle)) and bool(self.call("skill_planner/load_bundle"))
        finally:
            self.set(bundle=str(self.bundle))

    def call(self, service: str) -> bool:
        return bool(self.observer.call(Trigger, service).success)

    def begin(self, service: str) -> None:
        """Call a service and do not wait for its answer."""
        if service not in self._clients:
            self._clients[service] = self.observer.node.create_client(Trigger, service)
        self.observer.wait_for(self._clients[service].service_is_ready)
        self._clients[service].call_async(Trigger.Request())

    # --- bundles -------------------------------------------------------------------------------

    def _bundle(self, folder: Path) -> Path:
        if self.setup.robot == "point_mass":
            return write_bundle(folder)
        return shutil.copytree(ROOT / "models" / self.setup.robot, folder)

    def shipped_bundle(self, robot: str) -> Path:
        """The shipped one of a robot, beside the robot's own."""
        folder = self.home / robot
        if not folder.exists():
            shutil.copytree(ROOT / "models" / robot, folder)
        return folder

    def changed_bundle(self, name: str, change: Callable[[Path], object]) -> Path:
        """A copy of the bundle, beside it, to which something was done."""
        folder = self.home / name
        if not folder.exists():
            shutil.copytree(self.bundle, folder)
            change(folder)
        return folder


def _read_all(screen: int) -> None:
    with contextlib.suppress(OSError):  # it was closed
        while os.read(screen, 65536):
            pass


def goal(x: float, y: float, frame: str = "odom") -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y = x, y
    return message


def path(points: np.ndarray) -> PathMessage:
    """Through points (M, 2)."""
    message = PathMessage(poses=[goal(x, y) for x, y in points.tolist()])
    message.header.frame_id = "odom"
    return message


def grid(cells: np.ndarray, resolution_m: float, corner: tuple[float, float]) -> OccupancyGrid:
    """A map of cells (rows, columns), true where an obstacle is."""
    message = OccupancyGrid(data=array.array("b", (100 * cells.astype(np.int8)).tobytes()))
    message.header.frame_id = "odom"
    message.info.height, message.info.width = cells.shape
    message.info.resolution = resolution_m
    message.info.origin.position.x, message.info.origin.position.y = corner
    message.info.origin.orientation.w = 1.0
    return message
