"""Agent: the policy and the skill dynamics, how they act and how they learn.

Shapes: B batch, O policy_obs, D skill dimensions, A actuators, S numbers of a body state.
"""

import copy
import math
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError
from dads_ros.learning.collector import Float32, Policy
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.intrinsic_reward import intrinsic_reward
from dads_ros.learning.learned_skills import LearnedSkills, MeanDynamics, MeanPolicy
from dads_ros.learning.mirror import Mirror
from dads_ros.learning.networks import Features, RunningNormalizer
from dads_ros.learning.objectives import OBJECTIVES, Objective
from dads_ros.learning.replay_buffer import Chunk, ReplayBuffer, Transition
from dads_ros.learning.sac import Sac, SacBatch
from dads_ros.learning.skill_dynamics import (
    AxisDynamics,
    BodyState,
    MixtureDynamics,
    SkillDynamics,
)
from dads_ros.observation import observation_slices
from dads_ros.skills import SkillSpace

FLOAT = torch.float32
"""Said wherever a tensor is made: torch.compile may change torch's default while it traces, which
is one for the whole process, and two threads are at work."""
REWARD_ROWS = 2048  # transitions whose rewards are computed together; fits the cache
BODY_REWARD_ROWS = 64  # the same where q sees body states: one pass for each skill
MAX_EXCEEDED = 4.0  # of a body's limits together: a fall is a fall however wild it is
UNKNOWN_SHARE = 0.5  # of the transitions that q is fitted to, without the body state


