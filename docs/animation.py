"""Film a shipped robot as it walks to goals, and write it as an animated WebP.

The Ant goes around boxes, the Go2 takes up headings.

Goal, plan and trail have the colours that they have on the page. What is driven is the same at
every call; it is drawn by MuJoCo without a display.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dads_ros import colours
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import ControlConfig, CostsConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.files import atomic_write, find_file
from dads_ros.planning.controller import Errand, SkillController, make_loop
from dads_ros.planning.goal_watch import GoalWatch
from dads_ros.planning.obstacles import ObstacleMap
from dads_ros.planning.tasks import Task

Array = NDArray[np.floating]
Rgba = tuple[float, float, float, float]
PICTURES = Path(__file__).parent / "pictures"
MAX_BYTES = 3_000_000
SEED = 1
MARGIN_M = 0.6
"""So near to the boxes that one sees why it goes around them."""
BOX_HEIGHT_M, RESOLUTION_M, MAP_M = 0.5, 0.1, 10.0
SIZE = (800, 450)
CLICK_S, END_S, MAX_S, FRAME_S = 0.6, 1.5, 20.0, 0.05
BOX: Rgba = (0.55, 0.58, 0.63, 1.0)
GROUND: Rgba = (0.96, 0.96, 0.96, 1.0)
LINE: Rgba = (0.82, 0.82, 0.82, 1.0)
NO_OPENGL = (
    "MuJoCo cannot draw without a display here ({}); it needs EGL, which Mesa offers on any "
    "processor: on Debian and Ubuntu 'apt install libegl1 libgl1-mesa-dri'"
)


class Film(NamedTuple):
    """What a robot does, and from where it is seen."""

    goals: tuple[tuple[float, float], ...]
    """Clicked one after the other, each when the one before is reached; x, y in metres."""
    lookat: tuple[float, float, float]
    distance_m: float
    goal_radius_m: float
    headings: tuple[float, ...] = ()
    """To take up at the goals, rad; none for a robot without a front."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Their centres x, y, and sizes along x and y, metres."""


FILMS = {
    "ant": Film(
        goals=((4.6, 1.4), (0.6, -2.8), (-4.2, 0.4)),
        lookat=(0.5, -0.3, 0.0),
        distance_m=9.2,
        goal_radius_m=0.5,
        boxes=(
            (2.2, 0.9, 0.5, 2.2),
            (2.9, -3.6, 0.8, 0.8),
            (-1.8, -1.6, 0.5, 2.4),
            (-0.8, 2.8, 1.2, 0.5),
            (-4.4, -2.6, 0.8, 0.8),
            (5.6, -1.6, 0.8, 0.8),
        ),
    ),
    "go2": Film(
        goals=((1.9, 0.6), (0.4, -0.9), (-1.9, 0.3)),
        headings=(0.5 * np.pi, 0.5 * np.pi, -0.25 * np.pi),
        lookat=(0.0, -0.1, 0.1),
        distance_m=3.6,
        goal_radius_m=0.3,
    ),
}


class Moment(NamedTuple):
    """What is seen after a control step."""

    qpos: Array
    trail: Array
    """Where the robot was until now, x, y in metres. Shape (T, 2)."""
    plan: Array
    """Where it is to go. Shape (H + 1, 2)."""
    goal: Array
    heading: float | None
    """To take up there, rad."""
    clicked_s: float
    """For how long that has been its goal."""


