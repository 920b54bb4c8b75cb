"""dads-ros demo: a simulated robot walks to goals that it gets over ROS 2, shown in a browser.

Simulator, planner and view are processes of their own. They end with this one in every case: they
are ended here on the way out, and when this process is killed they notice it by themselves.
"""

import argparse
import contextlib
import importlib.util
import json
import math
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.arguments import check_numbers
from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError, DadsError, how_to_install
from dads_ros.files import find_file, share_folder
from dads_ros.isolation import import_path
from dads_ros.nodes.conversions import MAX_GOAL_M, Frames, goal_message, heading_to, to_ns
from dads_ros.nodes.runner import LATCHED_QOS, RELIABLE_QOS, STATE_QOS, beginning, ros
from dads_ros.planning.controller import BY_HAND, NO_TASK
from dads_ros.process import PARENT_PID, STOP
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]
GOAL_RANGE_M = 12.0
MIN_GOAL_DISTANCE_M = 6.0
GOAL_TOLERANCE_M = 0.5
GOAL_HOLD_S = 1.0
START_TIMEOUT_S = 60.0
SILENCE_TIMEOUT_S = 10.0
TROUBLE_TIMEOUT_S = 10.0
END_TIMEOUT_S = 3.0  # after a signal; it must be less than STOP allows
MAX_GOALS = 1000
SAID_BYTES = 4000


class StopAskedError(Exception):
    """A signal has asked the demo to end."""


