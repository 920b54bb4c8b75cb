"""Networks: features of (policy_obs, skill), their normaliser, actor and twin critic.

Shapes: B batch, O policy_obs, D skill dimensions, F features, A actuators, J joints.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
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
MIN_SKILL = 1e-6
"""A shorter skill has no direction."""


@contextmanager
def one_thread() -> Iterator[None]:
    """All that torch does here is done by one thread.

    So sums do not depend on the number of cores, and other cores are free to move robots. Networks
    of this size gain nothing from more, and where something else takes a core, threads spin until
    the slowest is there: a refit took over ten minutes instead of one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Features(nn.Module):
    """policy_obs and skill as the networks see them.

    Everything is turned into axes of one direction u on the ground: the world's x-axis, the
    robot's heading (``prediction.frame: heading``) or, with ``symmetry.yaw``, the direction of the
    skill, of which then only the length is an input. What is learned for one direction so holds
    for all. A zero skill has no direction, and u is the heading. A robot that does not observe its
    orientation sees what it does observe in axes of its body, which turn with the heading.

    With ``symmetry.body`` the body is relabelled so that its yaw relative to u lies in one sector.
    ``forward`` also returns by how many turns, which ``to_robot`` and ``from_robot`` undo for
    actions.
    """

    rotation_of: Tensor
    turn_of: Tensor
    turn_columns: Tensor
    turn_signs: Tensor
    turn_axes: Tensor
    turn_scores: Tensor
    turn_from_robot: Tensor
    turn_from_robot_signs: Tensor
    turn_to_robot: Tensor
    turn_to_robot_signs: Tensor

    def __init__(self, model: RobotModel, config: TrainConfig) -> None:
        """Read the robot file. Raises: ConfigError when it lacks what a symmetry needs."""
        super().__init__()
        spec = model.spec
        self.slices = observation_slices(spec)
        self.has_orientation = "orientation" in self.slices
        self.yaw_symmetry, self.body_symmetry = config.symmetry.yaw, config.symmetry.body
        self.heading_frame = config.prediction.frame == "heading"
        if (self.yaw_symmetry or self.body_symmetry) and not self.has_orientation:
            raise ConfigError(
                f"robot '{spec.name}' does not observe 'orientation'; 'symmetry.yaw' and "
                "'symmetry.body' need it"
            )
        if self.body_symmetry and spec.symmetry is None:
            raise ConfigError(
                f"'symmetry.body' is on, but robot '{spec.name}' declares no 'symmetry'; set "
                "'symmetry.body: false' in the training config, or declare it in the robot file"
            )
        self.skill_dim = config.skill_prior.dim
        vectors = {"angular_velocity", "projected_gravity"}
        if self.has_orientation:
            self._constant("rotation_of", _rotation_of())
            # u_x, u_y -> (u_x, u_y), (-u_y, u_x): u and what is to the left of it
            self._constant("turn_of", np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, -1.0, 0.0]]))
            vectors |= {"orientation", "linear_velocity"}
        self.plain = {name: part for name, part in self.slices.items() if name not in vectors}
        if self.body_symmetry:
            assert spec.symmetry is not None
            self._add_turns(
                spec.symmetry.order,
                joint_permutation(spec.joints, spec.symmetry),
                command_permutation(spec, spec.symmetry, model.driven_joints),
            )
        obs_dim = max(part.stop for part in self.slices.values())
        self.dim = int(self(torch.zeros(1, obs_dim), torch.zeros(1, self.skill_dim))[0].shape[1])

    def _constant(self, name: str, values: NDArray[np.generic]) -> None:
        """What the robot file says, and no checkpoint needs to."""
        tensor = torch.tensor(values)
        if tensor.is_floating_point():
            tensor = tensor.float()
        self.register_buffer(name, tensor, persistent=False)

    def _add_turns(self, order: int, joints: Turn, commands: Turn) -> None:
        """Tables of relabelling by 0 .. order - 1 turns."""
        columns, signs = [], []
        for name, part in self.plain.items():
            num = part.stop - part.start
            same = np.arange(num), np.ones(num)
            one = commands if name == "last_command" else joints if "joint" in name else same
            index, sign = _repeated(one, order)
            columns.append(part.start + index)
            signs.append(sign)
        if columns:
            self._constant("turn_columns", np.concatenate(columns, axis=1))
            self._constant("turn_signs", np.concatenate(signs, axis=1))
        index, sign = _repeated(commands, order)
        self._constant("turn_from_robot", index)
        self._constant("turn_from_robot_signs", sign)
        back = -np.arange(order) % order
        self._constant("turn_to_robot", index[back])
        self._constant("turn_to_robot_signs", sign[back])
        angle = 2.0 * np.pi * np.arange(order) / order
        cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros(order)
        axes = [[cos, -sin, zero], [sin, cos, zero], [zero, zero, zero + 1.0]]
        self._constant("turn_axes", np.moveaxis(np.array(axes), 2, 0))
        # Twist about z relative to u, as (cos, sin) x (u_x, u_y), against each turn.
        self._constant("turn_scores", np.array([cos, sin, -sin, cos]))

    def forward(self, policy_obs: Tensor, skill: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F) and number of turns of the body (B,).

        A few products with constant matrices: the policy runs on one row in each control step,
        where what costs is the number of operations.
        """
        turns = torch.zeros_like(skill[:, 0], dtype=torch.long)
        columns: list[Tensor] = []
        vectors: list[Tensor] = []
        if self.has_orientation:
            quaternion = policy_obs[:, self.slices["orientation"]]
            products = (quaternion[:, :, None] * quaternion[:, None]).flatten(1) @ self.rotation_of
            axes = products[:, :9].unflatten(1, (3, 3))  # rows are the world's x, y, z in the body
            u = None
            if self.heading_frame:
                u = _unit(axes[:, :2, 0])
            elif self.yaw_symmetry:
                length = skill[:, :2].norm(dim=1, keepdim=True)
                is_zero = 1.0 - (length / MIN_SKILL).clamp(0.0, 1.0)
                u = _unit(skill[:, :2] + is_zero * axes[:, :2, 0])
            if u is not None:
                ground = (u @ self.turn_of).unflatten(1, (2, 2)) @ axes[:, :2]
                axes = torch.cat([ground, axes[:, 2:]], dim=1)
            if "linear_velocity" in self.slices:
                velocity = policy_obs[:, self.slices["linear_velocity"]]
                columns.append((axes @ velocity[:, :, None]).squeeze(2))
            if self.body_symmetry:
                twist = products[:, 9:]
                if u is None:
                    score = twist @ self.turn_scores[::2]
                else:
                    score = (twist[:, :, None] * u[:, None]).flatten(1) @ self.turn_scores
                turns = score.argmax(1)
            vectors += [axes[:, :1], axes[:, 2:]]
        for name in ("projected_gravity", "angular_velocity"):
            if name in self.slices:
                vectors.append(policy_obs[:, None, self.slices[name]])
        if vectors:
            rows = torch.cat(vectors, dim=1)
            if self.body_symmetry:
                rows = rows @ self.turn_axes.index_select(0, turns)
            columns.append(rows.flatten(1))
        if self.plain and self.body_symmetry:
            columns.append(_relabelled(policy_obs, self.turn_columns, self.turn_signs, turns))
        else:
            columns += [policy_obs[:, part] for part in self.plain.values()]
        if self.yaw_symmetry:
            columns += [skill[:, :2].norm(dim=1, keepdim=True), skill[:, 2:]]
        else:
            columns.append(skill)
        return torch.cat(columns, dim=1), turns

    def from_robot(self, action: Tensor, turns: Tensor) -> Tensor:
        """An action of the robot as one of the relabelled robot. Shape (B, A)."""
        if not self.body_symmetry:
            return action
        return _relabelled(action, self.turn_from_robot, self.turn_from_robot_signs, turns)

    def to_robot(self, action: Tensor, turns: Tensor) -> Tensor:
        """Inverse of ``from_robot``. Shape (B, A)."""
        if not self.body_symmetry:
            return action
        return _relabelled(action, self.turn_to_robot, self.turn_to_robot_signs, turns)


def _relabelled(values: Tensor, index: Tensor, signs: Tensor, turns: Tensor) -> Tensor:
    """Columns of each row by the tables (order, M) of its turns (B,). Shapes (B, N) -> (B, M)."""
    return values.gather(1, index.index_select(0, turns)) * signs.index_select(0, turns)


def _unit(vectors: Tensor) -> Tensor:
    """Of length 1, or shorter near 0. Shape (B, 2)."""
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6)


def _rotation_of() -> NDArray[np.float64]:
    """From products of a unit quaternion's entries (w, x, y, z) to what is made of them.

    Columns: the rotation matrix from body to world, row by row, then cosine and sine of the twist
    about the z-axis, times a positive number. Shape (16, 11).
    """
    ww, wx, wy, wz, _, xx, xy, xz, _, _, yy, yz, _, _, _, zz = np.eye(16)
    columns = [
        [ww + xx - yy - zz, 2 * (xy - wz), 2 * (xz + wy)],
        [2 * (xy + wz), ww - xx + yy - zz, 2 * (yz - wx)],
        [2 * (xz - wy), 2 * (yz + wx), ww - xx - yy + zz],
    ]
    return np.stack([column for row in columns for column in row] + [ww - zz, 2 * wz], axis=1)


def _repeated(turn: Turn, order: int) -> Turn:
    """Permutations and signs of 0 .. order - 1 turns. Two of shape (order, N)."""
    permutation, signs = turn
    index, sign = [np.arange(len(permutation))], [np.ones(len(permutation))]
    for _ in range(order - 1):
        index.append(index[-1][permutation])
        sign.append(signs * sign[-1][permutation])
    return np.array(index), np.array(sign)


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
    # Not np.log: torch.compile traces through here, and numpy as if it were torch, for which it
    # changes torch's default dtype, under the feet of other threads.
    log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    # log(1 - tanh(x)^2), stable for large |x|
    squash = 2.0 * (math.log(2.0) - raw - nn.functional.softplus(-2.0 * raw))
    return (log_prob - squash).sum(1)


class TwinCritic(nn.Module):
    """Two Q functions, computed as one batched product.

    With ``bins``, each is a categorical distribution over that many values within ``bounds``,
    whose mean is Q (HL-Gauss; Farebrother et al. 2024, arXiv:2403.03950).
    """

    def __init__(
        self,
        input_dim: int,
        hidden: tuple[int, ...],
        *,
        layer_norm: bool = False,
        bins: int = 0,
        bounds: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Make the networks, each initialised like nn.Linear."""
        super().__init__()
        self.layer_norm = layer_norm
        self.bins = bins
        self.register_buffer("edges", torch.linspace(*bounds, bins + 1), persistent=False)
        sizes = [input_dim, *hidden, max(bins, 1)]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = fan_in**-0.5
            self.weights.append(torch.empty(2, fan_in, fan_out).uniform_(-bound, bound))
            self.biases.append(torch.empty(2, 1, fan_out).uniform_(-bound, bound))

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Q of both. Shapes (B, F), (B, A) -> (2, B)."""
        return self.value(self.outputs(features, action))

    def value(self, outputs: Tensor) -> Tensor:
        """Q by the networks' outputs. Shape (2, B, max(bins, 1)) -> (2, B)."""
        if not self.bins:
            return outputs.squeeze(2)
        return outputs.softmax(2) @ (0.5 * (self.edges[1:] + self.edges[:-1]))

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Sum over both of the mean error of the outputs. Shapes (2, B, max(bins, 1)), (B,).

        Half the squared error (equation 5 of SAC); with bins the cross-entropy from a Gaussian
        about the target, whose standard deviation is three quarters of a bin.
        """
        if not self.bins:
            return 0.5 * (outputs.squeeze(2) - target).square().mean(dim=1).sum()
        low, high = self.edges[0], self.edges[-1]
        sigma = 0.75 * (high - low) / self.bins
        away = (self.edges - target.clamp(low, high)[:, None]) / (math.sqrt(2.0) * sigma)
        below = torch.erf(away)
        wanted = below.diff(dim=1) / (below[:, -1:] - below[:, :1])
        return -(wanted * outputs.log_softmax(2)).sum(2).mean(1).sum()

    def outputs(self, features: Tensor, action: Tensor) -> Tensor:
        """Of the networks: Q, or the logits of the bins. Shape (2, B, max(bins, 1))."""
        hidden = torch.cat([features, action], dim=1).expand(2, -1, -1)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                if self.layer_norm:
                    hidden = nn.functional.layer_norm(hidden, hidden.shape[-1:])
                hidden = torch.relu(hidden)
        return hidden


def mlp(input_dim: int, hidden: tuple[int, ...], output_dim: int) -> nn.Sequential:
    """A multi-layer perceptron with ReLU."""
    layers: list[nn.Module] = []
    sizes = [input_dim, *hidden]
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], output_dim))