def drive(film: Film, bundle: SkillBundle, model: RobotModel, seconds: float) -> Iterator[Moment]:
    """To one goal after the other, until the last one is reached or the time is over."""
    config = ControlConfig(lock_step=True, goal_hold_s=0.0, costs=CostsConfig(margin_m=MARGIN_M))
    steps = max(1, round(seconds / bundle.control_dt))
    env = one_episode_env(model, 1, steps, rng=np.random.default_rng(SEED), num_threads=1)
    loop = make_loop(bundle.robot, bundle.command, bundle, config, SEED, 1)
    controller = SkillController(loop, lambda: config, seed=SEED, clock=lambda: 0.0)
    controller.activate()
    field, trail = box_map(film.boxes), []
    goals = iter(zip_longest(film.goals, film.headings))
    plan: Array = np.empty((0, 2))
    is_reached, clicked = True, 0
    for step in range(steps):
        if is_reached:
            try:
                goal, heading = next(goals)
            except StopIteration:
                return
            headings = None if heading is None else np.array([heading])
            maps = [field] if film.boxes else None
            task = Task(goals=np.array([goal]), headings=headings, maps=maps)
            controller.turn_to(Errand(task, GoalWatch(np.array(goal))))
            clicked = step
        answer = controller.step(env.state, round(step * bundle.control_dt * 1e9))
        assert answer is not None  # no stamp comes twice here
        if answer.plan is not None:
            plan = answer.plan.predictions[0, :, :2]
        is_reached = answer.is_reached
        trail.append(env.state.position[0, :2].copy())
        qpos = env.physics.states[0, 1 : 1 + model.mj_model.nq].copy()
        clicked_s = (step - clicked) * bundle.control_dt
        yield Moment(qpos, np.array(trail), plan, np.array(goal), heading, clicked_s)
        env.step(answer.result.command)


def box_map(boxes: Sequence[tuple[float, float, float, float]]) -> ObstacleMap:
    """Where the boxes are, as the planner knows it."""
    corner = -MAP_M
    centres = np.arange(corner, MAP_M, RESOLUTION_M) + 0.5 * RESOLUTION_M
    x, y = np.meshgrid(centres, centres)
    is_lethal = np.zeros(x.shape, bool)
    for box_x, box_y, width, depth in boxes:
        is_lethal |= (abs(x - box_x) < 0.5 * width) & (abs(y - box_y) < 0.5 * depth)
    return ObstacleMap(is_lethal, RESOLUTION_M, (corner, corner, 0.0))


class Camera:
    """Draws moments, without a display."""

    def __init__(self, film: Film, model: mujoco.MjModel) -> None:
        """Ends the program with a sentence where there is no OpenGL."""
        try:
            from mujoco.egl import GLContext

            self._gl = GLContext(*SIZE)
            self._gl.make_current()
        except Exception as error:  # of many kinds, by what is missing
            sys.exit(NO_OPENGL.format(error))
        self._film, self._model, self._data = film, model, mujoco.MjData(model)
        _whiten_ground(model)
        _light_softly(model)
        model.vis.global_.offwidth, model.vis.global_.offheight = SIZE
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._option, self._view = mujoco.MjvOption(), mujoco.MjvCamera()
        self._view.lookat[:], self._view.distance = film.lookat, film.distance_m
        self._view.azimuth, self._view.elevation = 90.0, -55.0

    def shoot(self, moment: Moment) -> Image.Image:
        """One picture."""
        self._data.qpos[:] = moment.qpos
        mujoco.mj_forward(self._model, self._data)
        catches = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(
            self._model, self._data, self._option, None, self._view, catches, self._scene
        )
        along, across = np.array([0.01, MAP_M, 0.001]), np.array([MAP_M, 0.01, 0.001])
        for place in np.arange(-MAP_M, MAP_M + 1.0):  # a grid of metres
            self._add(mujoco.mjtGeom.mjGEOM_BOX, along, (place, 0.0, 0.0), LINE)
            self._add(mujoco.mjtGeom.mjGEOM_BOX, across, (0.0, place, 0.0), LINE)
        for x, y, width, depth in self._film.boxes:
            size = np.array([width, depth, BOX_HEIGHT_M]) / 2.0
            self._add(mujoco.mjtGeom.mjGEOM_BOX, size, (x, y, size[2]), BOX)
        self._add_line(moment.trail[::2], 0.02, 0.025, (*colours.TRAIL, 1.0))
        self._add_line(moment.plan, 0.05, 0.05, (*colours.PLAN, 1.0))
        self._add_goal(moment)
        picture = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        window = mujoco.MjrRect(0, 0, *SIZE)
        mujoco.mjr_render(window, self._scene, self._context)
        mujoco.mjr_readPixels(picture, None, window, self._context)
        return Image.fromarray(picture[::-1])

    def _add(self, kind: int, size: Array, place: Sequence[float], rgba: Rgba) -> Any:  # noqa: ANN401
        geom = self._scene.geoms[self._scene.ngeom]
        turn = np.eye(3).ravel()
        mujoco.mjv_initGeom(geom, kind, size, np.array(place), turn, np.array(rgba, np.float32))
        self._scene.ngeom += 1
        return geom

    def _add_goal(self, moment: Moment) -> None:
        """A disc with a pole or the heading to take up there; a wave goes out from a click."""
        cylinder, (x, y) = mujoco.mjtGeom.mjGEOM_CYLINDER, moment.goal
        radius, goal = self._film.goal_radius_m, colours.GOAL
        self._add(cylinder, np.array([radius, 0.01, 0.0]), (x, y, 0.01), (*goal, 0.45))
        if moment.heading is None:
            self._add(cylinder, np.array([0.04, 0.6, 0.0]), (x, y, 0.6), (*goal, 1.0))
        else:
            ahead = np.array([np.cos(moment.heading), np.sin(moment.heading)])
            arrow = self._add(mujoco.mjtGeom.mjGEOM_ARROW, np.zeros(3), (x, y, 0.0), (*goal, 1.0))
            ends = [np.append(moment.goal + far * radius * ahead, 0.04) for far in (-1.0, 1.6)]
            mujoco.mjv_connector(arrow, mujoco.mjtGeom.mjGEOM_ARROW, 0.04, *ends)
        if moment.clicked_s < CLICK_S:
            part = moment.clicked_s / CLICK_S
            size = np.array([radius * (1.0 + 1.4 * part), 0.005, 0.0])
            self._add(cylinder, size, (x, y, 0.005), (*goal, 0.35 * (1.0 - part)))

    def _add_line(self, points: Array, height: float, width: float, rgba: Rgba) -> None:
        points = np.pad(points, ((0, 0), (0, 1)), constant_values=height)
        capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
        for begin, end in pairwise(points):
            geom = self._add(capsule, np.zeros(3), (0.0, 0.0, 0.0), rgba)
            mujoco.mjv_connector(geom, capsule, width, begin, end)


