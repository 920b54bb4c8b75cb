"""Refit: the skill dynamics that plans are made with, refitted to what a bundle's policy does.

What training leaves behind is the mean over a robot that explores, at whatever speed it had. Here
the mean action drives, skills change as they do in planning, and the velocity of the base is an
input and an output: q(delta, v' | v, z, t), so that a plan knows how long the robot takes to turn
about. The time t that the skill is held is an input as well, so that each skill of a plan is one
prediction, unless it is held for more than ``MAX_STEPS``. It also predicts whether the robot falls
within ``MAX_STEPS`` of a skill's beginning. Not in the paper, whose x-y skill dynamics sees the
skill alone. Works on every bundle that predicts x and y in the world frame, or x, y and yaw in the
heading frame, where all velocities are forward, left and the yaw rate; the policy is not touched.

Shapes: N rows, L control steps of the longest prediction, D skill dimensions, V parts of a
velocity: x and y (m/s), in the heading frame forward, left (m/s) and the yaw rate (rad/s).
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
from dads_ros.bundle.runtime import load_policy
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv, available_cores
from dads_ros.errors import ConfigError
from dads_ros.files import sha256, source_commit
from dads_ros.learning.bundle_folder import new_bundle
from dads_ros.learning.config import CollectConfig
from dads_ros.learning.networks import mlp, one_thread
from dads_ros.learning.onnx_file import check_parity, write_onnx
from dads_ros.observation import turned
from dads_ros.prediction import MOMENTUM_INPUT, Frame
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace

logger = logging.getLogger(__name__)

HELD_STEPS, MAX_STEPS = 5, 25
"""Control steps that a skill is held at least here, which is the planner's default, and those of
the longest prediction."""
NUM_ROBOTS, NUM_PERIODS, EPISODE_STEPS = 256, 320, 400
CHANGE_PROBABILITY = (0.1, 0.6)
"""Of the skill after each ``HELD_STEPS``: the first robot's to the last one's."""
NEARBY, STILL = 0.4, 0.1
"""Parts of the changes to a skill near the last one, and to the one that stands."""
HIDDEN, HIDDEN_HEADING = (64,), (128,)
"""Layers in the world frame and, where what is predicted turns as well, in the heading frame."""
EPOCHS, BATCH, LEARNING_RATE = 40, 512, 2e-3
TEST_FRACTION = 0.1
MIN_STD = 1e-3
"""Of an input that is one, in its unit."""


class Motion(NamedTuple):
    """What was seen, one row for each skill from some moment on."""

    skill: Tensor
    """Shape (N, D)."""
    velocity: Tensor
    """Of the base at first. Shape (N, V)."""
    track: Tensor
    """Mean velocity until 1, 2, ... L control steps later and velocity then. (N, L, 2 V).

    In the heading frame one as seen from the heading at first, the other from the heading then."""
    num_steps: Tensor
    """Of the track, during which the skill was held. Shape (N,), 0 (a fall at once) to L."""
    fell: Tensor
    """Within L control steps, whatever came next: 1, 0, or NaN where nobody knows. Shape (N,)."""
    robot: Tensor
    """Which one it was. Shape (N,)."""
    control_dt: float
    """Duration of a control step, s."""

    def rows(self, which: Tensor) -> "Motion":
        """Some of them."""
        columns = {name: v[which] for name, v in self._asdict().items() if name != "control_dt"}
        return self._replace(**columns)

    def at(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (N, D + V + 1), outputs (N, 2 V) after so many control steps of each row (N,)."""
        duration = self.control_dt * steps[:, None].float()
        inputs = torch.cat([self.skill, self.velocity, duration], dim=1)
        return inputs, self.track[torch.arange(len(steps)), steps - 1]


