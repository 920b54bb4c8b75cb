"""How it is measured: each protocol gives the figures of one training seed.

A protocol is data, so that results know what they were made with. Starts are at the origin at a
random yaw, robots fall as their robot file says, and one that fell stays where it was. Goals and
starts depend on the seed of the protocol alone: every contender and every training seed gets the
same. Shapes: R robots, T steps, N skills.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dads_ros.evaluation.driving import Array
from dads_ros.evaluation.goals import GoalMetrics, sample_goals
from dads_ros.evaluation.report import evaluate_bundle
from dads_ros.evaluation.skills import SkillMetrics, count_xy_bins, evaluate_skills
from dads_ros.observation import turned
from dads_ros.skills import SkillSpace
from tables.contenders import Agent, DadsAgent, LearningAgent, OracleAgent

Figures = dict[str, float]
SETTINGS_OF_REPORTS = ("delay_ms", "goal_range_m", "goals", "seed", "steps")
Progress = Callable[[int], None]
"""Called with the number of control steps made."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Base: its fields are all that a measurement depends on, besides the contender."""

    seed: int = 2020
    """Of goals, starts and planners; nothing was ever chosen by it."""
    version: int = 1
    """Of its formula; to be raised with it."""

    def settings(self) -> dict[str, Any]:
        """Its name and fields as plain data."""
        return {"kind": type(self).__name__, **dataclasses.asdict(self)}

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """The figures of one training seed."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RandomGoals(Protocol):
    """To goals uniform in a square, or on the line of a robot that moves on one."""

    num: int = 256
    range_m: float = 15.0
    steps: int = 400

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """Normalised distance, goals reached at the end, falls."""
        return self._go(agent, self._goals(agent), progress)

    def _go(self, agent: Agent, goals: Array, progress: Progress) -> Figures:
        driven = agent.go(goals, self.steps, seed=self.seed, progress=progress)
        values = driven.values
        names = [
            name
            for name in ("normalised_distance_200", "normalised_distance_400")
            if values[name] is not None
        ]
        names += ["goal_fraction_1m", "goal_fraction_05m", "fall_fraction"]
        return {name: float(np.mean(values[name])) for name in names}  # type: ignore[arg-type]

    def _goals(self, agent: Agent) -> Array:
        """World frame, m. Shape (R, 2)."""
        return sample_goals(agent.model.spec, self.num, self.range_m, self.seed)


@dataclass(frozen=True, kw_only=True)
class OwnGoals(RandomGoals):
    """To the first of those goals, each from the same starts; strong oracles to theirs alone."""

    version: int = 2
    first: int = 3
    """As many as strong oracles have training seeds."""
    starts: int = 64
    """For each goal."""

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """As of random goals, means over goals."""
        goals = self._goals(agent)[: self.first]
        if isinstance(agent, OracleAgent) and agent.own_goal is not None:
            goals = agent.own_goal[None]
        each = [self._go(agent, np.tile(goal, (self.starts, 1)), progress) for goal in goals]
        return {name: float(np.mean([figures[name] for figures in each])) for name in each[0]}


@dataclass(frozen=True, kw_only=True)
class Distances(Protocol):
    """To goals in random directions at each of some distances."""

    num: int = 64
    """At each distance."""
    distances_m: tuple[float, ...] = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0)
    steps: int = 400

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """Normalised distance and goals reached at the end by distance; falls over all."""
        distance = np.repeat(self.distances_m, self.num)
        goals = on_circle(distance, self.seed)
        driven = agent.go(goals, self.steps, seed=self.seed, progress=progress)
        over_time = driven.normalised_distance(self.steps)
        assert over_time is not None
        near = driven.reached(0.5)
        figures = {"fall_fraction": float(driven.fell.mean())}
        for each in self.distances_m:
            rows = distance == each
            figures[f"normalised_distance_{each:g}m"] = float(over_time[rows].mean())
            figures[f"goal_fraction_05m_{each:g}m"] = float(near[rows].mean())
        return figures


@dataclass(frozen=True, kw_only=True)
class CircleGoals(Protocol):
    """To goals on a circle; what counts is time near them, as in JaxGCRL."""

    num: int = 256
    distance_m: float = 10.0
    radius_m: float = 0.5
    steps: int = 1000

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """Goals reached ever and at the end, part of the time near them, falls."""
        goals = on_circle(np.full(self.num, self.distance_m), self.seed)
        driven = agent.go(goals, self.steps, seed=self.seed, progress=progress)
        near = is_near(driven, self.radius_m)
        return {
            "ever_fraction": float(near.any(axis=1).mean()),
            "time_fraction": float(near.mean()),
            "end_fraction": float(driven.reached(self.radius_m).mean()),
            "fall_fraction": float(driven.fell.mean()),
        }


@dataclass(frozen=True, kw_only=True)
class FarGoals(Protocol):
    """To goals uniform in a large square; what counts is whether they are touched, as in CSF."""

    num: int = 256
    range_m: float = 50.0
    radii_m: tuple[float, ...] = (3.0, 1.0)
    steps: tuple[int, ...] = (200, 1000)

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """Goals hit and falls in the first steps, for each number of them."""
        goals = sample_goals(agent.model.spec, self.num, self.range_m, self.seed)
        driven = agent.go(goals, max(self.steps), seed=self.seed, progress=progress)
        figures: Figures = {}
        for steps in self.steps:
            for radius_m in self.radii_m:
                hit = is_near(driven, radius_m)[:, :steps].any(axis=1)
                figures[f"hit_{radius_m:g}m_{steps}"] = float(hit.mean())
            fell = driven.fell & (steps_up(driven) < steps)
            figures[f"fall_fraction_{steps}"] = float(fell.mean())
        return figures


@dataclass(frozen=True, kw_only=True)
class LearningGoals(Protocol):
    """To a few goals that some have learned before, by how many samples they had of each."""

    num: int = 16
    range_m: float = 15.0
    starts: int = 16
    """For each goal."""
    steps: int = 200
    samples: tuple[int, ...] = (25_000, 50_000, 100_000, 200_000)
    """Control steps for each goal."""

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """Normalised distance and falls after each number of samples."""
        goals = sample_goals(agent.model.spec, self.num, self.range_m, self.seed)
        goals = np.repeat(goals, self.starts, axis=0)
        stages: list[Agent] = [agent]  # who plans: the same after any number of samples
        if isinstance(agent, LearningAgent):
            stages = [agent.after(samples) for samples in self.samples]
        driven = [
            stage.go(goals, self.steps, seed=self.seed, progress=progress) for stage in stages
        ]
        figures: Figures = {}
        for samples, after in zip(self.samples, itertools.cycle(driven), strict=False):
            distance = after.normalised_distance(self.steps)
            assert distance is not None
            figures[f"normalised_distance_{samples}"] = float(distance.mean())
            figures[f"fall_fraction_{samples}"] = float(after.fell.mean())
        return figures


@dataclass(frozen=True, kw_only=True)
class Coverage(Protocol):
    """Squares of 1 m that the tracks of some skills touch, as in METRA."""

    num: int = 48
    steps: int = 200

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """For skills drawn from the prior, and for the longest: METRA's all have one length."""
        assert isinstance(agent, DadsAgent)  # who has skills
        bundle = agent.bundle
        figures: Figures = {}
        drawn = bundle.skill_space.sample(self.num, np.random.default_rng(self.seed))
        if bundle.skill_space.config.kind == "discrete":  # METRA: each in turn
            drawn = bundle.skill_space.grid(self.num)
        for name, skills in (("drawn", drawn), ("longest", longest(bundle.skill_space, drawn))):
            found = hold(agent, skills, self.steps, self.seed)
            figures |= {
                f"squares_{name}": float(count_xy_bins(found.tracks)),
                f"displacement_{name}_m": float(found.distance.mean()),
                f"fall_fraction_{name}": float(found.fallen.mean()),
            }
            progress(self.steps)
        return figures


