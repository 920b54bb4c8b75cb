"""Refit: the skill dynamics that plans are made with, fitted anew to what a bundle's policy does.

What training leaves behind is the mean over a robot that explores, at whatever speed it had. Here
the mean action drives, skills change as they do in planning, and the velocity of the base is an
input and an output: q(delta, v' | v, z), so that a plan knows how long the robot takes to turn
about. Not in the paper, whose x-y skill dynamics sees the skill alone. Works on every bundle that
predicts x and y in the world frame; the policy is not touched.

Shapes: N rows, D skill dimensions.
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
from dads_ros.prediction import PredictionSpec
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
HIDDEN, EPOCHS, BATCH, LEARNING_RATE = (48, 48), 40, 512, 2e-3
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
    """Mean displacement over one prediction and velocity after it, from skill and velocity.

    It runs thousands of times a second on few rows, so it is made of few operations: that
    everything may be turned is learned, not built in.
    """

    def __init__(self, net: nn.Sequential) -> None:
        """Take a network (N, D + 2) -> (N, 4)."""
        super().__init__()
        self.net = net

    def forward(self, skill: Tensor, velocity: Tensor) -> Tensor:
        """World frame. Shapes (N, D), (N, 2) -> (N, 4)."""
        return self.net(torch.cat([skill, velocity], dim=1))


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
    if not prediction.is_plain:
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
        start, velocity = env.state.position[:, :2].copy(), env.state.ground_velocity(model.spec)
        whole = ~env.state.has_fallen(model.spec)
        for _ in range(STEPS):
            whole &= ~env.needs_reset
            env.step(policy(env.policy_obs(), skills))
        whole &= ~(env.diverged | env.state.has_fallen(model.spec))
        moved = env.state.position[:, :2] - start
        after = np.concatenate([moved, env.state.ground_velocity(model.spec)], axis=1)
        row: list[NDArray[np.floating]] = [skills, velocity, after]
        rows.append([values[whole] for values in row])
    columns = (np.concatenate(values) for values in zip(*rows, strict=True))
    return Motion(*(torch.tensor(values, dtype=torch.float32) for values in columns))


def fit(motion: Motion, *, yaw_symmetry: bool, seed: int) -> tuple[MomentumDynamics, float]:
    """A network, and its mean error on rows that it was not fitted to, in displacements.

    Least squares, which is a Gaussian's maximum likelihood. With ``yaw_symmetry`` every row is
    seen at another random yaw in each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(motion.skill), generator=generator)
    num_test = int(TEST_FRACTION * len(order))
    test, train = (Motion(*(v[i] for v in motion)) for i in (order[:num_test], order[num_test:]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = mlp(motion.skill.shape[1] + 2, HIDDEN, 4)

    def epoch() -> tuple[Tensor, Tensor]:
        """Inputs (N, D + 2) and outputs (N, 4)."""
        angle = 2.0 * np.pi * torch.rand(len(train.skill), generator=generator)
        seen = _turned(train, angle) if yaw_symmetry else train
        return torch.cat([seen.skill, seen.velocity], dim=1), seen.change

    inputs, outputs = epoch()
    mean, std = inputs.mean(0), inputs.std(0).clamp_min(1e-3)
    scale = outputs.square().mean(0).sqrt().clamp_min(1e-3)
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    num_batches = len(inputs) // BATCH
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, 1.0, 0.02, total_iters=EPOCHS * num_batches
    )
    for _ in range(EPOCHS):
        inputs, outputs = epoch()
        inputs, outputs = (inputs - mean) / std, outputs / scale
        rows = torch.randperm(len(inputs), generator=generator)
        for batch in rows[: num_batches * BATCH].view(num_batches, BATCH):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(inputs[batch]), outputs[batch]).backward()
            optimizer.step()
            schedule.step()
    first, last = net[0], net[-1]
    dynamics = MomentumDynamics(net)
    with torch.no_grad():  # what was normalised by hand, the weights do from now on
        first.weight.div_(std)
        first.bias.sub_(first.weight @ mean)
        last.weight.mul_(scale[:, None])
        last.bias.mul_(scale)
        predicted = dynamics(test.skill, test.velocity)[:, :2]
    moved = test.change[:, :2]
    return dynamics, float((predicted - moved).norm(dim=1).mean() / moved.norm(dim=1).mean())


def _turned(motion: Motion, angle: Tensor) -> Motion:
    """The same, each row turned to the left by its own angle, rad. Shape (N,)."""
    cos, sin = angle.cos(), angle.sin()
    turns = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)  # (N, 2, 2)
    skill = (motion.skill[:, None, :2] @ turns)[:, 0]
    return Motion(
        skill=torch.cat([skill, motion.skill[:, 2:]], dim=1),
        velocity=(motion.velocity[:, None] @ turns)[:, 0],
        change=(motion.change.unflatten(1, (2, 2)) @ turns).flatten(1),
    )


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