@dataclass(frozen=True)
class GoalResult:
    """What became of a goal."""

    goal: Array
    start_distance_m: float
    time_s: float | None
    """Simulated seconds until the robot had stayed at the goal; None when it did not."""
    text: str


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb ``demo``."""
    parser = subparsers.add_parser("demo", help="drive a simulated robot to goals over ROS 2")
    parser.add_argument("--robot", default="ant", help="robot file: name or path")
    parser.add_argument("--bundle", help="skill bundle; the robot's shipped one by default")
    parser.add_argument(
        "--goals",
        help="x,y of each goal in metres: --goals='5,5 -8,2' (before a minus only with the =)",
    )
    parser.add_argument("--num-goals", type=int, default=4, help="goals drawn without --goals")
    parser.add_argument("--seed", type=int, default=0, help="of goals, start pose and planner")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per second")
    parser.add_argument(
        "--time-limit", type=float, default=90.0, help="simulated seconds for each goal"
    )
    parser.add_argument(
        "--no-view", action="store_true", help="without the page that shows it in a browser"
    )


def run(args: argparse.Namespace) -> int:
    """Drive to all goals. Returns: 0 when every one was reached that was driven to, else 1."""
    if not 0.01 <= args.speed <= 100.0:
        raise ConfigError(f"speed is {args.speed:g}; it must be between 0.01 and 100")
    check_numbers(args, seed=0, num_goals=1)
    if not 0.0 < args.time_limit < math.inf:
        raise ConfigError(f"time-limit is {args.time_limit:g} s; it must be above 0 and finite")
    robot = RobotSpec.load(args.robot)
    if args.goals is None:
        goals = draw_goals(robot, args.seed, args.num_goals)
    else:
        goals = parse_goals(robot, args.goals)
    if args.bundle is None and not (share_folder() / "models" / args.robot).is_dir():
        raise ConfigError(
            f"robot '{robot.name}' has no shipped bundle; give --bundle, the folder of one that "
            "'dads-ros train' made"
        )
    bundle = find_file(args.bundle or args.robot, folder="models")
    warn_of_other_model(robot, SkillBundle(bundle, robot))
    os.environ["ROS_DOMAIN_ID"] = str(free_domain())  # no robot that is there already is driven
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")  # leaves nothing in /dev/shm
    STOP.catch_signals(is_command=True)
    page = None if args.no_view or not can_view() else DemoPage()
    print(
        f"{robot.name} with bundle {bundle}, {len(goals)} goals, speed {args.speed:g}\n"
        f"{how_to_look_on(os.environ['ROS_DOMAIN_ID'])}",
        flush=True,
    )
    results: list[GoalResult] = []
    is_over = False
    with (
        running_nodes(args, robot, bundle, page) as processes,
        contextlib.suppress(StopAskedError),
        ros(),
    ):
        with beginning():
            client = DemoClient(processes, silence_timeout_s(robot, args.speed), page)
        client.wait_until_ready()
        for i, goal in enumerate(goals):
            result = client.drive_to(goal, f"goal {i + 1}/{len(goals)}", args.time_limit)
            if client.is_taken_over:
                break
            results.append(result)
            if client.is_in_trouble:  # a fallen robot does not get up
                break
        if results:
            print(table(results), flush=True)
        is_over = True
        if page is not None and page.address and sys.stdin.isatty() and sys.stdout.isatty():
            print(f"go on at {page.address} as long as you like; Ctrl-C ends it", flush=True)
            client.stay()
    if STOP.is_asked and not is_over:
        return STOP.exit_code
    return 0 if all(result.time_s is not None for result in results) else 1


def can_view() -> bool:
    """Whether the packages of the page are installed."""
    return importlib.util.find_spec("viser") is not None


def how_to_look_on(domain: str) -> str:
    """The command that starts RViz, what it says that is no fault, what the page needs."""
    view = shlex.quote(str(share_folder() / "config" / "dads.rviz"))
    text = f"to look on, with ROS 2 installed: ROS_DOMAIN_ID={domain} rviz2 -d {view}"
    if not can_view():
        text = f"to look on in a browser, {how_to_install('view')}\n{text}"
    if importlib.util.find_spec("tf2_msgs") is None:
        text += (
            "\nRViz's warning 'No tf data' is expected then, as there is no tf2_msgs here: all is "
            "shown in its fixed frame, only the camera does not follow"
        )
    return text


def warn_of_other_model(robot: RobotSpec, bundle: SkillBundle) -> None:
    """Say so on stderr when the robot that is simulated is not quite the one of the training."""
    if RobotModel(robot).sha256() != bundle.manifest.model_sha256:
        print(
            f"the model of robot '{robot.name}' is not the one that the bundle was trained on "
            "(another MJCF, or another version of MuJoCo); it may walk worse",
            file=sys.stderr,
        )


def parse_goals(spec: RobotSpec, text: str) -> Array:
    """Goals from 'x,y x,y'. Shape (N, 2). Raises: ConfigError."""
    try:
        goals = np.array([[float(part) for part in goal.split(",")] for goal in text.split()])
    except ValueError:
        goals = np.empty(0)
    if goals.ndim != 2 or goals.shape[1] != 2 or not np.isfinite(goals).all():
        raise ConfigError(
            f"goals are '{text[:200]}'; expected x,y pairs in metres such as '5,5 -8,2'"
        )
    if len(goals) > MAX_GOALS or np.abs(goals).max() > MAX_GOAL_M:
        raise ConfigError(
            f"{len(goals)} goals, the furthest at {np.abs(goals).max():g} m; at most {MAX_GOALS}, "
            f"and {MAX_GOAL_M:g} m from the start, are expected"
        )
    for goal in goals[(goals * ~spec.ground_axes).any(axis=1)]:
        raise ConfigError(
            f"goal '{goal[0]:g},{goal[1]:g}' is off the line on which robot '{spec.name}' moves; "
            f"give '{goal[0] * spec.ground_axes[0]:g},{goal[1] * spec.ground_axes[1]:g}'"
        )
    return goals


def draw_goals(spec: RobotSpec, seed: int, num: int) -> Array:
    """Goals in [-12, 12]^2, each at least 6 m from the last; the first from the start. (N, 2).

    On a line for a robot that can only move on one.
    """
    rng = np.random.default_rng(seed)
    goals: list[Array] = []
    last = np.zeros(2)
    while len(goals) < num:
        goal = rng.uniform(-GOAL_RANGE_M, GOAL_RANGE_M, 2) * spec.ground_axes
        if np.linalg.norm(goal - last) >= MIN_GOAL_DISTANCE_M:
            goals.append(goal)
            last = goal
    return np.array(goals).reshape(-1, 2)


def table(results: Sequence[GoalResult]) -> str:
    """One line for each goal."""
    lines = [f"{'goal, m':>16}  {'distance, m':>11}  {'time, s':>7}  result"]
    for result in results:
        x, y = result.goal
        duration = "-" if result.time_s is None else f"{result.time_s:.1f}"
        place = f"{x:.1f}, {y:.1f}"
        lines.append(
            f"{place:>16}  {result.start_distance_m:>11.1f}  {duration:>7}  {result.text}"
        )
    return "\n".join(lines)


class DemoPage:
    """The page that the view serves, on a port of its own choice."""

    def __init__(self) -> None:
        """Of a view that is still to be started."""
        self.process: NodeProcess | None = None
        self.address = ""
        """For the browser, as the view says; empty until it is served."""

    @property
    def is_coming(self) -> bool:
        """It is not served yet, but will be."""
        return self.process is not None and not self.address

    def take_address(self, address: str) -> None:
        """Say where it is, and open it on a desktop."""
        if not self.address:
            self.address = address
            print(f"look on and click goals at {address}", flush=True)
            if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
                webbrowser.open(address)

    def look_after(self) -> None:
        """Where its view has ended, the robot goes on."""
        if self.process is not None:
            try:
                self.process.check()
            except DadsError as error:
                self.go_without(str(error))

    def go_without(self, why: str) -> None:
        """Wait for it no longer."""
        print(f"without the page: {why}", file=sys.stderr, flush=True)
        self.process = None


class DemoClient:
    """What a user's program would be: publishes goals, looks at odom."""

    def __init__(
        self, processes: "Sequence[NodeProcess]", silence_s: float, page: DemoPage | None
    ) -> None:
        """Connect. rclpy must be initialised; so long without a state is an error."""
        self._processes, self._silence_s, self._page = processes, silence_s, page
        self.is_taken_over = False
        """Somebody else has given the robot something to do, as by a click in the page."""
        self._num_idle = 0  # reports in turn that there is no task
        self._node = Node("demo")
        self._frames = Frames.of("")
        self._position: Array | None = None
        self._stamp_s, self._received = 0.0, time.monotonic()
        self._accepted: Array | None = None
        self._sent: list[Array] = []
        self._trouble, self._trouble_since_s = "", 0.0
        self._is_answered = False
        self._goals = self._node.create_publisher(PoseStamped, "goal_pose", RELIABLE_QOS)
        self._node.create_subscription(Odometry, "odom", self._take_odometry, STATE_QOS)
        self._node.create_subscription(
            PoseStamped, "skill_planner/goal", self._take_accepted, LATCHED_QOS
        )
        self._node.create_subscription(
            DiagnosticArray, "/diagnostics", self._take_diagnostics, RELIABLE_QOS
        )

    def wait_until_ready(self) -> None:
        """Until states come, the planner answers them and the page is there to see it.

        Raises: DadsError after a while without states or planner.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._can_begin() or (self._page is not None and self._page.is_coming):
            if time.monotonic() > deadline:
                if self._page is not None and self._can_begin():
                    self._page.go_without(f"not there within {START_TIMEOUT_S:g} s")
                    break
                missing = "state" if self._position is None else "planner"
                raise DadsError(f"no {missing} within {START_TIMEOUT_S:g} s; is the machine busy?")
            self._spin()

    def _can_begin(self) -> bool:
        return self._position is not None and self._is_answered

    def drive_to(self, goal: Array, name: str, time_limit_s: float) -> GoalResult:
        """Publish a goal and watch until the robot has stayed there, or the time is over.

        Its heading is that of the way there.
        """
        self._trouble = ""
        self._sent.append(goal)
        start_distance, start = self._distance(goal), self._stamp_s
        assert self._position is not None
        heading = heading_to(goal, self._position)
        arrived: float | None = None
        asked, begin = -np.inf, time.monotonic()
        display = Display(name, goal, start_distance)
        while True:
            has_accepted = self._accepted is not None and np.allclose(self._accepted, goal)
            if not has_accepted and time.monotonic() - asked > 1.0:
                now = self._node.get_clock().now().to_msg()
                self._goals.publish(goal_message(goal, heading, now, self._frames))
                asked = time.monotonic()
                if asked - begin > START_TIMEOUT_S:
                    said = self._processes[-1].said(num_lines=1)
                    raise DadsError(f"the planner does not take {name}; it said: {said}")
            if not has_accepted:
                self._num_idle = 0
            self._spin()
            # The first report may be of before; the second says that somebody cancelled the goal.
            self.is_taken_over |= self._num_idle > 1
            distance, elapsed = self._distance(goal), self._stamp_s - start
            display.update(distance, elapsed)
            if distance > GOAL_TOLERANCE_M:
                arrived = None
            elif arrived is None:
                arrived = self._stamp_s
            if arrived is not None and self._stamp_s - arrived >= GOAL_HOLD_S:
                display.close("reached")
                return GoalResult(goal, start_distance, elapsed, "reached")
            if self.is_taken_over:
                display.close("the robot is yours")
                return GoalResult(goal, start_distance, None, "taken over")
            if elapsed > time_limit_s or self.is_in_trouble:
                reason = self._trouble or f"not within {time_limit_s:g} s"
                display.close(reason)
                return GoalResult(goal, start_distance, None, f"missed: {reason}")

    def stay(self) -> None:
        """Until somebody asks this to end."""
        self._silence_s = math.inf
        while True:
            self._spin()

    @property
    def is_in_trouble(self) -> bool:
        """The planner has had the same error for a while, such as a fall."""
        lasted_s = self._stamp_s - self._trouble_since_s
        return bool(self._trouble) and lasted_s > TROUBLE_TIMEOUT_S

    def _spin(self) -> None:
        if STOP.is_asked:
            raise StopAskedError
        rclpy.spin_once(self._node, timeout_sec=0.1)
        for process in self._processes:
            process.check()
        if self._page is not None:
            self._page.look_after()
        if self._position is not None and time.monotonic() - self._received > self._silence_s:
            raise DadsError(f"no state for {self._silence_s:g} s; is the machine busy?")

    def _distance(self, goal: Array) -> float:
        assert self._position is not None
        return float(np.linalg.norm(self._position - goal))

    def _take_odometry(self, message: Odometry) -> None:
        position = message.pose.pose.position
        self._position = np.array([position.x, position.y])
        self._stamp_s, self._received = to_ns(message.header.stamp) / 1e9, time.monotonic()

    def _take_accepted(self, message: PoseStamped) -> None:
        accepted = np.array([message.pose.position.x, message.pose.position.y])
        self.is_taken_over |= not any(np.allclose(accepted, goal) for goal in self._sent)
        self._accepted = accepted

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith("skill_planner"):
                self.is_taken_over |= status.message == BY_HAND
                self._num_idle = self._num_idle + 1 if status.message == NO_TASK else 0
                is_error = status.level == DiagnosticStatus.ERROR
                trouble = status.message if is_error else ""
                is_waiting = is_error and "no state" in trouble
                self._is_answered |= status.level != DiagnosticStatus.WARN and not is_waiting
                if not self._trouble:
                    self._trouble_since_s = self._stamp_s
                self._trouble = trouble
            elif status.name == "view: page" and self._page is not None:
                self._page.take_address({x.key: x.value for x in status.values}["address"])
            elif status.name.startswith("simulator") and status.message == "paused":
                self._received = time.monotonic()  # on purpose


class Display:
    """The distance, live: a bar on a terminal, a line every few seconds elsewhere."""

    WIDTH = 30
    LINE_PERIOD_S = 5.0

    def __init__(self, name: str, goal: Array, start_distance_m: float) -> None:
        """Name the goal."""
        self._label = f"{name} ({goal[0]:6.1f}, {goal[1]:6.1f})"
        self._start, self._is_terminal = max(start_distance_m, 1e-6), sys.stdout.isatty()
        self._next_s = 0.0
        self._text = ""

    def update(self, distance_m: float, elapsed_s: float) -> None:
        """Show a distance."""
        done = round(self.WIDTH * min(1.0, max(0.0, 1.0 - distance_m / self._start)))
        bar = f"[{'#' * done}{'.' * (self.WIDTH - done)}]"
        self._text = f"{self._label} {distance_m:6.2f} m  {elapsed_s:5.1f} s"
        if self._is_terminal:
            print(f"\r{self._text} {bar} ", end="", flush=True)
        elif elapsed_s >= self._next_s:
            self._next_s = elapsed_s + self.LINE_PERIOD_S
            print(self._text, flush=True)

    def close(self, result: str) -> None:
        """End with a result."""
        end = "\033[K\n" if self._is_terminal else "\n"
        print(f"{chr(13) if self._is_terminal else ''}{self._text}  {result}", end=end, flush=True)


class NodeProcess:
    """A node in a process of its own; what it says goes to a file that has no name."""

    def __init__(self, verb: str, parameters: dict[str, object]) -> None:
        """Start it."""
        settings = [item for k, v in parameters.items() for item in ("-p", f"{k}:={_yaml(v)}")]
        # -P: nothing is imported from the folder that this was started in
        command = [sys.executable, "-P", "-m", "dads_ros", verb, "--ros-args", *settings]
        self._verb = verb
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        # A session of its own: Ctrl-C in the terminal reaches only the demo, which ends its nodes.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env=os.environ
            | {PARENT_PID: str(os.getpid()), "PYTHONPATH": os.pathsep.join(import_path())},
        )

    def check(self) -> None:
        """Raises: DadsError when the process has ended."""
        code = self._process.poll()
        if code is not None:
            how = f"with code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
            raise DadsError(f"'{self._verb}' ended {how}: {self.said(num_lines=5)}")

    def said(self, num_lines: int) -> str:
        """Its newest lines, as one."""
        size = os.fstat(self._log.fileno()).st_size
        # Not by seeking: the process writes where this file stands.
        end = os.pread(self._log.fileno(), SAID_BYTES, max(0, size - SAID_BYTES))
        return " ".join(end.decode(errors="replace").split("\n")[-num_lines - 1 :]).strip()

    def ask_to_end(self) -> None:
        """Send SIGTERM, which unlike SIGINT nothing that is started in the background ignores."""
        if self._process.poll() is None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until the deadline of ``time.monotonic``, then kill."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _yaml(value: object) -> str:
    """A parameter's value, as ROS reads it: a text may hold anything."""
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def running_nodes(
    args: argparse.Namespace, robot: RobotSpec, bundle: Path, page: DemoPage | None
) -> Iterator[Sequence[NodeProcess]]:
    """Simulator and planner; they and the view are ended in every case."""
    timeout_s = min(60.0, max(0.5, 5.0 * robot.control_dt / args.speed))  # no parameter takes more
    # In lock step a busy machine is slow, where in real time commands come late and robots fall.
    common: dict[str, object] = {
        "seed": args.seed,
        "lock_step": True,
    }
    simulator = {"robot": args.robot, "speed": args.speed, "command_timeout_s": timeout_s}
    planner = {"bundle": str(bundle), "use_sim_time": True, "state_timeout_s": timeout_s}
    processes: list[NodeProcess] = []
    try:
        for verb, parameters in (("simulate", simulator), ("plan", planner)):
            processes.append(NodeProcess(verb, common | parameters))
        nodes = tuple(processes)
        if page is not None:
            page.process = NodeProcess("view", {"robot": args.robot})
            processes.append(page.process)
        yield nodes
    finally:
        deadline = time.monotonic() + END_TIMEOUT_S
        for process in processes:
            process.ask_to_end()
        for process in processes:
            process.end(deadline)


def silence_timeout_s(robot: RobotSpec, speed: float) -> float:
    """Wall-clock seconds without a state that are too many."""
    return max(SILENCE_TIMEOUT_S, 5.0 * robot.control_dt / speed)


def free_domain() -> int:
    """A ROS domain that nobody on this machine uses, judged by its UDP ports.

    It is this process's until that ends: another call, here or elsewhere, gets another one.
    """
    domains = list(range(1, 102))  # above, ports meet those that the system gives out
    random.shuffle(domains)
    return next((x for x in domains if _is_free(x) and _take(x)), domains[0])


_taken: list[socket.socket] = []


def _take(domain: int) -> bool:
    """Make it this process's. Returns: False where another's nodes are still to come."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0dads_ros domain {domain}")  # of no file; it is gone with the process
    except OSError:
        name.close()
        return False
    _taken.append(name)
    return True


def _is_free(domain: int) -> bool:
    first = 7400 + 250 * domain  # RTPS: multicast at +0, participants at +10, +12, ...
    for port in (first, *range(first + 10, first + 20, 2)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True
