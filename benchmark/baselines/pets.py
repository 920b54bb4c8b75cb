"""PETS: probabilistic ensembles with trajectory sampling (Chua et al. 2018, arXiv:1805.12114).

    PYTHONPATH=benchmark python -m baselines.pets --config FILE --seed 0 --out FOLDER

The model-based baseline of Sharma et al. 2020, figure 7: an ensemble predicts the whole state of
the robot, and MPPI plans commands with it. A run that was stopped goes on as if it had not been.

Shapes: R robots, T steps, E networks, K candidates, H steps of a plan, S columns of the state, A
actuators, I = S - 2 + A inputs, B batch.
"""

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from baselines.config import POLICY_FOLDER, PetsConfig
from baselines.run import Array, begin, drive, main
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.evaluation.goals import GoalMetrics, sample_goals
from dads_ros.learning.checkpoint import load_checkpoint, save_checkpoint
from dads_ros.learning.networks import RunningNormalizer, one_thread
from dads_ros.observation import observation_slices
from dads_ros.robot import RobotSpec

MODEL_FILE = "model.pt"
ROBOTS_AT_ONCE = 16
"""In planning, so that what the networks compute stays in the cache."""
BOUNDS_WEIGHT = 0.01
"""In the loss, of the span between the bounds of the log-variances, as in the authors' code."""
MIN_SCALE = 1e-6
"""Of a column that never changes."""


