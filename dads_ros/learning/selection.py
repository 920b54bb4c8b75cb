"""Selection: which of a run's skills are kept, and when the run has lost them."""

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dads_ros.envs.model import RobotModel
from dads_ros.errors import TrainingError
from dads_ros.evaluation.skills import (
    SkillMetrics,
    SwitchMetrics,
    evaluate_skills,
    evaluate_standing,
    evaluate_switching,
)
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.learned_skills import LearnedSkills
from dads_ros.skills import SkillSpace

MetricsT = TypeVar("MetricsT", SkillMetrics, SwitchMetrics)
NUM_EVALUATED_SKILLS, NUM_SHOWN_SKILLS = 48, 32
"""So few that evaluations take less than a tenth of the time that learning takes."""
ZERO_SKILL_FALLS = "zero_skill_fall_fraction"
"""Figure of runs that train with zero skills."""
LATE, LATE_WORTH = 0.9, 0.5
"""Where costs grow over a run, skills of its last tenth replace those of before if they score at
least half as much. They fall more seldom than an evaluation of few robots can show, and that is
worth some of the distance."""
COLLAPSE_SHARE, COLLAPSE_ITERATIONS, COLLAPSE_PART = 0.1, 200, 0.25
"""Skills have collapsed when the reward stays below this share of its peak for so many iterations,
and for this part of the run: a robot whose first skills are ways to fall earns less while it
learns to stay up."""
COLLAPSE_MIN_PEAK = 0.2
"""nats; a reward that never was higher is that of a run which has not begun to learn."""


@dataclass(frozen=True)
class ScoredSkills:
    """Skills with their score = displacement * (1 - prediction error) * (1 - falls)^5.

    In metres; of the shortest and the longest delay of training, the lower one. Displacement
    alone swings from evaluation to evaluation; what is exported should not. A robot that fell is
    lost for all that follows, hence the power; falls are those under one skill, under skills that
    change all the time or of robots that stand and are pushed, whichever are more. Where skills
    have an entry for a turn, the displacement of those without it is multiplied by how far the
    others turn, rad: both are wanted.
    """

    score: float
    iteration: int
    metrics: dict[str, float]
    skills: LearnedSkills


