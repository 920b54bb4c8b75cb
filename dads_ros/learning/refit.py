"""Refit: the skill dynamics that plans are made with, fitted anew to what a bundle's policy does.

What training leaves behind is the mean over a robot that explores, at whatever speed it had. Here
the mean action drives, skills change as they do in planning, and the velocity of the base is an
input and an output: q(delta, v' | v, z), so that a plan knows how long the robot takes to turn
about. Not in the paper, whose x-y skill dynamics sees the skill alone. Works on every bundle that
predicts x and y in the world frame; the policy is not touched.

Shapes: R robots, N rows, D skill dimensions, O policy_obs.
"""

import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dads_ros.bundle.manifest import DYNAMICS_FILE, POLICY_FILE, BundleManifest
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv, available_cores
from dads_ros.errors import ConfigError
from dads_ros.files import atomic_write, make_output_folder, sha256, source_commit
from dads_ros.learning.networks import mlp
from dads_ros.learning.onnx_file import check_parity, write_onnx
from dads_ros.prediction import PredictionSpec, base_velocity
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace

logger = logging.getLogger(__name__)

STEPS = 5
"""Control steps of one prediction: as long as the planner holds a skill by default."""
NUM_ROBOTS, NUM_PREDICTIONS, EPISODE_STEPS = 256, 320, 400
CHANGE_PROBABILITY = (0.1, 0.6)
"""Of the skill at each prediction: the first robot's to the last one's."""
NEARBY, STILL = 0.4, 0.1
"""Parts of the changes to a skill near the last one, and to the one that stands."""
NEARBY_STD = 0.3
HIDDEN, EPOCHS, BATCH, LEARNING_RATE = (64, 64), 20, 512, 2e-3
TEST_FRACTION = 0.1


class Motion(NamedTuple):
    """What was seen, one row for each prediction; x and y in the world frame."""

    skill: Tensor
    """Shape (N, D)."""
    velocity: Tensor
    """Of the base before, m/s. Shape (N, 2)."""
    change: Tensor
    """Displacement, m, and velocity after, m/s. Shape (N, 4)."""


class MomentumDynamics(nn.Module):
    """Mean displacement over one prediction and velocity after it, from velocity and skill."""

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, skill_dim: int, *, yaw_symmetry: bool) -> None:
        """Make the network; with ``yaw_symmetry`` what it says turns with the skill."""
        super().__init__()
        self.yaw_symmetry = yaw_symmetry
        dim = skill_dim + 2 - int(yaw_symmetry)
        self.net = mlp(dim, HIDDEN, 4)
        for name, size in (("mean", dim), ("std", dim), ("scale", 4)):
            self.register_buffer(name, torch.zeros(size) if name == "mean" else torch.ones(size))

    def forward(self, skill: Tensor, velocity: Tensor) -> Tensor:
        """World frame. Shapes (N, D), (N, 2) -> (N, 4)."""
        direction = self._direction(skill)
        output = self.net((self.inputs(skill, velocity, direction) - self.mean) / self.std)
        return _turned(output * self.scale, direction, forward=True)

    def loss(self, motion: Motion) -> Tensor:
        """Mean square error of the normalised outputs: a Gaussian's maximum likelihood."""
        direction = self._direction(motion.skill)
        inputs = self.inputs(motion.skill, motion.velocity, direction)
        output = self.net((inputs - self.mean) / self.std)
        wanted = _turned(motion.change, direction, forward=False) / self.scale
        return nn.functional.mse_loss(output, wanted)

    def measure(self, motion: Motion) -> None:
        """Take mean and size of inputs and outputs from what was seen."""
        direction = self._direction(motion.skill)
        inputs = self.inputs(motion.skill, motion.velocity, direction)
        self.mean.copy_(inputs.mean(0))
        self.std.copy_(inputs.std(0).clamp_min(1e-3))
        wanted = _turned(motion.change, direction, forward=False)
        self.scale.copy_(wanted.square().mean(0).sqrt().clamp_min(1e-3))

    def inputs(self, skill: Tensor, velocity: Tensor, direction: Tensor) -> Tensor:
        """Seen from the direction of the skill, where yaw symmetry is on."""
        if self.yaw_symmetry:
            skill = torch.cat([skill[:, :2].norm(dim=1, keepdim=True), skill[:, 2:]], dim=1)
        return torch.cat([skill, _turned(velocity, direction, forward=False)], dim=1)

    def _direction(self, skill: Tensor) -> Tensor:
        """Unit vector of the skill, or the world's x-axis. Shape (N, 2)."""
        x_axis = torch.zeros_like(skill[:, :1]) + skill.new_tensor([1.0, 0.0])
        if not self.yaw_symmetry:
            return x_axis
        length = skill[:, :2].norm(dim=1, keepdim=True)
        return torch.where(length > 1e-6, skill[:, :2] / length.clamp_min(1e-6), x_axis)


def _turned(vectors: Tensor, direction: Tensor, *, forward: bool) -> Tensor:
    """Pairs of columns turned by the angle of a direction, or back. (N, 2 n) -> (N, 2 n)."""
    cos, sin = direction.split(1, dim=1)
    x, y = vectors[:, 0::2], vectors[:, 1::2]
    sin = sin if forward else -sin
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=2).flatten(1)