def refit_bundle(
    source: Path,
    folder: Path,
    *,
    robot: RobotSpec | None = None,
    skill_part: float | None = None,
    seed: int = 0,
) -> BundleManifest:
    """Write a bundle with the same policy and a new skill dynamics, and no figures yet.

    Args:
        source: the bundle whose policy drives; its skill dynamics is not looked at.
        folder: of the new bundle; may be the same.
        robot: the robot file here, which says where the MJCF is; by default the bundle's own.
        skill_part: part of the skill prior that is planned over; None: as in the old one.
        seed: of everything random.
    Raises: BundleError, BundleMismatchError, StorageError; ConfigError for a bundle that predicts
        something else than said above, or a folder that cannot be written.
    """
    old = BundleManifest.load(source)
    if robot is not None:
        old.check_robot(robot)
    prediction, settings = old.prediction, old.training_config
    if not prediction.can_have_momentum:
        raise ConfigError(
            f"bundle '{source}' predicts {', '.join(prediction.fields)} in the "
            f"{prediction.frame} frame; only x and y in the world frame, or x, y and yaw in the "
            "heading frame, can be refitted"
        )
    prediction = dataclasses.replace(
        prediction, steps=MAX_STEPS, body_state=False, momentum=True, falls=True
    )
    model, skill_space = RobotModel(robot or old.robot), SkillSpace(old.skill_prior)
    collect, symmetry = settings.get("collect"), settings.get("symmetry")
    delay = collect.get("delay_ms", (0.0, 0.0)) if isinstance(collect, dict) else (0.0, 0.0)
    delay_ms = CollectConfig.from_dict({"delay_ms": delay}, "training_config.collect").delay_ms
    policy = load_policy(source, old)
    symmetry = symmetry if isinstance(symmetry, dict) else {}
    is_mirrored = prediction.frame == "heading" and symmetry.get("mirror") is True
    with new_bundle(folder) as new:
        motion = watch(
            model, skill_space, policy, frame=prediction.frame, seed=seed, delay_ms=delay_ms
        )
        yaw_symmetry = symmetry.get("yaw") is True
        dynamics, error = fit(motion, yaw_symmetry=yaw_symmetry, mirror=is_mirrored, seed=seed)
        logger.info(
            "skill dynamics fitted to %d motions; error on others %.0f %% of the displacement",
            len(motion.skill),
            100.0 * error,
        )
        shutil.copyfile(source / POLICY_FILE, new / POLICY_FILE)
        examples = {MOMENTUM_INPUT: motion.at(motion.num_steps.clamp_min(1))[0][:1024]}
        write_onnx(dynamics, examples, "delta", new / DYNAMICS_FILE)
        check_parity(dynamics, examples, "delta", new / DYNAMICS_FILE)
        manifest = dataclasses.replace(
            old,
            prediction=prediction,
            files=old.files | {DYNAMICS_FILE: sha256(new / DYNAMICS_FILE)},
            skill_part=old.skill_part if skill_part is None else skill_part,
            refit_commit=source_commit(),
            evaluation=None,
        )
        manifest.save(new)
    return manifest


