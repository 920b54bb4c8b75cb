"""Collector: run the policy in all robots, hold each skill, hand over chunks of experience.

Shapes: N robots, T steps, A actuators.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dads_ros.envs.vector_env import VectorEnv
from dads_ros.learning.replay_buffer import Chunk
from dads_ros.skills import SkillSpace

Float32 = NDArray[np.float32]
Policy = Callable[[Float32, Float32], tuple[Float32, Float32]]
"""(policy_obs (N, O), skill (N, D)) -> action in [-1, 1] (N, A), its log-probability (N,)."""
PUSH_PERIOD_S = 4.0
"""Mean time between the pushes of a robot."""


class Collector:
    """Skills are drawn from p(z) at every reset and, if wanted, also inside an episode."""

    def __init__(
        self,
        env: VectorEnv,
        skill_space: SkillSpace,
        rng: np.random.Generator,
        *,
        min_hold_steps: int,
        zero_fraction: float = 0.0,
        short_fraction: float = 0.0,
        nearby_fraction: float = 0.0,
    ) -> None:
        """Start with new skills.

        Args:
            env: the robots.
            skill_space: p(z).
            rng: source of skills, of how long they are held, and of pushes.
            min_hold_steps: every skill is held at least so long, unless the episode ends.
            zero_fraction: part of the skills from p(z) that are zero instead.
            short_fraction: part of the others that are made shorter.
            nearby_fraction: part of the skills after a reset's that are near the last instead.
        """
        self.env, self._skill_space, self._rng = env, skill_space, rng
        self._min_hold_steps = min_hold_steps
        self._draw = functools.partial(
            skill_space.sample, zero_fraction=zero_fraction, short_fraction=short_fraction
        )
        self._nearby_fraction = nearby_fraction
        num = env.num_envs
        self._skill = np.zeros((num, skill_space.dim), np.float32)
        self._age, self._left = np.zeros(num, np.int32), np.zeros(num, np.int32)

    def collect(
        self,
        policy: Policy,
        num_steps: int,
        *,
        switch_probability: float = 0.0,
        push_mps: float = 0.0,
    ) -> Chunk:
        """Run for T steps; one that resets a robot or whose physics diverges has skill_left 0.

        Args:
            policy: what the robots do.
            num_steps: T.
            switch_probability: of skills drawn now: chance per control step that a new one
                follows, after min_hold_steps.
            push_mps: how much faster a push, now and then, makes a robot at most.
        """
        env, rows = self.env, []
        low, high = env.spec.command_limits
        for _ in range(num_steps):
            reset = env.needs_reset
            self._left[reset] = 0
            self._draw_skills((self._left == 0) & ~reset, switch_probability)
            obs, state = env.policy_obs(), env.state
            action, log_prob = policy(obs, self._skill)
            pose = np.concatenate([state.position[:, :2], state.yaw()[:, None]], axis=1)
            wanted = low + (action + 1.0) * 0.5 * (high - low)
            env.step(env.filtered(wanted), self._draw_push(push_mps))
            rows.append(
                Chunk(
                    policy_obs=obs,
                    action=action,
                    log_prob=log_prob,
                    skill=self._skill.copy(),
                    pose=pose.astype(np.float32),
                    skill_age=self._age.copy(),
                    skill_left=np.where(env.diverged, 0, self._left),
                    terminated=env.terminated.copy(),
                    exceeded=env.exceeded.copy(),
                )
            )
            self._age += 1
            self._left = np.maximum(self._left - 1, 0)
        return Chunk(*(np.stack(arrays) for arrays in zip(*rows, strict=True)))

    def checkpoint(self) -> dict[str, Any]:
        """Everything that ``restore`` needs, the robots included, random generators not."""
        held = {"skill": self._skill.copy(), "age": self._age.copy(), "left": self._left.copy()}
        return {"env": self.env.checkpoint(), **held}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from ``checkpoint``."""
        self.env.restore(saved["env"])
        self._skill = saved["skill"].copy()
        self._age, self._left = saved["age"].copy(), saved["left"].copy()

    def _draw_push(self, push_mps: float) -> NDArray[np.float64] | None:
        """Of this control step, as for ``VectorEnv.step``."""
        if push_mps == 0.0:
            return None
        num, dt = self.env.num_envs, self.env.spec.control_dt
        is_pushed = self._rng.random((num, 1)) < dt / PUSH_PERIOD_S
        angle, part = self._rng.uniform(-np.pi, np.pi, num), self._rng.random((num, 1))
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return is_pushed * part * push_mps * direction

    def _draw_skills(self, which: NDArray[np.bool_], switch_probability: float) -> None:
        num = int(which.sum())
        if num == 0:
            return
        skill = self._draw(num, self._rng)
        if self._nearby_fraction > 0.0:
            is_near = (self._rng.random(num) < self._nearby_fraction) & (self.env.steps[which] > 0)
            near = self._skill_space.sample_nearby(self._skill[which], self._rng)
            skill = np.where(is_near[:, None], near, skill)
        self._skill[which] = skill
        left = self.env.episode_steps - self.env.steps[which]
        hold = left.copy()
        if switch_probability > 0.0:
            extra = self._rng.geometric(switch_probability, num) - 1
            hold = np.minimum(self._min_hold_steps + extra, left)
            hold = np.where(left - hold < self._min_hold_steps, left, hold)
        self._age[which], self._left[which] = 0, hold
