"""view: robots, their plans and a training run in a page of a browser.

It subscribes to what RViz does and knows nothing else but the robot's MJCF. The page's wishes are
messages and services that everybody else may send as well. Whatever becomes of this process, the
robot does not notice: a skill that is driven by hand ends when its messages do.
"""

import functools
import math
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, Wrench
from rclpy.client import Client
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from dads_ros.envs.model import RobotModel
from dads_ros.errors import DadsError
from dads_ros.files import share_folder
from dads_ros.nodes.conversions import Frames, goal_message, heading_to, labelled_array
from dads_ros.nodes.parameters import NodeParameters
from dads_ros.nodes.robot_sight import RobotSight
from dads_ros.nodes.runner import (
    LATCHED_QOS,
    OK,
    RELIABLE_QOS,
    STEADY,
    WARN,
    Diagnostics,
    Level,
    run_node,
    watch_parent,
)
from dads_ros.nodes.settings import SimulatorConfig, ViewConfig
from dads_ros.nodes.state_age import under_way_s
from dads_ros.robot import RobotSpec
from dads_ros.view.page import Ask, Page
from dads_ros.view.panel import StatusLine
from dads_ros.view.server import is_local

FRAME_S, LOOK_AROUND_S, PLOT_S = 0.05, 1.0, 0.5
CLICK_S, RESEND_S = 10.0, 1.0
"""For so long a clicked goal is sent, every so often, until a planner takes a goal. After that it
is dropped: a robot that starts later must not set off by itself."""
NICENESS = 10
"""Of this process: pictures give way to whatever drives a robot on the same machine."""
MAX_ROBOTS = 16
SILENT_S = 3.5
"""After so long without its report, once a second, a node counts as silent."""
MAX_STATUSES, MAX_OTHERS = 1000, 8
"""That are kept; and shown, of nodes that are none of this package."""
PUSH_M_S, PUSH_S = 1.0, SimulatorConfig().push_duration_s
"""So much faster a push makes the whole robot; how long it lasts where no simulator says so."""
PLANNER, SIMULATOR, TRAINER = "skill_planner", "simulator", "skill_trainer"
SILENT = 3
TIMES = ("plan time p50, ms", "loop period p50, ms")
TRAINING_PLOTS = ("reward", "mean_displacement_m")


class Robot:
    """A namespace: what is seen of its robot, and the ways to it."""

    def __init__(self, node: Node, name: str, sight: RobotSight) -> None:
        """Connect."""
        prefix = f"{name}/" if name else ""

        def publisher(kind: type, topic: str) -> Publisher:
            return node.create_publisher(kind, f"{prefix}{topic}", RELIABLE_QOS)

        def client(kind: type, service: str) -> Client:
            return node.create_client(kind, f"{prefix}{service}")

        self.name, self.sight = name, sight
        self.is_planned = True
        """Its planner, if it ever spoke, still does."""
        self.clicked: PoseStamped | None = None
        """A goal that no planner has taken yet."""
        self._clicked_s = self._sent_s = -math.inf
        self._goals = publisher(PoseStamped, "goal_pose")
        answer = f"{prefix}skill_planner/goal"
        node.create_subscription(PoseStamped, answer, self._take_answer, LATCHED_QOS)
        self.pushes = publisher(Wrench, "simulator/push")
        self.skills = publisher(Float64MultiArray, "skill_planner/skill_by_hand")
        self.cancel = client(Trigger, "skill_planner/cancel")
        self.reset = client(Trigger, "simulator/reset_world")
        self.pause = client(SetBool, "simulator/set_pause")

    def click(self, goal: PoseStamped) -> None:
        """Send this goal, and no longer the one before."""
        self.clicked, self._clicked_s, self._sent_s = goal, time.monotonic(), -math.inf

    def send(self) -> PoseStamped | None:
        """What was clicked, until a planner has taken it. Returns: it, once, where none did."""
        now, goal = time.monotonic(), self.clicked
        if goal is None:
            return None
        if now - self._clicked_s > CLICK_S:
            self.clicked = None
            return goal
        if now - self._sent_s > RESEND_S and self._goals.get_subscription_count() > 0:
            self._sent_s = now
            self._goals.publish(goal)
        return None

    def _take_answer(self, taken: PoseStamped, info: Mapping[str, int]) -> None:
        """A goal that a planner took: this one, or a newer one; not one of before, latched."""
        if self.clicked is None or self._sent_s == -math.inf:
            return
        theirs, ours = taken.pose.position, self.clicked.pose.position
        # A robot that moves on a line has 0 for the other axis.
        is_this = all(
            there in (here, 0.0) for there, here in ((theirs.x, ours.x), (theirs.y, ours.y))
        )
        if is_this or time.monotonic() - under_way_s(info) > self._sent_s:
            self.clicked = None