def watch(
    model: RobotModel,
    skill_space: SkillSpace,
    policy: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.floating]],
    *,
    frame: Frame = "world",
    seed: int,
    delay_ms: tuple[float, float],
) -> Motion:
    """Let the policy's mean action drive robots whose skills change, some often and some seldom.

    A motion ends where the skill changes, or where the robot falls or is reset. Velocities are
    seen in this frame.
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
    probability = np.linspace(*CHANGE_PROBABILITY, NUM_ROBOTS)
    held = skill_space.sample(NUM_ROBOTS, rng)

    def look() -> NDArray[np.floating]:
        """Place, in the world frame, and velocity. Shape (R, 2 V)."""
        place, velocity = env.state.position[:, :2], env.state.ground_velocity(model.spec)
        if frame == "heading":
            yaw, rate = env.state.yaw(), env.state.yaw_rate(model.spec)
            place = np.column_stack([place, yaw])
            velocity = np.column_stack([turned(velocity, -yaw), rate])
        return np.concatenate([place, velocity], axis=1, dtype=np.float32)

    skills, changes, states, stands, falls, steps_left = [], [], [look()], [], [], []
    for _ in range(NUM_PERIODS):
        changes.append(rng.random(NUM_ROBOTS) < probability)
        held = np.where(changes[-1][:, None], _next_skills(skill_space, held, rng), held)
        skills.append(held)
        steps_left.append(env.episode_steps - env.steps)
        for _ in range(HELD_STEPS):
            before = ~env.needs_reset & ~env.fallen
            env.step(env.filtered(policy(env.policy_obs(), held)))
            falls.append(before & (env.diverged | env.fallen))
            stands.append(before & ~falls[-1])
            states.append(look())
    num_steps = _num_steps(np.stack(stands), np.stack(changes))
    seen, starts, dt = np.stack(states), HELD_STEPS * np.arange(NUM_PERIODS), model.spec.control_dt
    if frame == "heading":  # whole turns within a prediction count
        seen[..., 2] = np.unwrap(seen[..., 2], axis=0)
    steps, num = np.arange(1, MAX_STEPS + 1), seen.shape[2] // 2
    later = np.minimum(starts[:, None] + steps, len(states) - 1)
    track = np.moveaxis(seen[later], 1, 2)  # (periods, robots, L, 2 V)
    track[..., :num] -= seen[starts][:, :, None, :num]
    if frame == "heading":
        yaw = seen[starts][:, :, None, 2]
        track[..., 0], track[..., 1] = np.moveaxis(turned(track[..., :2], -yaw), -1, 0)
    track[..., :num] /= np.float32(dt) * steps[:, None]
    fell = _fell(np.stack(stands), np.stack(falls), np.stack(steps_left))
    begun = (num_steps > 0) | (fell == 1.0)
    robots = np.broadcast_to(np.arange(NUM_ROBOTS), begun.shape)
    columns = (np.stack(skills), seen[starts][..., num:], track, num_steps, fell, robots)
    skill, velocity, tracks, lengths, fell_soon, robot = (
        torch.from_numpy(v[begun]) for v in columns
    )
    return Motion(skill, velocity, tracks, lengths, fell_soon, robot, dt)


def _fell(
    stands: NDArray[np.bool_], falls: NDArray[np.bool_], steps_left: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Whether robots fall within ``MAX_STEPS`` of the beginning of each period. (periods, robots).

    NaN where their episode, or what was seen, would have ended before, and where they lay.

    Args:
        stands: whether each control step was one of an upright robot. Shape (steps, robots).
        falls: whether it was one in which the robot fell. Shape (steps, robots).
        steps_left: of the episode, at the beginning of each period. Shape (periods, robots).
    """
    fell, robots = (
        np.full(stands[::HELD_STEPS].shape, np.nan, np.float32),
        np.arange(stands.shape[1]),
    )
    for index, own in enumerate(fell):
        ahead = slice(HELD_STEPS * index, HELD_STEPS * index + MAX_STEPS)
        if len(stands[ahead]) < MAX_STEPS:
            break
        first = stands[ahead].argmin(axis=0)  # step of a robot that is not upright
        own[stands[ahead].all(axis=0)] = 0.0
        own[falls[ahead][first, robots]] = 1.0
        own[steps_left[index] < MAX_STEPS] = np.nan
    return fell


