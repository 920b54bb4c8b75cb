"""Tasks that no skill was trained for, each solved by planning alone: what evaluate --task runs.

Shapes: R robots, T steps, M points of a path.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dads_ros.errors import ConfigError
from dads_ros.evaluation.driving import Array, Driver
from dads_ros.evaluation.goals import GOAL_STEPS, evaluate_goals, sample_goals
from dads_ros.evaluation.skills import (
    PUSH_M_S,
    SECTOR_DISTANCE_M,
    evaluate_skills,
    random_directions,
)
from dads_ros.evaluation.statistics import Values
from dads_ros.observation import RobotState, turned, wrapped
from dads_ros.planning.costs import PathCost, WaypointsCost, length
from dads_ros.planning.obstacles import ObstacleMap
from dads_ros.planning.tasks import Task
from dads_ros.robot import RobotSpec

GOAL_RANGE_M = 15.0
NUM_WAYPOINTS, LEG_M, VISITED_M, TURN_M = 5, 10.0, 1.0, 0.75
PATH_SIZE_M, PATH_POINTS, PATH_END_M = 8.0, 400, 0.5
COMMAND_S, WINDOW_S, SETTLE_S = 5.0, 1.0, 2.0
POSE_RANGE_M = 4.0
KEPT_DEG = 15.0
FIELD_M, FIELD_WIDTH_M, FIELD_DISTANCE_M, FILLED = 10.0, 20.0, 2.0, 0.15
BOX_M, RESOLUTION_M = (0.5, 1.5), 0.1
STAND_STEPS, RUN_UP_S = 1000, 3.0
_REACHED_M = 0.5
_NUM_DIRECTIONS, _NUM_SKILLS, _NUM_HELD = 12, 1024, 32


class EvaluationTask(NamedTuple):
    """How long it takes and what measures it."""

    duration_s: float
    """Of the robot's time."""
    needs_plane: bool
    """Nothing for a robot that moves on a line."""
    evaluate: Callable[[Driver, int, int], Values]
    """From the driver, the number of robots and the number of steps."""
    min_steps: int = 0
    """Control steps, where these take longer."""
    needs_yaw: bool = False
    """Nothing for a bundle that predicts none."""

    def num_steps(self, spec: RobotSpec) -> int:
        """T of a robot."""
        return max(self.min_steps, round(self.duration_s / spec.control_dt))


def evaluate_task(name: str, driver: Driver, num: int, steps: int) -> Values:
    """Figures of one of ``TASKS`` over ``num`` robots with a task of their own each.

    Raises: ConfigError where the robot or the bundle cannot do it at all.
    """
    task, spec = TASKS[name], driver.model.spec
    if task.needs_yaw and "yaw" not in driver.skills.fields:
        raise ConfigError(
            f"task '{name}' needs a bundle that predicts yaw; this one predicts "
            f"{', '.join(driver.skills.fields)}: train with 'prediction.fields: [x, y, yaw]'"
        )
    if task.needs_plane and not spec.ground_axes.all():
        raise ConfigError(
            f"task '{name}' needs a robot that moves in the plane; '{spec.name}' moves on a line: "
            f"take {', '.join(name for name, task in TASKS.items() if not task.needs_plane)}"
        )
    return task.evaluate(driver, num, steps)


def _goal(driver: Driver, num: int, steps: int) -> Values:
    goals = sample_goals(driver.model.spec, num, GOAL_RANGE_M, driver.seed)
    return evaluate_goals(driver, goals, steps).values


def _pose(driver: Driver, num: int, steps: int) -> Values:
    """A goal nearby, and a heading to take there."""
    rng = _rng(driver, num)
    goals, headings = (
        rng.uniform(-POSE_RANGE_M, POSE_RANGE_M, (num, 2)),
        rng.uniform(-np.pi, np.pi, num),
    )
    drive = driver.drive(Task(goals=goals, headings=headings), num, steps)
    near = drive.is_up & (length(drive.tracks[:, -1] - goals) < _REACHED_M)
    error_deg = np.degrees(np.abs(wrapped(drive.yaws[:, -1] - headings)))
    return {
        "goal_fraction_05m": near,
        "heading_error_deg": _or_none(error_deg[near]),
        "pose_fraction_05m_20deg": near & (error_deg < 20.0),
        **drive.health,
    }


