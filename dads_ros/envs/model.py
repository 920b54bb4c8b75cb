"""RobotModel: a robot file's MuJoCo model, with its orders and symmetry checked.

Shapes: N robots, J joints, A actuators.
"""

import dataclasses
import hashlib
import json
import logging
import math
import os
import stat
import time
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from dads_ros.errors import ConfigError
from dads_ros.files import resolve_package_uri, share_folder
from dads_ros.isolation import IsolatedError, isolated, one_line
from dads_ros.observation import RobotState, quaternion_to_matrix
from dads_ros.robot import RelabelSpec, ResetSpec, RobotSpec, ServoSpec, SymmetrySpec

logger = logging.getLogger(__name__)
Array = NDArray[np.float64]
_AXES = {"x": 0, "y": 1, "z": 2, "roll": 0, "pitch": 1, "yaw": 2}
_STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS
_HINGE, _SLIDE = int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)
_SCALAR_JOINTS = (_HINGE, _SLIDE)
_JOINT_DRIVES = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))

MAX_MJCF_BYTES = 16 << 20
"""Of the file itself, beside its meshes and textures."""
COMPILE_S, COMPILE_BYTES = 3, 1 << 30
"""Time of the processor and memory for compiling a model and making its first steps."""
MAX_COMPILED = 16
"""Models that this process keeps, so that each is compiled once."""
WRONG_IF_SPARSE = "4.0.0"
"""The MuJoCo whose Newton solver takes a wrong Hessian then (release notes of 4.0.1)."""
MAX_STEP_S = 0.1
"""Time of the processor that one step of simulation may take."""
EXACT = 1e-6
"""A symmetry that holds to this is one of the numbers in the MJCF."""
MAX_OUTSIDE_RAD, MAX_OUTSIDE_M, MAX_BELOW_M = 0.05, 0.005, 0.02
"""By which a start pose may be outside of a joint's range, and below the ground."""
GROUND, GROUND_M, GROUND_CELL_M = "uneven_ground", 15.0, 0.15
"""Name of a height field, half its length, and the distance of its points."""
TOUCH = (
    *("contype", "conaffinity", "condim", "priority"),
    *("friction", "solmix", "solref", "solimp", "margin", "gap"),
)
"""What a geom has that says how it touches others."""
ALL_GEOMS = 2**31 - 1
"""A bit mask that fits every geom that touches any."""
CONTACT_PREFIX = "touches_ground:"
"""Of the names of sensors of contact with the ground."""