@dataclass(frozen=True, kw_only=True)
class HeldSkills(Protocol):
    """Skills that are held from several starts: do they lead to one place, and where was said."""

    num: int = 16
    starts: int = 16
    """Of each skill."""
    moments: tuple[int, ...] = (50, 100, 200)
    """Control steps; whole skills of the planner."""

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """Displacement, spread and prediction error after each of the moments; falls.

        The last two as parts of the displacement, each a mean over all skills. Spread is the root
        mean square distance of a skill's robots from their mean place.
        """
        assert isinstance(agent, DadsAgent)  # who has skills
        space, num = agent.bundle.skill_space, self.num
        if space.config.kind == "discrete":  # each of them
            num = space.dim
        skills = np.repeat(space.grid(num), self.starts, axis=0)
        found = hold(agent, skills, max(self.moments), self.seed)
        figures: Figures = {}
        for steps in self.moments:
            displacement = found.tracks[:, steps] - found.tracks[:, 0]
            places = displacement.reshape(num, self.starts, 2)
            distance = np.linalg.norm(places - places.mean(axis=1, keepdims=True), axis=2)
            spread = np.sqrt(np.square(distance).mean(axis=1)).mean()
            moved = np.linalg.norm(displacement, axis=1).mean()
            error = found.error[:, found.prediction_steps.tolist().index(steps)]
            figures |= {
                f"displacement_{steps}_m": float(moved),
                f"spread_{steps}": float(spread / moved),
                f"prediction_error_{steps}": float(error.mean() / moved),
                f"fall_fraction_{steps}": float((found.fall_step <= steps).mean()),
            }
        progress(max(self.moments))
        return figures


