"""MPPI over skills (Sharma et al. 2020, Algorithm 2): sample -> roll out -> weigh -> update.

Shapes: R robots, K candidates, H skills of a plan, D skill dimensions, P predicted columns, T
points at which the cost is taken. All robots and candidates go through the model in one batch.

Differs from the paper: three of the K candidates are not sampled. They are the mean, the best
candidate of the refinement before, and standing still: zero skills, or, where the prior is
discrete, the skill that moves the robot least. So no refinement makes the
plan worse, and a robot at its goal finds the plan that stays. What is executed is the cheaper one
of the final mean (the paper's) and the best candidate; when neither is better than standing still,
the robot stands.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import PlannerConfig
from dads_ros.planning.costs import Candidates, Cost
from dads_ros.prediction import Frame
from dads_ros.skills import SkillSpace

Float32 = NDArray[np.float32]
Array = NDArray[np.floating]
Rollout = Callable[[Array, Float32, float], Array]
"""(start (N, 6 + O), skills (N, H, D), control steps per skill) -> predictions (N, H + 1, P).

A start is x, y (m), yaw (rad) and velocity (m/s), world frame, then yaw rate (rad/s) and
policy_obs; the pose alone, (N, 3), where the rest is unknown."""


class SkillModel(Protocol):
    """What plans are made from: skills and what is predicted of them. A SkillBundle is one."""

    @property
    def skill_space(self) -> SkillSpace:
        """The skill prior."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What the first predicted columns are: x, y and perhaps yaw, or falls."""

    @property
    def frame(self) -> Frame:
        """Axes in which skills are meant: the world's, or the heading's."""

    @property
    def control_dt(self) -> float:
        """Duration of a control step, s."""

    @property
    def rollout(self) -> Rollout:
        """Predictions of skill sequences."""


POINTS_PER_SKILL = 5
"""Costs are taken at this many points along each skill, so that they mean the same for a model
that predicts one control step and one that predicts ten."""

_MEAN, _ELITE, _STAND, _SAMPLED = 0, 1, 2, 3  # rows of the candidates


@dataclass(frozen=True)
class Plan:
    """What MPPI found for each robot."""

    skills: Float32
    """Shape (R, H, D)."""
    predictions: Float32
    """Before the first and after each skill; poses in the world frame. Shape (R, H + 1, P)."""
    cost: Array
    """Of the chosen plan. Shape (R,)."""
    costs: Array
    """Of the last refinement's candidates. Shape (R, K)."""
    tempting: tuple[Float32, Float32]
    """Skills and predictions of the best of those candidates that were sampled, which move.
    Shapes (R, H, D), (R, H + 1, P)."""
    candidates: Float32
    """Predictions of the last refinement's candidates. Shape (R, K, H + 1, P)."""
    stands: NDArray[np.bool_]
    """No plan is better than standing still: the robot is to stand. Shape (R,)."""
    is_blocked: NDArray[np.bool_]
    """It stands, and no candidate that was sampled, in any refinement, is allowed. Shape (R,)."""

    @property
    def skill(self) -> Float32:
        """The skill to execute now. Shape (R, D)."""
        return self.skills[:, 0]