class RobotModel:
    """The MuJoCo model of a robot, and the way between its state vectors and RobotState."""

    def __init__(self, spec: RobotSpec, *, uneven_ground: bool = False) -> None:
        """Load and check. Raises: ConfigError.

        ``uneven_ground``: with a height field ``GROUND``, still flat and far below.
        """
        self.mjcf_path = mjcf_path(spec)
        self.mj_model = load_mjcf(self.mjcf_path)
        self._find_body(spec)
        self.spec = spec = self._with_keyframe(spec)
        additions = self._additions()
        if uneven_ground:
            additions = (additions or Additions(False, {}, ""))._replace(ground=True)
        if additions is not None:
            self.mj_model = load_mjcf(self.mjcf_path, additions)
        model = self.mj_model
        model.opt.timestep = spec.sim_dt
        if spec.integrator is not None:
            integrators = {
                "Euler": mujoco.mjtIntegrator.mjINT_EULER,
                "RK4": mujoco.mjtIntegrator.mjINT_RK4,
                "implicit": mujoco.mjtIntegrator.mjINT_IMPLICIT,
                "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
            }
            model.opt.integrator = integrators[spec.integrator]
        self.mass_kg = float(model.body_subtreemass[model.body_rootid[self.body_id]])
        """Of the whole robot."""
        self.held: dict[str, float] = {} if additions is None else additions.held
        """Joints that nothing moves -> their positions, rad or m."""
        self._held_dofs = [model.jnt_dofadr[self._joint(name)] for name in self.held]
        self._start_qpos = self._keyframe_qpos.copy()
        for name, position in self.held.items():
            self._start_qpos[model.jnt_qposadr[self._joint(name)]] = position
        self._joint_ids = [self._joint(name) for name in spec.joints]
        self.joint_qpos = np.array([model.jnt_qposadr[j] for j in self._joint_ids], int)
        self.joint_dof = np.array([model.jnt_dofadr[j] for j in self._joint_ids], int)
        self._find_base()
        self._start_orientation = np.array([1.0, 0.0, 0.0, 0.0])
        if spec.base.kind == "free" and spec.reset.keyframe:
            q = self.base_qpos
            self._start_orientation = self._keyframe_qpos[q + 3 : q + 7]
        self._find_actuators()
        self._start_act = self._activations()
        if spec.servos is not None:
            self._put_servos(spec.servos)
        self._find_contacts()
        self.num_state = mujoco.mj_stateSize(model, _STATE)
        self._check_limits()
        self._check_wheels()
        self._check_start()
        for symmetry in (spec.symmetry, spec.mirror):
            if symmetry is not None:
                self._check_symmetry(symmetry)
                self.verify_symmetry(symmetry)

    def sha256(self) -> str:
        """SHA-256 of the compiled model (its numbers, not its file)."""
        return hashlib.sha256(_saved(self.mj_model)).hexdigest()

    def joint_ranges(self) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Lowest and highest position of each joint, and whether it is a hinge. Shape (J,) each.

        rad or m, in the robot file's order; -inf and inf without a limit.
        """
        ids, model = np.array(self._joint_ids, int), self.mj_model
        is_free = ~model.jnt_limited[ids].astype(bool)
        low, high = model.jnt_range[ids].T.copy()
        low[is_free], high[is_free] = -np.inf, np.inf
        return low, high, model.jnt_type[ids] == _HINGE

    def robot_state(self, qpos: Array, qvel: Array) -> RobotState:
        """State vectors as RobotState. Shapes (N, nq), (N, nv)."""
        num = len(qpos)
        if self.spec.base.kind == "free":
            # MuJoCo's free joint: position, quaternion (w, x, y, z); linear velocity in the world
            # frame, angular velocity in the body frame.
            q, v = self.base_qpos, self._base_dof
            position, orientation = qpos[:, q : q + 3], qpos[:, q + 3 : q + 7]
            world_velocity, angular = qvel[:, v : v + 3], qvel[:, v + 3 : v + 6]
        else:
            position = np.tile(self.mj_model.body_pos[self.body_id], (num, 1))
            orientation = np.tile([1.0, 0.0, 0.0, 0.0], (num, 1))
            world_velocity, angular = np.zeros((num, 3)), np.zeros((num, 3))
            for axis, q, v, sign in self._planar:
                index = _AXES[axis]
                moved = sign * (qpos[:, q] - self.mj_model.qpos0[q])
                if axis in "xyz":
                    position[:, index] += moved
                    world_velocity[:, index] = sign * qvel[:, v]
                else:
                    orientation[:, 0] = np.cos(moved / 2)
                    orientation[:, 1 + index] = np.sin(moved / 2)
                    angular[:, index] = sign * qvel[:, v]
        rotation = quaternion_to_matrix(orientation)
        return RobotState(
            position=position,
            orientation=orientation,
            linear_velocity=np.einsum("nji,nj->ni", rotation, world_velocity),
            angular_velocity=angular,
            joint_positions=qpos[:, self.joint_qpos],
            joint_velocities=qvel[:, self.joint_dof],
        )

    def qpos(self, position: Array, orientation: Array, joint_positions: Array) -> Array:
        """State vector of one robot: the way back from RobotState. Shape (nq,).

        Args:
            position: of the base, world frame, m. Shape (3,).
            orientation: the same, (w, x, y, z). Shape (4,).
            joint_positions: in the robot file's order; where NaN, as in the MJCF. Shape (J,).
        """
        qpos: Array = self._start_qpos.copy()
        known = np.isfinite(joint_positions)
        qpos[self.joint_qpos[known]] = joint_positions[known]
        if self.spec.base.kind == "free":
            q = self.base_qpos
            qpos[q : q + 3], qpos[q + 3 : q + 7] = position, orientation
        else:
            offset = position - self.mj_model.body_pos[self.body_id]
            for axis, q, _, sign in self._planar:
                index = _AXES[axis]
                turn = 2.0 * np.arctan2(orientation[1 + index], orientation[0])
                moved = offset[index] if axis in "xyz" else turn
                qpos[q] = self.mj_model.qpos0[q] + sign * moved
        return qpos

    def to_ctrl(self, commands: Array) -> Array:
        """Commands in the robot file's order as MuJoCo's ctrl. Shapes (..., A) -> (..., nu)."""
        ctrl = np.zeros((*commands.shape[:-1], self.mj_model.nu))
        ctrl[..., self._actuator_ids] = commands
        return ctrl

    def torques(
        self, commands: Array, positions: Array, velocities: Array, gains: Array | float = 1.0
    ) -> Array:
        """What the servos do, part of what they can do at most; 0 without a limit. (..., A).

        Args:
            commands: in force. Shape (..., A).
            positions: of the joints, in the robot file's order, rad or m. Shape (..., J).
            velocities: the same per second. Shape (..., J).
            gains: factor on those of the servos. Shape (..., A) or what becomes it.
        """
        assert self.spec.servos is not None
        kp, kd = np.array(self.spec.servos.kp), np.array(self.spec.servos.kd)
        at, speed = (values[..., self._driven_columns] for values in (positions, velocities))
        asked: Array = gains * (kp * (commands - at) - kd * speed)
        low, high = self.torque_limits
        return np.clip(asked / np.where(asked > 0.0, high, -low), -1.0, 1.0)

    def reset_state(
        self, num: int, rng: np.random.Generator, reset: ResetSpec | None = None
    ) -> Array:
        """Initial full-physics states: x = y = 0, uniform yaw, noise. Shape (num, num_state).

        ``reset``: another one than the robot file's.
        """
        spec, model = self.spec, self.mj_model
        reset = reset or spec.reset
        qpos = np.tile(self._start_qpos, (num, 1))
        qvel = reset.velocity_noise * rng.standard_normal((num, model.nv))
        qvel[:, self._held_dofs] = 0.0
        for name, index in zip(spec.joints, self.joint_qpos, strict=True):
            start = spec.home[name]
            noise = rng.uniform(-1.0, 1.0, num) * reset.position_noise
            qpos[:, index] = start + noise
        yaw = rng.uniform(-np.pi, np.pi, num)
        if spec.base.kind == "free":
            q = self.base_qpos
            qpos[:, q : q + 3] = [0.0, 0.0, reset.height_m]
            w, x, y, z = self._start_orientation
            cos, sin = np.cos(yaw / 2), np.sin(yaw / 2)
            turned = [cos * w - sin * z, cos * x - sin * y, cos * y + sin * x, cos * z + sin * w]
            qpos[:, q + 3 : q + 7] = np.stack(turned, axis=1)
        else:
            for axis, q, _, sign in self._planar:
                if axis == "yaw":
                    qpos[:, q] = yaw
                elif axis == "z" and reset.height_m != 0.0:
                    above_m = reset.height_m - model.body_pos[self.body_id, 2]
                    qpos[:, q] = model.qpos0[q] + sign * above_m
                elif axis in "xy":
                    qpos[:, q] = model.qpos0[q]
        states = np.zeros((num, self.num_state))
        parts = np.split(states, 1 + np.cumsum([0, model.nq, model.nv, model.na]), axis=1)
        parts[1][:], parts[2][:], parts[3][:] = qpos, qvel, self._start_act
        return states

    def still_state(self, num: int) -> Array:
        """The same without noise but for the yaw, and at rest. Shape (num, num_state)."""
        reset = dataclasses.replace(self.spec.reset, position_noise=0.0, velocity_noise=0.0)
        return self.reset_state(num, np.random.default_rng(0), reset)

    def verify_symmetry(self, symmetry: RelabelSpec) -> float:
        """Move the model and its relabelled twin from the same state; both must do the same.

        Args:
            symmetry: a mirror, or a turn (SymmetrySpec).
        Returns: by how much they part within 5 simulation steps, rad or m.
        Raises: ConfigError when that is too much: the declared symmetry is not one of this model.
        """
        model, spec = self.mj_model, self.spec
        rng = np.random.default_rng(0)
        permutation, signs = joint_permutation(spec.joints, symmetry)
        commands_of, command_signs = command_permutation(spec, symmetry, self.driven_joints)
        data, twin = mujoco.MjData(model), mujoco.MjData(model)
        q, v = self.base_qpos, self._base_dof
        worst = 0.0
        for _ in range(3):
            state = self.reset_state(1, rng)[0]
            mujoco.mj_setState(model, data, state, _STATE)
            data.qpos[q + 2] += 2.0
            data.qvel[:] = 0.0  # also of joints that nothing drives, whose twins nobody names
            data.qvel[v : v + 6] = rng.standard_normal(6)
            data.qvel[self.joint_dof] = rng.standard_normal(len(self.joint_dof))
            command = rng.uniform(-1.0, 1.0, spec.command_dim)
            mujoco.mj_setState(model, twin, state, _STATE)
            twin.qpos[q : q + 7], twin.qvel[v : v + 6] = _twin_base(
                symmetry, data.qpos[q : q + 7], data.qvel[v : v + 6]
            )
            twin.qpos[self.joint_qpos] = signs * data.qpos[self.joint_qpos][permutation]
            twin.qvel[self.joint_dof] = signs * data.qvel[self.joint_dof][permutation]
            data.ctrl[:] = self.to_ctrl(command)
            twin.ctrl[:] = self.to_ctrl(command_signs * command[commands_of])
            for _ in range(5):
                mujoco.mj_step(model, data)
                mujoco.mj_step(model, twin)
            joints = signs * data.qpos[self.joint_qpos][permutation] - twin.qpos[self.joint_qpos]
            base, _ = _twin_base(symmetry, data.qpos[q : q + 7], data.qvel[v : v + 6])
            apart = base[:3] - twin.qpos[q : q + 3]
            worst = max(worst, np.abs(joints).max(), np.abs(apart).max())
        which = "mirrored"
        if isinstance(symmetry, SymmetrySpec):
            which = f"turned by {symmetry.turn_deg} degrees"
        if not worst < symmetry.tolerance:
            raise ConfigError(
                f"'{symmetry.key}' of robot '{spec.name}' does not hold: the model and its twin, "
                f"{which}, part by {worst:.1e} within 5 steps (tolerance {symmetry.tolerance:g}); "
                f"correct the map of joints, remove '{symmetry.key}' or, where the robot really "
                f"is that unequal, raise '{symmetry.key}.tolerance'"
            )
        if worst > EXACT:
            logger.info(
                "'%s' of robot '%s' holds to %.1e only (tolerance %g): taken as symmetric",
                symmetry.key,
                spec.name,
                worst,
                symmetry.tolerance,
            )
        return float(worst)

    def _find_body(self, spec: RobotSpec) -> None:
        model = self.mj_model
        self.body_id = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, spec.base.body)
        if self.body_id < 0:
            names = (model.body(i).name or "(unnamed)" for i in range(1, model.nbody))
            bodies = one_line(", ".join(names))
            raise ConfigError(
                f"'base.body' is '{spec.base.body}'; the MJCF has no such body; it has {bodies}"
            )

    def _with_keyframe(self, spec: RobotSpec) -> RobotSpec:
        """The robot file with what its keyframe says, and the positions of joints held there."""
        model, name = self.mj_model, spec.reset.keyframe
        self._keyframe_qpos: Array = model.qpos0.copy()
        if not name:
            return spec
        index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, name)
        if index < 0:
            names = one_line(", ".join(model.key(i).name for i in range(model.nkey)) or "none")
            raise ConfigError(
                f"'reset.keyframe' of robot '{spec.name}' is '{name}'; the MJCF has {names}"
            )
        self._keyframe_qpos = qpos = model.key_qpos[index].copy()
        self.spec = spec
        positions = {
            joint: float(qpos[model.jnt_qposadr[self._joint(joint)]]) for joint in spec.joints
        } | (spec.reset.joint_positions or {})
        height_m, first = spec.reset.height_m, model.body_jntadr[self.body_id]
        if height_m == 0.0 and spec.base.kind == "free" and first >= 0:
            height_m = float(qpos[model.jnt_qposadr[first] + 2])
        reset = dataclasses.replace(spec.reset, joint_positions=positions, height_m=height_m)
        return dataclasses.replace(spec, reset=reset)

    def _additions(self) -> "Additions | None":
        """What the MJCF lacks; None if nothing."""
        model, spec = self.mj_model, self.spec
        names, joints = self._actuator_names()
        idle = {
            joint
            for name, joint in zip(names, joints, strict=True)
            if not {name, joint} & set(spec.actuators)
        }
        moving = {*spec.joints, *(spec.base.joints or {}).values()}
        root, held = model.body_rootid[self.body_id], {}
        for index in range(model.njnt):
            is_own = model.body_rootid[model.jnt_bodyid[index]] == root
            name = _joint_name(model, index)
            if is_own and name and name in idle - moving:
                held[name] = float(self._keyframe_qpos[model.jnt_qposadr[index]])
        collides = (model.geom_contype | model.geom_conaffinity) != 0
        collides[[*model.pair_geom1, *model.pair_geom2]] = True
        has_floor = bool((collides & (model.body_weldid[model.geom_bodyid] == 0)).any())
        can_sink = spec.base.kind == "free" or "z" in (spec.base.joints or {})
        body = spec.base.body if spec.feet or spec.fallen.contacts else ""
        if (has_floor or not can_sink) and not held and not body:
            return None
        return Additions(can_sink and not has_floor, held, body)

    def _actuator_names(self) -> tuple[list[str], list[str]]:
        """Of the MJCF's actuators, in its order: name, or that of its joint; and joint, or ''."""
        model, names, joints = self.mj_model, [], []
        for index in range(model.nu):
            moves_joint = model.actuator_trntype[index] in _JOINT_DRIVES
            joints.append(model.joint(model.actuator_trnid[index, 0]).name if moves_joint else "")
            names.append(model.actuator(index).name or joints[-1])
        return names, joints

    def _activations(self) -> Array:
        """Of actuators that have a state, at the start. Shape (na,).

        Those of the keyframe; else the command that is sent first, or of what integrates it the
        position that is held.
        """
        model, spec, dyn = self.mj_model, self.spec, mujoco.mjtDyn
        if spec.reset.keyframe:
            act: Array = model.key(spec.reset.keyframe).act.copy()
            if act.any():
                return act
        act = np.zeros(model.na)
        for name, index, command in zip(
            spec.actuators, self._actuator_ids, spec.safe_command, strict=True
        ):
            kind, at = dyn(model.actuator_dyntype[index]), model.actuator_actadr[index]
            joint = self.driven_joints[name]
            if kind in (dyn.mjDYN_FILTER, dyn.mjDYN_FILTEREXACT):
                act[at + model.actuator_actnum[index] - 1] = command
            elif kind == dyn.mjDYN_INTEGRATOR and joint in spec.joints:
                act[at] = model.actuator_gear[index, 0] * spec.home[joint]
        return act

    def _put_servos(self, servos: ServoSpec) -> None:
        """Position servos in place of actuators; their limits in force or torque stay."""
        model, spec = self.mj_model, self.spec
        gains = zip(self._actuator_ids, spec.actuators, servos.kp, servos.kd, strict=True)
        self.torque_limits = np.tile([[-np.inf], [np.inf]], spec.command_dim)
        """Lowest and highest torque or force of each servo, N m or N. Shape (2, A)."""
        for number, (index, name, kp, kd) in enumerate(gains):
            joint = self.driven_joints[name]
            if not joint or model.actuator_dyntype[index] != mujoco.mjtDyn.mjDYN_NONE:
                raise ConfigError(
                    f"'servos' of robot '{spec.name}': actuator '{name}' of the MJCF does not "
                    "drive a joint directly; servos take the place of motors at joints only"
                )
            gear, gain = model.actuator_gear[index, 0], model.actuator_gainprm[index, 0]
            limits = [self.torque_limits[:, number]]
            if model.actuator_forcelimited[index]:
                limits.append(np.sort(gear * model.actuator_forcerange[index]))
            is_motor = model.actuator_biastype[index] == mujoco.mjtBias.mjBIAS_NONE
            if is_motor and model.actuator_ctrllimited[index]:
                limits.append(np.sort(gear * gain * model.actuator_ctrlrange[index]))
            joint_id = model.actuator_trnid[index, 0]
            if model.jnt_actfrclimited[joint_id]:
                limits.append(model.jnt_actfrcrange[joint_id])
            lows, highs = np.transpose(limits)
            self.torque_limits[:, number] = limit = lows.max(), highs.min()
            model.actuator_gear[index] = [1.0, *[0.0] * 5]
            model.actuator_gaintype[index] = mujoco.mjtGain.mjGAIN_FIXED
            model.actuator_biastype[index] = mujoco.mjtBias.mjBIAS_AFFINE
            model.actuator_gainprm[index, :3] = kp, 0.0, 0.0
            model.actuator_biasprm[index, :3] = 0.0, -kp, -kd
            model.actuator_ctrllimited[index] = False
            model.actuator_forcelimited[index] = bool(np.isfinite(limit).all())
            if np.isfinite(limit).all():
                model.actuator_forcerange[index] = limit
        driven = [self.driven_joints[name] for name in spec.actuators]
        outside = [joint for joint in driven if joint not in spec.joints]
        if outside:
            raise ConfigError(
                f"'servos' of robot '{spec.name}' drive {', '.join(outside)}, which "
                "'joints' does not name; name every joint that is driven"
            )
        self._driven_columns = np.array([spec.joints.index(joint) for joint in driven])

    def _find_contacts(self) -> None:
        """Where in the sensors' data it stands which geoms touch the ground."""
        model, spec = self.mj_model, self.spec
        sensors = [
            index
            for index in range(model.nsensor)
            if model.sensor(index).name.startswith(CONTACT_PREFIX)
        ]
        geoms, first = np.unique(model.sensor_objid[sensors].astype(int), return_index=True)
        parts = len(sensors) // max(1, len(geoms))
        addresses = model.sensor_adr[sensors].astype(int).reshape(len(geoms), parts)
        self.contact_columns = addresses[first // max(1, parts)]
        """Of sensordata: 1 or more where a geom touches a part of the ground. Shape (G, parts)."""
        self.is_foot = np.isin(geoms, self._geoms_of("feet", spec.feet, geoms))
        """Which of those geoms are meant to. Shape (G,)."""
        fallen = self._geoms_of("fallen.contacts", spec.fallen.contacts, geoms)
        self.is_fallen = np.isin(geoms, fallen)
        """Which of those geoms touch it only when the robot has fallen. Shape (G,)."""

    def _geoms_of(self, field: str, names: tuple[str, ...], geoms: NDArray[np.int64]) -> list[int]:
        """Geoms of these names, or of bodies of these names; each name has one of ``geoms``.

        Raises: ConfigError.
        """
        model = self.mj_model
        found: list[int] = []
        for name in names:
            geom = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, name)
            body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
            if geom < 0 and body < 0:
                bodies = one_line(", ".join(model.body(i).name for i in range(1, model.nbody)))
                raise ConfigError(
                    f"'{field}' of robot '{self.spec.name}' names '{name}'; the MJCF has no such "
                    f"geom or body; its bodies are {bodies}"
                )
            own = [geom] if geom >= 0 else np.flatnonzero(model.geom_bodyid == body).tolist()
            if not np.isin(own, geoms).any():
                raise ConfigError(
                    f"'{field}' of robot '{self.spec.name}' names '{name}', of which nothing can "
                    "touch the ground: name the geom or body that does (contype, conaffinity, or "
                    "a contact pair)"
                )
            found += own
        return found

    def _check_start(self) -> None:
        """The robot starts above the ground, and within the limits of its joints."""
        model, spec = self.mj_model, self.spec
        low, high, is_hinge = self.joint_ranges()
        home = np.array([spec.home[name] for name in spec.joints])
        slack = np.where(is_hinge, MAX_OUTSIDE_RAD, MAX_OUTSIDE_M)
        for index in np.flatnonzero((home < low - slack) | (home > high + slack))[:1]:
            raise ConfigError(
                f"robot '{spec.name}' starts with joint '{spec.joints[index]}' at "
                f"{home[index]:g}, outside its range {low[index]:g} .. {high[index]:g}; set it in "
                "'reset.joint_positions' or name a 'reset.keyframe'"
            )
        if spec.base.kind != "free":
            return
        data = mujoco.MjData(model)
        mujoco.mj_setState(model, data, self.still_state(1)[0], _STATE)
        mujoco.mj_forward(model, data)
        bodies = model.geom_bodyid[data.contact.geom.reshape(-1, 2)]
        is_ground = (model.body_weldid[bodies] == 0).any(axis=1)
        is_own = (model.body_rootid[bodies] == model.body_rootid[self.body_id]).any(axis=1)
        depths = -data.contact.dist[is_ground & is_own]
        if len(depths) and depths.max() > MAX_BELOW_M:
            raise ConfigError(
                f"robot '{spec.name}' starts {depths.max():.2g} m below the ground; raise "
                f"'reset.height_m' from {spec.reset.height_m:g} to "
                f"{spec.reset.height_m + depths.max():.3g}"
            )

    def _joint(self, name: str) -> int:
        index: int = mujoco.mj_name2id(self.mj_model, mujoco.mjtObj.mjOBJ_JOINT, name)
        if index < 0:
            names = ", ".join(self.mj_model.joint(i).name for i in range(self.mj_model.njnt))
            raise ConfigError(
                f"robot '{self.spec.name}' names joint '{name}'; the MJCF has {one_line(names)}"
            )
        if self.mj_model.jnt_type[index] not in _SCALAR_JOINTS:
            raise ConfigError(
                f"robot '{self.spec.name}' names joint '{name}', which is neither a hinge nor a "
                "slide; name joints of one number each"
            )
        return index

    def _find_base(self) -> None:
        model, base = self.mj_model, self.spec.base
        if base.kind == "free":
            first = model.body_jntadr[self.body_id]
            if first < 0 or model.jnt_type[first] != mujoco.mjtJoint.mjJNT_FREE:
                raise ConfigError(f"'base.kind' is free, but body '{base.body}' has no free joint")
            self.base_qpos, self._base_dof = model.jnt_qposadr[first], model.jnt_dofadr[first]
            return
        assert base.joints is not None  # RobotSpec checks it
        self._planar = []
        for axis, name in base.joints.items():
            if axis not in _AXES:
                raise ConfigError(f"'base.joints' has axis '{axis}'; known are {', '.join(_AXES)}")
            joint = self._joint(name)
            kind, wanted = model.jnt_type[joint], _HINGE if axis not in "xyz" else _SLIDE
            if kind != wanted:
                raise ConfigError(
                    f"'base.joints' has '{axis}: {name}'; x, y and z need a slide, roll, pitch "
                    "and yaw a hinge"
                )
            unit = np.eye(3)[_AXES[axis]]
            sign = float(np.round(model.jnt_axis[joint] @ unit))
            is_plain = np.allclose(model.jnt_axis[joint], sign * unit) and sign != 0.0
            is_plain &= kind == _SLIDE or not model.jnt_pos[joint].any()
            if model.jnt_bodyid[joint] != self.body_id or not is_plain:
                raise ConfigError(
                    f"'base.joints' has '{axis}: {name}', which is not at the origin of body "
                    f"'{base.body}' along that axis; move it there in the MJCF, or give the body "
                    "a free joint"
                )
            self._planar.append((axis, model.jnt_qposadr[joint], model.jnt_dofadr[joint], sign))
        is_level = np.allclose(model.body_quat[self.body_id], [1.0, 0.0, 0.0, 0.0])
        if not is_level or model.body_parentid[self.body_id] != 0:
            raise ConfigError(
                f"a planar base stands in the world without a turn; body '{base.body}' has a "
                "parent or an orientation: take those out of the MJCF, or use a free joint"
            )
        turns = [
            axis not in "xyz" for axis, *_ in sorted(self._planar, key=lambda joint: joint[1])
        ]
        if sum(turns) > 1:
            raise ConfigError("'base.joints' of a planar base may name one of roll, pitch, yaw")
        if any(turns[:-1]):
            raise ConfigError(
                f"the hinge of a planar base comes after its slides, else they turn with it: "
                f"reorder the joints of body '{base.body}' in the MJCF"
            )

    def _find_actuators(self) -> None:
        model, spec = self.mj_model, self.spec
        names, joints = self._actuator_names()
        # Those of joints that are held have nothing to do.
        idle = {index for index, joint in enumerate(joints) if joint in self.held}
        named = {name: index for index, name in enumerate(names) if index not in idle}
        driving = {joint: index for index, joint in enumerate(joints) if index not in idle}
        found = [named.get(name, driving.get(name, -1)) for name in spec.actuators]
        if min(found, default=-1) < 0 or sorted(found) != sorted(set(range(model.nu)) - idle):
            raise ConfigError(
                f"robot '{spec.name}' lists actuators {one_line(', '.join(spec.actuators))}; the "
                f"MJCF has {one_line(', '.join(names))}; name each once, or the joint that it "
                "drives"
            )
        self._actuator_ids = np.array(found)
        self.driven_joints = {
            name: joints[index] for name, index in zip(spec.actuators, found, strict=True)
        }
        model.actuator_gainprm[list(idle)] = model.actuator_biasprm[list(idle)] = 0.0

    def _check_limits(self) -> None:
        """The model must do what a command within the robot file's limits says."""
        model, (low, high) = self.mj_model, self.spec.command_limits
        clipped = model.actuator_ctrllimited[self._actuator_ids].astype(bool)
        least, most = model.actuator_ctrlrange[self._actuator_ids].T
        wrong = clipped & ((low < least - 1e-9) | (high > most + 1e-9))
        for index in np.flatnonzero(wrong)[:1]:
            raise ConfigError(
                f"commands of actuator '{self.spec.actuators[index]}' go from {low[index]:g} to "
                f"{high[index]:g}, but the MJCF clips them to {least[index]:g} .. "
                f"{most[index]:g}; correct 'command_low' and 'command_high'"
            )

    def _check_wheels(self) -> None:
        """What turns without end is a wheel, and no wheel has an end."""
        low, high, is_hinge = self.joint_ranges()
        endless = dict(zip(self.spec.joints, is_hinge & np.isinf(high - low), strict=True))
        for name in self.spec.wheels:
            if not endless[name]:
                raise ConfigError(
                    f"'wheels' of robot '{self.spec.name}' names '{name}', which is no hinge "
                    "without a range in the MJCF; take it out"
                )
        unnamed = [name for name in endless if endless[name] and name not in self.spec.wheels]
        if unnamed:
            logger.warning(
                "joints of robot '%s' turn without end: %s; the policy sees how often, and after "
                "an hour that is what no training has seen: name them in 'wheels', or give them a "
                "range in the MJCF",
                self.spec.name,
                one_line(", ".join(unnamed)),
            )

    def _check_symmetry(self, symmetry: RelabelSpec) -> None:
        """What ``verify_symmetry`` and the networks build on."""
        spec = self.spec
        if spec.base.kind != "free":
            raise ConfigError(
                f"'{symmetry.key}' of robot '{spec.name}' needs 'base.kind: free'; remove it"
            )
        driven = [self.driven_joints[name] for name in spec.actuators]
        targets = [symmetry.joints.get(name, "").removeprefix("-") for name in driven]
        if len(set(driven)) != len(driven) or set(targets) != set(driven):
            raise ConfigError(
                f"'{symmetry.key}' of robot '{spec.name}' needs one actuator at each joint that "
                f"it takes for another with one; driven are {', '.join(driven)}, which become "
                f"{', '.join(name or 'nothing' for name in targets)}"
            )
        permutation, signs = command_permutation(spec, symmetry, self.driven_joints)
        limits = np.array(spec.command_limits)  # (2, A)
        turned = np.sort(signs * limits[:, permutation], axis=0)
        for index in np.flatnonzero((np.abs(turned - limits) > 1e-9).any(axis=0))[:1]:
            raise ConfigError(
                f"'{symmetry.key}' of robot '{spec.name}' maps actuator "
                f"'{spec.actuators[index]}' onto one with other limits; make 'command_low' and "
                "'command_high' symmetric as well"
            )


