"""Goal reaching: how near robots come to goals of their own, and how soon.

Shapes: R robots, T steps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dads_ros.evaluation.driving import Array, Drive, Driver
from dads_ros.evaluation.statistics import Values
from dads_ros.planning.tasks import Task
from dads_ros.robot import RobotSpec

GOAL_STEPS = 400
"""Control steps towards a goal at least, where nothing else is said: those of
normalised_distance_400."""


@dataclass(frozen=True, kw_only=True)
class GoalMetrics(Drive):
    """One run to one goal for every robot."""

    goals: Array
    """x, y, world frame, m. Shape (R, 2)."""

    @property
    def distance(self) -> Array:
        """Distance from the goal before the first and after each step, m. Shape (R, T + 1)."""
        return np.linalg.norm(self.tracks - self.goals[:, None], axis=2)

    def reached(self, radius_m: float) -> NDArray[np.bool_]:
        """The robot stands, and nearer than this to its goal, at the end. Shape (R,)."""
        return self.is_up & (self.distance[:, -1] < radius_m)

    def normalised_distance(self, steps: int) -> Array | None:
        """Mean distance over the first steps, relative to the goal's from the origin. Shape (R,).

        The paper's measure: sum of |g - s_t| over H steps / (H |g|). None for a shorter run.
        """
        if self.tracks.shape[1] <= steps:
            return None
        distance = self.distance[:, 1 : steps + 1].mean(axis=1)
        return distance / np.linalg.norm(self.goals, axis=1)

    @property
    def values(self) -> Values:
        """What each figure is the mean of; None where the run was too short. Shape (R,) each."""
        return {
            "goal_fraction_1m": self.reached(1.0),
            "goal_fraction_05m": self.reached(0.5),
            "normalised_distance_200": self.normalised_distance(200),
            "normalised_distance_400": self.normalised_distance(GOAL_STEPS),
            **self.health,
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


def evaluate_goals(driver: Driver, goals: ArrayLike, steps: int = GOAL_STEPS) -> GoalMetrics:
    """Drive one robot to each goal (R, 2), world frame, m, for T steps from the origin."""
    goals = np.asarray(goals, float)
    drive = driver.drive(Task(goals=goals), len(goals), steps)
    return GoalMetrics(goals=goals, **vars(drive))