@dataclass(frozen=True, kw_only=True)
class WholeReport(Protocol):
    """All of ``dads-ros evaluate``, and some tasks; their figures are ``task.figure``."""

    seed: int = 21
    num: int = 128
    """Goals, and robots of each task."""
    tasks: tuple[str, ...] = ("waypoints", "velocity", "stand")

    def measure(self, agent: Agent, progress: Progress) -> Figures:
        """Every figure that is a number; NaN where no robot has it, as drift where all fell."""
        assert isinstance(agent, DadsAgent)  # who has skills
        evaluate = functools.partial(
            evaluate_bundle,
            agent.bundle,
            agent.contender.planner,
            seed=self.seed,
            costs=agent.contender.costs,
            robot=agent.model.spec,
            num_goals=self.num,
            num_threads=1,
            progress=lambda _, step: progress(step),
        )
        report, tasks = evaluate(), evaluate(tasks=self.tasks)
        report |= {f"{name}.{key}": v for name in self.tasks for key, v in tasks[name].items()}
        report = {name: math.nan if value is None else value for name, value in report.items()}
        return {
            name: float(value)
            for name, value in report.items()
            if isinstance(value, float | int) and name not in SETTINGS_OF_REPORTS
        }


def hold(agent: DadsAgent, skills: NDArray[np.float32], steps: int, seed: int) -> SkillMetrics:
    """One robot for each skill (N, D), mean action; nothing is planned."""
    bundle = agent.bundle
    return evaluate_skills(
        agent.model,
        bundle.skill_space,
        bundle.command,
        bundle.rollout,
        agent.contender.planner.skill_duration_steps,
        seed=seed,
        frame=bundle.manifest.prediction.frame,
        skills=skills,
        steps=steps,
    )


def longest(space: SkillSpace, skills: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same directions, as far as the prior goes. Shape (N, D)."""
    if space.config.kind == "discrete":  # all of one length
        return skills
    order = np.inf if space.config.kind == "box" else 2
    return skills / np.linalg.norm(skills, order, axis=1, keepdims=True)


def on_circle(distance_m: Array, seed: int) -> Array:
    """Goals in random directions at these distances (R,), world frame, m. Shape (R, 2)."""
    angle = np.random.default_rng(seed).uniform(-np.pi, np.pi, len(distance_m))
    return distance_m[:, None] * turned(np.array([1.0, 0.0]), angle)


def steps_up(driven: GoalMetrics) -> NDArray[np.int64]:
    """Steps that each robot made before it fell, T where it never did. Shape (R,).

    One whose episode a fall ended stays where it was to the millimetre and below: the last step
    that moved it is the last one before.
    """
    moved = (np.diff(driven.tracks, axis=1) != 0.0).any(axis=2)
    last = moved.shape[1] - moved[:, ::-1].argmax(axis=1)
    return np.where(driven.fell, last * moved.any(axis=1), moved.shape[1])


def is_near(driven: GoalMetrics, radius_m: float) -> NDArray[np.bool_]:
    """Up and within a radius of its goal after each step. Shape (R, T)."""
    steps = np.arange(driven.tracks.shape[1] - 1)
    return (driven.distance[:, 1:] < radius_m) & (steps < steps_up(driven)[:, None])
