"""What the skills do: hold each skill of a fixed grid, mean action, from a random yaw.

Skills of the heading frame are seen from the heading that they began with. Where they have three
entries, the third is for a turn: three in four of the grid are without it, and are judged by where
they lead, the others turn on the spot, and are judged by how far.

Policy and skill dynamics come as plain functions, so that training and bundles are measured by the
same code. Shapes: N skills, R robots, T steps, D skill dimensions, O policy_obs, A actuators.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.evaluation.statistics import Interval, fraction_interval, ratio_interval
from dads_ros.observation import turned, wrapped
from dads_ros.planning.control_loop import plan_start
from dads_ros.planning.mppi import Rollout
from dads_ros.prediction import Frame
from dads_ros.skills import SkillSpace

Float32 = NDArray[np.float32]
Array = NDArray[np.float64]
PolicyFunction = Callable[[Float32, Float32], NDArray[np.floating]]
"""(policy_obs (N, O), skill (N, D)) -> command in the actuator's unit (N, A)."""

NUM_SECTORS = 12
SECTOR_DISTANCE_M = 3.0
SECTOR_PART = 1 / 64  # of the skills, that must end in a sector before it counts
PUSH_M_S = 0.5
"""How much faster robots that stand are made, once."""


@dataclass(frozen=True)
class SkillMetrics:
    """One run of every skill."""

    skills: Float32
    """Shape (N, D)."""
    tracks: Array
    """Base position x, y before the first and after each step, m. Shape (N, T + 1, 2).

    World frame; of skills of the heading frame as seen from the heading at the start."""
    predicted: Array
    """Predicted x, y at P + 1 evenly spaced times of the track, likewise. (N, P + 1, 2)."""
    flipped: NDArray[np.bool_]
    """The base z-axis points down at the end. Shape (N,)."""
    fall_step: NDArray[np.int64]
    """The first step after which the robot had fallen, as its robot file defines it; T + 1 where
    it never had. Shape (N,)."""
    yaw_change: Array | None = None
    """Yaw from start to end, rad, of skills of three entries in the heading frame. Shape (N,)."""

    @functools.cached_property
    def leads_away(self) -> NDArray[np.bool_]:
        """All skills but those that turn on the spot. Shape (N,)."""
        if self.yaw_change is None:
            return np.ones(len(self.skills), bool)
        return self.skills[:, 2] == 0.0

    @property
    def fallen(self) -> NDArray[np.bool_]:
        """The robot had fallen after some step. Shape (N,)."""
        return self.fall_step < self.tracks.shape[1]

    @functools.cached_property
    def displacement(self) -> Array:
        """Displacement from start to end, m, in the axes of the tracks. Shape (N, 2)."""
        return self.tracks[:, -1] - self.tracks[:, 0]

    @property
    def distance(self) -> Array:
        """Length of the displacement, m. Shape (N,)."""
        return np.hypot(self.displacement[:, 0], self.displacement[:, 1])

    @functools.cached_property
    def prediction_steps(self) -> NDArray[np.int64]:
        """Steps made at the times of the predictions. Shape (P + 1,)."""
        num_steps, num = self.tracks.shape[1] - 1, self.predicted.shape[1]
        return np.linspace(0, num_steps, num).round().astype(int)

    @property
    def error(self) -> Array:
        """Distance between predicted and actual place at these times, m. Shape (N, P + 1)."""
        difference = self.predicted - self.tracks[:, self.prediction_steps]
        return np.hypot(difference[..., 0], difference[..., 1])

    def skills_per_sector(self) -> NDArray[np.int64]:
        """Skills that end in each 30 degrees of direction, beyond 3 m. Shape (12,)."""
        x, y = self.displacement[self.leads_away & (self.distance > SECTOR_DISTANCE_M)].T
        sector = np.floor(np.arctan2(y, x) / (2.0 * np.pi) * NUM_SECTORS).astype(int)
        return np.bincount(sector % NUM_SECTORS, minlength=NUM_SECTORS)

    def to_dict(self) -> dict[str, float]:
        """The figures as plain numbers."""
        rows = self.leads_away
        mean, fewest = float(self.distance[rows].mean()), max(1, round(SECTOR_PART * rows.sum()))
        x = self.displacement[rows, 0]
        return {
            "sectors_3m": int((self.skills_per_sector() >= fewest).sum()),
            "mean_displacement_m": mean,
            "max_displacement_m": float(self.distance[rows].max()),
            "min_x_m": float(x.min()),
            "max_x_m": float(x.max()),
            "flip_fraction": float(self.flipped.mean()),
            "skill_fall_fraction": float(self.fallen.mean()),
            "prediction_error": float(self.error[rows, -1].mean()) / max(mean, 1e-9),
            **self._turns(),
        }

    def _turns(self) -> dict[str, float]:
        """How far skills that turn on the spot turn, at length 1, and others without being told.

        The part of the turns that is proportional to the skill: one who always turns alike does
        not turn at will.
        """
        if self.yaw_change is None:
            return {}
        skill, turn = self.skills[~self.leads_away, 2], self.yaw_change[~self.leads_away]
        slope = (skill * turn).sum() / np.maximum(np.square(skill).sum(), 1e-9)
        drift = np.abs(self.yaw_change[self.leads_away]).mean()
        return {
            "turn_deg": abs(float(np.degrees(slope))),
            "yaw_drift_deg": float(np.degrees(drift)),
        }

    def intervals(self) -> dict[str, Interval]:
        """95 % interval of each mean."""
        return {
            "mean_displacement_m": ratio_interval(self.distance[self.leads_away]),
            "flip_fraction": fraction_interval(self.flipped),
            "skill_fall_fraction": fraction_interval(self.fallen),
            "prediction_error": ratio_interval(
                self.error[self.leads_away, -1], self.distance[self.leads_away]
            ),
        }


