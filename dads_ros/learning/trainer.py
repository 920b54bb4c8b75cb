"""Trainer: the loop of DADS (Sharma et al. 2020, Algorithm 1) over many robots at once."""

import copy
import functools
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dads_ros.config import shown
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv, available_cores
from dads_ros.errors import CheckpointError, TrainingError
from dads_ros.evaluation.skills import (
    SkillMetrics,
    SwitchMetrics,
    evaluate_skills,
    evaluate_switching,
)
from dads_ros.files import make_output_folder, remove_leftovers, source_commit
from dads_ros.learning.checkpoint import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from dads_ros.learning.collector import Collector, Policy
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.intrinsic_reward import intrinsic_reward
from dads_ros.learning.learned_skills import LearnedSkills, MeanDynamics, MeanPolicy
from dads_ros.learning.mirror import Mirror
from dads_ros.learning.networks import Actor, Features, RunningNormalizer, one_thread
from dads_ros.learning.replay_buffer import Chunk, ReplayBuffer, Transition
from dads_ros.learning.sac import Sac, SacBatch
from dads_ros.learning.skill_dynamics import BodyState, SkillDynamics
from dads_ros.observation import observation_slices
from dads_ros.planning.mppi import Rollout
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace

MetricsT = TypeVar("MetricsT", SkillMetrics, SwitchMetrics)
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
COLLAPSE_SHARE, COLLAPSE_ITERATIONS, COLLAPSE_PART = 0.1, 200, 0.25
"""Skills have collapsed when the reward stays below this share of its peak for so many iterations,
and for this part of the run: a robot whose first skills are ways to fall earns less while it
learns to stay up."""
COLLAPSE_MIN_PEAK = 0.2
"""nats; a reward that never was higher is that of a run which has not begun to learn."""
FLOAT = torch.float32
"""Said wherever a tensor is made: torch.compile may change torch's default while it traces, which
is one for the whole process, and two threads are at work."""
NUM_EVALUATED_SKILLS, NUM_SHOWN_SKILLS = 48, 32
"""So few that evaluations take less than a tenth of the time that learning takes."""
REWARD_ROWS = 2048  # transitions whose rewards are computed together; fits the cache
BODY_REWARD_ROWS = 64  # the same where q sees body states: one pass for each skill
UNKNOWN_SHARE = 0.5  # of the transitions that q is fitted to, without the body state


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


@dataclass(frozen=True)
class Best:
    """The best skills of a run by score = displacement * (1 - prediction error) * (1 - falls)^5.

    In metres; of the shortest and the longest delay of training, the lower one. Displacement
    alone swings from evaluation to evaluation; what is exported should not. A robot that fell is
    lost for all that follows, hence the power; falls are those under one skill or under skills
    that change all the time, whichever are more.
    """

    score: float
    iteration: int
    metrics: dict[str, float]
    skills: LearnedSkills

    def checkpoint(self) -> dict[str, Any]:
        """Everything that ``restored`` needs."""
        policy, dynamics = self.skills
        weights = {"policy": policy.state_dict(), "dynamics": dynamics.state_dict()}
        return {
            "score": self.score,
            "iteration": self.iteration,
            "metrics": self.metrics,
        } | weights

    @classmethod
    def restored(cls, saved: dict[str, Any], skills: LearnedSkills) -> "Best":
        """From ``checkpoint``, into skills of the same shape."""
        skills.policy.load_state_dict(saved["policy"])
        skills.dynamics.load_state_dict(saved["dynamics"])
        return cls(saved["score"], saved["iteration"], saved["metrics"], skills)


