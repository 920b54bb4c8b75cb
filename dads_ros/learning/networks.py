"""Networks: features of (policy_obs, skill), their normaliser, actor and twin critic.

Shapes: B batch, O policy_obs, D skill dimensions, F features, A actuators, J joints.
"""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dads_ros.envs.model import RobotModel, command_permutation, joint_permutation
from dads_ros.errors import ConfigError
from dads_ros.learning.config import TrainConfig
from dads_ros.observation import observation_slices

Turn = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Permutation and signs of one turn of the labels."""
LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


class Features(nn.Module):
    """policy_obs and skill as the networks see them.

    Everything is turned into axes of one direction u on the ground: the world's x-axis, the
    robot's heading (``prediction.frame: heading``) or, with ``symmetry.yaw``, the direction of the
    skill, of which then only the length is an input. What is learned for one direction so holds
    for all.

    With ``symmetry.body`` the body is relabelled so that its yaw relative to u lies in one sector.
    ``forward`` also returns by how many turns, which ``to_robot`` and ``from_robot`` undo for
    actions.
    """

    turn_joint_index: Tensor
    turn_joint_sign: Tensor
    turn_command_index: Tensor
    turn_command_sign: Tensor
    turn_cos_sin: Tensor

    def __init__(self, model: RobotModel, config: TrainConfig) -> None:
        """Read the robot file. Raises: ConfigError when it lacks what a symmetry needs."""
        super().__init__()
        spec = model.spec
        self.slices = observation_slices(spec)
        self.has_orientation = "orientation" in self.slices
        self.yaw_symmetry, self.body_symmetry = config.symmetry.yaw, config.symmetry.body
        self.heading_frame = config.prediction.frame == "heading"
        wants_orientation = self.yaw_symmetry or self.body_symmetry or self.heading_frame
        if wants_orientation and not self.has_orientation:
            raise ConfigError(
                f"robot '{spec.name}' does not observe 'orientation'; symmetries and the heading "
                "frame need it"
            )
        if self.body_symmetry and spec.symmetry is None:
            raise ConfigError(
                f"'symmetry.body' is on, but robot '{spec.name}' declares no 'symmetry'; set "
                "'symmetry.body: false' in the training config, or declare it in the robot file"
            )
        self.skill_dim = config.skill_prior.dim
        if self.body_symmetry:
            assert spec.symmetry is not None
            self._add_turns(
                spec.symmetry.order,
                joint_permutation(spec.joints, spec.symmetry),
                command_permutation(spec, spec.symmetry, model.driven_joints),
            )
        obs_dim = max(part.stop for part in self.slices.values())
        self.dim = int(self(torch.zeros(1, obs_dim), torch.zeros(1, self.skill_dim))[0].shape[1])

    def _add_turns(self, order: int, joints: Turn, commands: Turn) -> None:
        """Tables of relabelling by 0 .. order - 1 turns."""
        for name, (permutation, signs) in (("joint", joints), ("command", commands)):
            index, sign = [np.arange(len(permutation))], [np.ones(len(permutation))]
            for _ in range(order - 1):
                index.append(index[-1][permutation])
                sign.append(signs * sign[-1][permutation])
            self.register_buffer(f"turn_{name}_index", torch.tensor(np.array(index)))
            self.register_buffer(f"turn_{name}_sign", torch.tensor(np.array(sign)).float())
        angle = 2.0 * np.pi * np.arange(order) / order
        cos_sin = torch.tensor(np.stack([np.cos(angle), np.sin(angle)]))
        self.register_buffer("turn_cos_sin", cos_sin.float())

    def forward(self, policy_obs: Tensor, skill: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F) and number of turns of the body (B,)."""
        field = {name: policy_obs[:, part] for name, part in self.slices.items()}
        zero = torch.zeros_like(skill[:, 0])
        turns = torch.zeros_like(zero, dtype=torch.long)
        u_x, u_y = zero + 1.0, zero
        if self.yaw_symmetry:
            length = skill[:, :2].norm(dim=1).clamp_min(1e-6)
            u_x, u_y = skill[:, 0] / length, skill[:, 1] / length
        rows: list[Tensor] = []
        columns: list[Tensor] = []
        if self.has_orientation:
            w, x, y, z = field.pop("orientation").unbind(1)
            row_x = torch.stack(
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], 1
            )
            row_y = torch.stack(
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], 1
            )
            row_z = torch.stack(
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1
            )
            if self.heading_frame:
                length = (row_x[:, 0] ** 2 + row_y[:, 0] ** 2).sqrt().clamp_min(1e-6)
                u_x, u_y = row_x[:, 0] / length, row_y[:, 0] / length
            toward = u_x[:, None] * row_x + u_y[:, None] * row_y
            left = u_x[:, None] * row_y - u_y[:, None] * row_x
            if "linear_velocity" in field:
                velocity = field.pop("linear_velocity")
                columns += [(row * velocity).sum(1, keepdim=True) for row in (toward, left, row_z)]
            if self.body_symmetry:
                # Twist about the z-axis of (w, x, y, z), relative to u, times a positive number.
                cos, sin = w * w - z * z, 2 * w * z
                cos, sin = cos * u_x + sin * u_y, sin * u_x - cos * u_y
                score = cos[:, None] * self.turn_cos_sin[0] - sin[:, None] * self.turn_cos_sin[1]
                turns = score.argmax(1)
            rows = [toward, row_z]
        if "angular_velocity" in field:
            rows.append(field.pop("angular_velocity"))
        columns += [self._turn_vector(row, turns) for row in rows]
        for name, values in field.items():
            if self.body_symmetry and name.startswith("joint"):
                index = self.turn_joint_index[turns]
                values = values.gather(1, index) * self.turn_joint_sign[turns]
            elif self.body_symmetry and name == "last_command":
                values = self.from_robot(values, turns)
            columns.append(values)
        if self.yaw_symmetry:
            columns += [skill[:, :2].norm(dim=1, keepdim=True), skill[:, 2:]]
        else:
            columns.append(skill)
        return torch.cat(columns, dim=1), turns

    def from_robot(self, action: Tensor, turns: Tensor) -> Tensor:
        """An action of the robot as one of the relabelled robot. Shape (B, A)."""
        if not self.body_symmetry:
            return action
        return action.gather(1, self.turn_command_index[turns]) * self.turn_command_sign[turns]

    def to_robot(self, action: Tensor, turns: Tensor) -> Tensor:
        """Inverse of ``from_robot``. Shape (B, A)."""
        if not self.body_symmetry:
            return action
        order = self.turn_cos_sin.shape[1]
        return self.from_robot(action, (order - turns) % order)

    def _turn_vector(self, vector: Tensor, turns: Tensor) -> Tensor:
        """A body-frame vector in the axes of the relabelled body. Shape (B, 3)."""
        if not self.body_symmetry:
            return vector
        cos, sin = self.turn_cos_sin[:, turns]
        x, y, z = vector.unbind(1)
        return torch.stack([cos * x + sin * y, cos * y - sin * x, z], dim=1)


