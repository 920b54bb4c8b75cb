"""Trainer: the loop of DADS (Sharma et al. 2020, Algorithm 1) over many robots at once."""

import logging
import sys
import time
from collections.abc import Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dads_ros.config import shown
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv, available_cores
from dads_ros.errors import CheckpointError, TrainingError
from dads_ros.evaluation.skills import SkillMetrics
from dads_ros.files import make_output_folder, remove_leftovers, source_commit
from dads_ros.learning.agent import Agent, over_last_half
from dads_ros.learning.checkpoint import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from dads_ros.learning.collector import Collector, Policy
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.networks import one_thread
from dads_ros.learning.replay_buffer import Chunk, ReplayBuffer
from dads_ros.learning.selection import (
    COLLAPSE_MIN_PEAK,
    NUM_SHOWN_SKILLS,
    CollapseDetector,
    Selection,
)
from dads_ros.robot import RobotSpec

NORMALIZER_STEPS = 1_000_000
"""Control steps after which the normaliser of the features stays as it is."""
logger = logging.getLogger(__name__)
FREE_TO_CHANGE = (
    "num_iterations",
    "robot",
    "evaluate_every",
    "checkpoint_period_s",
    "show_period_s",
    "device",
    "sac.compile",
)
"""Settings that a resumed run may change; the robot itself is compared, wherever its file lies."""
FREE_IF_NAMED = (
    "reward.fall_cost",
    "reward.limits_cost",
    "reward.motion_cost",
    "reward.tilt_cost",
    "sac.final_learning_rate_factor",
    "sac.final_target_entropy_per_action",
    "sac.learning_rate",
    "sac.target_entropy_per_action",
    "collect.nearby_skill_fraction",
    "collect.push_mps",
    "collect.short_skill_fraction",
    "collect.skill_switch_probability",
    "collect.zero_skill_fraction",
)
"""Costs and schedules, which it may change where somebody says so by name."""


@dataclass(frozen=True)
class IterationMetrics:
    """What an iteration reports."""

    iteration: int
    num_env_steps: int
    num_gradient_steps: int
    values: dict[str, float]
    """Metrics of the iteration; with those of the evaluation where there was one."""
    skills: SkillMetrics | None = None
    """That evaluation, without delay or with the shortest; or a rollout of skills to look at."""

    def to_dict(self) -> dict[str, float]:
        """All of it as plain numbers."""
        return {
            "num_env_steps": self.num_env_steps,
            "num_gradient_steps": self.num_gradient_steps,
            **self.values,
        }


