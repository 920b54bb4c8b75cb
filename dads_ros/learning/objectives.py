"""Rivals of DADS on the same trainer, for comparisons: what else may reward skills.

A rival judges a step by the states before and after it, not by the skill dynamics, which are
learned beside it for planning. Shapes: B batch, L skills from the prior, D skill dimensions, S
numbers of a state, M outputs of a network.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from dads_ros.errors import ConfigError
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.intrinsic_reward import intrinsic_reward
from dads_ros.learning.networks import MIN_SKILL, RunningNormalizer, mlp
from dads_ros.learning.replay_buffer import Transition
from dads_ros.observation import observation_slices
from dads_ros.prediction import POSE_FIELDS
from dads_ros.robot import RobotSpec

FIRST_LAMBDA, SLACK = 30.0, 1e-3
"""Of METRA: weight of its constraint at first (the authors' code), and the most that is gained
from a step which is shorter than the constraint asks for (the paper)."""


class Objective(nn.Module):
    """Base: a network over states, fitted to what robots did.

    A state has the parts that ``reward.state_fields`` names. The pose among them is counted from
    where the skill began, as if that were the start of an episode. Differs from the papers: the
    policy and the critics do not see that pose, as they do not with DADS.
    """

    cap: float | None = None
    """Upper bound of the reward; None: that of DADS."""
    columns: Tensor

    def __init__(self, config: TrainConfig, robot: RobotSpec, output_dim: int) -> None:
        """Make the network. Raises: ConfigError for a field that the robot does not observe."""
        super().__init__()
        fields, slices = config.reward.state_fields, observation_slices(robot)
        missing = [field for field in fields if field not in (*POSE_FIELDS, *slices)]
        if missing:
            raise ConfigError(
                f"'reward.state_fields' has {', '.join(missing)}, which robot '{robot.name}' does "
                f"not observe; it may have {', '.join((*POSE_FIELDS, *slices))}"
            )
        self._pose = [POSE_FIELDS.index(field) for field in fields if field in POSE_FIELDS]
        parts = [np.arange(slices[f].start, slices[f].stop) for f in fields if f in slices]
        columns = torch.from_numpy(np.concatenate([np.zeros(0, int), *parts]))
        self.register_buffer("columns", columns, persistent=False)
        dim = len(self._pose) + len(columns)
        self.normalizer = RunningNormalizer(dim)
        self.net = mlp(dim, config.skill_dynamics.hidden, output_dim)

    def forward(self, place: Tensor, obs: Tensor) -> Tensor:
        """Of states: pose since the skill began (B, 3), policy_obs (B, O) -> (B, M)."""
        return self.net(self.normalizer(self._state(place, obs)))

    def measure(self, transition: Transition) -> None:
        """Take in the size of what is seen there."""
        self.normalizer.update(self._state(transition.next_place, transition.next_policy_obs))

    def reward(self, transition: Transition, alt_skill: Tensor) -> Tensor:
        """Of each step, compared with skills of the prior (L, D). Shape (B,)."""
        raise NotImplementedError

    def loss(self, transition: Transition, alt_skill: Tensor) -> Tensor:
        """What the network is fitted by, a scalar; arguments as of ``reward``."""
        raise NotImplementedError

    def _state(self, place: Tensor, obs: Tensor) -> Tensor:
        """Shape (B, S)."""
        return torch.cat([place[:, self._pose], obs[:, self.columns]], dim=1)


class Diayn(Objective):
    """log q(z|s') - log p(z), with a discriminator q that is fitted by maximum likelihood.

    q is p(z) times a Gaussian in z, exp(a(s)·z - b(s)·z²/2), normalised by its mean over z itself
    and L skills of the prior: cut to where the prior is, whatever that is. Of a discrete prior's
    skills all are taken, and q is the categorical one of the paper.

    Reference: Eysenbach et al. 2018 (arXiv:1802.06070), section 3.2. Differs from the paper, which
    has discrete skills only: its reward is bounded here as that of DADS is.
    """

    def __init__(self, config: TrainConfig, robot: RobotSpec) -> None:
        """Make the discriminator. Raises: ConfigError as ``Objective``."""
        prior = config.skill_prior
        super().__init__(config, robot, 2 * prior.dim)
        self._is_discrete = prior.kind == "discrete"

    def reward(self, transition: Transition, alt_skill: Tensor) -> Tensor:
        """In nats; arguments and shapes as said there."""
        skill = transition.skill
        a, b = self(transition.next_place, transition.next_policy_obs).chunk(2, dim=1)
        b = nn.functional.softplus(b)
        own = (a * skill - 0.5 * b * skill.square()).sum(1)
        others = alt_skill @ a.T - 0.5 * alt_skill.square() @ b.T
        return intrinsic_reward(own, others, are_all=self._is_discrete)

    def loss(self, transition: Transition, alt_skill: Tensor) -> Tensor:
        """Negative mean log-likelihood of the skills, but for a constant."""
        return -self.reward(transition, alt_skill).mean()


class Metra(Objective):
    """(phi(s') - phi(s))·z, with phi such that neighbouring states are at most 1 apart.

    phi is fitted to raise the same, and a weight lambda of the constraint falls while it is kept
    and rises while it is not. Of z only the direction counts, so that skills are as if uniform on
    the unit sphere; one of a discrete prior is centred.

    Reference: Park et al. 2024 (arXiv:2310.08887), algorithm 1.
    """

    def __init__(self, config: TrainConfig, robot: RobotSpec) -> None:
        """Make phi. Raises: ConfigError as ``Objective``."""
        prior = config.skill_prior
        super().__init__(config, robot, prior.dim)
        self._is_discrete = prior.kind == "discrete"
        # The length of z, since a step of phi is at most 1 long.
        self.cap = math.sqrt(prior.dim / (prior.dim - 1)) if self._is_discrete else 1.0
        self.log_lambda = nn.Parameter(torch.tensor(FIRST_LAMBDA).log())

    def reward(self, transition: Transition, alt_skill: Tensor) -> Tensor:
        """Arguments and shapes as said there; the prior's skills do not matter."""
        return (self.step(transition) * self._direction(transition.skill)).sum(1)

    def loss(self, transition: Transition, alt_skill: Tensor) -> Tensor:
        """Of phi and of lambda; each gets its own gradient alone."""
        step = self.step(transition)
        reward = (step * self._direction(transition.skill)).sum(1)
        room = (1.0 - step.square().sum(1)).clamp_max(SLACK)
        kept = reward + self.log_lambda.detach().exp() * room
        return self.log_lambda * room.detach().mean() - kept.mean()

    def step(self, transition: Transition) -> Tensor:
        """phi(s') - phi(s). Shape (B, D)."""
        after = self(transition.next_place, transition.next_policy_obs)
        return after - self(transition.place, transition.policy_obs)

    def _direction(self, skill: Tensor) -> Tensor:
        """Of length 1, or 0 under a zero skill. Shape (B, D).

        Of a discrete skill 1 for itself, and for the others what makes the mean 0.
        """
        if self._is_discrete:
            num = skill.shape[1]
            return (num * skill - 1.0) / (num - 1)
        return nn.functional.normalize(skill, dim=1, eps=MIN_SKILL)


OBJECTIVES: dict[str, type[Diayn] | type[Metra]] = {"diayn": Diayn, "metra": Metra}
"""By their names in ``reward.objective``."""
