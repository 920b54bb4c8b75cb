"""What planner tests plan with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dads_ros.planning.costs import Candidates
from dads_ros.planning.mppi import Rollout
from dads_ros.prediction import Frame
from dads_ros.skills import SkillSpace

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """A skill model from its parts."""

    rollout: Rollout
    skill_space: SkillSpace
    fields: tuple[str, ...] = ("x", "y")
    frame: Frame = "world"
    control_dt: float = 0.1


def linear_rollout(pose: Float32, skills: Float32, duration_steps: float) -> Float32:
    """Each skill moves the robot by skill * duration / 10 metres."""
    start = np.broadcast_to(pose[:, None, :2], (len(skills), 1, 2))
    moved = start + np.cumsum(skills, axis=1) * duration_steps / 10.0
    return np.concatenate([start, moved], axis=1).astype(np.float32)


def turning_rollout(turn_rate: float) -> Rollout:
    """Skills go ahead and to the left, in m/s, and turn at parts of a rate in rad/s."""

    def rollout(pose: Float32, skills: Float32, duration_steps: float) -> Float32:
        moved = skills * np.float32(duration_steps / 10.0)
        turns = turn_rate * moved[..., 2]
        yaw = pose[:, 2:3] + np.cumsum(turns, axis=1)
        ahead, left, angle = moved[..., 0], moved[..., 1], yaw - 0.5 * turns
        steps = (
            np.cos(angle) * ahead - np.sin(angle) * left,
            np.sin(angle) * ahead + np.cos(angle) * left,
        )
        places = pose[:, None, :2] + np.cumsum(np.stack(steps, axis=-1), axis=1)
        after = np.concatenate([places, yaw[..., None]], axis=2)
        start = np.broadcast_to(pose[:, None, :3], (len(skills), 1, 3))
        return np.concatenate([start, after], axis=1).astype(np.float32)

    return rollout


def candidates(points: object, fields: tuple[str, ...] = ("x", "y")) -> Candidates:
    """Plans of one second that start at the origin, with these points (R, K, T, P)."""
    points = np.asarray(points, np.float32)
    start = np.zeros_like(points[:, :, :1])
    skills = np.zeros((*points.shape[:3], 2), np.float32)
    return Candidates(skills, np.concatenate([start, points], axis=2), points, fields, 1.0)