class Selection:
    """Evaluates skills of one run as they are learned, and keeps the best."""

    def __init__(self, model: RobotModel, config: TrainConfig) -> None:
        """Nothing is kept yet."""
        self._model, self._config = model, config
        self.best: ScoredSkills | None = None

    def evaluate(
        self,
        skills: LearnedSkills,
        delay_ms: float = 0.0,
        num_skills: int = NUM_EVALUATED_SKILLS,
    ) -> SkillMetrics:
        """Mean action on a fixed grid of skills, with another start than in training.

        Args:
            skills: what is evaluated.
            delay_ms: from state to command.
            num_skills: size of the grid.
        """
        frame = self._config.prediction.frame
        return self._measured(
            evaluate_skills, skills, frame=frame, delay_ms=delay_ms, num_skills=num_skills
        )

    def evaluate_switching(self, skills: LearnedSkills, delay_ms: float = 0.0) -> SwitchMetrics:
        """The same while skills, drawn as in training, change as soon as planning could."""
        collect = self._config.collect
        return self._measured(
            evaluate_switching,
            skills,
            delay_ms=delay_ms,
            num_robots=NUM_EVALUATED_SKILLS,
            zero_fraction=collect.zero_skill_fraction,
            short_fraction=collect.short_skill_fraction,
        )

    def evaluate_standing(self, skills: LearnedSkills, delay_ms: float = 0.0) -> float:
        """The part of the robots that fall while they stand and are pushed; 1 if none stands."""
        fallen = evaluate_standing(
            self._model,
            SkillSpace(self._config.skill_prior),
            skills.command,
            seed=self._config.seed + 1,
            delay_ms=delay_ms,
            num_robots=NUM_EVALUATED_SKILLS,
        )
        return float(fallen.mean()) if len(fallen) else 1.0

    def judge(self, skills: LearnedSkills, iteration: int) -> tuple[ScoredSkills, SkillMetrics]:
        """Score what was learned in so many iterations; it becomes ``best`` if it is better.

        Returns: the skills with their score; the evaluation at the shortest delay of training.
        """
        metrics: dict[str, float] = {}
        scores = []
        shortest, longest = self._config.collect.delay_ms
        for delay_ms, suffix in {longest: "_delayed", shortest: ""}.items():
            held = self.evaluate(skills, delay_ms)
            at_delay = held.to_dict() | self.evaluate_switching(skills, delay_ms).to_dict()
            right = max(0.0, 1.0 - at_delay["prediction_error"])
            if self._has_zero_skills:
                at_delay[ZERO_SKILL_FALLS] = self.evaluate_standing(skills, delay_ms)
            falls = max(
                at_delay["skill_fall_fraction"],
                at_delay["switch_fall_fraction"],
                at_delay.get(ZERO_SKILL_FALLS, 0.0),
            )
            upright = (1.0 - falls) ** 5
            turn = math.radians(at_delay["turn_deg"]) if "turn_deg" in at_delay else 1.0
            scores.append(at_delay["mean_displacement_m"] * turn * right * upright)
            metrics |= {key + suffix: value for key, value in at_delay.items()}
        score = min(scores)
        now = ScoredSkills(score, iteration, metrics | {"score": score}, skills)
        if self.best is None or self._is_better(now, self.best):
            self.best = now
        return now, held

    def _is_better(self, now: ScoredSkills, best: ScoredSkills) -> bool:
        late, reward = LATE * self._config.num_iterations, self._config.reward
        costs = [reward.fall_cost, reward.tilt_cost, reward.motion_cost]
        if self._model.spec.body_limits is not None:
            costs.append(reward.limits_cost)
        if any(last > first for first, last in costs) and best.iteration < late <= now.iteration:
            return now.score >= LATE_WORTH * best.score
        return now.score >= best.score  # of those that are worth nothing the last

    @property
    def _has_zero_skills(self) -> bool:
        return self._config.collect.zero_skill_fraction > 0.0

    def outdate(self) -> None:
        """What is wanted has changed: ``best`` stays only until the next skills are judged."""
        if self.best is not None:
            self.best = dataclasses.replace(self.best, score=-math.inf)

    def checkpoint(self) -> dict[str, Any] | None:
        """Everything that ``restore`` needs; None while there is no best."""
        if self.best is None:
            return None
        policy, dynamics = self.best.skills
        return {
            "score": self.best.score,
            "iteration": self.best.iteration,
            "metrics": self.best.metrics,
            "policy": policy.state_dict(),
            "dynamics": dynamics.state_dict(),
        }

    def restore(self, saved: dict[str, Any] | None, skills: LearnedSkills) -> None:
        """Go on from ``checkpoint``; the best are read into ``skills`` of the same shape."""
        if saved is not None:
            skills.policy.load_state_dict(saved["policy"])
            skills.dynamics.load_state_dict(saved["dynamics"])
            best = saved["score"], saved["iteration"], saved["metrics"]
            self.best = ScoredSkills(*best, skills)
            if self._has_zero_skills and ZERO_SKILL_FALLS not in self.best.metrics:
                self.outdate()  # they were judged before standing counted

    def _measured(
        self, evaluate: Callable[..., MetricsT], skills: LearnedSkills, **settings: object
    ) -> MetricsT:
        """What one of the functions of ``evaluation.skills`` finds."""
        prediction = self._config.prediction
        return evaluate(
            self._model,
            SkillSpace(self._config.skill_prior),
            skills.command,
            functools.partial(prediction.rollout, self._model.spec, skills.delta),
            prediction.steps,
            seed=self._config.seed + 1,
            **settings,
        )


@dataclass
class CollapseDetector:
    """Notices when skills that could be told apart no longer can, for many iterations."""

    peak_reward: float = 0.0
    """Highest mean reward of an iteration, nats."""
    num_low_rewards: int = 0
    """Iterations on end with less than ``COLLAPSE_SHARE`` of it."""

    def take(self, reward: float, num_iterations: int) -> None:
        """An iteration is done. Raises: TrainingError when the skills have collapsed.

        Args:
            reward: its mean reward, nats; 0 before learning begins.
            num_iterations: of the whole run.
        """
        self.peak_reward = max(self.peak_reward, reward)
        is_low = reward < COLLAPSE_SHARE * self.peak_reward
        self.num_low_rewards = self.num_low_rewards + 1 if is_low else 0
        limit = max(COLLAPSE_ITERATIONS, COLLAPSE_PART * num_iterations)
        if self.peak_reward > COLLAPSE_MIN_PEAK and self.num_low_rewards >= limit:
            raise TrainingError(
                f"the skills collapsed: the reward was {self.peak_reward:.2f} nats at best, and "
                f"below {COLLAPSE_SHARE:.0%} of that for the last {self.num_low_rewards} "
                "iterations; 'export' makes a bundle of the best skills. Try a lower "
                "'sac.learning_rate' or another seed"
            )
