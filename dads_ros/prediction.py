"""PredictionSpec: what the skill dynamics predicts, and how predictions follow one another.

Shapes: N candidates, H skills of a sequence, D skill dimensions, P predicted columns, O
policy_obs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import Config, setting
from dads_ros.errors import ConfigError
from dads_ros.observation import observation_slices, policy_obs_dim, turned
from dads_ros.robot import ObservationField, RobotSpec

Array = NDArray[np.floating]
Float32 = NDArray[np.float32]
Delta = Callable[..., NDArray[np.floating]]
"""skill (N, D) -> mean change over ``steps`` control steps (N, P).

With ``body_state`` there are two arguments more: policy_obs (N, O), and (N, 1) of 1 where it is
known, else 0. With ``momentum`` there is one: in its columns skill, velocity of the base (m/s) and
the time that the skill is held (s); and what comes is its mean velocity meanwhile and its velocity
afterwards, world frame (N, D + 3) -> (N, 4); with ``falls`` also the log-odds of a fall (N, 5). In
the heading frame a velocity is forward, left and the yaw rate (rad/s), the mean one in axes of the
heading at first and the other in those of the heading then: (N, D + 4) -> (N, 6), or (N, 7)."""

PredictedField = Literal["x", "y", "yaw", ObservationField]
Frame = Literal["world", "heading"]
POSE_FIELDS = ("x", "y", "yaw")
POSE, BODY = 3, 6
"""A plan's start: columns of the pose, then the velocity and the yaw rate, from BODY on
policy_obs."""
FALLS = "falls"
"""Name of the predicted column of how many falls are to be expected so far."""
MOMENTUM_INPUT = "skill_velocity_duration"
"""Name of the input of a skill dynamics with momentum."""


@dataclass(frozen=True, kw_only=True)
class PredictionSpec(Config):
    """What the skill dynamics predicts."""

    fields: tuple[PredictedField, ...] = setting(
        ("x", "y"),
        help="Parts of the state whose change is predicted: x and y of the base (m), perhaps its "
        "yaw (rad), then any of the robot's observation; 'orientation' as the quaternion with w "
        "at least 0.",
    )
    frame: Frame = setting(
        "world", help="Axes of the predicted change of x and y: the world's, or the heading's."
    )
    steps: int = setting(
        10,
        min=1,
        max=1000,
        help="Control steps that one prediction spans (k), or with 'momentum' spans at most; 1 is "
        "the paper.",
    )
    body_state: bool = setting(
        False,
        help="The prediction starts from the observation as well, q(delta | s, z). Where that is "
        "unknown, in plans beyond the first skill, it is q(delta | z); unless the whole "
        "observation is predicted: then each prediction starts from the one before.",
    )

    momentum: bool = setting(
        False,
        help="Of bundles whose skill dynamics was refitted: the base's velocity is an input "
        "and an output of it, and the time that the skill is held an input, q(delta, v' | v, z, "
        "t).",
    )
    falls: bool = setting(
        False,
        help="With 'momentum': the probability of a fall within 'steps' of the beginning of a "
        "skill is predicted as well.",
    )

    def __post_init__(self) -> None:
        """Check the combination. Raises: ConfigError."""
        super().__post_init__()
        pose = self.pose_fields
        if self.momentum and (self.body_state or not self.can_have_momentum):
            raise ConfigError(
                "'momentum' needs 'fields: [x, y]' and 'frame: world', or 'fields: [x, y, yaw]' "
                "and 'frame: heading', and no 'body_state'"
            )
        if self.falls and not self.momentum:
            raise ConfigError("'falls' needs 'momentum'; 'dads-ros refit' makes bundles with both")
        if self.fields[: len(pose)] != pose or pose not in (("x", "y"), ("x", "y", "yaw")):
            raise ConfigError(
                f"'fields' is {list(self.fields)}; expected x, y, perhaps yaw, and then any of "
                "the robot's observation"
            )
        if len(set(self.fields)) < len(self.fields):
            raise ConfigError(f"'fields' is {list(self.fields)}; each may stand there once")
        if self.frame == "heading" and "yaw" not in self.fields:
            raise ConfigError(
                "'frame: heading' needs 'yaw' in 'fields': the next skill turns with it"
            )
        if self.frame == "heading" and "orientation" in self.fields:
            raise ConfigError(
                "'frame: heading' needs 'fields' without 'orientation': seen from the heading, "
                "nobody knows the yaw that is in it"
            )

    @property
    def can_have_momentum(self) -> bool:
        """Predicts x and y in the world frame, or x, y and yaw in the heading's; nothing else."""
        of_frame = {"world": ("x", "y"), "heading": POSE_FIELDS}
        return self.fields == of_frame[self.frame]

    def momentum_dims(self, skill_dim: int) -> tuple[int, int]:
        """Numbers that go into a skill dynamics with momentum, and that come out of it."""
        num = len(self.pose_fields)
        return skill_dim + num + 1, 2 * num + self.falls

    @property
    def pose_fields(self) -> tuple[PredictedField, ...]:
        """Those of the base's pose, the first columns of a prediction."""
        return tuple(field for field in self.fields if field in POSE_FIELDS)

    @property
    def columns(self) -> tuple[str, ...]:
        """The first columns of a prediction: those of the pose, and perhaps ``FALLS``."""
        return (*self.pose_fields, FALLS) if self.falls else self.pose_fields

    @property
    def body_fields(self) -> tuple[PredictedField, ...]:
        """Those of the observation, in the columns after the pose."""
        return self.fields[len(self.pose_fields) :]

    def observation_columns(self, robot: RobotSpec) -> NDArray[np.int64]:
        """Where the predicted ``body_fields`` stand in policy_obs. Shape (P - pose fields,).

        Raises: ConfigError when the robot does not observe one of them.
        """
        slices = observation_slices(robot)
        missing = [field for field in self.body_fields if field not in slices]
        if missing:
            raise ConfigError(
                f"'prediction.fields' has {', '.join(missing)}, which robot '{robot.name}' does "
                f"not observe; it observes {', '.join(slices)}"
            )
        if robot.wheels and "joint_positions" in self.body_fields:
            raise ConfigError(
                f"'prediction.fields' has joint_positions, and those of the 'wheels' of robot "
                f"'{robot.name}' jump from pi to -pi; leave it out"
            )
        parts = [np.arange(slices[f].start, slices[f].stop) for f in self.body_fields]
        return np.concatenate([np.zeros(0, int), *parts])

    def dim(self, robot: RobotSpec) -> int:
        """P, falls not counted."""
        return len(self.pose_fields) + len(self.observation_columns(robot))

    def rollout(
        self,
        robot: RobotSpec,
        delta: Delta,
        start: Array,
        skills: Float32,
        duration_steps: float,
    ) -> Array:
        """Predictions when each skill of a sequence is held in turn.

        A skill that is held for longer than a prediction spans is one longer prediction; with
        ``body_state`` and with ``momentum``, where the next one starts from another state, it is
        several.

        Args:
            robot: whose skills they are.
            delta: mean prediction.
            start: x, y (m), yaw (rad), the base's velocity along x and y (m/s), all in the world
                frame, its yaw rate (rad/s) and policy_obs. Or the pose alone, the rest unknown:
                with ``momentum`` the robot is then at rest, and predicted observations are counted
                from zero. Shape (6 + O,) or (3,), or one row for each of N.
            skills: shape (N, H, D).
            duration_steps: control steps that each skill is held.
        Returns: the predicted fields before the first and after each skill, x, y and yaw in the
            world frame, with ``falls`` also the number of falls to be expected until then: shape
            (N, H + 1, P), or P + 1 columns.
        """
        if self.momentum:
            return self._momentum_rollout(robot.control_dt, delta, start, skills, duration_steps)
        num, num_pose = len(skills), len(self.pose_fields)
        repeats = max(1, round(duration_steps / self.steps)) if self.body_state else 1
        held = np.repeat(skills, repeats, axis=1) if repeats > 1 else skills
        part = np.float32(duration_steps / (repeats * self.steps))
        if not self.body_state and not self.body_fields:
            return self._chain(start, self._changes(delta, held) * part)
        obs, known = _observation(robot, start, num)
        columns = self.observation_columns(robot)
        starts_from_last = self.body_state and len(columns) == obs.shape[1]
        if not starts_from_last:
            before = (obs, known) if self.body_state else ()
            changes = self._changes(delta, held, *before) * part
        steps, observations = [], [obs]
        for index in range(held.shape[1]):
            if starts_from_last:
                steps.append(delta(np.ascontiguousarray(held[:, index]), obs, known) * part)
            else:
                steps.append(changes[:, index])
            obs = _advance(robot, obs, columns, steps[-1][:, num_pose:])
            observations.append(obs)
        poses = self._chain(start, np.stack(steps, axis=1)[..., :num_pose])
        body = np.stack(observations, axis=1)[..., columns]
        return np.concatenate([poses, body], axis=-1, dtype=poses.dtype)[:, ::repeats]

    def _momentum_rollout(
        self, control_dt: float, delta: Delta, start: Array, skills: Float32, duration_steps: float
    ) -> Array:
        """Each prediction starts with the velocity that the one before ends with."""
        (num, horizon, dim), num_pose = skills.shape, len(self.pose_fields)
        repeats = max(1, math.ceil(duration_steps / self.steps))
        duration_s = np.float32(duration_steps * control_dt / repeats)
        inputs = np.empty((num, self.momentum_dims(dim)[0]), np.float32)
        inputs[:, -1] = duration_s
        velocity: Array | float = self._velocity(start) if start.shape[-1] > POSE else 0.0
        # Moments first: what is asked of all candidates at once lies together.
        predictions = np.zeros((repeats * horizon + 1, num, len(self.columns)), np.float32)
        predictions[0, :, :num_pose] = start[..., :num_pose]
        part = np.float32(duration_steps / (repeats * self.steps))
        for index, change in enumerate(predictions[1:]):
            if index % repeats == 0:
                inputs[:, :dim] = skills[:, index // repeats]
            inputs[:, dim:-1] = velocity
            velocities = delta(inputs)
            np.multiply(velocities[:, :num_pose], duration_s, out=change[:, :num_pose])
            velocity = velocities[:, num_pose : 2 * num_pose]
            if self.falls:  # -log(1 - p) adds up, of the part of ``steps`` that the skill is held
                odds = velocities[:, 2 * num_pose]
                np.multiply(part, np.logaddexp(np.float32(0.0), odds), out=change[:, num_pose])
        if self.frame == "heading":
            yaws = np.cumsum(predictions[:-1, :, 2], axis=0)
            predictions[1:, :, :2] = turned(predictions[1:, :, :2], yaws)
        for before, now in pairwise(predictions):
            now += before
        return predictions[::repeats].transpose(1, 0, 2)

    def _velocity(self, start: Array) -> Array:
        """Of a start, as a skill dynamics with momentum takes it. Shape (..., pose fields)."""
        if self.frame == "world":
            return start[..., POSE : POSE + 2]
        velocity = start[..., POSE:BODY].copy()
        velocity[..., :2] = turned(velocity[..., :2], -start[..., 2])
        return velocity

    def _changes(
        self,
        delta: Delta,
        skills: Float32,
        obs: Float32 | None = None,
        known: Float32 | None = None,
    ) -> Float32:
        """All predictions in one call; the observation is that before the first. (N, H, P)."""
        num, horizon, dim = skills.shape
        flat = skills.reshape(num * horizon, dim)
        if obs is None:
            return delta(flat).reshape(num, horizon, -1)
        is_known = np.zeros((num, horizon, 1), np.float32)
        is_known[:, 0] = known
        changes = delta(flat, obs.repeat(horizon, axis=0), is_known.reshape(-1, 1))
        return changes.reshape(num, horizon, -1)

    def _chain(self, start: Array, changes: Array) -> Array:
        """Sum up changes of the pose (N, H, ...), those of x and y turned into the world frame."""
        if self.frame == "heading":
            yaws = start[..., 2:3] + np.cumsum(changes[..., 2], axis=1) - changes[..., 2]
            places = turned(changes[..., :2], yaws)
            changes = np.concatenate([places, changes[..., 2:]], axis=-1, dtype=changes.dtype)
        num, horizon, num_pose = changes.shape
        predictions = np.empty((num, horizon + 1, num_pose), changes.dtype)
        predictions[:, 0] = start[..., :num_pose]
        np.cumsum(changes, axis=1, out=predictions[:, 1:])
        predictions[:, 1:] += predictions[:, :1]
        return predictions


def _observation(robot: RobotSpec, start: Array, num: int) -> tuple[Float32, Float32]:
    """policy_obs (N, O) of a start, and whether it is known, 1 or 0 (N, 1)."""
    is_known = start.shape[-1] > POSE
    obs = start[..., BODY:] if is_known else np.zeros(policy_obs_dim(robot))
    obs = np.broadcast_to(obs, (num, obs.shape[-1])).astype(np.float32)
    return _with_upper_quaternion(robot, obs), np.full((num, 1), is_known, np.float32)


def _advance(robot: RobotSpec, obs: Float32, columns: NDArray[np.int64], change: Array) -> Float32:
    """The observation after a change of some of its columns."""
    if not len(columns):
        return obs
    obs = obs.copy()
    obs[:, columns] += change
    return _with_upper_quaternion(robot, obs)


def _with_upper_quaternion(robot: RobotSpec, obs: Float32) -> Float32:
    """The orientation as the unit quaternion with w at least 0; q and -q are the same one."""
    part = observation_slices(robot).get("orientation")
    if part is None:
        return obs
    quaternion = obs[:, part]
    length = np.maximum(np.linalg.norm(quaternion, axis=1, keepdims=True), 1e-9)
    obs[:, part] = np.where(quaternion[:, :1] < 0.0, -1.0, 1.0) * quaternion / length
    return obs