def _num_steps(stands: NDArray[np.bool_], changes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of the motions that begin with each period, at most ``MAX_STEPS``. (periods, robots).

    Args:
        stands: whether each control step was one of an upright robot. Shape (steps, robots).
        changes: whether the skill is a new one in each period. Shape (periods, robots).
    """
    num_steps = np.zeros((len(stands) + 1, stands.shape[1]), np.int64)
    for index in reversed(range(len(stands))):
        period, step = divmod(index + 1, HELD_STEPS)
        after = num_steps[index + 1]
        if step == 0 and period < len(changes):
            after = np.where(changes[period], 0, after)
        num_steps[index] = np.where(stands[index], 1 + after, 0)
    return np.minimum(num_steps[:-1:HELD_STEPS], MAX_STEPS)


@one_thread()
def fit(
    motion: Motion, *, yaw_symmetry: bool, mirror: bool = False, seed: int
) -> tuple[nn.Sequential, float]:
    """The skill dynamics, and its mean error on robots that it has not seen, in displacements.

    Its input is skill, velocity and the time that the skill is held (s), its output the mean
    velocity meanwhile and the velocity afterwards, as in ``Motion``, and the log-odds of a fall
    within ``MAX_STEPS``, whatever that time. Shapes (N, D + V + 1) -> (N, 2 V + 1).

    Least squares, which is a Gaussian's maximum likelihood, on motions of at least ``HELD_STEPS``,
    and cross-entropy for falls. In each epoch every row is seen for another time of its track, and
    with ``yaw_symmetry`` at another random yaw, with ``mirror`` from one side or the other. That
    everything may be turned is learned, not built in, for the network runs thousands of times a
    second on few rows, and the time that takes is that of its operations.
    """
    generator = torch.Generator().manual_seed(seed)
    # Motions of one robot share steps, and say how well each other is predicted.
    robots = torch.unique(motion.robot)
    order = robots[torch.randperm(len(robots), generator=generator)]
    is_test = torch.isin(motion.robot, order[: int(TEST_FRACTION * len(order))])
    test, train = motion.rows(is_test), motion.rows(~is_test)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        num_skill, num = motion.skill.shape[1], motion.track.shape[2]
        hidden = HIDDEN if num == 4 else HIDDEN_HEADING
        net = mlp(num_skill + num // 2 + 1, hidden, num + 1)
    fell, is_known = train.fell.nan_to_num(), ~train.fell.isnan()
    is_long = train.num_steps >= HELD_STEPS
    image = torch.tensor([1.0, -1.0, -1.0])  # of forward, left and turn
    skill_signs = torch.cat([image, torch.ones(num_skill)])[:num_skill]
    input_signs = torch.cat([skill_signs, image[: num // 2], torch.ones(1)])
    output_signs = image[: num // 2].repeat(2)

    def epoch() -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, outputs, and inputs for falls, at other times: a fall cuts a track short."""
        part, at_will = torch.rand(2, len(train.skill), generator=generator)
        inputs, outputs = train.at(1 + (part * train.num_steps).long())
        outputs = torch.where(is_long[:, None], outputs, 0.0)
        if yaw_symmetry:
            angle = 2.0 * np.pi * torch.rand(len(inputs), generator=generator)
            inputs, outputs = _turned(inputs, (0, -3), angle), _turned(outputs, (0, 2), angle)
        if mirror:
            is_image = torch.rand(len(inputs), 1, generator=generator) < 0.5
            inputs = torch.where(is_image, inputs * input_signs, inputs)
            outputs = torch.where(is_image, outputs * output_signs, outputs)
        of_falls = inputs.clone()
        of_falls[:, -1] = train.control_dt * (1 + (at_will * train.track.shape[1]).long())
        return inputs, outputs, of_falls

    inputs, outputs, _ = epoch()
    mean, std = inputs.mean(0), inputs.std(0)
    is_constant = std < MIN_STD  # across the line that a robot moves on: nothing is learned of it
    std = std.clamp_min(MIN_STD)
    scale = outputs[is_long].square().mean(0).sqrt().clamp_min(1e-3)
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    num_batches = len(inputs) // BATCH
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, 1.0, 0.02, total_iters=EPOCHS * num_batches
    )
    for _ in range(EPOCHS):
        inputs, outputs, of_falls = epoch()
        inputs, outputs, of_falls = (inputs - mean) / std, outputs / scale, (of_falls - mean) / std
        rows = torch.randperm(len(inputs), generator=generator)
        for batch in rows[: num_batches * BATCH].view(num_batches, BATCH):
            optimizer.zero_grad()
            square = (net(inputs[batch])[:, :num] - outputs[batch]).square().mean(1)
            entropy = nn.functional.binary_cross_entropy_with_logits(
                net(of_falls[batch])[:, num], fell[batch], reduction="none"
            )
            (is_long[batch] * square + is_known[batch] * entropy).mean().backward()
            optimizer.step()
            schedule.step()
    first, last = net[0], net[-1]
    with torch.no_grad():  # what was normalised by hand, the weights do from now on
        first.weight.div_(std)
        first.weight[:, is_constant] = 0.0
        first.bias.sub_(first.weight @ mean)
        last.weight[:num].mul_(scale[:, None])
        last.bias[:num].mul_(scale)
        test = test.rows(test.num_steps >= HELD_STEPS)
        inputs, moved = test.at(torch.full_like(test.num_steps, HELD_STEPS))
        moved = moved[:, :2]
        error = net(inputs)[:, :2] - moved
    return net, float(error.norm(dim=1).mean() / moved.norm(dim=1).mean())


def _turned(rows: Tensor, pairs: tuple[int, int], angle: Tensor) -> Tensor:
    """Rows whose columns from each of ``pairs`` on are x and y, turned to the left, rad. (N,)."""
    cos, sin = angle.cos(), angle.sin()
    turned = rows.clone()
    for x in pairs:
        turned[:, x] = cos * rows[:, x] - sin * rows[:, x + 1]
        turned[:, x + 1] = sin * rows[:, x] + cos * rows[:, x + 1]
    return turned


def _next_skills(
    space: SkillSpace, skills: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """From the prior, near the last ones, or none: the kinds of change that planning makes."""
    num, fresh = len(skills), space.sample(len(skills), rng)
    if space.config.kind == "discrete":
        return fresh
    kind = rng.random((num, 1))
    near = space.sample_nearby(skills, rng)
    return np.select([kind < NEARBY, kind < NEARBY + STILL], [near, np.zeros_like(fresh)], fresh)
