"""LearnedSkills: the two functions that a bundle is made of, as they are evaluated and exported.

Shapes: B batch, N skills, O policy_obs, D skill dimensions, A actuators, P predicted fields.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dads_ros.learning.networks import Actor, Features, RunningNormalizer
from dads_ros.learning.skill_dynamics import SkillDynamics

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
        fraction = (self.features.to_robot(action, turns) + 1.0) * 0.5
        return self.low + fraction * (self.high - self.low)


class MeanDynamics(nn.Module):
    """skill -> mean predicted change of pose over one prediction, in metres and radians."""

    def __init__(self, q: SkillDynamics) -> None:
        """Wrap a copy."""
        super().__init__()
        self.q = copy.deepcopy(q)

    def forward(self, skill: Tensor) -> Tensor:
        """Shapes (N, D) -> (N, P)."""
        return self.q.mean(skill)


class LearnedSkills(NamedTuple):
    """Policy and skill dynamics on the CPU, safe from further training."""

    policy: MeanPolicy
    dynamics: MeanDynamics

    @torch.no_grad()
    def command(self, policy_obs: Float32, skill: Float32) -> Float32:
        """As ``SkillBundle.command``: (B, O), (B, D) -> (B, A)."""
        return self.policy(torch.from_numpy(policy_obs), torch.from_numpy(skill)).numpy()

    @torch.no_grad()
    def delta(self, skills: Float32) -> Float32:
        """As ``SkillBundle.delta``: (N, D) -> (N, P)."""
        return self.dynamics(torch.from_numpy(skills)).numpy()
