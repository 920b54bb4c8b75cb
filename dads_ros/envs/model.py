"""RobotModel: a robot file's MuJoCo model, with its orders and symmetry checked.

Shapes: N robots, J joints, A actuators.
"""

import hashlib
import json
import math
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from dads_ros.errors import ConfigError
from dads_ros.files import resolve_package_uri, share_folder
from dads_ros.isolation import IsolatedError, isolated, one_line
from dads_ros.observation import RobotState, quaternion_to_matrix
from dads_ros.robot import RelabelSpec, RobotSpec, SymmetrySpec

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


class RobotModel:
    """The MuJoCo model of a robot, and the way between its state vectors and RobotState."""

    def __init__(self, spec: RobotSpec) -> None:
        """Load and check. Raises: ConfigError."""
        self.spec = spec
        self.mjcf_path = mjcf_path(spec)
        model = self.mj_model = load_mjcf(self.mjcf_path)
        model.opt.timestep = spec.sim_dt
        if spec.integrator is not None:
            integrators = {
                "Euler": mujoco.mjtIntegrator.mjINT_EULER,
                "RK4": mujoco.mjtIntegrator.mjINT_RK4,
                "implicit": mujoco.mjtIntegrator.mjINT_IMPLICIT,
                "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
            }
            model.opt.integrator = integrators[spec.integrator]
        self.body_id = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, spec.base.body)
        if self.body_id < 0:
            names = (model.body(i).name or "(unnamed)" for i in range(1, model.nbody))
            bodies = one_line(", ".join(names))
            raise ConfigError(
                f"'base.body' is '{spec.base.body}'; the MJCF has no such body; it has {bodies}"
            )
        self.mass_kg = float(model.body_subtreemass[model.body_rootid[self.body_id]])
        """Of the whole robot."""
        self._joint_ids = [self._joint(name) for name in spec.joints]
        self.joint_qpos = np.array([model.jnt_qposadr[j] for j in self._joint_ids], int)
        self.joint_dof = np.array([model.jnt_dofadr[j] for j in self._joint_ids], int)
        self._find_base()
        self._find_actuators()
        self.num_state = mujoco.mj_stateSize(model, _STATE)
        self._check_limits()
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
            q, v = self._base_qpos, self._base_dof
            position, orientation = qpos[:, q : q + 3], qpos[:, q + 3 : q + 7]
            world_velocity, angular = qvel[:, v : v + 3], qvel[:, v + 3 : v + 6]
        else:
            position = np.tile(self.mj_model.body_pos[self.body_id], (num, 1))
            orientation = np.tile([1.0, 0.0, 0.0, 0.0], (num, 1))
            world_velocity, angular = np.zeros((num, 3)), np.zeros((num, 3))
            for axis, q, v in self._planar:
                index = _AXES[axis]
                if axis in "xyz":
                    position[:, index] += qpos[:, q]
                    world_velocity[:, index] = qvel[:, v]
                else:
                    orientation[:, 0] = np.cos(qpos[:, q] / 2)
                    orientation[:, 1 + index] = np.sin(qpos[:, q] / 2)
                    angular[:, index] = qvel[:, v]
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
        qpos: Array = self.mj_model.qpos0.copy()
        known = np.isfinite(joint_positions)
        qpos[self.joint_qpos[known]] = joint_positions[known]
        if self.spec.base.kind == "free":
            q = self._base_qpos
            qpos[q : q + 3], qpos[q + 3 : q + 7] = position, orientation
        else:
            offset = position - self.mj_model.body_pos[self.body_id]
            for axis, q, _ in self._planar:
                index = _AXES[axis]
                turn = 2.0 * np.arctan2(orientation[1 + index], orientation[0])
                qpos[q] = offset[index] if axis in "xyz" else turn
        return qpos

    def to_ctrl(self, commands: Array) -> Array:
        """Commands in the robot file's order as MuJoCo's ctrl. Shapes (..., A) -> (..., nu)."""
        ctrl = np.empty_like(commands)
        ctrl[..., self._actuator_ids] = commands
        return ctrl

    def reset_state(self, num: int, rng: np.random.Generator) -> Array:
        """Initial full-physics states: x = y = 0, uniform yaw, noise. Shape (num, num_state)."""
        spec, model = self.spec, self.mj_model
        qpos = np.tile(model.qpos0, (num, 1))
        qvel = spec.reset.velocity_noise * rng.standard_normal((num, model.nv))
        for name, index in zip(spec.joints, self.joint_qpos, strict=True):
            start = (spec.reset.joint_positions or {}).get(name, 0.0)
            noise = rng.uniform(-1.0, 1.0, num) * spec.reset.position_noise
            qpos[:, index] = start + noise
        yaw = rng.uniform(-np.pi, np.pi, num)
        if spec.base.kind == "free":
            q = self._base_qpos
            qpos[:, q : q + 3] = [0.0, 0.0, spec.reset.height_m]
            qpos[:, q + 3 : q + 7] = 0.0
            qpos[:, q + 3], qpos[:, q + 6] = np.cos(yaw / 2), np.sin(yaw / 2)
        else:
            for axis, q, _ in self._planar:
                if axis == "yaw":
                    qpos[:, q] = yaw
        states = np.zeros((num, self.num_state))
        states[:, 1 : 1 + model.nq] = qpos
        states[:, 1 + model.nq : 1 + model.nq + model.nv] = qvel
        return states

    def verify_symmetry(self, symmetry: RelabelSpec) -> None:
        """Move the model and its relabelled twin from the same state; both must do the same.

        Args:
            symmetry: a mirror, or a turn (SymmetrySpec).
        Raises: ConfigError when they do not: the declared symmetry is not one of this model.
        """
        model, spec = self.mj_model, self.spec
        rng = np.random.default_rng(0)
        permutation, signs = joint_permutation(spec.joints, symmetry)
        commands_of, command_signs = command_permutation(spec, symmetry, self.driven_joints)
        data, twin = mujoco.MjData(model), mujoco.MjData(model)
        q, v = self._base_qpos, self._base_dof
        worst = 0.0
        for _ in range(3):
            state = self.reset_state(1, rng)[0]
            mujoco.mj_setState(model, data, state, _STATE)
            data.qpos[q + 2] += 2.0
            data.qvel[:] = rng.standard_normal(model.nv)
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
        if not worst < symmetry.tolerance:
            which = "mirrored"
            if isinstance(symmetry, SymmetrySpec):
                which = f"turned by {symmetry.turn_deg} degrees"
            raise ConfigError(
                f"'{symmetry.key}' of robot '{spec.name}' does not hold: the model and its twin, "
                f"{which}, part by {worst:.1e} within 5 steps (tolerance {symmetry.tolerance:g}); "
                f"correct the map of joints or remove '{symmetry.key}'"
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
            self._base_qpos, self._base_dof = model.jnt_qposadr[first], model.jnt_dofadr[first]
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
            self._planar.append((axis, model.jnt_qposadr[joint], model.jnt_dofadr[joint]))
        if sum(axis not in "xyz" for axis, _, _ in self._planar) > 1:
            raise ConfigError("'base.joints' of a planar base may name one of roll, pitch, yaw")

    def _find_actuators(self) -> None:
        model, by_name = self.mj_model, {}
        self.driven_joints = {}
        for index in range(model.nu):
            moves_joint = model.actuator_trntype[index] in _JOINT_DRIVES
            joint = model.joint(model.actuator_trnid[index, 0]).name if moves_joint else ""
            name = model.actuator(index).name or joint
            by_name[name] = index
            self.driven_joints[name] = joint
        missing = [name for name in self.spec.actuators if name not in by_name]
        if missing or len(by_name) != self.spec.command_dim:
            raise ConfigError(
                f"robot '{self.spec.name}' lists actuators "
                f"{one_line(', '.join(self.spec.actuators))}; the MJCF has "
                f"{one_line(', '.join(by_name))}; name each once"
            )
        self._actuator_ids = np.array([by_name[name] for name in self.spec.actuators])

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
        for index in np.flatnonzero((turned != limits).any(axis=0))[:1]:
            raise ConfigError(
                f"'{symmetry.key}' of robot '{spec.name}' maps actuator "
                f"'{spec.actuators[index]}' onto one with other limits; make 'command_low' and "
                "'command_high' symmetric as well"
            )


def mjcf_path(spec: RobotSpec) -> Path:
    """Path of a robot's MJCF; a relative one lies beside the shipped robot files."""
    return resolve_package_uri(spec.mjcf, share_folder() / "config" / "robots")


def load_mjcf(path: Path) -> mujoco.MjModel:
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
    known = _compiled.get(path)
    if known is None or known.stamps != {file: _stamp(file) for file in known.stamps}:
        try:
            answer = isolated(_compile, str(path), cpu_s=COMPILE_S, memory_bytes=COMPILE_BYTES)
        except IsolatedError as error:
            raise ConfigError(
                f"MJCF '{name}' does not load: {error}; correct or simplify it"
            ) from error
        stamps, _, content = answer.partition(b"\n")
        known = _Compiled(json.loads(stamps), content)
        if len(_compiled) >= MAX_COMPILED:
            _compiled.clear()
        _compiled[path] = known
    return mujoco.MjModel.from_binary_path("model.mjb", {"model.mjb": known.content})


class _Compiled(NamedTuple):
    """A compiled model, good for as long as none of its files changes."""

    stamps: dict[str, list[int] | None]
    """Of all files that it was made of."""
    content: bytes


_compiled: dict[Path, _Compiled] = {}


def _stamp(file: str) -> list[int] | None:
    """What changes when a file does; None if it is not there."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _compile(path: str) -> bytes:
    """In a process of its own: stamps, on a line, and the model after a few steps.

    Raises: ConfigError.
    """
    try:
        stamps = {file: _stamp(file) for file in [path, *mujoco.mju_getXMLDependencies(path)]}
        model = mujoco.MjModel.from_xml_path(path)
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


def _saved(model: mujoco.MjModel) -> bytes:
    """The numbers of a compiled model."""
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


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
