"""What RViz draws: the robot, the candidates of a plan, a fan of skill tracks.

All in the fixed frame odom, so that it shows without TF. Shapes: G solids, K candidates, S skills,
T points, P predicted fields.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from dads_ros import colours
from dads_ros.nodes.conversions import to_pose

Array = NDArray[np.floating]
LINE_WIDTH_M = 0.03
DISC_HEIGHT_M = 0.02
CLEARING_ID = -1
"""Of the marker that clears a display, which must share its id with none that is added after it:
RViz takes two of one namespace and id in one message for an error."""


class Solid(Protocol):
    """What ``envs.shapes.Solid`` offers; this module must not import MuJoCo."""

    @property
    def kind(self) -> str:
        """Of sphere, capsule, cylinder, box."""

    @property
    def size(self) -> tuple[float, float, float]:
        """Full widths, metres."""

    @property
    def rgba(self) -> tuple[float, float, float, float]:
        """Colour."""


class RobotMarkers:
    """Markers of a robot's solids, made once; then only their poses change."""

    def __init__(self, solids: Sequence[Solid], frame: str) -> None:
        """A capsule takes three markers: a cylinder and its two round ends."""
        self._array = MarkerArray()
        self._parts: list[tuple[Marker, int, float]] = []
        for row, solid in enumerate(solids):
            width, depth, length = solid.size
            if solid.kind == "capsule":
                self._add(Marker.CYLINDER, (width, width, length), solid, row, 0.0, frame)
                for end in (-0.5, 0.5):
                    self._add(Marker.SPHERE, (width,) * 3, solid, row, end * length, frame)
            else:
                kinds = {"sphere": Marker.SPHERE, "cylinder": Marker.CYLINDER, "box": Marker.CUBE}
                self._add(kinds[solid.kind], (width, depth, length), solid, row, 0.0, frame)

    def update(self, positions: Array, quaternions: Array, stamp: Time) -> MarkerArray:
        """The markers with the solids at (G, 3), metres, and (G, 4), (w, x, y, z); reused."""
        _, x, y, z = (quaternions[:, i] for i in range(4))
        w = quaternions[:, 0]
        axes = np.stack(
            [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1
        )
        for marker, row, offset in self._parts:
            marker.header.stamp = stamp
            marker.pose = to_pose(positions[row] + offset * axes[row], quaternions[row])
        return self._array

    def _add(
        self,
        kind: int,
        size: tuple[float, ...],
        solid: Solid,
        row: int,
        offset: float,
        frame: str,
    ) -> None:
        x, y, z = size
        r, g, b, a = solid.rgba
        marker = Marker(ns="robot", id=len(self._parts), type=kind, action=Marker.ADD)
        marker.header.frame_id = frame
        marker.scale = Vector3(x=x, y=y, z=z)
        marker.color = ColorRGBA(r=r, g=g, b=b, a=a)
        self._array.markers.append(marker)
        self._parts.append((marker, row, offset))


def rollout_markers(
    candidates: Array, costs: Array, *, num: int, height: float, stamp: Time, frame: str
) -> MarkerArray:
    """The best candidate and evenly spaced others, one line strip each, blue to orange by cost.

    Args:
        candidates: predicted positions, world frame, metres. Shape (K, T, P).
        costs: shape (K,).
        num: at most so many strips.
        height: of the lines above the ground, metres.
        stamp: of the state that was planned from.
        frame: odom.
    """
    order = np.argsort(costs, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(num, len(order))).astype(int)]
    markers = [_clearing("rollouts")]
    for rank, (index, rgb) in enumerate(zip(chosen, colours.of_ranks(len(chosen)), strict=True)):
        marker = Marker(ns="rollouts", id=rank, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.color = _colour(rgb, 1.0 if rank == 0 else 0.6)
        marker.scale.x = LINE_WIDTH_M * (2.0 if rank == 0 else 1.0)
        marker.points = _points(candidates[index], height)
        markers.append(marker)
    return _framed(markers, stamp, frame)


def goal_marker(goal: Array | None, tolerance_m: float, *, stamp: Time, frame: str) -> Marker:
    """A disc of where a goal counts as reached; without a goal, what takes the last disc away.

    Args:
        goal: x, y in metres. Shape (2,).
        tolerance_m: its radius.
        stamp: of the message.
        frame: odom.
    """
    if goal is None:
        marker = Marker(ns="goal_tolerance", action=Marker.DELETE)
    else:
        marker = Marker(ns="goal_tolerance", type=Marker.CYLINDER, action=Marker.ADD)
        marker.scale = Vector3(x=2 * tolerance_m, y=2 * tolerance_m, z=DISC_HEIGHT_M)
        marker.color = _colour(colours.GOAL, 0.4)
        marker.pose.position = Point(x=float(goal[0]), y=float(goal[1]), z=DISC_HEIGHT_M)
    marker.header.stamp, marker.header.frame_id = stamp, frame
    return marker


def skill_fan_markers(tracks: Array, *, stamp: Time, frame: str) -> MarkerArray:
    """Tracks of many skills from one start, coloured by the direction in which they end.

    Args:
        tracks: x, y in metres. Shape (S, T, 2).
        stamp: of the message.
        frame: odom.
    """
    marker = Marker(ns="skill_fan", type=Marker.LINE_LIST, action=Marker.ADD)
    marker.scale.x = LINE_WIDTH_M
    for track, rgb in zip(tracks, colours.of_directions(tracks[:, -1]), strict=True):
        points = _points(track, LINE_WIDTH_M)
        marker.points += [point for pair in pairwise(points) for point in pair]
        marker.colors += [_colour(rgb, 0.8)] * (2 * (len(points) - 1))
    return _framed([_clearing("skill_fan"), marker], stamp, frame)


def _clearing(namespace: str) -> Marker:
    return Marker(ns=namespace, id=CLEARING_ID, action=Marker.DELETEALL)


def _colour(rgb: Array | colours.Rgb, opacity: float) -> ColorRGBA:
    red, green, blue = map(float, rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=opacity)


def _points(track: Array, height: float) -> list[Point]:
    return [Point(x=x, y=y, z=height) for x, y in track[:, :2].tolist()]


def _framed(markers: list[Marker], stamp: Time, frame: str) -> MarkerArray:
    for marker in markers:
        marker.header.stamp, marker.header.frame_id = stamp, frame
        marker.pose = Pose(orientation=Quaternion(w=1.0))
    return MarkerArray(markers=markers)
