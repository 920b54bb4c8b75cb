"""LearnedSkills: the two functions that a bundle is made of, as they are evaluated and exported.

Shapes: B batch, N skills, O policy_obs, D skill dimensions, A actuators, P predicted columns.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dads_ros.learning.networks import Actor, Features, RunningNormalizer
from dads_ros.learning.skill_dynamics import BodyState, SkillDynamics

Float32 = NDArray[np.float32]


class MeanPolicy(nn.Module):
    """policy_obs and skill -> command: frame, symmetry, normaliser and scaling inside."""

    low: Tensor
    high: Tensor

    def __init__(
        self,
        features: Features,
        normalizer: RunningNormalizer,
        actor: Actor,
        limits: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:
        """Wrap copies of the parts."""
        super().__init__()
        self.features = copy.deepcopy(features)
        self.normalizer, self.actor = copy.deepcopy(normalizer), copy.deepcopy(actor)
        self.register_buffer("low", torch.tensor(limits[0]).float())
        self.register_buffer("high", torch.tensor(limits[1]).float())

    def forward(self, policy_obs: Tensor, skill: Tensor) -> Tensor:
        """Mean action in the actuator's unit. Shapes (B, O), (B, D) -> (B, A)."""
        features, turns = self.features(policy_obs, skill)
        action = torch.tanh(self.actor(self.normalizer(features))[0])
        middle, half = (self.high + self.low) * 0.5, (self.high - self.low) * 0.5
        return middle + half * self.features.to_robot(action, turns)


class MeanDynamics(nn.Module):
    """Mean predicted change over one prediction, x and y in metres, yaw in radians."""

    def __init__(self, q: SkillDynamics, body_state: BodyState | None) -> None:
        """Wrap copies. ``body_state``: None for q(delta | z)."""
        super().__init__()
        self.q, self.body_state = copy.deepcopy(q), copy.deepcopy(body_state)

    def forward(
        self, skill: Tensor, policy_obs: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """Shapes (N, D) and, with a body state, (N, O) and (N, 1) -> (N, P)."""
        if self.body_state is None:
            return self.q.mean(skill)
        assert policy_obs is not None
        assert known is not None
        return self.q.mean(skill, self.body_state(policy_obs, skill, known))


class LearnedSkills(NamedTuple):
    """Policy and skill dynamics on the CPU, safe from further training."""

    policy: MeanPolicy
    dynamics: MeanDynamics

    @torch.no_grad()
    def command(self, policy_obs: Float32, skill: Float32) -> Float32:
        """As ``SkillBundle.command``: (B, O), (B, D) -> (B, A)."""
        return self.policy(torch.from_numpy(policy_obs), torch.from_numpy(skill)).numpy()

    @torch.no_grad()
    def delta(
        self, skill: Float32, policy_obs: Float32 | None = None, known: Float32 | None = None
    ) -> Float32:
        """As ``SkillBundle.delta``: (N, D), (N, O), (N, 1) -> (N, P)."""
        parts = [skill] if policy_obs is None or known is None else [skill, policy_obs, known]
        return self.dynamics(*(torch.from_numpy(part) for part in parts)).numpy()
