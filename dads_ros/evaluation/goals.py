"""Closed loop: many robots walk to goals, planning over their skills, without ROS.

Shapes: R robots, T steps, A actuators.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dads_ros.config import PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.evaluation.statistics import Interval, fraction_interval, ratio_interval
from dads_ros.observation import RobotState
from dads_ros.planning.control_loop import ControlLoop, Policy
from dads_ros.planning.costs import GoalCost
from dads_ros.planning.mppi import SkillModel
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GoalMetrics:
    """One run to one goal for every robot."""

    goals: Array
    """x, y, world frame, m. Shape (R, 2)."""
    tracks: Array
    """Base position x, y before the first and after each step, world frame, m. (R, T + 1, 2)."""
    commands: Array
    """Sent at each step, in the robot file's order and unit. Shape (T, R, A)."""
    fell: NDArray[np.bool_]
    """The robot counted as fallen at some step. Shape (R,)."""

    @property
    def distance(self) -> Array:
        """Distance from the goal before the first and after each step, m. Shape (R, T + 1)."""
        return np.linalg.norm(self.tracks - self.goals[:, None], axis=2)

    def reached(self, radius_m: float) -> NDArray[np.bool_]:
        """The robot stands nearer than this to its goal at the end. Shape (R,)."""
        return self.distance[:, -1] < radius_m

    def normalised_distance(self, steps: int) -> Array | None:
        """Mean distance over the first steps, relative to the goal's from the origin. Shape (R,).

        The paper's measure: sum of |g - s_t| over H steps / (H |g|). None for a shorter run.
        """
        if self.tracks.shape[1] <= steps:
            return None
        distance = self.distance[:, 1 : steps + 1].mean(axis=1)
        return distance / np.linalg.norm(self.goals, axis=1)

    def to_dict(self) -> dict[str, float | None]:
        """The figures as plain numbers; None where the run was too short."""
        means = {name: values for name, values in self._values().items()}
        return {k: None if v is None else float(v.mean()) for k, v in means.items()}

    def intervals(self) -> dict[str, Interval | None]:
        """95 % interval of each figure."""
        return {name: _interval(values) for name, values in self._values().items()}

    def _values(self) -> dict[str, NDArray[np.generic] | None]:
        """What each figure is the mean of."""
        return {
            "goal_fraction_1m": self.reached(1.0),
            "goal_fraction_05m": self.reached(0.5),
            "normalised_distance_200": self.normalised_distance(200),
            "normalised_distance_400": self.normalised_distance(400),
            "fall_fraction": self.fell,
        }


def sample_goals(spec: RobotSpec, num: int, range_m: float, seed: int) -> Array:
    """Goals uniform in [-range_m, range_m]^2, world frame, m. Shape (num, 2).

    On a line for a robot that can only move on one, and there at least 1 m (or half of range_m)
    from the start: else the mean distance relative to the goal's would not be finite.
    """
    goals = np.random.default_rng((seed, num)).uniform(-range_m, range_m, (num, 2))
    if spec.ground_axes.all():
        return goals
    nearest = min(1.0, 0.5 * range_m)
    goals = np.sign(goals) * nearest + goals * (1.0 - nearest / range_m)
    return goals * spec.ground_axes


def evaluate_goals(
    model: RobotModel,
    policy: Policy,
    skills: SkillModel,
    config: PlannerConfig,
    goals: ArrayLike,
    *,
    seed: int,
    steps: int = 400,
    delay_ms: float = 0.0,
    num_threads: int | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> GoalMetrics:
    """Drive one robot to each goal, in lock step: a plan is used at the step at which it is made.

    Args:
        model: the robot.
        policy: mean action.
        skills: what is planned with.
        config: planner settings.
        goals: world frame, m; robots start at the origin. Shape (R, 2).
        seed: of the start (uniform yaw, noise; ``default_rng(seed)``) and of the planner's samples
            (``robot_rngs(seed, R)``).
        steps: T.
        delay_ms: from state to command.
        num_threads: of the physics; all available cores by default.
        progress: called with the number of steps made.
    """
    goals = np.asarray(goals, float)
    num = len(goals)
    rng = np.random.default_rng(seed)
    env = one_episode_env(model, num, steps, rng=rng, delay_ms=delay_ms, num_threads=num_threads)
    planner = SkillPlanner(skills, config, rngs=robot_rngs(seed, num))
    loop, cost = (
        ControlLoop(model.spec, policy, planner),
        GoalCost(goals, config.standing_radius_m),
    )
    tracks = np.empty((num, steps + 1, 2))
    tracks[:, 0] = env.state.position[:, :2]
    commands = np.empty((steps, num, model.spec.command_dim))
    fell, ended = env.state.has_fallen(model.spec), np.zeros(num, bool)
    for step in range(steps):
        state = _finite(env.state)
        if loop.plan_due:
            loop.plan(state, env.last_command, cost)
        env.step(loop.command(state, env.last_command))
        commands[step] = env.last_command
        # A robot whose episode ended stays where it was; the next step would reset it.
        ended |= env.terminated
        position = env.state.position[:, :2]
        tracks[:, step + 1] = np.where(ended[:, None], tracks[:, step], position)
        fell |= ended | env.state.has_fallen(model.spec)
        progress(step + 1)
    return GoalMetrics(goals, tracks, commands, fell)


def _finite(state: RobotState) -> RobotState:
    """Zeros for the numbers of a robot whose physics broke down; it is out of the run anyway."""
    if state.is_finite():
        return state
    fields = RobotState.__dataclass_fields__
    return RobotState(*(np.nan_to_num(getattr(state, name), posinf=0.0) for name in fields))


def _interval(values: NDArray[np.generic] | None) -> Interval | None:
    if values is None:
        return None
    if values.dtype == bool:
        return fraction_interval(values)  # type: ignore[arg-type]
    return ratio_interval(values)  # type: ignore[arg-type]