class Agent:
    """All networks of a run, and the rules by which they learn from a replay buffer."""

    def __init__(
        self,
        model: RobotModel,
        config: TrainConfig,
        *,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> None:
        """Make the networks; they draw their weights from torch's global generator.

        Args:
            model: the robot.
            config: of the run.
            rng: source of the skills that rewards compare with.
            generator: source of all else that learning draws.
        Raises: ConfigError when the robot lacks what a symmetry, a prediction or a cost needs.
        """
        self.config, self.robot, self.device = config, model.spec, _device(config.device)
        self._slices = observation_slices(self.robot)
        sees_tilt = {"orientation", "projected_gravity"} & set(self._slices)
        if max(config.reward.tilt_cost) > 0.0 and not sees_tilt:
            raise ConfigError(
                f"'reward.tilt_cost' needs a robot that observes 'orientation' or "
                f"'projected_gravity'; '{self.robot.name}' observes {', '.join(self._slices)}"
            )
        if max(config.reward.fall_cost) > 0.0 and not self.robot.fallen.ends_episode:
            raise ConfigError(
                f"'reward.fall_cost' needs a robot whose falls end its episodes; set "
                f"'fallen.ends_episode: true' in the file of robot '{self.robot.name}', or "
                "'reward.fall_cost: [0, 0]'"
            )
        if self._cannot_tell_its_yaw:
            raise ConfigError(
                f"'prediction.frame: world' needs a robot that observes 'orientation', else it "
                f"cannot tell where x is; '{self.robot.name}' observes {', '.join(self._slices)}: "
                "set 'prediction.frame: heading'"
            )
        self.skill_space = SkillSpace(config.skill_prior)
        self._is_discrete = config.skill_prior.kind == "discrete"
        self._rng, self._generator = rng, generator
        device = self.device
        self.features = Features(model, config).to(device)
        self.mirror = Mirror(model, config).to(device) if config.symmetry.mirror else None
        self.normalizer = RunningNormalizer(self.features.dim).to(device)
        self.sac = Sac(self.features.dim, self.robot.command_dim, config.sac, device)
        self.body_state: BodyState | None = None
        if config.prediction.body_state:
            self.body_state = BodyState(self.features, self.normalizer)
        body_dim = self.body_state.dim if self.body_state is not None else 0
        self.q = SkillDynamics(config, self.robot, body_dim=body_dim).to(device)
        """Exported: the planner's model."""
        self.reward_q: MixtureDynamics = self.q
        """Of the reward. A narrower family than ``q`` still gives a lower bound of the mutual
        information, the objective (section 3 of the paper)."""
        if config.skill_dynamics.linear and config.prediction.frame == "heading":
            self.reward_q = AxisDynamics(config, self.robot).to(device)
        elif config.skill_dynamics.linear:
            self.reward_q = SkillDynamics(config, self.robot, linear=True).to(device)
        self._qs = list(dict.fromkeys([self.q, self.reward_q]))
        self.rival: Objective | None = None
        """Rewards in place of q, where ``reward.objective`` is not DADS."""
        if config.reward.objective != "dads":
            self.rival = OBJECTIVES[config.reward.objective](config, self.robot).to(device)
        rivals = [] if self.rival is None else [self.rival]
        self._models = torch.nn.ModuleList([*self._qs, *rivals])
        """All that is fitted to what robots did."""
        rate = config.skill_dynamics.learning_rate
        self.q_optimizer = torch.optim.Adam(self._models.parameters(), lr=rate, fused=True)
        self.warm_start_over = config.skill_dynamics.warm_start_steps == 0
        """Before, the q of the reward is not fitted."""

    @property
    def _cannot_tell_its_yaw(self) -> bool:
        """It is to learn how far it goes along the world's axes, and faces anywhere."""
        prediction = self.config.prediction
        is_meant = prediction.frame == "world" and {"x", "y"} & set(prediction.pose_fields)
        return self.robot.has_yaw and bool(is_meant) and "orientation" not in self._slices

    def sampling_policy(self, generator: torch.Generator, *, explore: bool) -> Policy:
        """How robots act while they collect: a copy on the CPU, safe from the updates to come.

        Args:
            generator: source of the actions' noise.
            explore: uniformly random actions instead of the actor's.
        """
        features, normalizer, actor = (
            copy.deepcopy(part).cpu() for part in (self.features, self.normalizer, self.sac.actor)
        )

        @torch.no_grad()
        def sample(obs: Float32, skill: Float32) -> tuple[Float32, Float32]:
            shape = (len(obs), self.robot.command_dim)
            if explore:
                action = torch.rand(shape, generator=generator, dtype=FLOAT) * 2.0 - 1.0
                return action.numpy(), np.full(shape[0], -shape[1] * np.log(2.0), np.float32)
            seen, turns = features(torch.from_numpy(obs), torch.from_numpy(skill))
            noise = torch.randn(shape, generator=generator, dtype=FLOAT)
            low, high = self.config.collect.noise_scale
            scale = torch.linspace(high, low, len(noise), dtype=FLOAT).flip(0)  # of one robot high
            noise *= scale[:, None]
            action, log_prob = actor.sample(normalizer(seen), noise)
            return features.to_robot(action, turns).numpy(), log_prob.numpy()

        return sample

    def learned_skills(self) -> LearnedSkills:
        """What was learned up to now."""
        limits = self.robot.command_limits
        policy = MeanPolicy(self.features, self.normalizer, self.sac.export_actor, limits)
        dynamics = MeanDynamics(self.q, self.body_state)
        return LearnedSkills(policy.cpu().eval(), dynamics.cpu().eval())

    @torch.no_grad()
    def update_normalizer(self, chunk: Chunk) -> None:
        """Take in the features of what robots saw while they held a skill."""
        moved = chunk.skill_left > 0
        if not moved.any():
            return
        obs = torch.from_numpy(chunk.policy_obs[moved]).to(self.device)
        skill = torch.from_numpy(chunk.skill[moved]).to(self.device)
        self.normalizer.update(self.features(obs, skill)[0])

    def learn(self, replay: ReplayBuffer, progress: float) -> dict[str, float]:
        """Fit q, and what rewards in its place, then SAC on the intrinsic reward.

        Args:
            replay: what robots did so far.
            progress: part of the run that is done, 0 to 1, for the schedules.
        Returns: metrics, means over all that was drawn.
        Raises: ConfigError when no skill there was held for a whole prediction.
        """
        metrics = self._fit_skill_dynamics(replay, progress)
        return metrics | self._improve_policy(replay, progress)

    def broken(self) -> list[str]:
        """Names of what is saved that has a value which is not finite."""
        parts = {
            "q": self._qs,
            "objective": [] if self.rival is None else [self.rival],
            "actor": [self.sac.actor, self.sac.average_actor],
            "critic": [self.sac.critic, self.sac.critic_target],
            "normalizer": [self.normalizer],
        }
        return [
            name
            for name, modules in parts.items()
            if not all(v.isfinite().all() for m in modules for v in m.state_dict().values())
        ]

    def checkpoint(self) -> dict[str, Any]:
        """Everything that ``restore`` needs, random generators not."""
        return {
            "sac": self.sac.checkpoint(),
            "warm_start_over": self.warm_start_over,
            "q": self._models.state_dict(),
            "q_optimizer": self.q_optimizer.state_dict(),
            "normalizer": self.normalizer.state_dict(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from ``checkpoint``."""
        self.sac.restore(saved["sac"])
        self.warm_start_over = bool(saved["warm_start_over"])
        self._models.load_state_dict(saved["q"])
        self.q_optimizer.load_state_dict(saved["q_optimizer"])
        self.normalizer.load_state_dict(saved["normalizer"])

    def _fit_skill_dynamics(self, replay: ReplayBuffer, progress: float) -> dict[str, float]:
        config = self.config.skill_dynamics
        num = config.batch_size * config.gradient_steps
        transition = self._sample(replay, num, config.newest_fraction, config.quiet_fraction)
        skill, delta = transition.skill, transition.delta
        if self.sac.num_updates == 0:
            for q in self._qs:
                q.measure_scale(delta)
        body = self._body_of(self.reward_q, transition.start_obs, skill)
        achieved = self.reward_q.achieved(delta, skill, body)
        metrics = {"achieved": achieved}
        self.warm_start_over |= (
            achieved >= config.warm_start_until or self.sac.num_updates >= config.warm_start_steps
        )
        fitted = [q for q in self._qs if self.warm_start_over or q is not self.reward_q]
        if isinstance(self.reward_q, AxisDynamics):
            duration_s = self.config.prediction.steps * self.robot.control_dt
            metrics |= self.reward_q.speeds(duration_s)
        if not fitted:
            return metrics
        factor = over_last_half(1.0, config.final_sigma_factor, progress)
        for q in fitted:
            q.adapt_sigma(delta, factor)
            if isinstance(q, AxisDynamics):
                q.fit(delta, skill)
        fitted = [q for q in fitted if not isinstance(q, AxisDynamics)]
        weight = torch.ones(num, device=self.device, dtype=FLOAT)
        if config.importance_clip > 0.0:
            weight = self._importance_weight(transition)
        known = None
        if self.body_state is not None:
            part = torch.rand(num, 1, generator=self._generator, dtype=FLOAT)
            known = (part >= UNKNOWN_SHARE).to(self.device, FLOAT)
        bodies = [self._body_of(q, transition.start_obs, skill, known) for q in fitted]
        if self.rival is not None:
            # Of all robots and rows, as those that it rewards.
            seen = self._sample(replay, num)
            self.rival.measure(seen)
        total = torch.zeros((), device=self.device, dtype=FLOAT)
        for rows in torch.arange(num, device=self.device).split(config.batch_size):
            losses = [
                q.loss(delta[rows], skill[rows], weight[rows], None if b is None else b[rows])
                for q, b in zip(fitted, bodies, strict=True)
            ]
            if self.rival is not None:
                losses.append(self.rival.loss(seen.rows(rows), self._alternatives()))
            self.q_optimizer.zero_grad(set_to_none=True)
            torch.stack(losses).sum().backward()
            self.q_optimizer.step()
            total += losses[0].detach()
        sigma = float(self.q.sigma[0])
        return metrics | {"q_loss": float(total) / config.gradient_steps, "sigma_m": sigma}

    def _improve_policy(self, replay: ReplayBuffer, progress: float) -> dict[str, float]:
        config = self.config.sac
        factor = over_last_half(1.0, config.final_learning_rate_factor, progress)
        self.sac.set_learning_rate(config.learning_rate * factor)
        if config.final_target_entropy_per_action is not None:
            entropies = config.target_entropy_per_action, config.final_target_entropy_per_action
            self.sac.set_target_entropy(over_last_half(*entropies, progress))
        batch_size, num_steps = config.batch_size, config.gradient_steps
        transition = self._sample(replay, batch_size * num_steps, with_early_falls=True)
        batch, reward_metrics = self._prepare(transition, progress)
        shape = (num_steps, 2, batch_size, self.robot.command_dim)
        noise = torch.randn(shape, generator=self._generator, dtype=FLOAT).to(self.device)
        seen: dict[str, list[Tensor]] = defaultdict(list)
        for step in range(num_steps):
            rows = slice(step * batch_size, (step + 1) * batch_size)
            update = self.sac.update(SacBatch(*(array[rows] for array in batch)), noise[step])
            for name, value in update.items():
                seen[name].append(value)
        metrics = {name: float(torch.stack(values).mean()) for name, values in seen.items()}
        temperature = float(self.sac.log_alpha.detach().exp())
        return metrics | reward_metrics | {"temperature": temperature}

    def _sample(
        self, replay: ReplayBuffer, num: int, *fractions: float, with_early_falls: bool = False
    ) -> Transition:
        """As ``ReplayBuffer.sample``, half of them mirrored if that is wanted."""
        transition = replay.sample(
            num, self._generator, *fractions, with_early_falls=with_early_falls
        )
        if "orientation" in self.config.prediction.fields:
            transition = self._with_upper_quaternion(transition)
        if self.mirror is None:
            return transition
        which = torch.rand(num, generator=self._generator, dtype=FLOAT) < 0.5
        return self.mirror(transition, which.to(self.device))

    def _with_upper_quaternion(self, transition: Transition) -> Transition:
        """Predicted changes of the quaternion with w at least 0; q and -q are the same."""
        prediction, w = self.config.prediction, observation_slices(self.robot)["orientation"].start
        before = int(np.flatnonzero(prediction.observation_columns(self.robot) == w)[0])
        first = len(prediction.pose_fields) + before
        delta = transition.delta.clone()
        delta[transition.start_obs[:, w] < 0.0, first : first + 4] *= -1.0
        return transition._replace(delta=delta)

    @torch.no_grad()
    def _body_of(
        self, q: MixtureDynamics, obs: Tensor, skill: Tensor, known: Tensor | None = None
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
    def _prepare(
        self, transition: Transition, progress: float
    ) -> tuple[SacBatch, dict[str, float]]:
        """Rewards and features of sampled transitions.

        Where a fall ended the skill before a prediction was over, nobody knows what it would have
        done, and there is no intrinsic reward; a rival has none there either.
        """
        config, skill = self.config.reward, transition.skill
        if self.rival is None:
            reward, own = self._dads_reward(transition)
        else:
            reward, own = self._rival_reward(self.rival, transition), None
        whole = transition.is_whole
        reward = torch.where(whole, reward, 0.0)
        paid = reward - over_last_half(*config.fall_cost, progress) * transition.terminated
        if max(config.tilt_cost) > 0.0:
            paid -= over_last_half(*config.tilt_cost, progress) * self._tilt(transition)
        if transition.exceeded.shape[1]:
            exceeded = transition.exceeded.sum(dim=1).clamp_max(MAX_EXCEEDED)
            # Else a fall would end what standing costs, and pay where that is more than it earns.
            for_good = MAX_EXCEEDED / max(1.0 - self.config.sac.discount, 0.01)
            exceeded = torch.where(transition.terminated, for_good, exceeded)
            paid -= over_last_half(*config.limits_cost, progress) * exceeded
        if max(config.motion_cost) > 0.0:
            is_still = whole & (skill == 0.0).all(dim=1)
            cost = over_last_half(*config.motion_cost, progress)
            paid -= cost * is_still * self._motion(transition)
        features, turns = self.features(transition.policy_obs, skill)
        next_features, _ = self.features(transition.next_policy_obs, skill)
        batch = SacBatch(
            features=self.normalizer(features),
            action=self.features.from_robot(transition.action, turns),
            reward=paid,
            next_features=self.normalizer(next_features),
            terminated=transition.terminated,
        )
        judged = reward[whole]
        mean = float(judged.mean())
        cap = math.log(self.skill_space.dim if self._is_discrete else config.num_alt_skills + 1)
        if self.rival is not None and self.rival.cap is not None:
            cap = self.rival.cap
        metrics = {"reward": mean, "reward_cap_share": mean / cap}
        if own is not None:
            own = own[whole]
            metrics |= {
                "log_q_own": float(own.mean()),
                "log_q_others": float((own - judged).mean()),
            }
        return batch, metrics

    def _dads_reward(self, transition: Transition) -> tuple[Tensor, Tensor]:
        """With the likelihood, log q of the executed skill. Two of shape (B,)."""
        skill, start_obs = transition.skill, transition.start_obs
        stretch = self.config.skill_dynamics.stretch if self.warm_start_over else 1.0
        body = self._body_of(self.reward_q, start_obs, skill)
        rewards, own = [], self.reward_q.log_prob(transition.delta, skill, stretch, body)
        together = REWARD_ROWS if body is None else BODY_REWARD_ROWS
        for rows in torch.arange(len(skill), device=self.device).split(together):
            alt_skill, bodies = self._alternatives(), None
            if body is not None:
                num, obs = len(alt_skill), start_obs[rows].repeat(len(alt_skill), 1)
                bodies = self._body_of(
                    self.reward_q, obs, alt_skill.repeat_interleave(len(rows), dim=0)
                )
                assert bodies is not None
                bodies = bodies.view(num, len(rows), -1)
            alt_log_probs = self.reward_q.log_prob_of_all(
                transition.delta[rows], alt_skill, stretch, bodies
            )
            rewards.append(intrinsic_reward(own[rows], alt_log_probs, are_all=self._is_discrete))
        return torch.cat(rewards), own

    def _rival_reward(self, rival: Objective, transition: Transition) -> Tensor:
        """Shape (B,)."""
        parts = torch.arange(len(transition.skill), device=self.device).split(REWARD_ROWS)
        return torch.cat(
            [rival.reward(transition.rows(rows), self._alternatives()) for rows in parts]
        )

    def _alternatives(self) -> Tensor:
        """Skills that one is compared with: L of the prior, or all of a discrete one. (L, D)."""
        if self._is_discrete:
            skills = self.skill_space.grid(self.skill_space.dim)
        else:
            skills = self.skill_space.sample(self.config.reward.num_alt_skills, self._rng)
        return torch.from_numpy(skills).to(self.device)

    def _tilt(self, transition: Transition) -> Tensor:
        """1 - cosine of the angle between the base's up and the world's. Shape (B,)."""
        obs = transition.next_policy_obs
        if "projected_gravity" in self._slices:
            return 1.0 + obs[:, self._slices["projected_gravity"]][:, 2]
        return 2.0 * obs[:, self._slices["orientation"]][:, 1:3].square().sum(dim=1)

    def _motion(self, transition: Transition) -> Tensor:
        """How much the robot moves, in nats (``reward.motion_cost``). Shape (B,)."""
        duration_s = self.config.prediction.steps * self.robot.control_dt
        speed = transition.delta[:, :2].norm(dim=1) / duration_s
        motion = torch.log1p(speed / 0.1)
        part = self._slices.get("joint_velocities")
        if part is not None:
            joints = transition.next_policy_obs[:, part]
            motion += torch.log1p(joints.square().mean(dim=1).sqrt())
        return motion


def over_last_half(first: float, final: float, progress: float) -> float:
    """A value of a schedule: ``first`` in the first half of a run, then linearly to ``final``."""
    return final + (first - final) * min(1.0, 2.0 * (1.0 - progress))


def _device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError("'device' is cuda, and torch finds none; set it to auto or cpu")
    if name == "auto":
        name = "cuda" if has_cuda else "cpu"
    return torch.device(name)