class Trainer:
    """One training run in one folder.

    Sampling and learning overlap: while iteration i learns, a thread collects with the policy as
    it was when i began; what it collects is used from iteration i + 1 on. So both cores work and a
    seeded run still repeats exactly.
    """

    def __init__(self, config: TrainConfig, out: Path, *, resume: bool = False) -> None:
        """Make everything, or continue the run in ``out``.

        Raises: ConfigError, CheckpointError when the folder holds no run, another one, or, without
            ``resume``, any.
        """
        self.config, self.out = config, out
        saved = load_checkpoint(out) if resume else None
        if saved is not None:
            with _fitting(out):
                self._check_config(saved["config"])
        elif (out / CHECKPOINT_FILE).exists():
            raise CheckpointError(
                f"'{out}' already holds a run; add --resume or choose another --out"
            )
        torch.set_flush_denormal(True)
        # Sampling and learning take turns at the interpreter many times a millisecond; with the
        # default of 5 ms the learner waits for the sampler most of the time (measured: x 1.5).
        sys.setswitchinterval(2e-4)
        self.device = _device(config.device)
        self.robot = RobotSpec.load(config.robot)
        self.model = RobotModel(self.robot)
        self.commit = source_commit()
        """Of the code that began the run; "unknown" where its checkpoint does not say."""
        if saved is not None:
            with _fitting(out):
                self._check_robot(saved)
            self.commit = saved.get("commit", "unknown")
        self.skill_space = SkillSpace(config.skill_prior)
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
        self._make_networks()
        self.collector = Collector(
            self._make_env(config.collect.num_envs),
            self.skill_space,
            self._rngs["skill"],
            min_hold_steps=config.prediction.steps,
            zero_fraction=config.collect.zero_skill_fraction,
            push_mps=config.collect.push_mps,
        )
        self.replay: ReplayBuffer | None = None
        self.iteration = 0
        self.warm_start_over = config.skill_dynamics.warm_start_steps == 0
        self.peak_reward, self.num_low_rewards = 0.0, 0
        self.best: Best | None = None
        self.evaluation: SkillMetrics | None = None
        if saved is None:
            make_output_folder(out)
        else:  # only reads: a run can be exported while it goes on elsewhere
            with _fitting(out):
                self._restore(saved)

    @property
    def num_env_steps(self) -> int:
        """Control steps of all robots so far."""
        collect = self.config.collect
        return self.iteration * collect.num_envs * collect.steps_per_iteration

    @property
    def num_gradient_steps(self) -> int:
        """Updates of the policy so far."""
        return self.sac.num_updates

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
                pending = pool.submit(
                    self._collect,
                    *_copies(self.features, self.normalizer, self.sac.actor),
                    explore=not self._has_warmed_up,
                )
                values = self._learn() if self._has_warmed_up else {}
                values |= self._take_in(pending.result())
                self.iteration += 1
                self.evaluation = None
                if self.iteration % self.config.evaluate_every == 0:
                    values |= self.judge().metrics
                elif time.monotonic() - last_seen > self.config.show_period_s:
                    self.evaluation = self.evaluate(
                        self.config.collect.delay_ms[0], NUM_SHOWN_SKILLS
                    )
                if self.evaluation is not None:
                    last_seen = time.monotonic()
                if self._have_skills_collapsed(values):
                    self.save_checkpoint()
                    raise TrainingError(
                        f"the skills collapsed: the reward was {self.peak_reward:.2f} nats at "
                        f"best, and below {COLLAPSE_SHARE:.0%} of that for the last "
                        f"{self.num_low_rewards} iterations; 'export' makes a bundle of the "
                        "best skills. Try a lower 'sac.learning_rate' or another seed"
                    )
                yield IterationMetrics(
                    self.iteration,
                    self.num_env_steps,
                    self.num_gradient_steps,
                    values,
                    self.evaluation,
                )
                # After the caller has taken in the metrics: resumed runs do not repeat them.
                if time.monotonic() - last_save > self.config.checkpoint_period_s:
                    self.save_checkpoint()
                    last_save = time.monotonic()
        self.save_checkpoint()

    def evaluate(
        self, delay_ms: float = 0.0, num_skills: int = NUM_EVALUATED_SKILLS
    ) -> SkillMetrics:
        """Mean action on a fixed grid of skills, with another start than in training."""
        return self._measured(evaluate_skills, delay_ms=delay_ms, num_skills=num_skills)

    def evaluate_switching(self, delay_ms: float = 0.0) -> SwitchMetrics:
        """The same while skills change as often as predictions allow."""
        return self._measured(
            evaluate_switching, delay_ms=delay_ms, num_robots=NUM_EVALUATED_SKILLS
        )

    def judge(self) -> Best:
        """Evaluate what was learned up to now; it becomes ``best`` if it is better.

        The evaluation at the shortest delay of training is left in ``evaluation``.
        """
        metrics: dict[str, float] = {}
        scores = []
        shortest, longest = self.config.collect.delay_ms
        for delay_ms, suffix in {longest: "_delayed", shortest: ""}.items():
            self.evaluation = self.evaluate(delay_ms)
            at_delay = self.evaluation.to_dict() | self.evaluate_switching(delay_ms).to_dict()
            right = max(0.0, 1.0 - at_delay["prediction_error"])
            falls = max(at_delay["skill_fall_fraction"], at_delay["switch_fall_fraction"])
            upright = (1.0 - falls) ** 5
            scores.append(at_delay["mean_displacement_m"] * right * upright)
            metrics |= {key + suffix: value for key, value in at_delay.items()}
        score = min(scores)
        now = Best(score, self.iteration, metrics | {"score": score}, self.learned_skills())
        if self.best is None or score > self.best.score:
            self.best = now
        return now

    def learned_skills(self) -> LearnedSkills:
        """What was learned up to now."""
        limits = self.robot.command_limits
        policy = MeanPolicy(self.features, self.normalizer, self.sac.export_actor, limits)
        dynamics = MeanDynamics(self.q, self.body_state)
        return LearnedSkills(policy.cpu().eval(), dynamics.cpu().eval())

    def _rollout_of(self, skills: LearnedSkills) -> Rollout:
        return functools.partial(self.config.prediction.rollout, self.robot, skills.delta)

    def _measured(self, evaluate: Callable[..., MetricsT], **settings: float) -> MetricsT:
        """What was learned up to now, by one of the functions of ``evaluation.skills``."""
        skills = self.learned_skills()
        return evaluate(
            self.model,
            self.skill_space,
            skills.command,
            self._rollout_of(skills),
            self.config.prediction.steps,
            seed=self.config.seed + 1,
            **settings,
        )

    def save_checkpoint(self) -> None:
        """Write everything that a resumed run needs to go on exactly here."""
        save_checkpoint(
            self.out,
            {
                "config": self.config.to_dict(),
                "robot": self.robot.to_dict(),
                "model_sha256": self.model.sha256(),
                "commit": self.commit,
                "best": None if self.best is None else self.best.checkpoint(),
                "iteration": self.iteration,
                "sac": self.sac.checkpoint(),
                "warm_start_over": self.warm_start_over,
                "peak_reward": self.peak_reward,
                "num_low_rewards": self.num_low_rewards,
                "q": self._qs.state_dict(),
                "q_optimizer": self.q_optimizer.state_dict(),
                "normalizer": self.normalizer.state_dict(),
                "collector": self.collector.checkpoint(),
                "replay": None if self.replay is None else self.replay.checkpoint(),
                "rngs": {name: rng.bit_generator.state for name, rng in self._rngs.items()},
                "generators": {name: g.get_state() for name, g in self._generators.items()},
            },
        )

    # --- one iteration -------------------------------------------------------------------------

    @property
    def _has_warmed_up(self) -> bool:
        enough = self.num_env_steps >= max(self.config.collect.warmup_steps, 1)
        rows = self.iteration * self.config.collect.steps_per_iteration
        return enough and rows > 2 * self.config.prediction.steps + 2

    def _collect(
        self, features: Features, normalizer: RunningNormalizer, actor: Actor, *, explore: bool
    ) -> Chunk:
        """Experience of one iteration: random actions while exploring, else the policy's."""
        generator = self._generators["action"]

        @torch.no_grad()
        def sample(
            obs: NDArray[np.float32], skill: NDArray[np.float32]
        ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            shape = (len(obs), self.robot.command_dim)
            if explore:
                action = torch.rand(shape, generator=generator, dtype=FLOAT) * 2.0 - 1.0
                return action.numpy(), np.full(shape[0], -shape[1] * np.log(2.0), np.float32)
            seen, turns = features(torch.from_numpy(obs), torch.from_numpy(skill))
            noise = torch.randn(shape, generator=generator, dtype=FLOAT)
            scale = torch.linspace(*self.config.collect.noise_scale, len(noise), dtype=FLOAT)
            noise *= scale[:, None]
            action, log_prob = actor.sample(normalizer(seen), noise)
            return features.to_robot(action, turns).numpy(), log_prob.numpy()

        policy: Policy = sample
        config = self.config.collect
        return self.collector.collect(
            policy,
            config.steps_per_iteration,
            switch_probability=over_last_half(*config.skill_switch_probability, self.progress),
        )

    def _take_in(self, chunk: Chunk) -> dict[str, float]:
        collect = self.config.collect
        if self.replay is None:
            self.replay = self._make_replay(chunk)
        self.replay.add(chunk)
        moved = chunk.skill_left > 0
        if self.num_env_steps < collect.normalizer_steps:
            obs = torch.from_numpy(chunk.policy_obs[moved]).to(self.device)
            skill = torch.from_numpy(chunk.skill[moved]).to(self.device)
            with torch.no_grad():
                self.normalizer.update(self.features(obs, skill)[0])
        return {"falls": 1000.0 * float(chunk.terminated.sum() / max(moved.sum(), 1))}

    def _learn(self) -> dict[str, float]:
        """Fit q, then SAC on the intrinsic reward."""
        config, generator = self.config.sac, self._generators["learn"]
        factor = over_last_half(1.0, config.final_learning_rate_factor, self.progress)
        self.sac.set_learning_rate(config.learning_rate * factor)
        metrics = self._fit_skill_dynamics()
        batch_size, num_steps = config.batch_size, config.gradient_steps
        transition = self._sample(batch_size * num_steps)
        batch, reward_metrics = self._prepare(transition)
        shape = (num_steps, 2, batch_size, self.robot.command_dim)
        noise = torch.randn(shape, generator=generator, dtype=FLOAT).to(self.device)
        sums: dict[str, Tensor] = {}
        for step in range(num_steps):
            rows = slice(step * batch_size, (step + 1) * batch_size)
            update = self.sac.update(SacBatch(*(array[rows] for array in batch)), noise[step])
            for name, value in update.items():
                sums[name] = sums.get(name, 0.0) + value
        metrics |= {name: float(value) / num_steps for name, value in sums.items()}
        metrics |= reward_metrics | {"temperature": float(self.sac.log_alpha.detach().exp())}
        broken = [name for name, value in metrics.items() if not np.isfinite(value)]
        if broken:
            raise TrainingError(
                f"training diverged at iteration {self.iteration}: {', '.join(broken)} not "
                "finite; the last checkpoint is from before that: export its skills, or train "
                "anew with a lower 'sac.learning_rate'"
            )
        return metrics

    def _have_skills_collapsed(self, values: dict[str, float]) -> bool:
        """Whether skills that could be told apart no longer can, for many iterations."""
        reward = values.get("reward", 0.0)
        self.peak_reward = max(self.peak_reward, reward)
        is_low = reward < COLLAPSE_SHARE * self.peak_reward
        self.num_low_rewards = self.num_low_rewards + 1 if is_low else 0
        has_learned = self.peak_reward > COLLAPSE_MIN_PEAK
        limit = max(COLLAPSE_ITERATIONS, COLLAPSE_PART * self.config.num_iterations)
        return has_learned and self.num_low_rewards >= limit

    def _sample(self, num: int, *fractions: float) -> Transition:
        """Transitions from the replay buffer, half of them mirrored if that is wanted."""
        assert self.replay is not None
        generator = self._generators["learn"]
        transition = self.replay.sample(num, generator, *fractions)
        if "orientation" in self.config.prediction.fields:
            transition = self._with_upper_quaternion(transition)
        if self.mirror is None:
            return transition
        which = torch.rand(num, generator=generator, dtype=FLOAT) < 0.5
        return self.mirror(transition, which.to(self.device))

    def _with_upper_quaternion(self, transition: Transition) -> Transition:
        """Predicted changes of the quaternion with w at least 0; q and -q are the same."""
        prediction, w = self.config.prediction, observation_slices(self.robot)["orientation"].start
        before = int(np.flatnonzero(prediction.observation_columns(self.robot) == w)[0])
        first = len(prediction.pose_fields) + before
        delta = transition.delta.clone()
        delta[transition.start_obs[:, w] < 0.0, first : first + 4] *= -1.0
        return transition._replace(delta=delta)

    def _fit_skill_dynamics(self) -> dict[str, float]:
        config = self.config.skill_dynamics
        num = config.batch_size * config.gradient_steps
        transition = self._sample(num, config.newest_fraction, config.quiet_fraction)
        skill, delta = transition.skill, transition.delta
        if self.num_gradient_steps == 0:
            for q in self._qs:
                q.measure_scale(delta)
        with torch.no_grad():
            body = self._body_of(self.reward_q, transition.start_obs, skill)
            mean = self.reward_q.mean(skill, body)[:, :2]
            achieved = float((delta[:, :2] * mean).sum() / mean.square().sum())
        metrics = {"achieved": achieved}
        self.warm_start_over |= (
            achieved >= config.warm_start_until
            or self.num_gradient_steps >= config.warm_start_steps
        )
        if not self.warm_start_over:
            return metrics
        factor = over_last_half(1.0, config.final_sigma_factor, self.progress)
        for q in self._qs:
            q.adapt_sigma(delta, factor)
        weight = torch.ones(num, device=self.device, dtype=FLOAT)
        if config.importance_clip > 0.0:
            weight = self._importance_weight(transition)
        known = None
        if self.body_state is not None:
            part = torch.rand(num, 1, generator=self._generators["learn"], dtype=FLOAT)
            known = (part >= UNKNOWN_SHARE).to(self.device, FLOAT)
        bodies = [self._body_of(q, transition.start_obs, skill, known) for q in self._qs]
        total = torch.zeros((), device=self.device, dtype=FLOAT)
        for rows in torch.arange(num, device=self.device).split(config.batch_size):
            losses = [
                q.loss(delta[rows], skill[rows], weight[rows], None if b is None else b[rows])
                for q, b in zip(self._qs, bodies, strict=True)
            ]
            self.q_optimizer.zero_grad(set_to_none=True)
            torch.stack(losses).sum().backward()
            self.q_optimizer.step()
            total += losses[0].detach()
        sigma = float(self.q.sigma[0])
        return metrics | {"q_loss": float(total) / config.gradient_steps, "sigma_m": sigma}

    @torch.no_grad()
    def _body_of(
        self, q: SkillDynamics, obs: Tensor, skill: Tensor, known: Tensor | None = None
    ) -> Tensor | None:
        """Body states (B, S) for this q, all known by default; None if it wants none."""
        if self.body_state is None or q is not self.q:
            return None
        if known is None:
            known = torch.ones(len(obs), 1, device=self.device, dtype=FLOAT)
        return self.body_state(obs, skill, known)

    @torch.no_grad()
    def _importance_weight(self, transition: Transition) -> Tensor:
        """Probability of the actions now, relative to when they were taken, clipped. (B,)."""
        features, turns = self.features(transition.policy_obs, transition.skill)
        action = self.features.from_robot(transition.action, turns)
        log_prob = self.sac.actor.log_prob(self.normalizer(features), action)
        limit = float(np.log(self.config.skill_dynamics.importance_clip))
        return (log_prob - transition.log_prob).clamp(-limit, limit).exp()

    @torch.no_grad()
    def _prepare(self, transition: Transition) -> tuple[SacBatch, dict[str, float]]:
        """Rewards and features of sampled transitions, with some skills drawn anew."""
        config, num = self.config.reward, len(transition.action)
        skill = transition.skill
        executed = slice(None)  # transitions whose skill is the one that was held
        fresh = int(config.relabel_fraction * num)
        if fresh:
            skill = skill.clone()
            new = self.skill_space.sample(
                fresh, self._rngs["alt_skill"], self.config.collect.zero_skill_fraction
            )
            order = torch.randperm(num, generator=self._generators["learn"]).to(self.device)
            skill[order[:fresh]] = torch.from_numpy(new).to(self.device)
            executed = order[fresh:] if fresh < num else slice(None)
        stretch = self.config.skill_dynamics.stretch if self.warm_start_over else 1.0
        start_obs = transition.start_obs
        body = self._body_of(self.reward_q, start_obs, skill)
        rewards, own = [], self.reward_q.log_prob(transition.delta, skill, stretch, body)
        is_discrete = self.config.skill_prior.kind == "discrete"
        together = REWARD_ROWS if body is None else BODY_REWARD_ROWS
        for rows in torch.arange(num, device=self.device).split(together):
            if is_discrete:
                alt = self.skill_space.grid(self.skill_space.dim)
            else:
                alt = self.skill_space.sample(config.num_alt_skills, self._rngs["alt_skill"])
            alt_skill, bodies = torch.from_numpy(alt).to(self.device), None
            if body is not None:
                obs = start_obs[rows].repeat(len(alt), 1)
                bodies = self._body_of(
                    self.reward_q, obs, alt_skill.repeat_interleave(len(rows), dim=0)
                )
                assert bodies is not None
                bodies = bodies.view(len(alt), len(rows), -1)
            alt_log_probs = self.reward_q.log_prob_of_all(
                transition.delta[rows], alt_skill, stretch, bodies
            )
            rewards.append(intrinsic_reward(own[rows], alt_log_probs, are_all=is_discrete))
        reward = torch.cat(rewards)
        fall_cost = over_last_half(*config.fall_cost, self.progress)
        paid = reward - fall_cost * transition.terminated
        if config.motion_cost > 0.0:
            is_zero = (skill == 0.0).all(dim=1)
            paid -= config.motion_cost * is_zero * self._motion(transition)
        features, turns = self.features(transition.policy_obs, skill)
        next_features, _ = self.features(transition.next_policy_obs, skill)
        batch = SacBatch(
            features=self.normalizer(features),
            action=self.features.from_robot(transition.action, turns),
            reward=paid,
            next_features=self.normalizer(next_features),
            terminated=transition.terminated,
        )
        own, judged = own[executed], reward[executed]
        cap = np.log(self.skill_space.dim if is_discrete else config.num_alt_skills + 1)
        return batch, {
            "reward": float(judged.mean()),
            "reward_cap_share": float(judged.mean() / cap),
            "log_q_own": float(own.mean()),
            "log_q_others": float((own - judged).mean()),
        }

    def _motion(self, transition: Transition) -> Tensor:
        """How much the robot moves, in nats (``reward.motion_cost``). Shape (B,)."""
        duration_s = self.config.prediction.steps * self.robot.control_dt
        speed = transition.delta[:, :2].norm(dim=1) / duration_s
        motion = torch.log1p(speed / 0.1)
        part = observation_slices(self.robot).get("joint_velocities")
        if part is not None:
            joints = transition.next_policy_obs[:, part]
            motion += torch.log1p(joints.square().mean(dim=1).sqrt())
        return motion

    # --- making and restoring ------------------------------------------------------------------

    def _make_networks(self) -> None:
        config, device = self.config, self.device
        self.features = Features(self.model, config).to(device)
        self.mirror = Mirror(self.model, config).to(device) if config.symmetry.mirror else None
        self.normalizer = RunningNormalizer(self.features.dim).to(device)
        self.sac = Sac(self.features.dim, self.robot.command_dim, config.sac, device)
        self.body_state: BodyState | None = None
        if config.prediction.body_state:
            self.body_state = BodyState(self.features, self.normalizer)
        body_dim = self.body_state.dim if self.body_state is not None else 0
        self.q = SkillDynamics(config, self.robot, body_dim=body_dim).to(device)
        """Exported: the planner's model."""
        self.reward_q = self.q
        """Of the reward. A narrower family than ``q`` still gives a lower bound of the mutual
        information, the objective (section 3 of the paper)."""
        if config.skill_dynamics.linear:
            self.reward_q = SkillDynamics(config, self.robot, linear=True).to(device)
        self._qs = torch.nn.ModuleList(dict.fromkeys([self.q, self.reward_q]))
        rate = config.skill_dynamics.learning_rate
        self.q_optimizer = torch.optim.Adam(self._qs.parameters(), lr=rate, fused=True)

    def _make_replay(self, first: Chunk) -> ReplayBuffer:
        collect, prediction = self.config.collect, self.config.prediction
        columns = prediction.observation_columns(self.robot)
        rows = collect.replay_capacity // collect.num_envs
        return ReplayBuffer(rows, first, prediction, self.device, columns)

    def _make_env(self, num_envs: int) -> VectorEnv:
        return VectorEnv(
            self.model,
            num_envs,
            rng=self._rngs["env"],
            episode_steps=self.config.collect.episode_steps,
            delay_ms=self.config.collect.delay_ms,
            staggered=True,
            num_threads=max(1, available_cores() - 1),
        )

    def _check_config(self, saved: dict[str, Any]) -> None:
        """A setting that did not exist yet did what its default does."""
        theirs = _flatten(TrainConfig(robot=self.config.robot).to_dict()) | _flatten(saved)
        different = [
            f"{name} ({shown(theirs.get(name))}, now {shown(value)})"
            for name, value in _flatten(self.config.to_dict()).items()
            if theirs.get(name) != value and name not in FREE_TO_CHANGE
        ]
        if different:
            raise CheckpointError(
                f"'{self.out}' was trained with other settings: {', '.join(different[:4])}; "
                "use its config.yaml or another --out"
            )

    def _check_robot(self, saved: dict[str, Any]) -> None:
        """A checkpoint of before these were kept says nothing, and is taken."""
        mine = self.robot.to_dict()
        theirs = saved.get("robot", mine)
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
        self.sac.restore(saved["sac"])
        self.warm_start_over = bool(saved["warm_start_over"])
        self.peak_reward = float(saved["peak_reward"])
        self.num_low_rewards = int(saved["num_low_rewards"])
        self._qs.load_state_dict(saved["q"])
        self.q_optimizer.load_state_dict(saved["q_optimizer"])
        self.normalizer.load_state_dict(saved["normalizer"])
        self.collector.restore(saved["collector"])
        if saved["replay"] is not None:
            first = Chunk(*(array[:1].numpy() for array in saved["replay"]["data"].values()))
            self.replay = self._make_replay(first)
            self.replay.restore(saved["replay"])
        if saved["best"] is not None:
            self.best = Best.restored(saved["best"], self.learned_skills())
        for name, state in saved["rngs"].items():
            self._rngs[name].bit_generator.state = state
        for name, state in saved["generators"].items():
            self._generators[name].set_state(state)


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


def _copies(
    features: Features, normalizer: RunningNormalizer, actor: Actor
) -> tuple[Features, RunningNormalizer, Actor]:
    """Copies on the CPU, safe from the updates to come."""
    return (
        copy.deepcopy(features).cpu(),
        copy.deepcopy(normalizer).cpu(),
        copy.deepcopy(actor).cpu(),
    )


def over_last_half(first: float, final: float, progress: float) -> float:
    """A value of a schedule: ``first`` in the first half of a run, then linearly to ``final``."""
    return final + (first - final) * min(1.0, 2.0 * (1.0 - progress))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
