"""RobotSight: what is heard of one robot, drawn when somebody looks on.

A message is kept as it comes, the newest of each topic alone, and read only when it is drawn: what
is done for a picture is bounded, however many messages come and whatever their size.
Shapes: N points, J joints.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from visualization_msgs.msg import Marker, MarkerArray

from dads_ros.envs.bodies import RobotBodies
from dads_ros.envs.model import RobotModel
from dads_ros.nodes.conversions import MessageError, grid_of, header_of, joint_columns
from dads_ros.nodes.repeats import Repeats
from dads_ros.nodes.runner import (
    LATCHED_QOS,
    NO_SUBSCRIPTION_EVENTS,
    RELIABLE_QOS,
    STATE_QOS,
)
from dads_ros.transform import Transform
from dads_ros.view.ground import laid, map_picture, thinned
from dads_ros.view.scene import MAX_POINTS, NEAR_GROUND_M, RobotScene, Strip

Array = NDArray[np.float64]
MAX_BYTES = {"map": 64 << 20, "goal_path": 1 << 18}
OTHER_MAX_BYTES = 1 << 20
"""Of a message that is drawn; what is larger is named in the status instead."""
MAX_STRIPS, MAX_FAN_POINTS = 50, 20_000
MAX_REMARK = 200
NUM_JOINT_MESSAGES = 16
"""Of one picture: several drivers may each know some of the joints."""


class RobotSight:
    """Listens in one namespace, and draws into one scene."""

    def __init__(self, node: Node, namespace: str, add_scene: Callable[[], RobotScene]) -> None:
        """Listen.

        Args:
            node: of the topics.
            namespace: of the robot, below the node's own; empty for that.
            add_scene: makes its scene, with the first that is drawn.
        """
        self._node, self._prefix = node, f"{namespace}/" if namespace else ""
        self._add_scene = add_scene
        self._scene_or_none: RobotScene | None = None
        self._model: RobotModel | None = None
        self._bodies: RobotBodies | None = None
        self._joints: Array = np.empty(0)
        self._joint_messages: deque[bytes] = deque(maxlen=NUM_JOINT_MESSAGES)
        self._new: dict[str, bytes] = {}
        self._repeats = {"map": Repeats(has_second_stamp=True)}
        self._remarks: dict[str, str] = {}
        self._goal: Array | None = None
        self._rollouts: Subscription | None = None
        self.frame = "odom"
        """In which odom says that it is."""
        self.seen_since = math.inf
        """When its first state was drawn, s; steady clock."""
        self.heard_s = -math.inf
        """When its last odom came, s; steady clock."""
        self.distance_m = np.nan
        """From the goal, where there is one."""
        self.skill: Array = np.empty(0)
        self.metrics: dict[str, float] = {}
        """Of a training run."""
        self._draws: dict[str, Callable[[bytes], None]] = {
            "odom": self._draw_state,
            "skill_planner/plan": self._draw_plan,
            "skill_planner/rollouts": self._draw_rollouts,
            "skill_planner/goal_tolerance": self._draw_goal,
            "skill_planner/skill": self._take_skill,
            "goal_path": self._draw_path,
            "map": self._draw_map,
            "skill_trainer/skill_fan": self._draw_fan,
            "skill_trainer/metrics": self._take_metrics,
        }
        self._listen(Odometry, "odom", STATE_QOS)
        self._subscribe(JointState, "joint_states", self._keep_joints, STATE_QOS)
        self._listen(Path, "skill_planner/plan", RELIABLE_QOS)
        self._listen(Float64MultiArray, "skill_planner/skill", RELIABLE_QOS)
        self._listen(Marker, "skill_planner/goal_tolerance", LATCHED_QOS)
        self._listen(Path, "goal_path", RELIABLE_QOS)
        self._listen(OccupancyGrid, "map", LATCHED_QOS)
        self._listen(MarkerArray, "skill_trainer/skill_fan", LATCHED_QOS)
        self._listen(Float64MultiArray, "skill_trainer/metrics", RELIABLE_QOS)

    @property
    def remark(self) -> str:
        """What cannot be drawn, and why."""
        return "; ".join(text for text in self._remarks.values() if text)

    @property
    def has_state(self) -> bool:
        """It has been seen."""
        return self.seen_since < math.inf

    @property
    def has_model(self) -> bool:
        """It is known what the robot looks like."""
        return self._model is not None

    @property
    def mass_kg(self) -> float:
        """Of the whole robot; 0 while that is not known."""
        return 0.0 if self._bodies is None else self._bodies.mass_kg

    @property
    def position(self) -> Array:
        """x, y, metres. Shape (2,)."""
        return np.zeros(2) if self._scene_or_none is None else self._scene_or_none.position

    def use_model(self, model: RobotModel) -> None:
        """Draw this robot from now on."""
        self._model, self._bodies = model, RobotBodies(model)
        self._joints = np.full(len(model.spec.joints), np.nan)
        self._scene.build(self._bodies)

    def look(self, is_watched: bool) -> None:
        """Candidates of plans are made only for who listens: listen while somebody looks on."""
        topic = "skill_planner/rollouts"
        if is_watched and self._rollouts is None:
            self._rollouts = self._listen(MarkerArray, topic, RELIABLE_QOS)
        elif not is_watched and self._rollouts is not None:
            self._node.destroy_subscription(self._rollouts)
            self._rollouts = None

    def forget_plan(self) -> None:
        """Nobody plans any longer: show no goal, plan, candidates, skill."""
        self._goal, self.distance_m, self.skill = None, np.nan, np.empty(0)
        self._scene.show_goal(None, 0.0)
        self._scene.show_plan(np.empty((0, 3)))
        self._scene.show_strips("rollouts", [])

    def draw(self) -> None:
        """All that is new."""
        new, self._new = self._new, {}
        for topic in sorted(new, key=lambda topic: topic != "odom"):
            serialised = new[topic]
            if topic in ("map", "goal_path") and not self.has_state:
                self._new.setdefault(topic, serialised)  # until odom says its frame
                continue
            try:
                self._check_size(topic, serialised)
                self._draws[topic](serialised)
                self._remarks[topic] = ""
            except MessageError as error:
                self._remarks[topic] = str(error)
            except Exception as error:  # a picture less must not stop the others
                self._remarks[topic] = f"{topic} cannot be drawn: {error!r}"[:MAX_REMARK]

    @property
    def _scene(self) -> RobotScene:
        if self._scene_or_none is None:
            self._scene_or_none = self._add_scene()
        return self._scene_or_none

    def _listen(self, kind: type, topic: str, qos: QoSProfile) -> Subscription:
        def keep(serialised: bytes) -> None:
            self._new[topic] = serialised
            if topic == "odom":
                self.heard_s = time.monotonic()

        return self._subscribe(kind, topic, keep, qos)

    def _subscribe(
        self, kind: type, topic: str, take: Callable[[bytes], None], qos: QoSProfile
    ) -> Subscription:
        return self._node.create_subscription(
            kind,
            f"{self._prefix}{topic}",
            take,
            qos,
            raw=True,
            event_callbacks=NO_SUBSCRIPTION_EVENTS,
        )

    def _keep_joints(self, serialised: bytes) -> None:
        self._joint_messages.append(serialised)

    def _check_size(self, topic: str, serialised: bytes) -> None:
        most = MAX_BYTES.get(topic, OTHER_MAX_BYTES)
        if len(serialised) > most:
            raise MessageError(
                f"{topic} is not drawn: it has {len(serialised) >> 10} kB; at most {most >> 10} "
                "kB are drawn"
            )

    def _check_frame(self, topic: str, frame: str) -> None:
        if frame != self.frame:
            raise MessageError(
                f"{topic} is not drawn: its frame is '{frame}', that of odom '{self.frame}'"
            )

    def _draw_state(self, serialised: bytes) -> None:
        odometry: Odometry = deserialize_message(serialised, Odometry)
        self.frame = odometry.header.frame_id or "odom"
        self.seen_since = min(self.seen_since, time.monotonic())
        pose = odometry.pose.pose
        place, turn = pose.position, pose.orientation
        base = np.array([place.x, place.y, place.z])
        orientation = np.array([turn.w, turn.x, turn.y, turn.z])
        length = np.linalg.norm(orientation)
        if not (np.isfinite(base).all() and 0.5 < length < 2.0):
            raise MessageError("odom is no pose: its numbers must be finite, its quaternion one")
        if self._goal is not None:
            self.distance_m = float(np.linalg.norm(self._goal - base[:2]))
        self._read_joints()
        if self._model is None or self._bodies is None:
            self._scene.move(base, np.empty((0, 3)), np.empty((0, 4)))
            return
        qpos = self._model.qpos(base, orientation / length, self._joints)
        self._scene.move(base, *self._bodies.poses(qpos))

    def _read_joints(self) -> None:
        if self._model is None:
            return
        while self._joint_messages:
            message: JointState = deserialize_message(self._joint_messages.popleft(), JointState)
            rows, columns = joint_columns(self._model.spec.joints, tuple(message.name))
            positions = np.frombuffer(message.position, np.float64)
            if len(positions) == len(message.name):
                self._joints[rows] = positions[columns]
        unknown = [self._model.spec.joints[row] for row in np.flatnonzero(np.isnan(self._joints))]
        text = f"joint_states has no position of {', '.join(unknown)}: drawn as in the MJCF"
        self._remarks["joint_states"] = text[:MAX_REMARK] if unknown else ""

    def _draw_plan(self, serialised: bytes) -> None:
        self._scene.show_plan(_points_of(deserialize_message(serialised, Path)))

    def _draw_path(self, serialised: bytes) -> None:
        path: Path = deserialize_message(serialised, Path)
        self._check_frame("goal_path", path.header.frame_id)
        self._scene.show_path(_points_of(path))

    def _draw_goal(self, serialised: bytes) -> None:
        disc: Marker = deserialize_message(serialised, Marker)
        place = disc.pose.position
        if disc.action != Marker.ADD:
            self.forget_plan()
            return
        self._goal = np.array([place.x, place.y])
        self._scene.show_goal(self._goal, 0.5 * disc.scale.x)

    def _draw_rollouts(self, serialised: bytes) -> None:
        message: MarkerArray = deserialize_message(serialised, MarkerArray)
        strips = [
            Strip(
                laid(thinned(_points(marker.points), MAX_POINTS), NEAR_GROUND_M),
                (marker.color.r, marker.color.g, marker.color.b),
                marker.scale.x,
            )
            for marker in message.markers[: MAX_STRIPS + 1]
            if marker.action == Marker.ADD
        ]
        self._scene.show_strips("rollouts", strips)

    def _draw_fan(self, serialised: bytes) -> None:
        message: MarkerArray = deserialize_message(serialised, MarkerArray)
        lines = [marker for marker in message.markers if marker.action == Marker.ADD][:1]
        for line in lines:
            points = _points(line.points[:MAX_FAN_POINTS])
            pairs = points[: len(points) // 2 * 2].reshape(-1, 2, 3)
            colours = [(c.r, c.g, c.b) for c in line.colors[: 2 * len(pairs) : 2]]
            self._scene.show_pieces("fan", pairs, np.array(colours), line.scale.x)

    def _draw_map(self, serialised: bytes) -> None:
        if self._repeats["map"].is_repeated(serialised):
            return
        self._check_frame("map", header_of(serialised, "map").frame_id)
        grid: OccupancyGrid = deserialize_message(serialised, OccupancyGrid)
        corner = grid_of(grid, Transform())
        info = grid.info
        cells = np.frombuffer(grid.data, np.int8).reshape(info.height, info.width)
        if cells.size:
            size = np.array([info.width, info.height]) * info.resolution
            self._scene.show_map(map_picture(cells), size, np.array(corner))
        self._repeats["map"].keep(serialised)  # not before: what was refused is so again

    def _take_skill(self, serialised: bytes) -> None:
        message: Float64MultiArray = deserialize_message(serialised, Float64MultiArray)
        self.skill = np.frombuffer(message.data, np.float64)[:8].copy()

    def _take_metrics(self, serialised: bytes) -> None:
        message: Float64MultiArray = deserialize_message(serialised, Float64MultiArray)
        names = message.layout.dim[0].label.split(",") if message.layout.dim else []
        self.metrics = dict(zip(names, message.data, strict=False))


def _points_of(path: Path) -> Array:
    """Places of a path, thinned before they are read. Shape (N, 3)."""
    rows = thinned(np.arange(float(len(path.poses))), MAX_POINTS)
    return _points([path.poses[int(row)].pose.position for row in rows])


def _points(places: Any) -> Array:  # noqa: ANN401
    """Shape (N, 3)."""
    points = np.array([(place.x, place.y, place.z) for place in places]).reshape(-1, 3)
    return points[np.isfinite(points).all(axis=1)]
