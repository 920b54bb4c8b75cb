"""Skill dynamics q(delta | s, z): a mixture of Gaussians fitted by maximum likelihood.

Shapes: B batch, L skills, E experts, D skill dimensions, P predicted columns, O policy_obs, F
features, S numbers of a body state.
"""

import math

import torch
from torch import Tensor, nn

from dads_ros.errors import ConfigError
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.networks import Features, RunningNormalizer, mlp
from dads_ros.robot import RobotSpec

LEAST_LENGTH, TINY = 0.2, 1e-12
"""What is achieved is relative to skills of this length at least; and to something at least."""
MIN_BODY_SCALE = 1e-3
"""Size of the changes of an observation that hardly changes, in its unit."""


class BodyState(nn.Module):
    """What q sees of the robot: the policy's features, seen from the skill; all 0 if unknown."""

    def __init__(self, features: Features, normalizer: RunningNormalizer) -> None:
        """Look through parts of the policy."""
        super().__init__()
        self.features, self.normalizer = features, normalizer
        self.dim = features.dim + 1
        """S."""

    def forward(self, policy_obs: Tensor, skill: Tensor, known: Tensor) -> Tensor:
        """Shapes (B, O), (B, D) and, 1 where the observation is known, (B, 1) -> (B, S)."""
        features, _ = self.features(policy_obs, skill)
        return torch.cat([known * self.normalizer(features), known], dim=1)


