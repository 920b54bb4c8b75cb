"""TaskInbox: messages that say what to do, as errands; what cannot be used is refused aloud."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.lifecycle import LifecycleNode
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.errors import DadsError
from dads_ros.files import user_path
from dads_ros.nodes.conversions import (
    Array,
    Frames,
    MessageError,
    goal_message,
    goal_of,
    header_of,
    skill_of,
    velocity_of,
)
from dads_ros.nodes.repeats import Repeats
from dads_ros.nodes.runner import LATCHED_QOS, NO_PUBLISHER_EVENTS, RELIABLE_QOS
from dads_ros.nodes.settings import SkillPlannerConfig
from dads_ros.nodes.state_age import under_way_s
from dads_ros.nodes.task_jobs import READ_MAP, READ_PATH
from dads_ros.nodes.task_memory import TaskMemory
from dads_ros.nodes.transforms import FrameTransforms
from dads_ros.planning.controller import LOOKING, Errand, SkillController
from dads_ros.planning.costs import PathCost
from dads_ros.planning.goal_watch import GoalWatch
from dads_ros.planning.obstacles import ObstacleMap
from dads_ros.planning.tasks import Task
from dads_ros.planning.way_process import (
    NoWayError,
    Surroundings,
    WayFinder,
    WayProcess,
    measured_map,
)
from dads_ros.planning.worker import Result, Worker
from dads_ros.transform import Transform

_Placed = tuple[bytes, Transform]
"""A serialised message, and where its frame is in odom."""
MAX_MESSAGE_BYTES = 64 << 20
"""Of a path or a map; a map of 4000 x 4000 cells has 16 MB."""
MAP_MOVED_M, MAP_REACH_M = 0.1, 20.0
"""A map that comes again is worked on again when its frame has moved so far within this reach."""
JUDGE_S = 0.2
"""So often it is looked whether the robot is in an obstacle, or walled in."""


class TaskInbox:
    """Listens to goal_pose, goal_path, cmd_vel, ~/skill_by_hand and map.

    The newest wins, the map stays.

    All is turned into odom by where its frame is at its stamp, and stays there in odom: who
    corrects a frame sends it again. The same message again changes nothing. A goal or path that
    moves by less than ``goal_tolerance_m`` goes on being the same task, with what was learned
    about it.

    Paths and maps may be long: they are read, and ways are found, in processes of their own.
    """

    def __init__(
        self,
        node: LifecycleNode,
        frames: Frames,
        *,
        config: Callable[[], SkillPlannerConfig],
        bundle: Callable[[], SkillBundle | None],
        controller: Callable[[], SkillController | None],
        take: Callable[[Errand | None], None],
    ) -> None:
        """Subscribe.

        Args:
            node: of the topics.
            frames: the names of odom and base_link.
            config: the present parameters.
            bundle: what the robot is driven with; None while the node is not active.
            controller: knows the present errand; None while the node is not configured.
            take: turns the robot to another errand, or to none.
        Raises: ConfigError when tasks cannot be kept.
        """
        self._node, self._frames, self._config = node, frames, config
        self._bundle, self._controller, self._take = bundle, controller, take
        self._process = WayProcess((READ_MAP,))
        self._reader = Worker((READ_PATH,))  # no path waits behind a map
        file = config().task_file
        say = node.get_logger().warning
        self._memory = TaskMemory(user_path(file), say) if file else None
        self._transforms = FrameTransforms(node, frames)
        self._path: tuple[Future[Any], _Placed] | None = None  # being read, and as it came
        self._next_path: _Placed | None = None  # the newest, to be read after that one
        self._paths, self._path_frame = Repeats(), Transform()
        self._followed = Errand(Task()), np.empty((0, 2))  # along a path, and its points
        self._has_recalled = False
        self._map: _Placed | None = None
        self._map_frame = Transform()
        self._maps, self._map_job = Repeats(has_second_stamp=True), Future[ObstacleMap]()
        self._finder: WayFinder | None = None
        self._position: Array | None = None
        self._judged = -math.inf
        self._goal_publisher = node.create_publisher(
            PoseStamped, "~/goal", LATCHED_QOS, event_callbacks=NO_PUBLISHER_EVENTS
        )
        node.create_subscription(
            PoseStamped, "goal_pose", self._guarded(self._hear_goal), RELIABLE_QOS
        )
        node.create_subscription(
            Path, "goal_path", self._guarded(self._hear_path), RELIABLE_QOS, raw=True
        )
        if config().stamped_cmd_vel:
            node.create_subscription(TwistStamped, "cmd_vel", self._take_velocity, RELIABLE_QOS)
        else:
            node.create_subscription(Twist, "cmd_vel", self._take_velocity, RELIABLE_QOS)
        node.create_subscription(
            Float64MultiArray, "~/skill_by_hand", self._take_skill, RELIABLE_QOS
        )
        node.create_subscription(
            OccupancyGrid, "map", self._guarded(self._hear_map), LATCHED_QOS, raw=True
        )
        node.create_service(Trigger, "~/clear_map", self._clear_map)

    def close(self) -> None:
        """End the processes."""
        self._process.close()
        self._reader.close()

    def cancel(self) -> None:
        """No task any longer, also none that is still being read."""
        self.stop()
        self.forget()
        self._take(None)

    def stop(self) -> None:
        """What waits for its frame or is still being read is no task any longer."""
        self._next_path = None
        self._transforms.forget("goal", "path")
        if self._path is not None:
            self._path[0].cancel()
            self._path = None

    def forget(self) -> None:
        """There is no task to be kept over a restart."""
        if self._memory is not None:
            self._memory.forget()

    def resume(self) -> None:
        """Turn to the task that was kept when the process ended, once."""
        self._attempt(self._recall)

    def update(self, base: Array, stamp_ns: int) -> None:
        """Take over what has been read and found meanwhile; once in every control step.

        Args:
            base: x, y (m) and yaw (rad) of the robot, world frame. Shape (3,).
            stamp_ns: of the state.
        """
        if np.isfinite(base).all():
            self._position = base[:2]
            self._transforms.set_base(stamp_ns, Transform.on_ground(*base.tolist()))
        self.try_waiting()
        if self._path is not None and self._path[0].done():
            self._attempt(self._use_path)
        self._read_map()
        if self._finder is not None:
            self._attempt(self._look_for_ways)

    def try_waiting(self) -> None:
        """Use what waits for its frame, or refuse it in the end; also while no states come."""
        for what in self._transforms.waiting:
            self._attempt(self._transforms.try_again, what)

    @property
    def complaint(self) -> str:
        """What the map waits for."""
        return self._transforms.complaint

    def _guarded(self, use: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda message: self._attempt(use, message)

    def _attempt(self, use: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        """Do something with what was sent; what cannot be used is refused aloud."""
        try:
            use(*arguments)
        except DadsError as error:
            is_idle = self._errand is None
            kept = "; the robot stays without a task" if is_idle else "; the old task stays"
            if "map" in str(error).split()[:2]:
                kept = ""
            self._node.get_logger().warning(f"{error}{kept}", throttle_duration_sec=1.0)

    @property
    def _errand(self) -> Errand | None:
        controller = self._controller()
        return None if controller is None else controller.errand

    def _hear_goal(self, message: PoseStamped) -> None:
        self._active("goal")
        self._transforms.forget("path")  # the newest counts
        use = functools.partial(self._use_goal, message)
        self._transforms.use_when_known("goal", message.header, use)

    def _hear_path(self, serialised: bytes) -> None:
        self._active("path")
        _check_size("path", serialised)
        self._transforms.forget("goal")
        use = functools.partial(self._read_path, serialised)
        self._transforms.use_when_known("path", header_of(serialised, "path"), use)

    def _hear_map(self, serialised: bytes) -> None:
        """A latched map comes once, perhaps before the node is active."""
        _check_size("map", serialised)
        use = functools.partial(self._keep_map, serialised)
        self._transforms.use_when_known("map", header_of(serialised, "map"), use)

    def _use_goal(self, message: PoseStamped, transform: Transform) -> None:
        x, y, yaw = goal_of(message, transform).tolist()
        bundle = self._active("goal")
        position = self._on_ground(bundle, np.array([x, y]), "goal")
        has_yaw = "yaw" in bundle.fields
        headings = np.array([yaw]) if has_yaw else None
        self.stop()  # a path that was sent before it is outdated
        task = Task(goals=position[None], headings=headings)
        errand = self._errand
        if errand is not None and _is_same_goal(errand.task, task):
            self._show_goal(position, task)  # whoever sent it waits for an answer
            return
        if errand is None or errand.task.goals is None or not self._move(position, task):
            heading = f"heading {yaw:.2f} rad" if has_yaw else "heading ignored (no yaw predicted)"
            self._turn_to(Errand(task, GoalWatch(position)), position, after=f", {heading}")
        if self._memory is not None:
            self._memory.keep("goal_pose", transform, serialize_message(message))

    def _recall(self) -> None:
        has_recalled, self._has_recalled = self._has_recalled, True
        if has_recalled or self._memory is None:
            return
        try:
            kept = self._memory.recall()
            if kept is not None:
                topic, transform, serialised = kept
                use = {"goal_pose": self._use_kept_goal, "goal_path": self._read_path}[topic]
                use(serialised, transform)
        except DadsError:
            raise
        except Exception as error:  # of a file that is none of ours
            text = f"'task_file' holds no task ({type(error).__name__}); delete it"
            raise MessageError(text) from error

    def _use_kept_goal(self, serialised: bytes, transform: Transform) -> None:
        self._use_goal(deserialize_message(serialised, PoseStamped), transform)

    def _read_path(self, serialised: bytes, transform: Transform) -> None:
        is_known = self._path_frame == transform and self._paths.is_repeated(serialised)
        if (self._path is not None or self._is_followed) and is_known:
            return
        self._paths.keep(serialised)
        self._path_frame = transform
        if self._path is None:
            self._begin_to_read((serialised, transform))
        else:  # else paths that come faster than they can be read were never followed
            self._next_path = serialised, transform

    def _begin_to_read(self, path: "_Placed") -> None:
        serialised, transform = path
        self._path = self._reader.submit(READ_PATH, serialised, transform=transform), path

    @property
    def _is_followed(self) -> bool:
        """The newest path that was used is what the robot does."""
        return self._followed[0] is self._errand

    def _use_path(self) -> None:
        """A path has been read."""
        assert self._path is not None
        (reading, (serialised, transform)), self._path = self._path, None
        waiting, self._next_path = self._next_path, None
        if waiting is not None:
            self._begin_to_read(waiting)
        if reading.cancelled():
            return
        points = self._on_ground(self._active("path"), reading.result()["points"], "path")
        if self._is_followed and np.array_equal(points, self._followed[1]):
            return
        if not self._go_on_along(points):
            path = PathCost(points, self._config().costs.cross_track)
            errand = Errand(Task(path=path), GoalWatch(points[-1]))
            self._turn_to(errand, points[-1], f"path of {path.left_m[0]:.2f} m to")
            self._followed = errand, points
        if self._memory is not None:
            self._memory.keep("goal_path", transform, serialised)

    def _go_on_along(self, points: Array) -> bool:
        """Go on from the progress made, if it is nearly what is followed. Shape (M, 2)."""
        errand, before = self._followed
        if not self._is_followed or errand.task.path is None or len(before) != len(points):
            return False
        moved_m = np.linalg.norm(points - before, axis=1).max()
        path = PathCost(points, self._config().costs.cross_track)
        path.go_on_from(errand.task.path)
        is_near = moved_m <= self._config().goal_tolerance_m
        if not (is_near and self._move(points[-1], Task(path=path))):
            return False
        self._followed = errand, points
        return True

    def _take_velocity(self, message: Twist | TwistStamped, info: Mapping[str, int]) -> None:
        self._take_if_fresh(self._use_velocity, "cmd_vel", message, info)

    def _take_skill(self, message: Float64MultiArray, info: Mapping[str, int]) -> None:
        self._take_if_fresh(self._use_skill, "~/skill_by_hand", message, info)

    def _take_if_fresh(
        self, use: Callable[..., None], what: str, message: object, info: Mapping[str, int]
    ) -> None:
        """Its age counts from when it was sent: a stopped process finds old ones in its queue."""
        age_s, timeout_s = under_way_s(info), self._config().cmd_vel_timeout_s
        if age_s < timeout_s:
            self._attempt(use, message, time.monotonic() - age_s)
        else:
            self._node.get_logger().warning(
                f"{what} refused: it was sent {age_s:.2f} s ago, at most {timeout_s:g} s "
                "(cmd_vel_timeout_s) is allowed; check the sender's clock, network and load",
                throttle_duration_sec=1.0,
            )

    def _use_velocity(self, message: Twist | TwistStamped, received: float) -> None:
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
        errand = self._errand
        self.stop()  # whatever was sent before it is outdated
        if errand is not None and errand.task.velocities is not None:
            errand.task.velocities, errand.task.yaw_rates = velocities, rates
            errand.received = received
        else:
            self._begin_to_follow(
                Task(velocities=velocities, yaw_rates=rates), received, "cmd_vel"
            )

    def _use_skill(self, message: Float64MultiArray, received: float) -> None:
        bundle = self._active("skill")
        self.stop()  # whatever was sent before it is outdated
        skill, errand = skill_of(message, bundle.skill_space.dim)[None], self._errand
        if errand is not None and errand.task.skill is not None:
            errand.task.skill, errand.received = skill, received
        else:
            self._begin_to_follow(Task(skill=skill), received, "~/skill_by_hand")

    def _begin_to_follow(self, task: Task, received: float, what: str) -> None:
        """Turn to what is said again and again."""
        self._begin(Errand(task, received=received))
        self._node.get_logger().info(f"following {what}")
        self.forget()

    def _keep_map(self, serialised: bytes, transform: Transform) -> None:
        has_failed = self._map_job.done() and self._map_job.exception() is not None
        has_moved = self._map_frame.moved_m(transform, MAP_REACH_M) > MAP_MOVED_M
        if has_failed or has_moved or not self._maps.is_repeated(serialised):
            self._maps.keep(serialised)
            self._map_frame = transform
            self._map = serialised, transform

    def _read_map(self) -> None:
        """Have the map read that has come."""
        bundle = self._bundle()
        if self._map is None or bundle is None:
            return
        (serialised, transform), self._map = self._map, None
        if self._finder is None:
            self._finder = WayFinder(self._process, bundle.robot.radius_m)
        self._map_job = self._process.submit(
            READ_MAP, serialised, self._take_map, transform=transform
        )
        self._finder.use_map(self._map_job)

    def _clear_map(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Forget the map: all is free until the next one comes, be it the same."""
        self._map, self._maps, self._finder = None, Repeats(has_second_stamp=True), None
        self._transforms.forget("map")
        errand, controller = self._errand, self._controller()
        if errand is not None and controller is not None:
            errand.task = dataclasses.replace(errand.task, maps=None, ways=None)
            errand.remark = ""
            controller.let_wait(errand, "")
        response.success, response.message = True, "there is no map: all is taken for free"
        return response

    def _take_map(self, result: Result) -> ObstacleMap:
        """In the thread that waits for the process."""
        found = measured_map(result)
        rows, columns = found.is_lethal.shape
        self._node.get_logger().info(
            f"map: {rows} x {columns} cells of {found.resolution_m:g} m, "
            f"{round(result['filled'] * found.is_lethal.size)} of them obstacles"
        )
        return found

    def _look_for_ways(self) -> None:
        """Give the errand the newest map, and the way to its goal as soon as it is known."""
        errand, controller, finder = self._errand, self._controller(), self._finder
        if controller is None or finder is None:
            return
        config = self._config()
        if errand is None:
            finder.prepare(config.costs.margin_m)
            return
        goal = _goal_of(errand)
        try:
            around = finder.update(goal, config.costs.margin_m, config.goal_tolerance_m)
        except NoWayError:
            self.forget()
            self._take(None)
            raise
        if around is None:
            if finder.has_map and errand.is_ready:
                controller.let_wait(errand, LOOKING)
            return
        task = errand.task
        if not (_is_same(around.maps, task.maps) and _is_same(around.ways, task.ways)):
            errand.task = dataclasses.replace(task, maps=around.maps, ways=around.ways)
            self._judged = -math.inf
        if time.monotonic() - self._judged > JUDGE_S or errand.waits_for == LOOKING:
            self._judged = time.monotonic()
            self._judge(errand, controller, around)

    def _judge(self, errand: Errand, controller: SkillController, around: Surroundings) -> None:
        """Say whether robot or goal are in an obstacle, and stand where no way leads."""
        waits_for, remarks = "", []
        bundle = self._bundle()
        if around.maps is not None and self._position is not None and bundle is not None:
            obstacles, radius_m = around.maps[0], bundle.robot.radius_m
            clear_m = float(obstacles.clearance(self._position)) - radius_m
            goal = _goal_of(errand)
            if clear_m < 0.0:
                remarks.append("the robot touches an obstacle: only ways out of it are taken")
            elif around.ways is not None and not around.ways[0].leads_from(self._position):
                waits_for = "no way leads to the goal on this map"
            if goal is not None and obstacles.clearance(goal) < radius_m:
                remarks.append("the goal is in an obstacle: the robot goes as near as it can")
        for text in (waits_for, *remarks):
            if text != errand.waits_for and text not in errand.remark:
                self._node.get_logger().warning(text)
        errand.remark = "; ".join(remarks)
        controller.let_wait(errand, waits_for)

    def _begin(self, errand: Errand) -> None:
        """Turn to an errand; the robot stands until its way is known."""
        self._read_map()
        near_m = self._config().goal_tolerance_m
        if self._finder is not None and not self._finder.knows(_goal_of(errand), near_m):
            errand.waits_for = LOOKING
        self._take(errand)
        self._look_for_ways()

    def _active(self, what: str) -> SkillBundle:
        bundle = self._bundle()
        if bundle is None:
            raise MessageError(
                f"{what} refused: the node is not active or about to stop; activate it first"
            )
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

    def _turn_to(
        self, errand: Errand, position: Array, before: str = "goal:", after: str = ""
    ) -> None:
        self._begin(errand)
        x, y = position
        self._node.get_logger().info(f"{before} x {x:.2f} m, y {y:.2f} m{after}")
        self._show_goal(position, errand.task)

    def _move(self, position: Array, task: Task) -> bool:
        """Put the present goal or path where a task has it; whether that was little enough."""
        controller = self._controller()
        if controller is None or not controller.move(position, task):
            return False
        self._look_for_ways()
        self._show_goal(position, task)
        return True

    def _show_goal(self, position: Array, task: Task) -> None:
        now = self._node.get_clock().now().to_msg()
        heading = 0.0 if task.headings is None else float(task.headings[0])
        self._goal_publisher.publish(goal_message(position, heading, now, self._frames))


def _check_size(what: str, serialised: bytes) -> None:
    """Raises: MessageError."""
    if len(serialised) > MAX_MESSAGE_BYTES:
        raise MessageError(
            f"{what} refused: {len(serialised) >> 20} MB; at most {MAX_MESSAGE_BYTES >> 20} MB "
            "are read"
        )


def _is_same(one: Sequence[object] | None, other: Sequence[object] | None) -> bool:
    """Both are of the same things, if of any."""
    return (one and one[0]) is (other and other[0])


def _goal_of(errand: Errand) -> Array | None:
    """Of its one robot, if it has one. Shape (2,)."""
    return None if errand.task.goals is None else errand.task.goals[0]


def _is_same_goal(one: Task, other: Task) -> bool:
    pairs = ((one.goals, other.goals), (one.headings, other.headings))
    return one.goals is not None and all(
        a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs
    )