class ViewNode(Node):
    """Draws at most 20 pictures a second, and nothing while nobody looks on."""

    def __init__(self) -> None:
        """Serve the page and begin to listen. Raises: ConfigError."""
        super().__init__("view")
        self._settings = NodeParameters(self, ViewConfig)
        config = self._settings.config
        if config.robot:
            load_model(config.robot)  # here, so that its errors end the process
        self._page = Page(config.host, config.port)
        self._robots: dict[str, Robot] = {}
        self._statuses: dict[str, tuple[float, Any]] = {}
        self._num_lookers, self._num_left_out, self._plotted = 0, 0, ""
        self._plot_time = self._around_time = -math.inf
        self._took_s: list[float] = []  # for each picture since the last report
        self._begin = self._reported = time.monotonic()
        self._add_robot("")
        self.create_subscription(
            DiagnosticArray, "/diagnostics", self._take_diagnostics, RELIABLE_QOS
        )
        self._diagnostics = Diagnostics(self, "page", self._health, lambda: "")
        self.create_timer(FRAME_S, self._frame, clock=STEADY)
        watch_parent(self)
        self.get_logger().info(f"look on at {self._page.address}")
        if not is_local(config.host):
            self.get_logger().warning(
                f"everybody who reaches {config.host} may look on and drive the robot; nobody is "
                "asked who he is. host:=127.0.0.1 serves this machine alone"
            )

    def destroy_node(self) -> None:
        """Serve no longer."""
        self._page.close()
        super().destroy_node()

    # --- pictures ------------------------------------------------------------------------------

    def _frame(self) -> None:
        begin = time.monotonic()
        for ask in self._page.asks():
            self._do(ask)
        for robot in self._robots.values():
            dropped = robot.send()
            if dropped is not None:
                place = dropped.pose.position
                self.get_logger().warning(
                    f"no planner{f' of {robot.name}' if robot.name else ''} took the clicked goal "
                    f"x {place.x:.2f} m, y {place.y:.2f} m within {CLICK_S:g} s: it is dropped"
                )
        if begin - self._around_time >= LOOK_AROUND_S:
            self._around_time = begin
            self._look_around()
        self._num_lookers = self._page.num_lookers
        if not self._num_lookers:
            return
        with self._page.one_picture():
            for robot in self._robots.values():
                robot.sight.draw()
            self._page.look_at(self._chosen.sight.position)
            if begin - self._plot_time >= PLOT_S:
                self._plot_time = begin
                self._plot(begin - self._begin)
        self._took_s.append(time.monotonic() - begin)

    @property
    def _chosen(self) -> Robot:
        """The one that is looked at: that of the page, else the first that is there."""
        name = self._page.panel.robot
        if name is not None and name in self._robots:
            return self._robots[name]
        seen = (robot for robot in self._robots.values() if robot.sight.has_state)
        return next(seen, self._robots[""])

    def _plot(self, now_s: float) -> None:
        robot, panel = self._chosen, self._page.panel
        if robot.name != self._plotted:
            self._plotted = robot.name
            panel.clear_plots()
        values = self._values(robot, PLANNER)
        is_planned = bool(values) or self._status(robot, PLANNER) is None
        if robot.is_planned and not is_planned:
            robot.sight.forget_plan()
        robot.is_planned = is_planned
        if values:
            for name in TIMES:
                panel.plot(name, [name], [_number(values.get(name))], now_s)
            panel.plot("distance to goal, m", ["distance"], [robot.sight.distance_m], now_s)
        skill = robot.sight.skill
        if len(skill):
            names = [f"z{axis + 1}" for axis in range(len(skill))]
            panel.plot("skill", names, skill.tolist(), now_s)
        metrics = robot.sight.metrics
        for name in TRAINING_PLOTS:
            if name in metrics:
                panel.plot(name, [name], [metrics[name]], now_s)
        panel.show_status(self._status_lines(robot))
        panel.offer_skills(int(_number(values.get("skill dimensions"), 0)))

    def _status_lines(self, robot: Robot) -> list[StatusLine]:
        """What all nodes say, and what they should and do not."""
        now = time.monotonic()
        ours: list[StatusLine] = []
        others: list[StatusLine] = []
        for name, (heard, status) in self._statuses.items():
            silent_s = now - heard
            node = name.split(":")[0]
            lines = ours if node.split("/")[-1] in (PLANNER, SIMULATOR, TRAINER) else others
            if silent_s > SILENT_S:
                text = f"silent for {silent_s:.0f} s; it said: {status.message}"
                lines.append(StatusLine(node, SILENT, text))
            elif node != self.get_fully_qualified_name().lstrip("/"):
                lines.append(StatusLine(node, status.level[0], status.message))
        others.sort(key=lambda line: -line.level)
        lines = ours + others[:MAX_OTHERS]
        if len(others) > MAX_OTHERS:
            text = f"{len(others) - MAX_OTHERS} more nodes report"
            lines.append(StatusLine("view", OK, text))
        silent_s = now - robot.sight.heard_s
        if robot.sight.has_state and silent_s > SILENT_S:
            text = f"odom is silent for {silent_s:.0f} s: the robot is drawn where it was then"
            lines.append(StatusLine("view", WARN, text))
        elif not robot.sight.has_state and not lines:
            lines.append(StatusLine("view", WARN, "no robot is heard: same ROS_DOMAIN_ID?"))
        elif not robot.sight.has_state and self._values(robot, PLANNER):
            lines.append(StatusLine("view", WARN, "no odom yet: the robot is not drawn"))
        if self._num_left_out:
            text = f"{self._num_left_out} robots are not shown: at most {MAX_ROBOTS} are"
            lines.append(StatusLine("view", WARN, text))
        if now - robot.sight.seen_since > SILENT_S and not robot.sight.has_model:
            text = "it is not known what the robot looks like; give the parameter 'robot'"
            lines.append(StatusLine("view", WARN, text))
        if robot.clicked is not None:
            lines.append(StatusLine("view", WARN, "the clicked goal waits for a planner"))
        if robot.sight.remark:
            lines.append(StatusLine("view", WARN, robot.sight.remark))
        return lines

    # --- who is there --------------------------------------------------------------------------

    def _add_robot(self, name: str) -> None:
        sight = RobotSight(self, name, functools.partial(self._page.add_robot, name))
        self._robots[name] = Robot(self, name, sight)

    def _look_around(self) -> None:
        """Robots in namespaces below this node's, what they look like, what they offer."""
        new = [name for name in self._namespaces() if name not in self._robots]
        room = MAX_ROBOTS + 1 - len(self._robots)
        for name in new[:room]:
            self._add_robot(name)
        self._num_left_out = len(new[room:])
        if len(self._robots) > 1:
            root = self._robots[""]
            has_root = root.sight.has_state or self._status(root, PLANNER) is not None
            names = [name for name in self._robots if name or has_root]
            self._page.panel.offer_robots(names, "" if has_root else names[0])
        for robot in self._robots.values():
            robot.sight.look(self._num_lookers > 0)
            if robot.sight.has_state and not robot.sight.has_model:
                self._find_model(robot)
        robot = self._chosen
        paused = self._status(robot, SIMULATOR)
        self._page.panel.offer(
            cancel=robot.cancel.service_is_ready(),
            reset=robot.reset.service_is_ready(),
            pause=robot.pause.service_is_ready(),
            push=robot.pushes.get_subscription_count() > 0 and robot.sight.mass_kg > 0.0,
        )
        self._page.panel.show_pause(paused is not None and paused.message == "paused")

    def _namespaces(self) -> list[str]:
        """Of robots below this node's: odom alone may be a camera's, or a wheel encoder's."""
        own = self.get_namespace().rstrip("/") + "/"
        below = {
            topic.removeprefix(own): types
            for topic, types in self.get_topic_names_and_types()
            if topic.startswith(own)
        }
        found = []
        for topic, types in below.items():
            name, _, last = topic.rpartition("/")
            if last == "odom" and "nav_msgs/msg/Odometry" in types:
                beside = {f"{name}/{other}" for other in ("joint_states", f"{PLANNER}/skill")}
                if name and not beside.isdisjoint(below):
                    found.append(name)
            elif topic.endswith("/skill_trainer/metrics"):
                found.append(topic.removesuffix("/skill_trainer/metrics"))
        return sorted(found)

    def _find_model(self, robot: Robot) -> None:
        """The robot file of the parameter, else the shipped one of the name in /diagnostics."""
        name = self._settings.config.robot
        if not name:
            statuses = (self._status(robot, node) for node in (SIMULATOR, PLANNER))
            named = [status.hardware_id for status in statuses if status is not None]
            known = {path.stem for path in (share_folder() / "config" / "robots").glob("*.yaml")}
            name = next((name for name in named if name in known), "")
        if name:
            try:
                robot.sight.use_model(load_model(name))
            except DadsError as error:
                self.get_logger().warning(str(error), throttle_duration_sec=60.0)

    # --- what is said --------------------------------------------------------------------------

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status[-MAX_STATUSES:]:
            self._statuses.pop(status.name, None)
            self._statuses[status.name] = time.monotonic(), status
        while len(self._statuses) > MAX_STATUSES:
            del self._statuses[next(iter(self._statuses))]  # heard longest ago

    def _status(self, robot: Robot, node: str) -> Any:  # noqa: ANN401
        """The newest of one of its nodes, None if that never said anything."""
        own = self.get_namespace().strip("/")
        start = "/".join(part for part in (own, robot.name, node) if part) + ":"
        found = [status for name, (_, status) in self._statuses.items() if name.startswith(start)]
        return found[0] if found else None

    def _values(self, robot: Robot, node: str) -> dict[str, str]:
        """What the newest says in numbers; nothing of one that has fallen silent."""
        status = self._status(robot, node)
        if status is None or time.monotonic() - self._statuses[status.name][0] > SILENT_S:
            return {}
        return {item.key: item.value for item in status.values}

    # --- what is asked for ---------------------------------------------------------------------

    def _do(self, ask: Ask) -> None:
        robot = self._chosen if ask.robot is None else self._robots.get(ask.robot)
        if robot is None:
            return
        if ask.what in ("skill", "cancel"):
            robot.clicked = None
        actions: dict[str, Callable[..., object]] = {
            "goal": functools.partial(self._send_goal, robot),
            "skill": functools.partial(self._send_skill, robot),
            "push": functools.partial(self._push, robot),
            "cancel": functools.partial(self._call, robot.cancel, Trigger.Request()),
            "reset": functools.partial(self._call, robot.reset, Trigger.Request()),
            "pause": functools.partial(self._pause, robot),
        }
        actions[ask.what](*ask.numbers)

    def _send_goal(self, robot: Robot, x: float, y: float) -> None:
        """With the heading of the way there."""
        now, goal = self.get_clock().now().to_msg(), np.array([x, y])
        heading, frames = heading_to(goal, robot.sight.position), Frames(robot.sight.frame, "")
        robot.click(goal_message(goal, heading, now, frames))
        self.get_logger().info(f"goal by a click: x {x:.2f} m, y {y:.2f} m")

    def _send_skill(self, robot: Robot, *skill: float) -> None:
        robot.skills.publish(labelled_array(np.array(skill), "skill"))
        robot.sight.skill = np.array(skill)

    def _push(self, robot: Robot) -> None:
        """A force from anywhere, for as long as the simulator says that it lasts."""
        angle, wrench = random.uniform(-math.pi, math.pi), Wrench()
        duration = self._values(robot, SIMULATOR).get("push duration, s")
        force = robot.sight.mass_kg * PUSH_M_S / _number(duration, PUSH_S)
        wrench.force.x, wrench.force.y = force * math.cos(angle), force * math.sin(angle)
        robot.pushes.publish(wrench)

    def _pause(self, robot: Robot) -> None:
        status = self._status(robot, SIMULATOR)
        is_paused = status is not None and status.message == "paused"
        self._call(robot.pause, SetBool.Request(data=not is_paused))

    def _call(self, client: Client, request: object) -> None:
        if client.service_is_ready():
            client.call_async(request)

    def _health(self) -> tuple[Level, str, Mapping[str, object]]:
        text = f"{self._num_lookers} look on" if self._num_lookers else "nobody looks on"
        took_s, self._took_s = self._took_s, []
        before, self._reported = self._reported, time.monotonic()
        values: dict[str, object] = {
            "address": self._page.address,
            "pictures per second": len(took_s) / max(self._reported - before, 1e-3),
        }
        if took_s:
            values["picture p50, ms"] = 1e3 * float(np.median(took_s))
        return OK, text, values


@functools.lru_cache
def load_model(robot: str) -> RobotModel:
    """The model of a robot file. Raises: ConfigError."""
    return RobotModel(RobotSpec.load(robot))


def _number(text: str | None, default: float = math.nan) -> float:
    try:
        return default if text is None else float(text)
    except ValueError:
        return default


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal. Returns: the exit code."""
    os.nice(NICENESS)
    return run_node(ViewNode, args=args)


if __name__ == "__main__":
    sys.exit(main())