def mjcf_path(spec: RobotSpec) -> Path:
    """Path of a robot's MJCF; a relative one lies beside the shipped robot files."""
    return resolve_package_uri(spec.mjcf, share_folder() / "config" / "robots")


class Additions(NamedTuple):
    """What a robot needs and its MJCF lacks."""

    floor: bool
    """A plane at height 0."""
    held: dict[str, float]
    """Joints that nothing moves -> the position that they are held at, rad or m."""
    touching: str
    """Body below which each geom that can touch the ground gets a sensor of it; or none."""
    ground: bool = False
    """A height field ``GROUND``, flat and far below."""


def load_mjcf(path: Path, additions: Additions | None = None) -> mujoco.MjModel:
    """Compile an MJCF file, in a process of its own, with limits on its time and memory.

    Nobody can know beforehand what a few lines of XML unfold to. Here only the result is loaded.

    Raises: ConfigError.
    """
    name = one_line(path)
    try:
        status = path.stat()
        str(path).encode()  # MuJoCo takes no others
    except (OSError, ValueError) as error:  # ValueError: of a NUL in it, or no UTF-8
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"MJCF '{name}' does not load ({reason}); check the path") from error
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_MJCF_BYTES:
        raise ConfigError(
            f"MJCF '{name}' does not load: it is no file of at most {MAX_MJCF_BYTES >> 20} MB; "
            "keep meshes in files of their own"
        )
    key = path, json.dumps(additions)
    known = _compiled.get(key)
    if known is None or known.stamps != {file: _stamp(file) for file in known.stamps}:
        try:
            answer = isolated(
                _compile, str(path), additions, cpu_s=COMPILE_S, memory_bytes=COMPILE_BYTES
            )
        except IsolatedError as error:
            raise ConfigError(
                f"MJCF '{name}' does not load: {error}; correct or simplify it"
            ) from error
        stamps, _, content = answer.partition(b"\n")
        known = _Compiled(json.loads(stamps), content)
        if len(_compiled) >= MAX_COMPILED:
            _compiled.clear()
        _compiled[key] = known
    return mujoco.MjModel.from_binary_path("model.mjb", {"model.mjb": known.content})