@dataclass(frozen=True)
class SwitchMetrics:
    """One run with a new skill again and again, as in planning; S skills for each robot."""

    fallen: NDArray[np.bool_]
    """The robot had fallen, as its robot file defines it, after some step. Shape (R,)."""
    displacement: Array
    """x, y under each skill, world frame, m; NaN where a fall ended it. Shape (R, S, 2)."""
    predicted: Array
    """The same, predicted when the skill began. Shape (R, S, 2)."""

    def to_dict(self) -> dict[str, float]:
        """The figures as plain numbers."""
        held = np.isfinite(self.displacement).all(axis=2)
        moved, predicted = self.displacement[held], self.predicted[held]
        total = np.linalg.norm(moved, axis=1).sum()
        error = np.linalg.norm(predicted - moved, axis=1).sum() / max(total, 1e-9)
        return {
            "switch_fall_fraction": float(self.fallen.mean()),
            "switch_prediction_error": float(error) if held.any() else 1.0,
        }


def evaluate_skills(
    model: RobotModel,
    skill_space: SkillSpace,
    policy: PolicyFunction,
    rollout: Rollout,
    prediction_steps: int,
    *,
    seed: int,
    frame: Frame = "world",
    delay_ms: float | tuple[float, float] = 0.0,
    num_skills: int = 256,
    skills: Float32 | None = None,
    steps: int = 200,
    num_threads: int | None = None,
) -> SkillMetrics:
    """Hold ``num_skills`` skills of the fixed grid for ``steps`` control steps, one robot each.

    Args:
        model: the robot.
        skill_space: the skill prior; its grid is used.
        policy: mean action.
        rollout: predictions of skill sequences.
        prediction_steps: control steps that one prediction spans.
        seed: of the start: uniform yaw, noise.
        frame: that of the predictions.
        delay_ms: from state to command.
        num_skills: N.
        skills: instead of the grid's. Shape (N, D).
        steps: T.
        num_threads: of the physics; all available cores by default.
    """
    has_turn = frame == "heading" and _has_turns(skill_space)
    if skills is None:
        grid = _grid_with_turns if has_turn else SkillSpace.grid
        skills = grid(skill_space, num_skills)
    num_skills, rng = len(skills), np.random.default_rng(seed)
    env = one_episode_env(
        model, num_skills, steps, rng=rng, delay_ms=delay_ms, num_threads=num_threads
    )
    num_predictions = max(1, round(steps / prediction_steps))
    held = np.repeat(skills[:, None], num_predictions, axis=1)
    start = plan_start(model.spec, env.state, env.last_command)
    predicted = rollout(start, held, steps / num_predictions)[..., :2].astype(float)

    tracks = np.empty((num_skills, steps + 1, 2))
    tracks[:, 0] = start[:, :2]
    yaw, yaw_change = start[:, 2], np.zeros(num_skills)
    flipped, ended = np.zeros((2, num_skills), bool)
    fall_step = np.full(num_skills, steps + 1)
    for step in range(1, steps + 1):
        env.step(env.filtered(policy(env.policy_obs(), skills)))
        # A robot whose episode ended stays where it was; the next step would reset it.
        ended |= env.diverged
        position = np.where(ended[:, None], tracks[:, step - 1], env.state.position[:, :2])
        tracks[:, step] = position
        last, yaw = yaw, np.where(ended, yaw, env.state.yaw())
        yaw_change += wrapped(yaw - last)
        flipped = np.where(ended, flipped, env.state.up_z() < 0.0)
        has_fallen = env.diverged | (env.fallen & ~ended)
        fall_step[has_fallen] = np.minimum(fall_step[has_fallen], step)
        ended |= env.terminated
    if frame == "heading":
        origin, back = tracks[:, :1].copy(), -start[:, 2:3]
        tracks, predicted = (turned(places - origin, back) for places in (tracks, predicted))
    return SkillMetrics(
        skills, tracks, predicted, flipped, fall_step, yaw_change if has_turn else None
    )


def _has_turns(skill_space: SkillSpace) -> bool:
    """Whether the skills of a bundle in the heading frame have an entry for a turn."""
    return skill_space.dim == 3 and skill_space.config.kind != "discrete"