def _whiten_ground(model: mujoco.MjModel) -> None:
    """Instead of what the MJCF's ground looks like."""
    for floor in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        model.geom_matid[floor], model.geom_rgba[floor] = -1, GROUND


def _light_softly(model: mujoco.MjModel) -> None:
    """So that white is not blinding, and the sides of boxes are not black."""
    light = model.vis.headlight
    light.ambient[:], light.diffuse[:], light.specular[:] = 0.4, 0.2, 0.0
    model.light_diffuse[:], model.light_specular[:] = 0.44, 0.0


def main() -> None:
    """Write the film."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--robot", choices=FILMS, default="ant", help="what is filmed")
    parser.add_argument("--out", type=Path, help="the WebP; by default docs/pictures/ROBOT.webp")
    parser.add_argument("--seconds", type=float, default=MAX_S, help="at most so long")
    args = parser.parse_args()
    film, out = FILMS[args.robot], args.out or PICTURES / f"{args.robot}.webp"
    bundle = SkillBundle(find_file(args.robot, folder="models"))
    model = RobotModel(bundle.robot)
    camera, per_frame = Camera(film, model.mj_model), max(1, round(FRAME_S / bundle.control_dt))
    moments = islice(drive(film, bundle, model, args.seconds), None, None, per_frame)
    first, *others = map(camera.shoot, moments)
    frame_ms = round(1000 * per_frame * bundle.control_dt)
    with atomic_write(out) as temporary:
        first.save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=others,
            duration=[*(frame_ms for _ in others), round(1000 * END_S)],
            loop=0,
            quality=75,
            method=4,
        )
        num_bytes = temporary.stat().st_size
        if num_bytes > MAX_BYTES:
            sys.exit(f"{num_bytes / 1e6:.1f} MB are too many; at most {MAX_BYTES / 1e6:g} may be")
    print(f"wrote {out}: {1 + len(others)} pictures, {num_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