def _twist(driver: Driver, num: int, steps: int) -> Values:
    """Forward, left and a turn at once, as a joystick or Nav2 sends them to a base with a front.

    Constant in base_link for a while, in random parts: their root sum of squares is half or all of
    what is possible along each axis alone.
    """
    rng, dt = _rng(driver, num), driver.model.spec.control_dt
    per_command, windows = _windows("twist", driver.model.spec, steps)
    full, shape = full_twist(driver), (num, -(-steps // per_command))
    parts = rng.standard_normal((*shape, 3))
    parts *= rng.choice([0.5, 1.0], shape)[..., None] / length(parts)[..., None]
    commands = parts * full

    def change(task: Task, step: int, state: RobotState) -> None:
        now = commands[:, step // per_command]
        task.velocities, task.yaw_rates = now[:, :2], now[:, 2]

    task = Task(velocities=commands[:, 0, :2], yaw_rates=commands[:, 0, 2])
    drive = driver.drive(task, num, steps, change)
    turns = wrapped(np.diff(drive.yaws, axis=1))
    velocity = turned(np.diff(drive.tracks, axis=1), -drive.yaws[:, :-1] - 0.5 * turns) / dt
    errors = []
    for window in windows:
        wanted, rows = commands[:, window.command], window.steps
        off = length(velocity[:, rows].mean(axis=1) - wanted[:, :2])
        errors.append([off, np.abs(turns[:, rows].mean(axis=1) / dt - wanted[:, 2])])
    error = np.array(errors).transpose(1, 2, 0)  # (2, R, windows)
    settled = error[..., [window.is_settled for window in windows]]
    return {
        "velocity_error_mps": error[0].mean(axis=1),
        "yaw_rate_error_radps": error[1].mean(axis=1),
        "velocity_error_settled_mps": settled[0].mean(axis=1) if settled.size else None,
        "yaw_rate_error_settled_radps": settled[1].mean(axis=1) if settled.size else None,
        "full_forward_mps": float(full[0]),
        "full_sideways_mps": float(full[1]),
        "full_turn_radps": float(full[2]),
        **drive.health,
    }


def _each_way(driver: Driver, num: int, steps: int) -> Values:
    """Ahead, back, to the sides and between, as fast as is possible, without turning.

    The heading of the start is kept as controllers of omnidirectional bases keep it: by a yaw rate
    of one per second times the error.
    """
    dt, start_yaw = driver.model.spec.control_dt, np.zeros(num)
    way = np.arange(num) % _NUM_DIRECTIONS
    angles = 2.0 * np.pi / _NUM_DIRECTIONS * way
    directions = turned(np.array([1.0, 0.0]), angles)
    velocities = directions / length(directions / full_twist(driver)[:2])[:, None]

    def change(task: Task, step: int, state: RobotState) -> None:
        yaw = state.yaw()
        if step == 0:
            start_yaw[:] = yaw
        off = wrapped(yaw - start_yaw)
        task.velocities, task.yaw_rates = turned(velocities, -off), -off

    task = Task(velocities=velocities.copy(), yaw_rates=np.zeros(num))
    drive = driver.drive(task, num, steps, change)
    # Ahead of the robot that starts, and to its left, as if its way were ahead.
    places = turned(drive.tracks - drive.tracks[:, :1], -drive.yaws[:, :1] - angles[:, None])
    settled, ends = min(round(SETTLE_S / dt), steps - 1), places[:, -1]
    speeds = (ends - places[:, settled])[:, 0] / ((steps - settled) * dt)
    there = (length(ends) > SECTOR_DISTANCE_M) & ~drive.fell
    there &= np.abs(np.arctan2(ends[:, 1], ends[:, 0])) < np.pi / _NUM_DIRECTIONS
    most = [there[way == w].mean() > 0.5 for w in np.unique(way)]
    off = np.abs(wrapped(drive.yaws - drive.yaws[:, :1])).max(axis=1)
    quarters = {"forward": [0], "backward": [6], "sideways": [3, 9]}
    return {
        "directions_3m": float(np.sum(most)),
        **{f"{name}_mps": _or_none(speeds[np.isin(way, w)]) for name, w in quarters.items()},
        "heading_off_deg": _or_none(np.degrees(off)[~drive.fell]),
        "heading_kept_fraction": (np.degrees(off) < KEPT_DEG) & ~drive.fell,
        **drive.health,
    }


def _or_none(values: NDArray[np.floating]) -> Array | None:
    return values.astype(float) if len(values) else None


class _Window(NamedTuple):
    """Steps over which a velocity is a mean."""

    steps: slice
    command: int
    """The one that holds meanwhile."""
    is_settled: bool
    """It held in the window before as well."""


def _windows(name: str, spec: RobotSpec, steps: int) -> tuple[int, list[_Window]]:
    """Steps of one command, and the windows that lie in one. Raises: ConfigError when none."""
    per_command, per_window = (max(1, round(s / spec.control_dt)) for s in (COMMAND_S, WINDOW_S))
    if steps < per_window:
        raise ConfigError(
            f"task '{name}' takes {steps} steps; its mean velocities need at least {per_window}"
        )
    windows = []
    for start in range(0, steps - per_window + 1, per_window):
        index, after = divmod(start, per_command)
        if after + per_window <= per_command:  # else half under the next command
            windows.append(_Window(slice(start, start + per_window), index, after > 0))
    return per_command, windows


def _waypoints(driver: Driver, num: int, steps: int) -> Values:
    """In a row, each a leg from the last in a random direction."""
    legs = LEG_M * random_directions(driver.model, (num, NUM_WAYPOINTS), _rng(driver, num))
    points = legs.cumsum(axis=1)
    task = Task(waypoints=WaypointsCost(points, TURN_M))
    drive = driver.drive(task, num, steps)
    visited = count_visited(drive.tracks, points, VISITED_M)
    return {
        "waypoint_fraction": visited / NUM_WAYPOINTS,
        "waypoints_all_fraction": visited == NUM_WAYPOINTS,
        **drive.health,
    }


def count_visited(tracks: Array, points: Array, radius_m: float) -> NDArray[np.int64]:
    """Points (R, M, 2) that tracks (R, T + 1, 2) come near to one after the other. Shape (R,)."""
    rows, count = np.arange(len(points)), np.zeros(len(points), int)
    last = points.shape[1]
    for position in np.moveaxis(tracks, 1, 0):
        ahead = points[rows, np.minimum(count, last - 1)]
        count += (length(position - ahead) < radius_m) & (count < last)
    return count


def _path(driver: Driver, num: int, steps: int) -> Values:
    """Circle, figure of eight and square in turn, each turned by a random angle."""
    shapes = np.arange(num) % len(SHAPES)
    angles = _rng(driver, num).uniform(-np.pi, np.pi, num)
    lines = list(SHAPES.values())
    paths = np.stack([turned(lines[s], a) for s, a in zip(shapes, angles, strict=True)])
    drive = driver.drive(Task(path=PathCost(paths, driver.costs.cross_track)), num, steps)
    error, done = cross_track(drive.tracks, paths)
    by_shape = {
        f"cross_track_{name}_m": _or_none(error[(shapes == index) & ~drive.fell])
        for index, name in enumerate(SHAPES)
        if (shapes == index).any()
    }
    return {
        "cross_track_m": _or_none(error[~drive.fell]),
        **by_shape,
        "path_done_fraction": done,
        **drive.health,
    }


def cross_track(tracks: Array, paths: NDArray[np.floating]) -> tuple[Array, Array]:
    """Mean distance of tracks (R, T + 1, 2) from paths (R, M, 2), m, and the part walked.

    A path's end ends the mean. Only the piece near the progress made counts, as in PathCost.
    Shapes (R,), (R,).
    """
    path = PathCost(paths, 0.0)
    total, steps, whole = np.zeros(len(paths)), np.zeros(len(paths)), path.left_m
    for position in np.moveaxis(tracks, 1, 0):
        path.advance(position)
        is_under_way = path.left_m > PATH_END_M
        total += np.where(is_under_way, path.distance(position), 0.0)
        steps += is_under_way
    return total / np.maximum(steps, 1), 1.0 - np.where(is_under_way, path.left_m, 0.0) / whole


def _circle(radius_m: float, turns: Array) -> Array:
    """From the origin on, to the left about (0, radius). (M,) -> (M, 2)."""
    angle = 2.0 * np.pi * turns
    return radius_m * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=-1)


def _shapes() -> dict[str, Array]:
    """Closed lines of PATH_SIZE_M from the origin on. Shape (M, 2) each."""
    half = np.linspace(0.0, 1.0, PATH_POINTS // 2)
    small = _circle(PATH_SIZE_M / 4.0, half)
    corners = PATH_SIZE_M * np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float)
    at = np.linspace(0.0, 4.0, PATH_POINTS + 1)[1:]  # the corners are among them
    square = [np.interp(at, np.arange(5), corners[:, axis]) for axis in (0, 1)]
    return {
        "circle": _circle(PATH_SIZE_M / 2.0, np.linspace(0.0, 1.0, PATH_POINTS)),
        "eight": np.concatenate([small, small * [1.0, -1.0]]),
        "square": np.stack(square, axis=-1),
    }


def _velocity(driver: Driver, num: int, steps: int) -> Values:
    """Constant in the world for a while, at half and at full speed.

    As whatever steers a robot by its pose sends it: in base_link, turned by the yaw of the moment.
    """
    rng, dt = _rng(driver, num), driver.model.spec.control_dt
    per_command, windows = _windows("velocity", driver.model.spec, steps)
    speed, shape = full_speed(driver), (num, -(-steps // per_command))
    commands = random_directions(driver.model, shape, rng)
    is_full = rng.random(shape) < 0.5
    commands *= speed * np.where(is_full, 1.0, 0.5)[..., None]

    def change(task: Task, step: int, state: RobotState) -> None:
        task.velocities = turned(commands[:, step // per_command], -state.yaw())

    drive = driver.drive(Task(velocities=commands[:, 0]), num, steps, change)
    velocity = np.diff(drive.tracks, axis=1) / dt
    errors = []
    for window in windows:
        wanted = commands[:, window.command]
        mean = velocity[:, window.steps].mean(axis=1)
        errors.append(length(mean - wanted) / length(wanted))
    error = np.array(errors).T  # (R, windows)
    is_fast = is_full[:, [window.command for window in windows]]
    is_settled = np.array([window.is_settled for window in windows])
    return {
        "velocity_error": error.mean(axis=1),
        "velocity_error_half": _mean_of(error, ~is_fast),
        "velocity_error_full": _mean_of(error, is_fast),
        "velocity_error_settled": error[:, is_settled].mean(axis=1) if is_settled.any() else None,
        "velocity_wobble": velocity_wobble(driver, [0.5 * speed, speed]),
        "full_speed_mps": speed,
        **drive.health,
    }


def _mean_of(values: Array, which: NDArray[np.bool_]) -> Array | None:
    """Of each robot that has some, shapes (R, W) to (R,): its windows are not independent."""
    count = which.sum(axis=1)
    if not count.any():
        return None
    return ((values * which).sum(axis=1) / np.maximum(count, 1))[count > 0]


def full_speed(driver: Driver) -> float:
    """What is predicted to be possible in every direction with the skills planned over, m/s."""
    ends, model = _full_speeds(driver)[:, :2], driver.model
    if model.spec.ground_axes.all():
        angles = np.linspace(0.0, 2.0 * np.pi, _NUM_DIRECTIONS, endpoint=False)
        directions = np.stack([np.cos(angles), np.sin(angles)])
    else:
        directions = np.outer(model.spec.ground_axes, [1.0, -1.0])
    return float((ends @ directions).max(axis=0).min())


def full_twist(driver: Driver) -> Array:
    """What is predicted to be possible both ways: forward, left (m/s), in a turn (rad/s). (3,)."""
    speeds = _full_speeds(driver)
    return np.minimum(speeds.max(axis=0), -speeds.min(axis=0))


def _full_speeds(driver: Driver) -> Array:
    """Predicted for skills planned over: x, y (m/s) and, if predicted, yaw (rad/s) in a second.

    After another that it takes to get there, and, in the heading frame, as seen from the heading
    halfway. Shape (N, 2) or (N, 3).
    """
    space, columns = driver.skills.skill_space, 3 if "yaw" in driver.skills.fields else 2
    skills = space.clip(space.grid(_NUM_SKILLS), driver.planner.skill_range)
    held = np.repeat(skills[:, None], 2, axis=1)
    steps = 1.0 / driver.model.spec.control_dt
    predicted = driver.skills.rollout(np.zeros((len(skills), 3)), held, steps)
    speeds = np.diff(predicted[:, 1:, :columns], axis=1)[:, 0].astype(float)
    if driver.skills.frame == "heading":
        speeds[:, :2] = turned(speeds[:, :2], -predicted[:, 1:, 2].mean(axis=1))
    return speeds


def velocity_wobble(driver: Driver, speeds: Sequence[float]) -> Array | None:
    """How far mean velocities over seconds stray from their own mean while one skill is held.

    That no plan can do anything about: it is how steadily the policy goes. Robots that fall are
    left out.

    Args:
        driver: whose skills are held, after ``SETTLE_S`` for ``COMMAND_S``.
        speeds: of each, the skills that go nearest to so fast count, m/s.
    Returns: parts of their mean speeds, of each skill once. Shape (at most speeds * skills,).
    """
    dt = driver.model.spec.control_dt
    settle, held, window = (max(1, round(s / dt)) for s in (SETTLE_S, COMMAND_S, WINDOW_S))
    found = evaluate_skills(
        driver.model,
        driver.skills.skill_space,
        driver.policy,
        driver.skills.rollout,
        settle + held,
        seed=driver.seed,
        frame=driver.skills.frame,
        delay_ms=driver.delay_ms,
        steps=settle + held,
        num_threads=driver.num_threads,
    )
    tracks = found.tracks[found.leads_away & ~found.fallen]
    means = np.diff(tracks[:, settle::window], axis=1) / (window * dt)
    own = means.mean(axis=1)
    wobble = length(means - own[:, None]).mean(axis=1) / np.maximum(length(own), 1e-6)
    nearest = [np.abs(length(own) - speed).argsort()[:_NUM_HELD] for speed in speeds]
    return _or_none(wobble[np.unique(np.concatenate(nearest))])


def _obstacles(driver: Driver, num: int, steps: int) -> Values:
    """Through, or around, a field of boxes to a goal behind it."""
    rng, radius_m = _rng(driver, num), driver.model.spec.radius_m
    angles = rng.uniform(-np.pi, np.pi, num)
    maps = [random_field(angle, rng) for angle in angles]
    goals = turned(np.tile([FIELD_M + 2.0 * FIELD_DISTANCE_M, 0.0], (num, 1)), angles)
    drive = driver.drive(Task(goals=goals, maps=maps), num, steps)
    clearance = [field.clearance(track) for field, track in zip(maps, drive.tracks, strict=True)]
    touched = np.min(clearance, axis=1) < radius_m
    near = drive.is_up & (length(drive.tracks[:, -1] - goals) < _REACHED_M)
    return {
        "obstacle_goal_fraction": near & ~touched,
        "touch_fraction": touched,
        "end_near_goal_fraction": near,
        **drive.health,
    }


def _stand(driver: Driver, num: int, steps: int) -> Values:
    """Told to stand after a run-up, every second robot at full speed; pushed once, halfway.

    Drift counts from SETTLE_S after they are told, a fall from the beginning.
    """
    rng, dt = _rng(driver, num), driver.model.spec.control_dt
    run_up, settled = round(RUN_UP_S / dt), round((RUN_UP_S + SETTLE_S) / dt)
    velocities = full_speed(driver) * random_directions(driver.model, (num,), rng)
    velocities[::2] = 0.0

    def change(task: Task, step: int, state: RobotState) -> None:
        task.velocities = turned(velocities, -state.yaw())

    push = PUSH_M_S * random_directions(driver.model, (num,), rng)
    drive = driver.drive(
        Task(velocities=velocities),
        num,
        run_up + steps,
        change,
        stand_after=run_up,
        pushes={run_up + steps // 2: push},
    )
    stood = drive.tracks[~drive.fell, min(settled, run_up + steps) :]
    drift = stood[:, -1] - stood[:, 0]
    return {
        "stand_drift_m": _or_none(length(drift)),
        "stand_fall_fraction": drive.fell,
        **{f"stand_{name}": values for name, values in drive.body.items()},
    }


def random_field(angle: float, rng: np.random.Generator) -> ObstacleMap:
    """Boxes over FILLED of FIELD_M x FIELD_WIDTH_M, at a distance in this direction (rad)."""
    columns, rows = (round(size / RESOLUTION_M) for size in (FIELD_M, FIELD_WIDTH_M))
    cells = np.zeros((rows, columns), bool)
    while cells.mean() < FILLED:
        width, height = np.rint(rng.uniform(*BOX_M, 2) / RESOLUTION_M).astype(int)
        column, row = rng.integers(columns - width + 1), rng.integers(rows - height + 1)
        cells[row : row + height, column : column + width] = True
    x, y = turned(np.array([FIELD_DISTANCE_M, -FIELD_WIDTH_M / 2.0]), angle)
    return ObstacleMap(cells, RESOLUTION_M, (float(x), float(y), angle))


def _rng(driver: Driver, num: int) -> np.random.Generator:
    return np.random.default_rng((driver.seed, num))


SHAPES: Mapping[str, Array] = _shapes()
TASKS: Mapping[str, EvaluationTask] = {
    "goal": EvaluationTask(20.0, False, _goal, GOAL_STEPS),
    "waypoints": EvaluationTask(60.0, False, _waypoints),
    "path": EvaluationTask(45.0, True, _path),
    "velocity": EvaluationTask(40.0, False, _velocity),
    "pose": EvaluationTask(20.0, True, _pose, needs_yaw=True),
    "twist": EvaluationTask(40.0, True, _twist, needs_yaw=True),
    "directions": EvaluationTask(10.0, True, _each_way, needs_yaw=True),
    "obstacles": EvaluationTask(30.0, True, _obstacles),
    "stand": EvaluationTask(0.0, False, _stand, STAND_STEPS),
}
