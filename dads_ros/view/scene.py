"""RobotScene: one robot in the 3-D scene, with all that is known of its way.

All positions are in the robot's fixed frame odom. Shapes: N points, B bodies.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import viser
from numpy.typing import NDArray

from dads_ros.colours import GOAL, PATH, PLAN, TRAIL, Rgb
from dads_ros.envs.bodies import WORLD, RobotBodies
from dads_ros.view.ground import laid, segments, thinned

Array = NDArray[np.floating]
PLAN_M, NEAR_GROUND_M, UNDER_GRID_M = 0.05, 0.02, -0.01
"""Heights of what lies on the ground; at that of its body a robot hides its plans."""
TRAIL_STEP_M, MAX_TRAIL = 0.05, 2000
MAX_POINTS = 1000
"""Of a line that is shown."""
WORLD_FRAME = "/world"


class Strip(NamedTuple):
    """A line of one colour."""

    points: Array
    """Metres. Shape (N, 3)."""
    colour: Rgb
    width_m: float


class RobotScene:
    """Adds to the scene what it is given, and takes away what is no more."""

    def __init__(self, scene: viser.SceneApi, name: str) -> None:
        """Empty; ``name`` is the robot's namespace."""
        self._scene, self._root = scene, f"{WORLD_FRAME}/{name.replace('/', '_') or 'robot'}"
        self._shown: dict[str, Any] = {}
        self._frames: list[viser.FrameHandle] = []
        self._trail: list[Array] = []
        self._is_chosen = True
        self.position = np.zeros(2)
        """Of the base, x, y in metres. Shape (2,)."""
        scene.add_frame(self._root, show_axes=False)
        if name:
            self._label = scene.add_label(f"{self._root}/name", name, anchor="bottom-center")

    def build(self, bodies: RobotBodies) -> None:
        """Show these surfaces from the next pose on."""
        frames = {
            body: self._scene.add_frame(f"{self._root}/body{body}", show_axes=False)
            for body in bodies.bodies
        }
        self._frames = list(frames.values())
        for number, surface in enumerate(bodies.surfaces):
            place = self._root if surface.body == WORLD else frames[surface.body].name
            *rgb, opacity = surface.rgba
            self._scene.add_mesh_simple(
                f"{place}/surface{number}",
                surface.vertices,
                surface.triangles,
                color=tuple(round(255 * value) for value in rgb),
                opacity=opacity if opacity < 1.0 else None,
                cast_shadow=False,
                receive_shadow=False,
            )

    def move(self, base: Array, positions: Array, quaternions: Array) -> None:
        """Put the robot somewhere.

        Args:
            base: its position, metres. Shape (3,).
            positions: of its bodies, metres. Shape (B, 3).
            quaternions: the same, (w, x, y, z). Shape (B, 4).
        """
        for frame, position, quaternion in zip(self._frames, positions, quaternions, strict=True):
            frame.position, frame.wxyz = position, quaternion
        self.position = np.array(base[:2])
        if hasattr(self, "_label"):
            self._label.position = (*base[:2], base[2] + 0.6)
        point = np.array([*base[:2], NEAR_GROUND_M])
        if not self._trail or np.linalg.norm(point - self._trail[-1]) >= TRAIL_STEP_M:
            if self._trail and np.linalg.norm(point - self._trail[-1]) > 20 * TRAIL_STEP_M:
                self._trail.clear()  # it was put somewhere else
            self._trail = [*self._trail[1 - MAX_TRAIL :], point]
            self._show_line("trail", np.array(self._trail), TRAIL, 0.02)

    def show_plan(self, points: Array) -> None:
        """The way that is planned, on the ground. Shape (N, 3), metres."""
        self._show_line("plan", laid(points, PLAN_M), PLAN, 0.06)

    def show_path(self, points: Array) -> None:
        """The way that is asked for, on the ground. Shape (N, 3), metres."""
        self._show_line("path", laid(points, NEAR_GROUND_M), PATH, 0.05)

    def show_strips(self, name: str, strips: Sequence[Strip]) -> None:
        """Many lines at once, such as candidates of a plan or tracks of skills."""
        strips = [strip for strip in strips if len(strip.points) > 1]
        if not strips:
            self._hide(name)
            return
        pieces = [segments(strip.points) for strip in strips]
        counts = [len(piece) for piece in pieces]
        colours = np.repeat([strip.colour for strip in strips], counts, axis=0)
        width_m = max(strip.width_m for strip in strips)
        self.show_pieces(name, np.concatenate(pieces), colours, width_m)

    def show_pieces(self, name: str, pieces: Array, colours: Array, width_m: float) -> None:
        """Straight lines, each of a colour. Shapes (N, 2, 3), metres, and (N, 3), 0 to 1."""
        colours = np.round(255.0 * np.repeat(colours[:, None], 2, axis=1)).astype(np.uint8)
        shown = self._shown.get(name)
        if shown is None:
            self._shown[name] = self._scene.add_line_segments(
                f"{self._root}/{name}", pieces, colours, thickness=width_m
            )
        else:
            shown.points, shown.colors, shown.thickness = pieces, colours, width_m

    def show_goal(self, goal: Array | None, radius_m: float) -> None:
        """A disc where a goal x, y counts as reached, in metres; None for no goal. Shape (2,)."""
        if goal is None:
            self._hide("goal")
            self._hide("goal_pole")
            return
        at = {"color": tuple(round(255 * c) for c in GOAL), "cast_shadow": False}
        self._shown["goal"] = self._scene.add_cylinder(
            f"{self._root}/goal",
            radius_m,
            NEAR_GROUND_M,
            opacity=0.4,
            position=(*goal, NEAR_GROUND_M),
            **at,
        )
        self._shown["goal_pole"] = self._scene.add_cylinder(
            f"{self._root}/goal_pole", 0.04, 1.2, position=(*goal, 0.6), **at
        )

    def show_map(self, picture: NDArray[np.uint8], size: Array, corner: Array) -> None:
        """A map on the ground.

        Args:
            picture: from ``map_picture``. Shape (H, W, 4).
            size: width and height, m.
            corner: x, y (m) and yaw (rad) of the outer corner of its first cell.
        """
        x, y, yaw = corner
        c, s = np.cos(yaw), np.sin(yaw)
        half = 0.5 * np.asarray(size, float)
        centre = (x + c * half[0] - s * half[1], y + s * half[0] + c * half[1], UNDER_GRID_M)
        self._shown["map"] = self._scene.add_image(
            f"{self._root}/map",
            picture,
            *map(float, size),
            format="png",
            position=centre,
            wxyz=(np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)),
            cast_shadow=False,
            receive_shadow=False,
        )

    def _show_line(self, name: str, points: Array, colour: Rgb, width_m: float) -> None:
        self.show_strips(name, [Strip(thinned(points, MAX_POINTS), colour, width_m)])

    def _hide(self, name: str) -> None:
        handle = self._shown.pop(name, None)
        if handle is not None:
            handle.remove()