def refit_bundle(
    bundle: SkillBundle, folder: Path, *, robot: RobotSpec | None = None, seed: int = 0
) -> BundleManifest:
    """Write a bundle with the same policy and a new skill dynamics, and no figures yet.

    Args:
        bundle: whose policy drives.
        folder: of the new bundle; may be the same.
        robot: the robot file here, which says where the MJCF is; by default the bundle's own.
        seed: of everything random.
    Raises: ConfigError for a bundle that predicts anything but x and y in the world frame.
    """
    prediction, settings = bundle.manifest.prediction, bundle.manifest.training_config
    if prediction.fields != ("x", "y") or prediction.frame != "world":
        raise ConfigError(
            f"bundle '{bundle.folder}' predicts {', '.join(prediction.fields)} in the "
            f"{prediction.frame} frame; only x and y in the world frame can be fitted anew"
        )
    model = RobotModel(robot or bundle.robot)
    low, high = settings.get("collect", {}).get("delay_ms", (0.0, 0.0))
    motion = watch(model, bundle.skill_space, bundle.command, seed=seed, delay_ms=(low, high))
    yaw_symmetry = bool(settings.get("symmetry", {}).get("yaw", False))
    dynamics, error = fit(motion, yaw_symmetry=yaw_symmetry, seed=seed)
    logger.info(
        "skill dynamics fitted to %d predictions; error on others %.0f %% of the displacement",
        len(motion.skill),
        100.0 * error,
    )
    make_output_folder(folder)
    if folder.resolve() != bundle.folder.resolve():
        shutil.copyfile(bundle.folder / POLICY_FILE, folder / POLICY_FILE)
    with atomic_write(folder / DYNAMICS_FILE) as temporary:
        examples = {"skill": motion.skill[:1024], "velocity": motion.velocity[:1024]}
        write_onnx(dynamics, examples, "delta", temporary)
        check_parity(dynamics, temporary, examples)
    manifest = dataclasses.replace(
        bundle.manifest,
        prediction=PredictionSpec(steps=STEPS, momentum=True),
        files=bundle.manifest.files | {DYNAMICS_FILE: sha256(folder / DYNAMICS_FILE)},
        refit_commit=source_commit(),
        evaluation=None,
    )
    manifest.save(folder)
    return manifest


def watch(
    model: RobotModel,
    skill_space: SkillSpace,
    policy: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.floating]],
    *,
    seed: int,
    delay_ms: tuple[float, float],
) -> Motion:
    """Let the policy's mean action drive robots whose skills change, some often and some seldom.

    Predictions during which a robot fell or was reset are left out.
    """
    rng = np.random.default_rng(seed)
    env = VectorEnv(
        model,
        NUM_ROBOTS,
        rng=rng,
        episode_steps=EPISODE_STEPS,
        delay_ms=delay_ms,
        staggered=True,
        num_threads=available_cores(),
    )
    change = np.linspace(*CHANGE_PROBABILITY, NUM_ROBOTS)
    skills = skill_space.sample(NUM_ROBOTS, rng)
    rows: list[list[NDArray[np.floating]]] = []
    for _ in range(NUM_PREDICTIONS):
        changes = rng.random(NUM_ROBOTS) < change
        skills = np.where(changes[:, None], _next_skills(skill_space, skills, rng), skills)
        obs, start = env.policy_obs(), env.state.position[:, :2].copy()
        whole = ~env.state.has_fallen(model.spec)
        for _ in range(STEPS):
            whole &= ~env.needs_reset
            env.step(policy(env.policy_obs(), skills))
        whole &= ~(env.diverged | env.state.has_fallen(model.spec))
        moved = env.state.position[:, :2] - start
        after = base_velocity(model.spec, env.policy_obs())
        row: list[NDArray[np.floating]] = [
            skills,
            base_velocity(model.spec, obs),
            np.concatenate([moved, after], axis=1),
        ]
        rows.append([values[whole] for values in row])
    columns = (np.concatenate(values) for values in zip(*rows, strict=True))
    return Motion(*(torch.tensor(values, dtype=torch.float32) for values in columns))


def fit(motion: Motion, *, yaw_symmetry: bool, seed: int) -> tuple[MomentumDynamics, float]:
    """A network, and its mean error on rows that it was not fitted to, in displacements."""
    generator = torch.Generator().manual_seed(seed)
    num = len(motion.skill)
    num_test = int(TEST_FRACTION * num)
    order = torch.randperm(num, generator=generator)
    test, train = (Motion(*(v[i] for v in motion)) for i in (order[:num_test], order[num_test:]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dynamics = MomentumDynamics(motion.skill.shape[1], yaw_symmetry=yaw_symmetry)
    dynamics.measure(train)
    optimizer = torch.optim.Adam(dynamics.parameters(), LEARNING_RATE)
    num_batches = (num - num_test) // BATCH
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, 1.0, 0.02, total_iters=EPOCHS * num_batches
    )
    for _ in range(EPOCHS):
        rows = torch.randperm(num - num_test, generator=generator)
        for batch in rows[: num_batches * BATCH].view(num_batches, BATCH):
            optimizer.zero_grad()
            dynamics.loss(Motion(*(v[batch] for v in train))).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        predicted = dynamics(test.skill, test.velocity)[:, :2]
    moved = test.change[:, :2]
    return dynamics, float((predicted - moved).norm(dim=1).mean() / moved.norm(dim=1).mean())


def _next_skills(
    space: SkillSpace, skills: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """From the prior, near the last ones, or none: the kinds of change that planning makes."""
    num, fresh = len(skills), space.sample(len(skills), rng)
    if space.config.kind == "discrete":
        return fresh
    kind = rng.random((num, 1))
    near = space.clip(skills + NEARBY_STD * rng.standard_normal(skills.shape))
    return np.select([kind < NEARBY, kind < NEARBY + STILL], [near, np.zeros_like(fresh)], fresh)
