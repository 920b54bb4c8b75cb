"""What planner tests plan with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dads_ros.planning.costs import Candidates
from dads_ros.planning.mppi import Rollout
from dads_ros.skills import SkillSpace

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """A skill model from its parts."""

    rollout: Rollout
    skill_space: SkillSpace
    fields: tuple[str, ...] = ("x", "y")
    control_dt: float = 0.1


def linear_rollout(pose: Float32, skills: Float32, duration_steps: float) -> Float32:
    """Each skill moves the robot by skill * duration / 10 metres."""
    start = np.broadcast_to(pose[:, None, :2], (len(skills), 1, 2))
    moved = start + np.cumsum(skills, axis=1) * duration_steps / 10.0
    return np.concatenate([start, moved], axis=1).astype(np.float32)


def candidates(points: object, fields: tuple[str, ...] = ("x", "y")) -> Candidates:
    """Plans of one second that start at the origin, with these points (R, K, T, P)."""
    points = np.asarray(points, np.float32)
    start = np.zeros_like(points[:, :, :1])
    skills = np.zeros((*points.shape[:3], 2), np.float32)
    return Candidates(skills, np.concatenate([start, points], axis=2), points, fields, 1.0)
