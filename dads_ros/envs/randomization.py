"""Domain randomization: bodies, grounds and sensors that differ from robot to robot.

What a policy must do with all of them, it does with the real one, which is one of them or near.
Shapes: N robots.
"""

import copy
import dataclasses

import mujoco
import numpy as np

from dads_ros.config import DomainRandomization
from dads_ros.envs.model import GROUND, RobotModel
from dads_ros.errors import ConfigError
from dads_ros.observation import RobotState

NOISE = {
    "linear_velocity": 0.1,
    "angular_velocity": 0.2,
    "joint_positions": 0.01,
    "joint_velocities": 1.5,
}
"""Half widths of the noise of usual sensors, m/s, rad/s, rad, rad/s: those that the policies of
arXiv:2508.19953, which walk on an ANYmal, were trained with."""
_STRENGTH = slice(2, 4)
"""Of a muscle's parameters: its peak force, and what that is where it is not said."""
TILT_NOISE = 0.05
"""Of the orientation, about each axis of the body, rad."""


def varied_models(
    model: RobotModel, ranges: DomainRandomization, num: int, rng: np.random.Generator
) -> list[mujoco.MjModel]:
    """A model for each robot; all the same one where no body or ground varies. Length N.

    Raises: ConfigError for uneven ground under a robot that does not stand on it.
    """
    if dataclasses.replace(ranges, sensor_noise=0.0) == DomainRandomization():
        return [model.mj_model] * num
    base = model
    if ranges.ground_m > 0.0:
        if model.spec.base.kind != "free":
            raise ConfigError(
                f"uneven ground needs 'base.kind: free'; robot '{model.spec.name}' is "
                f"{model.spec.base.kind}; leave it out"
            )
        base = RobotModel(model.spec, uneven_ground=True)
    return [_varied(base.mj_model, ranges, rng) for _ in range(num)]


def _varied(
    model: mujoco.MjModel, ranges: DomainRandomization, rng: np.random.Generator
) -> mujoco.MjModel:
    own = copy.copy(model)
    factor = rng.uniform(*ranges.mass)
    own.body_mass[:] *= factor
    own.body_inertia[:] *= factor
    gain = rng.uniform(*ranges.gain)
    is_muscle = own.actuator_gaintype == mujoco.mjtGain.mjGAIN_MUSCLE
    own.actuator_gainprm[~is_muscle, 0] *= gain
    own.actuator_biasprm[~is_muscle, 1:3] *= gain
    own.actuator_gainprm[is_muscle, _STRENGTH] *= gain
    own.actuator_biasprm[is_muscle, _STRENGTH] *= gain
    if ranges.friction is not None:  # of two geoms the larger one counts
        own.geom_friction[:, 0] = friction = rng.uniform(*ranges.friction)
        own.pair_friction[:, :2] = friction
    if ranges.ground_m > 0.0:
        is_floor = own.body_weldid[own.geom_bodyid] == 0
        if is_floor[[*own.pair_geom1, *own.pair_geom2]].any():
            raise ConfigError(
                "uneven ground is touched by geoms with contype or conaffinity; this MJCF has "
                "contact pairs that name the floor: leave it out, or take the pairs out"
            )
        field = own.geom(GROUND)
        is_floor[field.id] = False
        own.geom_pos[is_floor, 2] -= ranges.ground_m  # as low as the deepest place
        field.pos[2] = -ranges.ground_m
        _raise_bumps(own, int(field.dataid[0]), 2.0 * ranges.ground_m, rng)
    mujoco.mj_setConst(own, mujoco.MjData(own))
    return own


def gain_factor(model: RobotModel, own: mujoco.MjModel) -> float:
    """By which the actuators of one robot are stronger than those of the robot file."""
    is_muscle = own.actuator_gaintype == mujoco.mjtGain.mjGAIN_MUSCLE
    nominal, gains = (
        np.where(
            is_muscle, one.actuator_gainprm[:, _STRENGTH.stop - 1], one.actuator_gainprm[:, 0]
        )
        for one in (model.mj_model, own)
    )
    driven = nominal != 0.0
    return float((gains[driven] / nominal[driven]).mean()) if driven.any() else 1.0


def with_noise(state: RobotState, scale: float, rng: np.random.Generator) -> RobotState:
    """The state as sensors with noise report it; the position is left as it is."""
    noisy = {
        name: getattr(state, name) + scale * half * rng.uniform(-1, 1, getattr(state, name).shape)
        for name, half in NOISE.items()
    }
    turn = 0.5 * scale * TILT_NOISE * rng.uniform(-1.0, 1.0, (*state.orientation.shape[:-1], 3))
    w, x, y, z = np.moveaxis(state.orientation, -1, 0)
    a, b, c = np.moveaxis(turn, -1, 0)  # of a small turn (1, a, b, c) about axes of the body
    orientation = np.stack(
        [
            w - x * a - y * b - z * c,
            x + w * a + y * c - z * b,
            y + w * b + z * a - x * c,
            z + w * c + x * b - y * a,
        ],
        axis=-1,
    )
    orientation /= np.linalg.norm(orientation, axis=-1, keepdims=True)
    return dataclasses.replace(state, orientation=orientation, **noisy)


def _raise_bumps(
    model: mujoco.MjModel, index: int, height_m: float, rng: np.random.Generator
) -> None:
    """Smooth random heights of one height field, as many of each between 0 and this."""
    rows, columns = int(model.hfield_nrow[index]), int(model.hfield_ncol[index])
    heights = rng.uniform(0.0, 1.0, (rows, columns))
    for axis in (0, 1):  # of two cells each, so that bumps are as wide as a foot's step
        back, ahead = np.roll(heights, 1, axis), np.roll(heights, -1, axis)
        heights = 0.25 * back + 0.5 * heights + 0.25 * ahead
    first, num = int(model.hfield_adr[index]), rows * columns
    ranks = heights.ravel().argsort().argsort()
    model.hfield_data[first : first + num] = ranks / (num - 1)
    model.hfield_size[index, 2] = height_m