class Ensemble(nn.Module):
    """E networks, each a diagonal Gaussian of the change of the state over a control step.

    The state is the place and what policies see of the robot. Flat ground is the same everywhere,
    so the place is no input. Differs from the paper: ReLU for swish, the networks' data differ by
    the batches that each draws, not by a bootstrap of the whole, and there is no weight decay.
    """

    def __init__(
        self, state_dim: int, command_dim: int, config: PetsConfig, generator: torch.Generator
    ) -> None:
        """Make networks, initialised like nn.Linear."""
        super().__init__()
        self.num = config.num_networks
        sizes = [state_dim - 2 + command_dim, *config.hidden, 2 * state_dim]
        self.normalizer, self.change = RunningNormalizer(sizes[0]), RunningNormalizer(state_dim)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            for part, rows in ((self.weights, fan_in), (self.biases, 1)):
                uniform = torch.rand(self.num, rows, fan_out, generator=generator)
                part.append((2.0 * uniform - 1.0) * fan_in**-0.5)
        self.low = nn.Parameter(torch.full((state_dim,), -10.0))
        """Bounds of the log-variances, which are learned."""
        self.high = nn.Parameter(torch.full((state_dim,), 0.5))

    @property
    def scale(self) -> Tensor:
        """In which changes are predicted. Shape (S,)."""
        return self.change.variance.sqrt().clamp_min(MIN_SCALE)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the normalised change. Shapes (E, B, I) -> 2 of (E, B, S)."""
        hidden = self.normalizer(inputs)
        for weight, bias in list(zip(self.weights, self.biases, strict=True))[:-1]:
            hidden = torch.baddbmm(bias, hidden, weight).relu_()
        output = torch.baddbmm(self.biases[-1], hidden, self.weights[-1])
        mean, log_variance = output.chunk(2, dim=-1)
        log_variance = self.high - nn.functional.softplus(self.high - log_variance)
        return mean, self.low + nn.functional.softplus(log_variance - self.low)

    def loss(self, inputs: Tensor, change: Tensor) -> Tensor:
        """Negative log-likelihood (Chua et al. 2018, section 4), and the span of the bounds.

        Twice its mean over rows and columns, but for a constant, summed over networks.

        Shapes (E, B, I), (E, B, S) -> ().
        """
        mean, log_variance = self(inputs)
        error = (change - self.change.mean) / self.scale - mean
        likelihood = (error.square() * (-log_variance).exp() + log_variance).mean(dim=(1, 2)).sum()
        return likelihood + BOUNDS_WEIGHT * (self.high - self.low).sum()

    def draw_next(self, state: Tensor, command: Tensor, noise: Tensor) -> Tensor:
        """The state after a control step, of each network by its own Gaussian.

        Args:
            state: now. Shape (E, B, S).
            command: sent. Shape (E, B, A).
            noise: standard normal. Shape (E, B, S).
        """
        mean, log_variance = self(torch.cat([state[..., 2:], command], dim=-1))
        drawn = mean + (0.5 * log_variance).exp() * noise
        return state + self.change.mean + self.scale * drawn


class Planner:
    """MPPI over sequences of commands (Williams et al. 2017), for R robots at once.

    It plans anew in each control step, from the plan of the step before.
    """

    def __init__(
        self,
        model: Ensemble,
        config: PetsConfig,
        spec: RobotSpec,
        num: int,
        generator: torch.Generator,
    ) -> None:
        """For ``num`` robots; ``generator`` of candidates and of the states drawn for them."""
        self._model, self._config = model, config
        low, high = (torch.as_tensor(limit).float() for limit in spec.command_limits)
        self._middle, self._half = (low + high) / 2.0, (high - low) / 2.0
        self._fallen = spec.fallen
        self._height, self._orientation = (
            columns_of(spec, field) for field in ("height", "orientation")
        )
        self.plans = torch.zeros(num, config.planning_horizon, spec.command_dim)
        """Commands as parts of half their range, from its middle. Shape (R, H, A)."""
        self._generator = generator

    @torch.no_grad()
    def command(self, state: Array, goals: Array, is_new: NDArray[np.bool_]) -> Array:
        """The first command of each robot's plan. Shape (R, A).

        Args:
            state: now. Shape (R, S).
            goals: world frame, m. Shape (R, 2).
            is_new: robots at the start of an episode, whose last plan means nothing. Shape (R,).
        """
        plans = torch.cat([self.plans[:, 1:], torch.zeros_like(self.plans[:, :1])], dim=1)
        plans[torch.from_numpy(is_new)] = 0.0
        parts = zip(
            plans.split(ROBOTS_AT_ONCE),
            torch.from_numpy(state).float().split(ROBOTS_AT_ONCE),
            torch.from_numpy(goals).float().split(ROBOTS_AT_ONCE),
            strict=True,
        )
        self.plans = torch.cat([self._improved(*part) for part in parts])
        command: Array = (self._middle + self._half * self.plans[:, 0]).numpy()
        return command

    def _improved(self, plans: Tensor, state: Tensor, goals: Tensor) -> Tensor:
        """Sample around the plans, score, weigh. Shapes (R, H, A), (R, S), (R, 2) -> (R, H, A)."""
        config = self._config
        noise = torch.randn(
            len(plans), config.num_samples, *plans.shape[1:], generator=self._generator
        )
        for step in range(1, config.planning_horizon):
            fresh = (1.0 - config.smoothing**2) ** 0.5 * noise[:, :, step]
            noise[:, :, step] = config.smoothing * noise[:, :, step - 1] + fresh
        noise[:, 0] = 0.0  # the plan itself is one of them
        candidates = (plans[:, None] + config.noise_std * noise).clamp(-1.0, 1.0)
        weights = torch.softmax(-self._cost(candidates, state, goals) / config.temperature_m, 1)
        return (weights[:, :, None, None] * candidates).sum(1)

    def _cost(self, candidates: Tensor, state: Tensor, goals: Tensor) -> Tensor:
        """Mean distance from the goal, m, over the plan and over particles. Shape (R, K).

        Each candidate has a particle in every network, which it keeps (TS-infinity; Chua et al.
        2018, section 5.1). One that falls stays there, as a robot that is measured does.
        """
        num, num_samples, horizon, _ = candidates.shape
        commands = self._middle + self._half * candidates.flatten(0, 1)  # (R K, H, A)
        shape = (self._model.num, -1, -1)
        state = state.repeat_interleave(num_samples, dim=0).expand(shape)  # (E, R K, S)
        goals = goals.repeat_interleave(num_samples, dim=0)
        place, fell = state[..., :2], torch.zeros(state.shape[:2], dtype=torch.bool)
        total = torch.zeros(num * num_samples)
        for step in range(horizon):
            noise = torch.randn(state.shape, generator=self._generator)
            state = self._model.draw_next(state, commands[:, step].expand(shape), noise)
            fell |= self._have_fallen(state)
            place = torch.where(fell[..., None], place, state[..., :2])
            total += (place - goals).norm(dim=-1).mean(0)
        return (total / horizon).view(num, num_samples)

    def _have_fallen(self, state: Tensor) -> Tensor:
        """As far as the robot sees it. Shape (E, B)."""
        fallen = torch.zeros(state.shape[:2], dtype=torch.bool)
        if self._orientation:
            square = state[..., self._orientation].square()
            tilt = square[..., 1:3].sum(-1) / square.sum(-1)  # of a predicted q, not of length 1
            fallen |= 1.0 - 2.0 * tilt < self._fallen.min_up_z
        if self._height:
            fallen |= state[..., self._height[0]] < self._fallen.min_height_m
        return fallen


def columns_of(spec: RobotSpec, field: str) -> list[int]:
    """Where a field of policy_obs stands in the state; nowhere if it is not observed."""
    parts = observation_slices(spec).items()
    seen = [name for name, part in parts for _ in range(part.start, part.stop)]
    seen = ["x", "y", *(name for name in seen if name != "last_command")]
    return [column for column, name in enumerate(seen) if name == field]


def state_of(env: VectorEnv) -> NDArray[np.float32]:
    """Place (x, y, world frame, m) and policy_obs, without the last command. Shape (R, S).

    Commands act at once here: the last one says nothing that the next state does not.
    """
    last_command = observation_slices(env.spec).get("last_command", slice(0))
    seen = np.delete(env.policy_obs(), last_command, axis=1)
    # The state of a robot whose physics broke down means nothing.
    return np.nan_to_num(np.concatenate([env.state.position[:, :2], seen], 1, dtype=np.float32))


class Transitions:
    """The newest control steps of all robots, as the ensemble learns from them."""

    def __init__(self, capacity: int, num_inputs: int, state_dim: int) -> None:
        """Allocate: 4 (I + S) bytes for each."""
        self._capacity, self._num_added = capacity, 0
        self._inputs = torch.zeros(capacity, num_inputs)
        self._changes = torch.zeros(capacity, state_dim)

    def add(self, inputs: Tensor, changes: Tensor) -> None:
        """Shapes (B, I), (B, S)."""
        rows = torch.arange(self._num_added, self._num_added + len(inputs)) % self._capacity
        self._inputs[rows], self._changes[rows] = inputs, changes
        self._num_added += len(inputs)

    def sample(self, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniformly. Shapes (E, B, I), (E, B, S) for (E, B)."""
        rows = torch.randint(len(self), shape, generator=generator)
        return self._inputs[rows], self._changes[rows]

    def __len__(self) -> int:
        """Transitions held."""
        return min(self._num_added, self._capacity)

    def checkpoint(self) -> dict[str, Any]:
        """Everything that ``restore`` needs."""
        held = {"inputs": self._inputs, "changes": self._changes}  # a view is written as a whole
        parts = {name: part[: len(self)].clone() for name, part in held.items()}
        return {"num_added": self._num_added, **parts}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from ``checkpoint``."""
        self._num_added = saved["num_added"]
        self._inputs[: len(self)], self._changes[: len(self)] = saved["inputs"], saved["changes"]


def own_goal(config: PetsConfig, spec: RobotSpec, seed: int) -> Array | None:
    """The goal of the test that a strong oracle learns, another for each training seed.

    World frame, m. Shape (2,).
    """
    if config.kind != "strong_oracle":
        return None
    goals = sample_goals(spec, config.test_goals, config.test_range_m, config.test_seed)
    return goals[seed % len(goals)]


class Training:
    """Collects and learns in turn, with R robots."""

    def __init__(self, config: PetsConfig, seed: int) -> None:
        """Begin."""
        self._config = config
        model = RobotModel(RobotSpec.load(config.robot))
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self.env = VectorEnv(
            model, config.num_envs, rng=self._rng, episode_steps=config.episode_steps
        )
        self.goals: Array = np.zeros((config.num_envs, 2))
        self._only_goal = own_goal(config, model.spec, seed)
        state_dim, command_dim = state_of(self.env).shape[1], model.spec.command_dim
        self.model = Ensemble(state_dim, command_dim, config, self._generator)
        self._optimizer = torch.optim.Adam(self.model.parameters(), config.learning_rate)
        self._planner = Planner(self.model, config, model.spec, config.num_envs, self._generator)
        self.transitions = Transitions(
            config.replay_capacity, state_dim - 2 + command_dim, state_dim
        )
        self.num_env_steps, self.seconds = 0, 0.0
        """Control steps of all robots, and processor time until the end of the last, s."""
        self._stepped = time.process_time()

    @property
    def is_over(self) -> bool:
        """By control steps, or by processor time."""
        config = self._config
        is_late = config.max_minutes is not None and self.seconds >= 60.0 * config.max_minutes
        return is_late or self.num_env_steps >= config.num_env_steps

    def step(self) -> None:
        """A control step of all robots, and updates."""
        env, config = self.env, self._config
        is_new, before = env.steps == 0, state_of(env)
        if is_new.any():
            self.goals[is_new] = self._draw_goals(int(is_new.sum()))
        if config.kind == "random" or self.num_env_steps < config.learning_starts:
            low, high = env.spec.command_limits
            wanted = self._rng.uniform(low, high, (env.num_envs, len(low)))
        else:
            wanted = self._planner.command(before, self.goals, is_new)
        moves = ~env.needs_reset
        env.step(env.filtered(wanted))
        self.num_env_steps += env.num_envs
        moves &= ~env.diverged
        if moves.any():
            self._take_in(before[moves], env.last_command[moves], state_of(env)[moves])
        if self.num_env_steps >= config.learning_starts and len(self.transitions):
            for _ in range(config.updates_per_vector_step):
                self._optimizer.zero_grad()
                shape = (config.num_networks, config.batch_size)
                batch = self.transitions.sample(shape, self._generator)
                self.model.loss(*batch).backward()
                self._optimizer.step()
        now = time.process_time()
        self.seconds, self._stepped = self.seconds + now - self._stepped, now

    def _draw_goals(self, num: int) -> Array:
        """World frame, m. Shape (num, 2)."""
        if self._only_goal is not None:
            return np.tile(self._only_goal, (num, 1))
        seed = int(self._rng.integers(2**32))
        return sample_goals(self.env.spec, num, self._config.test_range_m, seed)

    def _take_in(self, before: Array, command: Array, after: Array) -> None:
        inputs = torch.from_numpy(np.concatenate([before[:, 2:], command], 1, dtype=np.float32))
        changes = torch.from_numpy(after - before)
        self.model.normalizer.update(inputs)
        self.model.change.update(changes)
        self.transitions.add(inputs, changes)

    def save(self, folder: Path) -> None:
        """Everything that ``restore`` needs to go on exactly here."""
        state = {
            "config": self._config.to_dict(),
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "transitions": self.transitions.checkpoint(),
            "env": self.env.checkpoint(),
            "goals": self.goals,
            "plans": self._planner.plans,
            "num_env_steps": self.num_env_steps,
            "seconds": self.seconds,
            "rng": self._rng.bit_generator.state,
            "generator": self._generator.get_state(),
        }
        save_checkpoint(folder, state)

    def restore(self, folder: Path) -> None:
        """Go on from what ``save`` left. Raises: CheckpointError."""
        saved = load_checkpoint(folder)
        self.model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self.transitions.restore(saved["transitions"])
        self.env.restore(saved["env"])
        self.goals, self._planner.plans = saved["goals"], saved["plans"]
        self.num_env_steps, self.seconds = saved["num_env_steps"], saved["seconds"]
        self._rng.bit_generator.state = saved["rng"]
        self._generator.set_state(saved["generator"])


def train(config: PetsConfig, seed: int, out: Path) -> int:
    """Train to the end or until a signal. Returns: the exit code."""
    training = Training(config, seed)
    watch = begin(training, out, config, seed, f"PETS ({config.kind.replace('_', ' ')})")

    def keep(folder: Path) -> None:
        torch.save(training.model.state_dict(), folder / MODEL_FILE)

    with one_thread():
        while not training.is_over:
            training.step()
            if not watch.goes_on(training.num_env_steps):
                break
    return watch.end(keep)


class PetsAgent:
    """Goes to goals by planning commands with an ensemble that was trained."""

    def __init__(self, config: PetsConfig, seed: int, folder: Path, training_commit: str) -> None:
        """Load it from the folder of its run."""
        self._config, self.training_commit = config, training_commit
        self.model = RobotModel(RobotSpec.load(config.robot))
        self.own_goal = own_goal(config, self.model.spec, seed)
        state = torch.load(folder / POLICY_FOLDER / MODEL_FILE, weights_only=True)
        self._ensemble = Ensemble(
            len(state["low"]), self.model.spec.command_dim, config, torch.Generator()
        )
        self._ensemble.load_state_dict(state)

    def go(
        self, goals: ArrayLike, steps: int, *, seed: int, progress: Callable[[int], None]
    ) -> GoalMetrics:
        """Drive one robot to each goal (R, 2), world frame, m, for T steps from the origin.

        Starts are those of ``evaluation.driving.Driver`` with the same seed.
        """
        goals = np.asarray(goals, float)
        generator = torch.Generator().manual_seed(seed)
        planner = Planner(self._ensemble, self._config, self.model.spec, len(goals), generator)

        def command(env: VectorEnv) -> Array:
            return planner.command(state_of(env), goals, env.steps == 0)

        with one_thread():
            return drive(self.model, command, goals, steps, seed=seed, progress=progress)


if __name__ == "__main__":
    sys.exit(main(train, PetsConfig))