def _grid_with_turns(skill_space: SkillSpace, num: int) -> Float32:
    """Skills that cover those without a turn evenly; a quarter turn on the spot. (num, 3)."""
    flat = SkillSpace(dataclasses.replace(skill_space.config, dim=2))
    skills, num_turns = np.zeros((num, 3), np.float32), num // 4
    skills[: num - num_turns, :2] = flat.grid(num - num_turns)
    lengths = (np.arange(num_turns) // 2 + 1) / max(1, (num_turns + 1) // 2)
    skills[num - num_turns :, 2] = lengths * (-1.0) ** np.arange(num_turns)
    return skills


def evaluate_switching(
    model: RobotModel,
    skill_space: SkillSpace,
    policy: PolicyFunction,
    rollout: Rollout,
    prediction_steps: int,
    *,
    seed: int,
    delay_ms: float | tuple[float, float] = 0.0,
    num_robots: int = 256,
    steps: int = 200,
    zero_fraction: float = 0.0,
    short_fraction: float = 0.0,
    num_threads: int | None = None,
) -> SwitchMetrics:
    """Give every robot a new skill of the prior as soon as planning could.

    That is when one prediction is over, or for shorter ones a skill of the default planner.

    Args: as for ``evaluate_skills`` and ``SkillSpace.sample``; ``steps`` is rounded down to whole
        skills, at least one.
    """
    hold_steps = max(prediction_steps, PlannerConfig().skill_duration_steps)
    num_skills = max(1, steps // hold_steps)
    rng, shape = np.random.default_rng(seed), (num_robots, num_skills, 2)
    env = one_episode_env(
        model,
        num_robots,
        num_skills * hold_steps,
        rng=rng,
        delay_ms=delay_ms,
        num_threads=num_threads,
    )
    fallen, ended = np.zeros((2, num_robots), bool)
    displacement, predicted = np.empty(shape), np.empty(shape)
    for index in range(num_skills):
        skills = skill_space.sample(
            num_robots, rng, zero_fraction=zero_fraction, short_fraction=short_fraction
        )
        # The numbers of a robot whose physics broke down are not finite; it is out anyway.
        start = np.nan_to_num(plan_start(model.spec, env.state, env.last_command))
        predicted[:, index] = rollout(start, skills[:, None], hold_steps)[:, 1, :2]
        for _ in range(hold_steps):
            env.step(env.filtered(policy(env.policy_obs(), skills)))
            fallen |= (env.diverged | env.fallen) & ~ended
            ended |= env.terminated | env.diverged
        displacement[:, index] = env.state.position[:, :2] - start[:, :2]
        predicted[:, index] -= start[:, :2]
        displacement[ended, index] = np.nan
    return SwitchMetrics(fallen, displacement, predicted)


def evaluate_standing(
    model: RobotModel,
    skill_space: SkillSpace,
    policy: PolicyFunction,
    *,
    seed: int,
    delay_ms: float | tuple[float, float] = 0.0,
    num_robots: int = 64,
    steps: int = 200,
    num_threads: int | None = None,
) -> NDArray[np.bool_]:
    """Give every robot the zero skill after a fifth of the steps, and push it after three fifths.

    Until then every second one has a skill of the prior. It stops at once, which is harder than
    by the ramp of the control loop.

    Args: as for ``evaluate_skills``, with R robots.
    Returns: of those that were still up when they got the zero skill, which fell under it.
        Shape (at most R,).
    """
    rng = np.random.default_rng(seed)
    env = one_episode_env(
        model, num_robots, steps, rng=rng, delay_ms=delay_ms, num_threads=num_threads
    )
    skills = skill_space.sample(num_robots, rng)
    skills[::2] = 0.0
    push = PUSH_M_S * random_directions(model, (num_robots,), rng)
    fallen, ended, was_down = np.zeros((3, num_robots), bool)
    for step in range(steps):
        if step == steps // 5:
            was_down = skills.any(axis=1) & (ended | env.fallen)
            skills = np.zeros_like(skills)
        is_pushed = step == 3 * steps // 5
        env.step(env.filtered(policy(env.policy_obs(), skills)), push if is_pushed else None)
        fallen |= (env.diverged | env.fallen) & ~ended & ~skills.any(axis=1)
        ended |= env.terminated | env.diverged
    return fallen[~was_down]


def random_directions(
    model: RobotModel, shape: tuple[int, ...], rng: np.random.Generator
) -> Array:
    """Unit vectors, along the line for a robot on one. Shape (*shape, 2)."""
    angle = rng.uniform(-np.pi, np.pi, shape)
    directions = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    axes = model.spec.ground_axes
    return directions if axes.all() else np.sign(directions) * axes


def count_xy_bins(tracks: Array) -> int:
    """Different squares of 1 x 1 m that tracks of shape (N, T, 2) pass through."""
    return len(np.unique(np.floor(tracks.reshape(-1, 2)).astype(int), axis=0))