class MixtureDynamics(nn.Module):
    """What every q is: a mixture of Gaussians with a sigma for each predicted column."""

    sigma: Tensor
    scale: Tensor

    def __init__(self, config: TrainConfig, robot: RobotSpec) -> None:
        """Take the predicted columns and their sigma."""
        super().__init__()
        q, self._fields = config.skill_dynamics, config.prediction.pose_fields
        self.num_experts, self.num_columns = q.num_experts, config.prediction.dim(robot)
        self.num_body_columns = self.num_columns - len(self._fields)
        self.sigma_ratio = q.sigma_ratio
        self.min_sigma_m, self.min_sigma_rad = q.min_sigma_m, q.min_sigma_rad
        sigma = [q.sigma_rad if field == "yaw" else q.sigma_m for field in self._fields]
        sigma += self.num_body_columns * [q.sigma_body]  # times what ``measure_scale`` finds
        self.register_buffer("sigma", torch.tensor(sigma))
        self.register_buffer("scale", torch.tensor(sigma))  # unit of the network's outputs

    def forward(
        self, skill: Tensor, body: Tensor | None = None, stretch: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The mixture for skills (L, D) in body states (L, S); ``stretch`` scales its means.

        Returns: log weights (L, E); means in metres, radians (L, E, P).
        """
        raise NotImplementedError

    def mean(self, skill: Tensor, body: Tensor | None = None) -> Tensor:
        """Mean of the mixture. Shapes (L, D), (L, S) -> (L, P)."""
        logits, means = self(skill, body)
        return (logits.exp().unsqueeze(2) * means).sum(1)

    @torch.no_grad()
    def achieved(self, delta: Tensor, skill: Tensor, body: Tensor | None = None) -> float:
        """How far skills go along what is predicted, relative to it. (B, P), (B, D), (B, S).

        While robots fall at once, there may be few rows, all of them of a skill that hardly
        leads anywhere: then any motion is much of it, and of zero skills more than all.
        """
        mean, longest = self.mean(skill, body), self.mean(nn.functional.normalize(skill), body)
        return float(_part_of(mean[:, :2], delta[:, :2], longest[:, :2], (0, 1)))

    def log_prob(
        self, delta: Tensor, skill: Tensor, stretch: float = 1.0, body: Tensor | None = None
    ) -> Tensor:
        """log q(delta | s, z), row by row; ``stretch`` scales its means.

        Shapes (B, P), (B, D), (B, S) -> (B,).
        """
        logits, means = self(skill, body, stretch)
        error = (delta.unsqueeze(1) - means) / self.sigma
        square = error.square().sum(2)
        return torch.logsumexp(logits - 0.5 * square, dim=1) - self._log_normaliser()

    def log_prob_of_all(
        self, delta: Tensor, skill: Tensor, stretch: float = 1.0, body: Tensor | None = None
    ) -> Tensor:
        """log q(delta_b | s_b, z_l) of every pair; without body states one matrix product.

        Args:
            delta: shape (B, P).
            skill: shape (L, D).
            stretch: factor on the means.
            body: of every pair. Shape (L, B, S).
        Returns: shape (L, B).
        """
        if body is not None:
            num_skills, num = body.shape[:2]
            pairs = delta.repeat(num_skills, 1), skill.repeat_interleave(num, dim=0)
            return self.log_prob(*pairs, stretch, body.flatten(0, 1)).view(num_skills, num)
        logits, means = self(skill, stretch=stretch)
        means = (means / self.sigma).flatten(0, 1)  # (L*E, P)
        delta = delta / self.sigma
        square = means.square().sum(1, keepdim=True) + delta.square().sum(1)
        square = torch.addmm(square, means, delta.T, alpha=-2.0)
        experts = logits.flatten()[:, None] - 0.5 * square
        experts = experts.unflatten(0, (len(skill), self.num_experts))
        return _logsumexp(experts, dim=1) - self._log_normaliser()

    def loss(
        self,
        delta: Tensor,
        skill: Tensor,
        weight: Tensor | None = None,
        body: Tensor | None = None,
    ) -> Tensor:
        """Negative mean log-likelihood; its gradient reaches this network only.

        Args:
            delta: shape (B, P).
            skill: shape (B, D).
            weight: importance weights (equation 5 of arXiv:2004.12974). Shape (B,).
            body: shape (B, S).
        """
        log_prob = self.log_prob(delta, skill, body=body)
        return -(log_prob if weight is None else weight * log_prob).mean()

    @torch.no_grad()
    def measure_scale(self, delta: Tensor) -> None:
        """Take the size of the first changes as the unit of predicted observations. Shape (B, P).

        Their sigma is ``sigma_body`` in that unit.

        Differs from the paper, which normalises the targets again and again: with a scale that
        stays, the reward goes on paying for larger changes.
        """
        columns = slice(self.num_columns - self.num_body_columns, None)
        self.scale[columns] = delta[:, columns].square().mean(0).sqrt().clamp_min(MIN_BODY_SCALE)
        self.sigma[columns] *= self.scale[columns]

    @torch.no_grad()
    def adapt_sigma(self, delta: Tensor, factor: float = 1.0, rate: float = 0.05) -> None:
        """Let sigma of the pose follow ``factor`` * the size of its changes. Shape (B, P)."""
        if self.sigma_ratio == 0.0:
            return
        rms = delta[:, :2].square().sum(1).mean().sqrt() / math.sqrt(2.0)
        target = factor * (self.sigma_ratio * rms).clamp_min(self.min_sigma_m)
        self.sigma[:2] += rate * (target - self.sigma[:2])
        if "yaw" in self._fields:
            rms = delta[:, 2].square().mean().sqrt()
            target = factor * (self.sigma_ratio * rms).clamp_min(self.min_sigma_rad)
            self.sigma[2] += rate * (target - self.sigma[2])

    def _log_normaliser(self) -> Tensor:
        return self.sigma.log().sum() + 0.5 * self.num_columns * math.log(2.0 * math.pi)


class SkillDynamics(MixtureDynamics):
    """q(delta | z), or q(delta | s, z). In the paper's x-y configurations q sees only the skill.

    With ``symmetry.yaw`` the means are equivariant: they turn with the skill, and vanish with its
    length as continuity at z = 0 demands. With ``linear`` they are linear in the skill, and the
    mixture's weights do not depend on it. With a body state the methods take one for each row, as
    ``BodyState`` makes it.
    """

    warm_start: Tensor

    def __init__(
        self, config: TrainConfig, robot: RobotSpec, *, body_dim: int = 0, linear: bool = False
    ) -> None:
        """Make the network. ``body_dim``: S, 0 for q(delta | z)."""
        super().__init__(config, robot)
        self.linear, self.yaw_symmetry = linear, config.symmetry.yaw
        warm_start = torch.tensor(config.warm_start)
        self.register_buffer("warm_start", warm_start, persistent=False)
        self.has_warm_start = bool(warm_start.any())
        input_dim = config.skill_prior.dim - (1 if self.yaw_symmetry else 0) + body_dim
        columns = config.skill_prior.dim if linear and not self.yaw_symmetry else 1
        num_means = self.num_experts * self.num_columns * columns
        self.net = mlp(input_dim, config.skill_dynamics.hidden, self.num_experts + num_means)
        if self.has_warm_start:
            with torch.no_grad():
                self.net[-1].weight.mul_(0.01)
                self.net[-1].bias.zero_()

    def forward(
        self, skill: Tensor, body: Tensor | None = None, stretch: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """As said there."""
        inputs = skill
        if self.yaw_symmetry:
            length = skill[:, :2].norm(dim=1, keepdim=True)
            inputs = torch.cat([length, skill[:, 2:]], dim=1)
        if body is not None:
            inputs = torch.cat([inputs, body], dim=1)
        output = self.net(torch.ones_like(inputs) if self.linear else inputs)
        weights, means = output.tensor_split([self.num_experts], dim=1)
        logits = torch.log_softmax(weights, dim=1)
        means = means.unflatten(1, (self.num_experts, self.num_columns, -1))
        if self.linear and not self.yaw_symmetry:
            means = means @ skill[:, None, :, None]
        means = means.squeeze(3) * self.scale
        if self.yaw_symmetry:
            # z turns (forward, left) and scales it.
            forward, left = means[..., 0] + self.warm_start[0], means[..., 1]
            z_x, z_y = skill[:, :2].split(1, dim=1)
            turned = [z_x * forward - z_y * left, z_y * forward + z_x * left]
            means = torch.cat([torch.stack(turned, dim=2), means[..., 2:]], dim=2)
        elif self.has_warm_start:
            num = min(len(self.warm_start), skill.shape[1])
            warm = self.warm_start[:num] * skill[:, :num]
            means = means + nn.functional.pad(warm, (0, self.num_columns - num))[:, None]
        return logits, means if stretch == 1.0 else stretch * means


class AxisDynamics(MixtureDynamics):
    """q of the reward in the heading frame: a skill's entries lead forward, left and into a turn.

    Each entry by itself, and in proportion. How far is learned, each way for itself, but at least
    as far as the warm start, so that no axis is given up for others, and at most as far as the
    robot file's ``top_speed``, so that none runs away. Differs from the paper, whose q is free.
    """

    low: Tensor
    high: Tensor
    reach: Tensor
    """Displacement (m, rad) of entries 1 and -1. Shape (2, axes)."""

    def __init__(self, config: TrainConfig, robot: RobotSpec) -> None:
        """Start at the warm start. Raises: ConfigError where the robot's top speeds forbid it."""
        super().__init__(config, robot)
        self.num_experts, self._num_axes = 1, min(config.skill_prior.dim, 3)
        top, duration_s = robot.top_speed, config.prediction.steps * robot.control_dt
        if top is None:
            raise ConfigError(
                "'skill_dynamics.linear' with 'prediction.frame: heading' needs a robot whose "
                f"largest speeds are known; add 'top_speed' to the file of robot '{robot.name}', "
                "as {forward_mps: 1.0, backward_mps: 0.7, sideways_mps: 0.5, turn_radps: 1.5}"
            )
        speeds = [
            [top.forward_mps, top.sideways_mps, top.turn_radps],
            [top.backward_mps, top.sideways_mps, top.turn_radps],
        ]
        low = torch.tensor([config.warm_start[: self._num_axes]] * 2)
        high = duration_s * torch.tensor(speeds)[:, : self._num_axes]
        if self._num_axes == 3 and float(high[0, 2]) >= math.pi:
            raise ConfigError(
                f"'top_speed.turn_radps' {top.turn_radps:g} of robot '{robot.name}' is half a "
                f"turn or more in one prediction, of {duration_s:g} s: left and right are the "
                f"same there; lower it below {math.pi / duration_s:.2g}, or 'prediction.steps'"
            )
        if (low > high).any():
            raise ConfigError(
                f"'skill_dynamics.warm_start_m' is {list(config.warm_start)} per prediction, of "
                f"{duration_s:g} s; 'top_speed' of robot '{robot.name}' allows "
                f"{[round(v, 3) for v in high.amin(0).tolist()]}: lower it, or raise that"
            )
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        self.register_buffer("reach", low.clone())

    def forward(
        self, skill: Tensor, body: Tensor | None = None, stretch: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """As said there; ``stretch`` leads nowhere beyond the top speeds."""
        ahead, back = (stretch * self.reach).minimum(self.high)
        entries = skill[:, : self._num_axes]
        means = torch.where(entries > 0.0, ahead, back) * entries
        means = nn.functional.pad(means, (0, self.num_columns - self._num_axes))
        return torch.zeros_like(skill[:, :1]), means[:, None]

    @torch.no_grad()
    def fit(self, delta: Tensor, skill: Tensor, rate: float = 0.05) -> None:
        """Go towards the maximum likelihood inside the bounds. Shapes (B, P), (B, D)."""
        entries, moved = skill[:, : self._num_axes], delta[:, : self._num_axes]
        ways = torch.stack([entries.clamp_min(0.0), entries.clamp_max(0.0)])
        best = (ways * moved).sum(1) / ways.square().sum(1).clamp_min(1e-6)
        best = best.maximum(self.low).minimum(self.high)
        self.reach += rate * (best - self.reach)

    @torch.no_grad()
    def achieved(self, delta: Tensor, skill: Tensor, body: Tensor | None = None) -> float:
        """That of the axis that lags behind most."""
        axes = slice(self._num_axes)
        mean, longest = self.mean(skill), self.mean(nn.functional.normalize(skill))
        return float(_part_of(mean[:, axes], delta[:, axes], longest[:, axes], (0,)).min())

    def speeds(self, duration_s: float) -> dict[str, float]:
        """What the longest skills along each axis are wanted to do, m/s and rad/s, as metrics."""
        ahead, back = (self.reach / duration_s).tolist()
        both = [0.5 * (one + other) for one, other in zip(ahead, back, strict=True)]
        names = ("wanted_sideways_mps", "wanted_turn_radps")
        own = {"wanted_forward_mps": ahead[0], "wanted_backward_mps": back[0]}
        return own | dict(zip(names, both[1:], strict=False))


def _part_of(mean: Tensor, delta: Tensor, longest: Tensor, dim: tuple[int, ...]) -> Tensor:
    """How much of ``mean`` is in ``delta``; ``longest`` is the mean of skills of length 1. (B, P).

    One number for all that is summed over ``dim``.
    """
    wanted = mean.square().sum(dim).maximum((LEAST_LENGTH * longest).square().sum(dim))
    return (delta * mean).sum(dim) / wanted.clamp_min(TINY)


def _logsumexp(values: Tensor, dim: int) -> Tensor:
    """torch.logsumexp with fewer passes over memory; one expert needs none."""
    return values.squeeze(dim) if values.shape[dim] == 1 else torch.logsumexp(values, dim=dim)