class _Compiled(NamedTuple):
    """A compiled model, good for as long as none of its files changes."""

    stamps: dict[str, list[int] | None]
    """Of all files that it was made of."""
    content: bytes


_compiled: dict[tuple[Path, str], _Compiled] = {}
"""By path and additions."""


def _stamp(file: str) -> list[int] | None:
    """What changes when a file does; None if it is not there."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _compile(path: str, additions: Additions | None) -> bytes:
    """In a process of its own: stamps, on a line, and the model after a few steps.

    Raises: ConfigError.
    """
    try:
        stamps = {file: _stamp(file) for file in [path, *mujoco.mju_getXMLDependencies(path)]}
        model = mujoco.MjModel.from_xml_path(path) if additions is None else _add(path, additions)
    except Exception as error:  # of several types without a common base
        raise ConfigError(one_line(error)) from error
    is_newton = model.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    if mujoco.__version__ == WRONG_IF_SPARSE and is_newton and mujoco.mj_isSparse(model):
        raise ConfigError(
            f"with its {model.nv} degrees of freedom the constraint Jacobians are sparse, for "
            f"which MuJoCo {WRONG_IF_SPARSE} computes wrong accelerations; install MuJoCo 4.0.1 "
            "or later, or set jacobian='dense' in its 'option'"
        )
    data, took = mujoco.MjData(model), math.inf
    for _ in range(3):
        start = time.process_time()
        mujoco.mj_step(model, data)
        took = min(took, time.process_time() - start)
    if took > MAX_STEP_S:
        raise ConfigError(
            f"one step of simulation takes {took:.2g} s; {MAX_STEP_S:g} s are allowed; use fewer "
            "bodies and contacts"
        )
    return json.dumps(stamps).encode() + b"\n" + _saved(model)


def _add(path: str, additions: Additions) -> mujoco.MjModel:
    """The model of an MJCF file with what it lacks."""
    spec = mujoco.MjSpec.from_file(path)
    if additions.floor:
        plane, touch = mujoco.mjtGeom.mjGEOM_PLANE, _touch_of_ground(spec)
        spec.worldbody.add_geom(type=plane, size=[0.0, 0.0, 1.0], **touch)
    if additions.ground:
        num = 2 * round(GROUND_M / GROUND_CELL_M)
        spec.add_hfield(
            name=GROUND,
            size=[GROUND_M, GROUND_M, 0.1, 0.1],
            nrow=num,
            ncol=num,
            userdata=[0.0] * num**2,
        )
        spec.worldbody.add_geom(
            name=GROUND,
            type=mujoco.mjtGeom.mjGEOM_HFIELD,
            hfieldname=GROUND,
            pos=[0.0, 0.0, -GROUND_M],
            **_touch_of_ground(spec),
        )
    for joint, position in additions.held.items():
        spec.add_equality(
            type=mujoco.mjtEq.mjEQ_JOINT,
            objtype=mujoco.mjtObj.mjOBJ_JOINT,
            name1=joint,
            data=[position, *[0.0] * 11],
        )
    geoms = spec.body(additions.touching).find_all("geom") if additions.touching else []
    grounds = _grounds(spec.worldbody)
    paired = {name for pair in spec.pairs for name in (pair.geomname1, pair.geomname2)}
    for number, geom in enumerate(geoms):
        if not (geom.contype or geom.conaffinity or geom.name in paired):
            continue
        geom.name = geom.name or f"{CONTACT_PREFIX}{number}"
        for part, ground in enumerate(grounds):
            spec.add_sensor(
                name=f"{CONTACT_PREFIX}{geom.name}:{part}",
                type=mujoco.mjtSensor.mjSENS_CONTACT,
                objtype=mujoco.mjtObj.mjOBJ_GEOM,
                objname=geom.name,
                reftype=mujoco.mjtObj.mjOBJ_BODY,
                refname=ground,
                intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND), 0, 1],
            )
    return spec.compile()


def _touch_of_ground(spec: mujoco.MjSpec) -> dict[str, Any]:
    """How ground that is added touches: as the MJCF's own does, or whatever can be touched.

    By itself it would be as the MJCF's defaults say, which are often those of a robot that does
    not touch itself: it would not touch such ground either.
    """
    bodies = [spec.body(name) for name in _grounds(spec.worldbody)]
    own = [geom for body in bodies for geom in body.geoms if geom.contype or geom.conaffinity]
    if not own:
        return {"contype": ALL_GEOMS, "conaffinity": ALL_GEOMS, "condim": 3}
    floor = min(own, key=lambda geom: geom.type != mujoco.mjtGeom.mjGEOM_PLANE)
    return {name: getattr(floor, name) for name in TOUCH}


def _grounds(body: mujoco.MjsBody) -> list[str]:
    """Names of the bodies that never move and can be touched, from this one on."""
    touchable = any(geom.contype or geom.conaffinity for geom in body.geoms)
    found = [body.name] if touchable or body.name == "world" else []
    for number, child in enumerate(body.bodies):
        if not child.joints:
            child.name = child.name or f"{CONTACT_PREFIX}{body.name}:{number}"
            found += _grounds(child)
    return found


def _saved(model: mujoco.MjModel) -> bytes:
    """The numbers of a compiled model."""
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


def _joint_name(model: mujoco.MjModel, index: int) -> str:
    """Empty for a name that is no UTF-8, which no robot file can mean."""
    address, names = int(model.name_jntadr[index]), bytes(model.names)
    try:
        return names[address : names.index(0, address)].decode()
    except UnicodeDecodeError:
        return ""


def joint_permutation(
    joints: tuple[str, ...], symmetry: RelabelSpec
) -> tuple[NDArray[np.int64], Array]:
    """(p, s): after relabelling once, joint i reads s[i] * old[p[i]]. Shapes (J,), (J,)."""
    targets = [symmetry.joints[name] for name in joints]
    permutation = np.array([joints.index(name.removeprefix("-")) for name in targets])
    signs = np.array([-1.0 if name.startswith("-") else 1.0 for name in targets])
    return permutation, signs


def command_permutation(
    spec: RobotSpec, symmetry: RelabelSpec, driven_joints: dict[str, str]
) -> tuple[NDArray[np.int64], Array]:
    """The same for commands, whose order is the actuators'. Shapes (A,), (A,)."""
    driven = [driven_joints[name] for name in spec.actuators]
    targets = [symmetry.joints[joint] for joint in driven]
    permutation = np.array([driven.index(name.removeprefix("-")) for name in targets])
    signs = np.array([-1.0 if name.startswith("-") else 1.0 for name in targets])
    return permutation, signs


def _twin_base(symmetry: RelabelSpec, qpos: Array, qvel: Array) -> tuple[Array, Array]:
    """A free joint's position and velocity as the relabelled robot's. Shapes (7,), (6,)."""
    qpos, qvel = qpos.copy(), qvel.copy()
    if isinstance(symmetry, SymmetrySpec):  # base axes turned about the body z-axis
        angle = np.radians(symmetry.turn_deg)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([np.cos(angle / 2.0), 0.0, 0.0, np.sin(angle / 2.0)])
        mujoco.mju_mulQuat(qpos[3:], qpos[3:].copy(), turn)
        wx, wy = qvel[3], qvel[4]
        qvel[3], qvel[4] = cos * wx + sin * wy, cos * wy - sin * wx
        return qpos, qvel
    # Reflected in the world's x-z-plane; what turns keeps its sense about y only.
    qpos *= [1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0]
    qvel *= [1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
    return qpos, qvel