class Trainer:
    """One training run in one folder.

    Sampling and learning overlap: while iteration i learns, a thread collects with the policy as
    it was when i began; what it collects is used from iteration i + 1 on. So both cores work and a
    seeded run still repeats exactly.
    """

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        *,
        resume: bool = False,
        renewed: Collection[str] = (),
    ) -> None:
        """Make everything, or continue the run in ``out``.

        Args:
            config: all settings.
            out: folder of the run.
            resume: continue.
            renewed: settings that the run may have had otherwise so far, if they are of
                FREE_IF_NAMED; they are the run's from then on.
        Raises: ConfigError, CheckpointError when the folder holds no run, another one, or, without
            ``resume``, any.
        """
        self.config, self.out = config, out
        saved = load_checkpoint(out) if resume else None
        is_renewed = False
        if saved is not None:
            with _fitting(out):
                is_renewed = self._check_config(saved["config"], renewed)
        elif (out / CHECKPOINT_FILE).exists():
            raise CheckpointError(
                f"'{out}' already holds a run; add --resume or choose another --out"
            )
        torch.set_flush_denormal(True)
        # Sampling and learning take turns at the interpreter many times a millisecond; with the
        # default of 5 ms the learner waits for the sampler most of the time (measured: x 1.5).
        sys.setswitchinterval(2e-4)
        self.model = RobotModel(RobotSpec.load(config.robot))
        self.robot = self.model.spec
        self.commit = source_commit()
        """Of the code that began the run; "unknown" where its checkpoint does not say."""
        if saved is not None:
            with _fitting(out):
                self._check_robot(saved)
            self.commit = saved.get("commit", "unknown")
        seeds = np.random.SeedSequence(config.seed).spawn(5)
        self._rngs = {
            name: np.random.default_rng(seed)
            for name, seed in zip(("env", "skill", "alt_skill"), seeds, strict=False)
        }
        self._generators = {
            name: torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
            for name, seed in zip(("action", "learn"), seeds[3:], strict=True)
        }
        torch.manual_seed(config.seed)
        self.agent = Agent(
            self.model,
            config,
            rng=self._rngs["alt_skill"],
            generator=self._generators["learn"],
        )
        self.collector = self._make_collector()
        self.replay: ReplayBuffer | None = None
        self.selection, self.collapse = Selection(self.model, config), CollapseDetector()
        self.iteration = 0
        if saved is None:
            make_output_folder(out)
        else:  # only reads, unless renewed: a run can be exported while it goes on elsewhere
            with _fitting(out):
                self._restore(saved)
            if is_renewed:  # rewards and scores of before say nothing about what is wanted
                self.selection.outdate()
                self.collapse = CollapseDetector()
                self.save_checkpoint()  # these settings are the run's, also if it is killed now

    @property
    def num_env_steps(self) -> int:
        """Control steps of all robots so far."""
        collect = self.config.collect
        return self.iteration * collect.num_envs * collect.steps_per_iteration

    @property
    def progress(self) -> float:
        """Part of the run that is done, 0 to 1."""
        return self.iteration / self.config.num_iterations

    def iterations(self) -> Generator[IterationMetrics, None, None]:
        """Train, and report after each iteration; a checkpoint follows the last one."""
        remove_leftovers(self.out)
        last_save = last_seen = time.monotonic()
        with one_thread(), ThreadPoolExecutor(1) as pool:
            while self.iteration < self.config.num_iterations:
                has_warmed_up = self._has_warmed_up
                policy = self.agent.sampling_policy(
                    self._generators["action"], explore=not has_warmed_up
                )
                pending = pool.submit(self._collect, policy)
                values = self._learn() if has_warmed_up else {}
                values |= self._take_in(pending.result())
                self._refuse(self.agent.broken())  # the last step shows in no metric yet
                self.iteration += 1
                seen: SkillMetrics | None = None
                is_last = self.iteration == self.config.num_iterations
                if is_last or self.iteration % self.config.evaluate_every == 0:
                    now, seen = self.selection.judge(self.agent.learned_skills(), self.iteration)
                    values |= now.metrics
                elif time.monotonic() - last_seen > self.config.show_period_s:
                    seen = self.selection.evaluate(
                        self.agent.learned_skills(),
                        self.config.collect.delay_ms[0],
                        NUM_SHOWN_SKILLS,
                    )
                if seen is not None:
                    last_seen = time.monotonic()
                try:
                    self.collapse.take(values.get("reward", 0.0), self.config.num_iterations)
                    self._warn_of_no_start()
                except TrainingError:
                    self.save_checkpoint()
                    raise
                yield IterationMetrics(
                    self.iteration, self.num_env_steps, self.agent.sac.num_updates, values, seen
                )
                # After the caller has taken in the metrics: resumed runs do not repeat them.
                if time.monotonic() - last_save > self.config.checkpoint_period_s:
                    self.save_checkpoint()
                    last_save = time.monotonic()
        self.save_checkpoint()

    def save_checkpoint(self) -> None:
        """Write everything that a resumed run needs to go on exactly here."""
        save_checkpoint(
            self.out,
            {
                "config": self.config.to_dict(),
                "robot": self.robot.to_dict(),
                "model_sha256": self.model.sha256(),
                "commit": self.commit,
                "iteration": self.iteration,
                **self.agent.checkpoint(),
                "best": self.selection.checkpoint(),
                **asdict(self.collapse),
                "collector": self.collector.checkpoint(),
                "replay": None if self.replay is None else self.replay.checkpoint(),
                "rngs": {name: rng.bit_generator.state for name, rng in self._rngs.items()},
                "generators": {name: g.get_state() for name, g in self._generators.items()},
            },
        )

    def _warn_of_no_start(self) -> None:
        """Once, after half of the run. Rewards of rivals have other units."""
        peak, is_dads = self.collapse.peak_reward, self.agent.rival is None
        is_due = self.iteration == self.config.num_iterations // 2
        if is_due and is_dads and peak <= COLLAPSE_MIN_PEAK:
            logger.warning(
                "half of the run is over, and the reward was %.2f nats at best: skills "
                "cannot be told apart yet; README, 'Tuning', says what helps",
                peak,
            )

    # --- one iteration -------------------------------------------------------------------------

    @property
    def _has_warmed_up(self) -> bool:
        enough = self.num_env_steps >= max(self.config.collect.warmup_steps, 1)
        rows = self.iteration * self.config.collect.steps_per_iteration
        return enough and rows > 2 * self.config.prediction.steps + 2

    def _collect(self, policy: Policy) -> Chunk:
        """Experience of one iteration."""
        config = self.config.collect
        return self.collector.collect(
            policy,
            config.steps_per_iteration,
            switch_probability=over_last_half(*config.skill_switch_probability, self.progress),
            push_mps=over_last_half(*config.push_mps, self.progress),
        )

    def _take_in(self, chunk: Chunk) -> dict[str, float]:
        if self.replay is None:
            self.replay = self._make_replay(chunk)
        self.replay.add(chunk)
        if self.num_env_steps < NORMALIZER_STEPS:
            self.agent.update_normalizer(chunk)
        moved = chunk.skill_left > 0
        means = chunk.exceeded[moved].mean(axis=0) if moved.any() else []
        limits = zip(self.collector.env.limit_names, means, strict=False)
        falls = 1000.0 * float(chunk.terminated.sum() / max(moved.sum(), 1))
        return {"falls": falls} | {f"exceeded_{name}": float(mean) for name, mean in limits}

    def _learn(self) -> dict[str, float]:
        assert self.replay is not None
        metrics = self.agent.learn(self.replay, self.progress)
        self._refuse([name for name, value in metrics.items() if not np.isfinite(value)])
        return metrics

    def _refuse(self, broken: list[str]) -> None:
        """Raises: TrainingError when something is not finite."""
        if broken:
            raise TrainingError(
                f"training diverged at iteration {self.iteration}: {', '.join(broken)} not "
                "finite; the last checkpoint is from before that: export its skills, or train "
                "anew with a lower 'sac.learning_rate'"
            )

    # --- making and restoring ------------------------------------------------------------------

    def _make_collector(self) -> Collector:
        collect = self.config.collect
        env = VectorEnv(
            self.model,
            collect.num_envs,
            rng=self._rngs["env"],
            episode_steps=collect.episode_steps,
            delay_ms=collect.delay_ms,
            randomization=collect.randomization,
            bodies_seed=self.config.seed,
            staggered=True,
            num_threads=max(1, available_cores() - 1),
        )
        return Collector(
            env,
            self.agent.skill_space,
            self._rngs["skill"],
            min_hold_steps=self.config.prediction.steps,
            zero_fraction=collect.zero_skill_fraction,
            short_fraction=collect.short_skill_fraction,
            nearby_fraction=collect.nearby_skill_fraction,
        )

    def _make_replay(self, first: Chunk) -> ReplayBuffer:
        collect, prediction = self.config.collect, self.config.prediction
        columns = prediction.observation_columns(self.robot)
        rows = collect.replay_capacity // collect.num_envs
        places = self.agent.rival is not None
        device = self.agent.device
        return ReplayBuffer(rows, first, prediction, device, columns, with_places=places)

    def _check_config(self, saved: dict[str, Any], renewed: Collection[str]) -> bool:
        """A setting that did not exist yet did what its default does; one that is gone differs.

        Returns: whether any that may be renewed is another one.
        """
        theirs = _flatten(TrainConfig(robot=self.config.robot).to_dict()) | _flatten(saved)
        mine = _flatten(self.config.to_dict())
        different = [name for name in mine | theirs if theirs.get(name) != mine.get(name)]
        new = set(FREE_IF_NAMED).intersection(renewed, different)
        wrong = [
            f"{name} ({shown(theirs.get(name))}, now {shown(mine.get(name))})"
            for name in different
            if name not in FREE_TO_CHANGE and name not in new
        ]
        if wrong:
            raise CheckpointError(
                f"'{self.out}' was trained with other settings: {', '.join(wrong[:4])}; "
                "use its config.yaml or another --out. Costs and schedules of a run that goes on "
                f"may be changed by --set: {', '.join(FREE_IF_NAMED)}"
            )
        return bool(new)

    def _check_robot(self, saved: dict[str, Any]) -> None:
        """A checkpoint of before these were kept says nothing, and is taken."""
        mine = _without_tolerances(self.robot)
        theirs = mine
        if "robot" in saved:  # with the defaults of what did not exist yet
            theirs = _without_tolerances(RobotSpec.from_dict(saved["robot"]))
        different = [key for key in mine if key != "mjcf" and theirs.get(key) != mine[key]]
        if saved.get("model_sha256", sha := self.model.sha256()) != sha:
            different.append("the compiled model (its MJCF, or the version of MuJoCo)")
        if different:
            raise CheckpointError(
                f"'{self.out}' was trained with another robot '{self.robot.name}': they differ in "
                f"{', '.join(different)}; bring back the robot file or use another --out"
            )

    def _restore(self, saved: dict[str, Any]) -> None:
        self.iteration = int(saved["iteration"])
        self.agent.restore(saved)
        self.selection.restore(saved["best"], self.agent.learned_skills())
        self.collapse = CollapseDetector(
            float(saved["peak_reward"]), int(saved["num_low_rewards"])
        )
        self.collector.restore(saved["collector"])
        if saved["replay"] is not None:
            data = saved["replay"]["data"]
            if "exceeded" not in data:  # of before bodies had limits
                data["exceeded"] = torch.zeros(*data["terminated"].shape, 0)
            first = Chunk(**{name: array[:1].numpy() for name, array in data.items()})
            self.replay = self._make_replay(first)
            self.replay.restore(saved["replay"])
        for name, state in saved["rngs"].items():
            self._rngs[name].bit_generator.state = state
        for name, state in saved["generators"].items():
            self._generators[name].set_state(state)


def _without_tolerances(robot: RobotSpec) -> dict[str, Any]:
    """What a run depends on: by how much a symmetry may be missed is none of it."""
    values = robot.to_dict()
    for key in ("symmetry", "mirror"):
        (values[key] or {}).pop("tolerance", None)
    return values


@contextmanager
def _fitting(out: Path) -> Iterator[None]:
    """Turn what is raised for a checkpoint of something else into a CheckpointError."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RuntimeError) as e:
        detail = " ".join(str(e).split())[:200]
        raise CheckpointError(
            f"the checkpoint in '{out}' does not fit ({type(e).__name__}: {detail}); delete it "
            "and train again"
        ) from e


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
