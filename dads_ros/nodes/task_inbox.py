"""TaskInbox: messages that say what to do, as errands; what cannot be used is refused aloud."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.lifecycle import LifecycleNode

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.errors import DadsError
from dads_ros.nodes.conversions import (
    Array,
    Frames,
    MessageError,
    goal_message,
    goal_of,
    map_of,
    path_of,
    velocity_of,
)
from dads_ros.nodes.runner import LATCHED_QOS, NO_PUBLISHER_EVENTS, RELIABLE_QOS
from dads_ros.nodes.settings import SkillPlannerConfig
from dads_ros.planning.controller import Errand
from dads_ros.planning.costs import PathCost
from dads_ros.planning.goal_watch import GoalWatch
from dads_ros.planning.obstacles import ObstacleMap
from dads_ros.planning.tasks import Task


class TaskInbox:
    """Listens to goal_pose, goal_path, cmd_vel and map; the newest wins, the map stays."""

    def __init__(
        self,
        node: LifecycleNode,
        frames: Frames,
        *,
        config: Callable[[], SkillPlannerConfig],
        bundle: Callable[[], SkillBundle | None],
        errand: Callable[[], Errand | None],
        take: Callable[[Errand], None],
    ) -> None:
        """Subscribe.

        Args:
            node: of the topics.
            frames: messages must be in odom.
            config: the present parameters.
            bundle: what the robot is driven with; None while the node is not active.
            errand: the present one.
            take: turns the robot to another one.
        """
        self._node, self._frames, self._config = node, frames, config
        self._bundle, self._errand, self._take = bundle, errand, take
        self._map: ObstacleMap | None = None
        self._goal_publisher = node.create_publisher(
            PoseStamped, "~/goal", LATCHED_QOS, event_callbacks=NO_PUBLISHER_EVENTS
        )
        velocity = self._guarded(self._use_velocity)
        node.create_subscription(
            PoseStamped, "goal_pose", self._guarded(self._use_goal), RELIABLE_QOS
        )
        node.create_subscription(Path, "goal_path", self._guarded(self._use_path), RELIABLE_QOS)
        if config().stamped_cmd_vel:
            node.create_subscription(TwistStamped, "cmd_vel", velocity, RELIABLE_QOS)
        else:
            node.create_subscription(Twist, "cmd_vel", velocity, RELIABLE_QOS)
        node.create_subscription(OccupancyGrid, "map", self._guarded(self._use_map), LATCHED_QOS)

    def _guarded(self, use: Callable[..., None]) -> Callable[[object], None]:
        def callback(message: object) -> None:
            try:
                use(message)
            except DadsError as error:
                is_idle = self._errand() is None
                kept = "the robot stays without a task" if is_idle else "the old task stays"
                self._node.get_logger().warning(f"{error}; {kept}", throttle_duration_sec=1.0)

        return callback

    def _use_goal(self, message: PoseStamped) -> None:
        x, y, yaw = goal_of(message, self._frames).tolist()
        bundle = self._active("goal")
        position = self._on_ground(bundle, np.array([x, y]), "goal")
        headings = np.array([yaw]) if "yaw" in bundle.fields else None
        task = Task(goals=position[None], headings=headings, maps=self._maps)
        self._turn_to(Errand(task, GoalWatch(position)), position)

    def _use_path(self, message: Path) -> None:
        points = path_of(message, self._frames)
        bundle = self._active("path")
        points = self._on_ground(bundle, points, "path")
        path = PathCost(points, self._config().costs.cross_track)
        errand = Errand(Task(path=path, maps=self._maps), GoalWatch(points[-1]))
        self._turn_to(errand, points[-1])

    def _use_velocity(self, message: Twist | TwistStamped) -> None:
        velocity = velocity_of(message, self._frames)
        bundle = self._active("cmd_vel")
        if velocity[2] != 0.0 and "yaw" not in bundle.fields:
            raise MessageError(
                f"cmd_vel refused: angular z {velocity[2]:g}, but this bundle predicts "
                f"{', '.join(bundle.fields)} and no yaw; send angular z 0, or train with 'yaw' in "
                "'prediction.fields'"
            )
        velocities = self._on_ground(bundle, velocity[None, :2], "cmd_vel")
        rates = velocity[2:] if "yaw" in bundle.fields else None
        errand = self._errand()
        if errand is not None and errand.task.velocities is not None:
            errand.task.velocities, errand.task.yaw_rates = velocities, rates
            errand.received = time.monotonic()
        else:
            self._take(Errand(Task(velocities=velocities, yaw_rates=rates, maps=self._maps)))
            self._node.get_logger().info("following cmd_vel")

    def _use_map(self, message: OccupancyGrid) -> None:
        self._map = map_of(message, self._frames)
        errand = self._errand()
        if errand is not None:
            errand.task = dataclasses.replace(errand.task, maps=self._maps)
        rows, columns = self._map.is_lethal.shape
        self._node.get_logger().info(
            f"map: {rows} x {columns} cells of {self._map.resolution_m:g} m, "
            f"{self._map.is_lethal.mean():.0%} obstacles"
        )

    @property
    def _maps(self) -> list[ObstacleMap] | None:
        return None if self._map is None else [self._map]

    def _active(self, what: str) -> SkillBundle:
        bundle = self._bundle()
        if bundle is None:
            raise MessageError(f"{what} refused: the node is not active; activate it first")
        return bundle

    def _on_ground(self, bundle: SkillBundle, points: Array, what: str) -> Array:
        """Points (..., 2) on the line that the robot moves on, if it cannot leave that."""
        axes = bundle.robot.ground_axes
        if points[..., ~axes].any():
            self._node.get_logger().warning(
                f"the {what} is off the line on which the robot moves; taken is what lies on it",
                throttle_duration_sec=1.0,
            )
        return points * axes

    def _turn_to(self, errand: Errand, position: Array) -> None:
        self._take(errand)
        self._node.get_logger().info(f"goal: x {position[0]:.2f} m, y {position[1]:.2f} m")
        now = self._node.get_clock().now().to_msg()
        self._goal_publisher.publish(goal_message(position, now, self._frames))
