"""SkillPlanner: receding-horizon plans for one or many robots. Letters as in mppi.py."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import CostsConfig, PlannerConfig
from dads_ros.errors import PlanningError
from dads_ros.planning.costs import Cost, WeightedCosts
from dads_ros.planning.mppi import Array, Float32, Mppi, Plan, SkillModel

__all__ = ["PAPER_COSTS", "PLANNER_PRESETS", "Plan", "SkillPlanner", "robot_rngs"]

# The paper weighs with exp(gamma * sum of rewards over the H_P * H_Z control steps of a plan).
# Here a cost is their mean, so temperature = 1 / (gamma * H_P * H_Z), with gamma = 10. Covariance
# is 1.5 I at every refinement. With H_P = 1 plans start anew each time; longer ones are shifted.
PLANNER_PRESETS = {
    "fast": PlannerConfig(),
    "paper_dense": PlannerConfig(
        num_samples=50,
        planning_horizon=1,
        skill_duration_steps=10,
        num_refine_steps=10,
        temperature=0.01,
        noise_std=1.5**0.5,
        noise_decay=1.0,
        skill_range=1.0,
        standing_radius_m=0.0,
        warm_start=False,
    ),
    "paper_sparse": PlannerConfig(
        num_samples=200,
        planning_horizon=4,
        skill_duration_steps=25,
        num_refine_steps=10,
        temperature=0.001,
        noise_std=1.5**0.5,
        noise_decay=1.0,
        skill_range=1.0,
        standing_radius_m=0.0,
        smoothing=0.9,
    ),
}

PAPER_COSTS = CostsConfig(skill_change=0.0, fall=0.0)
"""Of the presets of the paper, which plans for what it is given and for nothing else."""

_STUCK_RATIO = 3.0  # stuck: the prediction went this many times further than kick_distance_m


def robot_rngs(seed: int, num: int) -> list[np.random.Generator]:
    """A generator for each robot; robot i's does not depend on how many there are."""
    return [np.random.default_rng((seed, index)) for index in range(num)]


class SkillPlanner:
    """Plans again and again, each time starting from what is left of the last plan."""

    def __init__(
        self,
        model: SkillModel,
        config: PlannerConfig,
        *,
        rngs: Sequence[np.random.Generator],
    ) -> None:
        """Plan for ``len(rngs)`` robots (R), each with a generator of its own."""
        self.config, self.model, self._rngs = config, model, rngs
        self._skill_space = model.skill_space
        self._mppi = Mppi(model, config, rngs)
        shape = (len(rngs), config.planning_horizon, model.skill_space.dim)
        self._mean = np.zeros(shape, np.float32)
        self._last_position = np.full((len(rngs), 2), np.nan)
        self._expected_m = np.zeros(len(rngs))
        """How far the last plan was to carry each robot by now, m. Shape (R,)."""

    @property
    def num_robots(self) -> int:
        """R."""
        return len(self._rngs)

    @property
    def stillest_skill(self) -> Float32:
        """Moves the robot least. Shape (D,)."""
        return self._mppi.stillest_skill

    def plan(self, start: Array, cost: Cost) -> Plan:
        """The best plan for each robot.

        Args:
            start: as for ``Rollout``. Shape (R, 6 + O) or (R, 3).
            cost: of predicted states.
        Raises: PlanningError when the start is not finite or a cost is not a number.
        """
        if not np.isfinite(start).all():
            raise PlanningError("a robot's state is not finite; check where it comes from")
        plan = self._mppi.optimize(self._mean, start, cost)
        if np.isnan(plan.cost).any():
            raise PlanningError("the cost is not a number; check the cost function")
        if self.config.warm_start:
            self._mean = np.concatenate([plan.skills[:, 1:], plan.skills[:, -1:]], axis=1)
        return self._kick(plan, start) if self.config.kick_distance_m > 0.0 else plan

    def cost_terms(self, plan: Plan, cost: WeightedCosts) -> dict[str, Array]:
        """What each cost adds to that of a plan, and of what tempts it most. Shape (R, 2) each."""
        skills, predictions = plan.tempting
        plans = self._mppi.candidates(
            np.stack([plan.skills, skills], axis=1),
            np.stack([plan.predictions, predictions], axis=1),
        )
        return cost.by_term(plans)

    def reset(self, which: NDArray[np.bool_] | None = None) -> None:
        """Forget the last plan of some robots, or of all. Shape (R,)."""
        rows = slice(None) if which is None else which
        self._mean[rows] = 0.0
        self._last_position[rows] = np.nan

    def _kick(self, plan: Plan, start: Array) -> Plan:
        """Give a random skill to robots that stand still under skills that should move them."""
        limit = self.config.kick_distance_m
        moved = np.linalg.norm(start[:, :2] - self._last_position, axis=1)
        stuck = (moved < limit) & (self._expected_m > _STUCK_RATIO * limit)
        if stuck.any():
            skills = plan.skills.copy()
            for index in np.flatnonzero(stuck).tolist():
                skill = self._skill_space.sample(1, self._rngs[index])[0]
                skills[index, 0] = self._skill_space.clip(skill, self.config.skill_range)
            predictions = np.asarray(self._mppi.predict(start, skills))
            plan = dataclasses.replace(plan, skills=skills, predictions=predictions)
        self._last_position = start[:, :2].copy()
        step = plan.predictions[:, 1, :2] - plan.predictions[:, 0, :2]
        self._expected_m = np.linalg.norm(step, axis=1)
        return plan