class Mppi:
    """The optimiser. It remembers nothing between two plans but its random generators."""

    def __init__(
        self,
        model: SkillModel,
        config: PlannerConfig,
        rngs: Sequence[np.random.Generator],
    ) -> None:
        """Allocate. ``rngs`` has one generator per robot."""
        self._rollout, self._skill_space = model.rollout, model.skill_space
        self._fields, self.config, self._rngs = model.fields, config, rngs
        num, horizon, dim = len(rngs), config.planning_horizon, self._skill_space.dim
        self._duration_s = horizon * config.skill_duration_steps * model.control_dt
        sampled = config.num_samples - _SAMPLED
        self._noise = np.empty((num, config.num_refine_steps, sampled, horizon, dim), np.float32)
        self._candidates = np.zeros((num, config.num_samples, horizon, dim), np.float32)
        self.stillest_skill = self._stillest_skill()
        """Moves the robot least: zero, or of a discrete prior one of its skills. Shape (D,)."""
        self._candidates[:, _STAND] = self.stillest_skill
        self._rows = np.arange(num)
        self._interpolation = _interpolation(horizon)
        std = config.noise_std * config.noise_decay ** np.arange(config.num_refine_steps)
        self._std = std.astype(np.float32)[:, None, None, None]

    def optimize(self, mean: Float32, start: Array, cost: Cost) -> Plan:
        """Refine a plan for each robot.

        Args:
            mean: skills to start from. Shape (R, H, D).
            start: as for ``Rollout``. Shape (R, 6 + O) or (R, 3).
            cost: of predicted states.
        """
        num_samples = self.config.num_samples
        starts = np.repeat(start, num_samples, axis=0)
        elite, is_blocked = mean, np.ones(len(mean), bool)
        self._sample_noise()
        for step in range(self.config.num_refine_steps):
            skills = self._sample(mean, elite, step)
            candidates, costs = self._score(starts, skills, cost)
            is_blocked &= costs[:, _SAMPLED:].min(axis=1) == np.inf
            best = costs.argmin(axis=1)
            elite, elite_cost = skills[self._rows, best], costs[self._rows, best]
            mean = _weighted_mean(skills, costs, elite_cost, self.config.temperature)
        if self._skill_space.config.kind == "discrete":  # else a mean of skills is one
            mean = self._skill_space.clip(mean)
        predictions, mean_costs = self._score(start, mean[:, None], cost)
        stands = costs[:, _STAND] <= np.minimum(mean_costs[:, 0], elite_cost)
        best = np.where(stands, _STAND, best)
        elite, elite_cost = skills[self._rows, best], costs[self._rows, best]
        tempting = self._rows, _SAMPLED + costs[:, _SAMPLED:].argmin(axis=1)
        use_mean = ~stands & (mean_costs[:, 0] <= elite_cost)
        return Plan(
            skills=np.where(use_mean[:, None, None], mean, elite),
            predictions=np.where(
                use_mean[:, None, None], predictions[:, 0], candidates[self._rows, best]
            ),
            cost=np.minimum(mean_costs[:, 0], elite_cost),
            costs=costs,
            tempting=(skills[tempting], candidates[tempting]),
            candidates=candidates,
            stands=stands,
            is_blocked=is_blocked & stands,
        )

    def candidates(self, skills: Float32, predictions: Array) -> Candidates:
        """What costs look at. Shapes (R, K, H, D), (R, K, H + 1, P)."""
        moments = np.ascontiguousarray(predictions.transpose(2, 0, 1, 3), np.float32)
        points = self._interpolation @ moments.reshape(len(moments), -1)
        points = points.reshape(-1, *moments.shape[1:]).transpose(1, 2, 0, 3)
        return Candidates(skills, predictions, points, self._fields, self._duration_s)

    def predict(self, start: Array, skills: Float32) -> Array:
        """Predictions (R, H + 1, P) of given plans (R, H, D)."""
        return self._rollout(start, skills, self.config.skill_duration_steps)

    def _stillest_skill(self) -> Float32:
        """Shape (D,)."""
        space = self._skill_space
        if space.config.kind != "discrete":
            return np.zeros(space.dim, np.float32)
        skills = space.grid(space.dim)
        ends = self.predict(np.zeros((space.dim, 3)), skills[:, None])[:, -1, :2]
        return skills[np.linalg.norm(ends, axis=1).argmin()]

    def _sample_noise(self) -> None:
        """Noise of all refinements, each robot's from its own generator."""
        for rng, noise in zip(self._rngs, self._noise, strict=True):
            rng.standard_normal(dtype=np.float32, out=noise)
        beta = self.config.smoothing
        if beta > 0.0:
            # Differs from the authors' code, which blends whole skills: here only the noise is
            # correlated over the horizon, with constant variance, so that the mean is not dragged.
            fresh = np.float32((1.0 - beta * beta) ** 0.5)
            for i in range(1, self._noise.shape[3]):
                self._noise[..., i, :] *= fresh
                self._noise[..., i, :] += np.float32(beta) * self._noise[..., i - 1, :]
        self._noise *= self._std

    def _sample(self, mean: Float32, elite: Float32, step: int) -> Float32:
        """Candidates around the mean. Shape (R, K, H, D)."""
        self._candidates[:, _MEAN] = mean
        self._candidates[:, _ELITE] = elite
        np.add(self._noise[:, step], mean[:, None], out=self._candidates[:, _SAMPLED:])
        return self._skill_space.clip(self._candidates, self.config.skill_range)

    def _score(self, start: Array, skills: Float32, cost: Cost) -> tuple[Array, Array]:
        """Predictions (R, K, H + 1, P) and costs (R, K) of candidates (R, K, H, D)."""
        num, count, horizon, dim = skills.shape
        flat = skills.reshape(num * count, horizon, dim)
        predictions = self.predict(start, flat)
        predictions = predictions.reshape(num, count, horizon + 1, -1)
        return predictions, cost(self.candidates(skills, predictions))


def _weighted_mean(skills: Float32, costs: Array, lowest: Array, temperature: float) -> Float32:
    """Mean of candidates (R, K, H, D) under softmax(-cost / temperature). Shape (R, H, D)."""
    if not all(map(math.isfinite, lowest.tolist())):  # all are forbidden: all count alike
        is_blocked = np.isinf(lowest)
        lowest = np.where(is_blocked, 0.0, lowest)
        costs = np.where(is_blocked[:, None], 0.0, costs)
    weights = np.exp((lowest[:, None] - costs) / temperature, dtype=np.float32)[:, None]
    num, count, horizon, dim = skills.shape
    mean = weights @ skills.reshape(num, count, horizon * dim)
    mean /= weights.sum(axis=2, keepdims=True)
    return mean.reshape(num, horizon, dim)


def _interpolation(horizon: int) -> Float32:
    """Matrix (T, H + 1) from predicted poses to T = H * POINTS_PER_SKILL points between them."""
    time = np.arange(1, horizon * POINTS_PER_SKILL + 1) / POINTS_PER_SKILL
    return np.maximum(0.0, 1.0 - np.abs(time[:, None] - np.arange(horizon + 1))).astype(np.float32)