class RunningNormalizer(nn.Module):
    """Subtracts the running mean and divides by the running standard deviation."""

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, dim: int) -> None:
        """Start as the identity."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        """Normalised and clipped to 10 standard deviations. Shape (B, F)."""
        return ((values - self.mean) / (self.variance + 1e-4).sqrt()).clamp(-10.0, 10.0)

    @torch.no_grad()
    def update(self, values: Tensor) -> None:
        """Take in a batch (Chan et al. parallel variance). Shape (B, F)."""
        num = len(values)
        total = self.count + num
        weight = (num / total).float()
        shift = values.mean(0) - self.mean
        between = shift.square() * weight * (1.0 - weight)
        self.variance.mul_(1.0 - weight).add_(values.var(0, correction=0) * weight + between)
        self.mean.add_(shift * weight)
        self.count.copy_(total)


class Actor(nn.Module):
    """pi(a | s, z): a Gaussian squashed by tanh."""

    def __init__(self, feature_dim: int, action_dim: int, hidden: tuple[int, ...]) -> None:
        """Make the network."""
        super().__init__()
        self.net = mlp(feature_dim, hidden, 2 * action_dim)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before squashing. Two of shape (B, A)."""
        mean, log_std = self.net(features).chunk(2, dim=1)
        middle, half = (LOG_STD_MAX + LOG_STD_MIN) / 2, (LOG_STD_MAX - LOG_STD_MIN) / 2
        return mean, middle + half * torch.tanh(log_std)

    def sample(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reparametrised action and its log-probability.

        Args:
            features: normalised. Shape (B, F).
            noise: standard normal. Shape (B, A).
        Returns: action in [-1, 1], shape (B, A); log pi, shape (B,).
        """
        mean, log_std = self(features)
        raw = mean + log_std.exp() * noise
        return torch.tanh(raw), _squashed_log_prob(noise, log_std, raw)

    def log_prob(self, features: Tensor, action: Tensor) -> Tensor:
        """log pi of actions that were taken. Shapes (B, F), (B, A) -> (B,)."""
        mean, log_std = self(features)
        raw = torch.atanh(action.clamp(-1.0 + 1e-6, 1.0 - 1e-6))
        return _squashed_log_prob((raw - mean) / log_std.exp(), log_std, raw)


def _squashed_log_prob(noise: Tensor, log_std: Tensor, raw: Tensor) -> Tensor:
    """log-density of tanh(raw), raw = mean + std * noise. Three of shape (B, A) -> (B,)."""
    log_prob = -0.5 * noise.square() - log_std - 0.5 * np.log(2.0 * np.pi)
    # log(1 - tanh(x)^2), stable for large |x|
    squash = 2.0 * (np.log(2.0) - raw - nn.functional.softplus(-2.0 * raw))
    return (log_prob - squash).sum(1)


class TwinCritic(nn.Module):
    """Two Q functions, computed as one batched product."""

    def __init__(
        self, input_dim: int, hidden: tuple[int, ...], *, layer_norm: bool = False
    ) -> None:
        """Make the networks, each initialised like nn.Linear."""
        super().__init__()
        self.layer_norm = layer_norm
        sizes = [input_dim, *hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = fan_in**-0.5
            self.weights.append(torch.empty(2, fan_in, fan_out).uniform_(-bound, bound))
            self.biases.append(torch.empty(2, 1, fan_out).uniform_(-bound, bound))

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Q of both. Shapes (B, F), (B, A) -> (2, B)."""
        hidden = torch.cat([features, action], dim=1).expand(2, -1, -1)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                if self.layer_norm:
                    hidden = nn.functional.layer_norm(hidden, hidden.shape[-1:])
                hidden = torch.relu(hidden)
        return hidden.squeeze(2)


def mlp(input_dim: int, hidden: tuple[int, ...], output_dim: int) -> nn.Sequential:
    """A multi-layer perceptron with ReLU."""
    layers: list[nn.Module] = []
    sizes = [input_dim, *hidden]
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], output_dim))
