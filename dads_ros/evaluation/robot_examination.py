"""Is a robot file right? Loads its model, drops it, lets it stand, pulls at every joint.

What is found here costs minutes; what is not costs a training run.
"""

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dads_ros.diagnosis.records import Check, Verdict
from dads_ros.envs.model import EXACT, RobotModel
from dads_ros.envs.vector_env import Physics, one_episode_env
from dads_ros.errors import ConfigError
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]
OK, WARNING, WRONG, NOT_SEEN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.NOT_SEEN
NUM_ROBOTS, STAND_S, DROP_S = 32, 5.0, 0.5
MAX_DROP_M, MAX_SAG_M, MAX_DRIFT_M = 0.05, 0.05, 0.1
STEP_PART, STEP_S = 0.3, 1.0
"""Of half a command's range, and how long each joint is pulled at."""
MAX_RISE_S, MAX_OVERSHOOT, MIN_REACH = 0.2, 0.5, 0.8
MAX_SHAKE = 2.0
"""rad/s or m/s of a joint that should have come to rest."""
DIVERGED = "the simulation diverged: its numbers mean nothing"
STEADIER = "set 'integrator: implicitfast', or lower 'sim_dt', 'servos.kd' or 'servos.kp'"
REACHED = 0.632
"""Of a step: where a system of first order is after one time constant."""


def examine_robot(spec: RobotSpec) -> Iterator[Check]:
    """In the order in which a robot file is best corrected; nothing follows what is hopeless."""
    try:
        model = RobotModel(spec)
    except ConfigError as error:
        found, _, cure = str(error).rpartition("; ")
        yield Check("model", WRONG, found or cure, cure if found else "")
        return
    yield _model(model)
    yield _commands(model)
    yield _drop(model)
    yield from _stand(model)
    yield from _servos(model)
    yield from _symmetries(model)


def _model(model: RobotModel) -> Check:
    spec = model.spec
    physics = Physics(model, model.reset_state(64, np.random.default_rng(0)))
    commands = np.tile(_standing(spec), (64, spec.num_substeps, 1))
    physics.advance(commands)
    begin, count = time.process_time(), 0
    while time.process_time() - begin < 0.2:
        physics.advance(commands)
        count += 64
    rate = count / (time.process_time() - begin)
    held = f", {', '.join(model.held)} held" if model.held else ""
    found = (
        f"{model.mass_kg:.3g} kg, {len(spec.joints)} joints, {spec.command_dim} actuators{held}; "
        f"{rate:.2g} control steps a second on one core"
    )
    return Check("model", OK, found)


def _commands(model: RobotModel) -> Check:
    """Positions that are commanded lie within the ranges of the joints."""
    spec, name = model.spec, "command range"
    if spec.command_scale is None:
        return Check(name, OK, "no positions; the MJCF takes all of it")
    low, high = spec.command_limits
    least, most, _ = model.joint_ranges()
    columns = spec.actuated_columns
    beyond = np.maximum(least[columns] - low, high - most[columns])
    worst = int(beyond.argmax())
    if beyond[worst] <= 0.0:
        return Check(name, OK, "within the ranges of the joints")
    return Check(
        name,
        WARNING,
        f"up to {beyond[worst]:.2g} beyond the range of '{spec.actuators[worst]}'",
        "lower its 'command_scale', or start nearer to the middle of its range",
    )


def _drop(model: RobotModel) -> Check:
    """How far the base falls at first, at home and without noise."""
    spec = model.spec
    physics = Physics(model, model.still_state(1))
    before = float(physics.robot_state().position[0, 2])
    steps = round(DROP_S / spec.sim_dt)
    if physics.advance(np.tile(_standing(spec), (1, steps, 1))).any():
        return Check("drop", WRONG, DIVERGED, STEADIER)
    drop = before - float(physics.robot_state().position[0, 2])
    found = f"the base falls by {max(drop, 0.0):.3f} m in {DROP_S:g} s"
    if drop <= MAX_DROP_M:
        return Check("drop", OK, found)
    cure = f"lower 'reset.height_m' to about {before - drop:.3g}, or give a pose that it can hold"
    return Check("drop", WARNING, found, cure)


def _stand(model: RobotModel) -> Iterator[Check]:
    """From the noise of its starts, with no delay and with the longest one."""
    spec = model.spec
    for delay_ms in dict.fromkeys((0.0, _whole_steps(spec, spec.max_delay_ms))):
        name = "stands" if delay_ms == 0.0 else f"stands, {delay_ms:g} ms late"
        if spec.standing_command is None:
            yield Check(name, NOT_SEEN, "'standing_command' is null: by a skill, once it has some")
            return
        rng, steps = np.random.default_rng(0), round(STAND_S / spec.control_dt)
        env = one_episode_env(model, NUM_ROBOTS, steps, rng=rng, delay_ms=delay_ms)
        fell = np.zeros(NUM_ROBOTS, bool)
        for step in range(steps):
            if step == round(DROP_S / spec.control_dt):
                settled = env.state.position.copy()
            env.step(env.filtered(np.tile(_standing(spec), (NUM_ROBOTS, 1))))
            fell |= env.terminated | env.diverged | env.fallen
        moved = env.state.position - settled
        drift = float(np.hypot(*moved[~fell, :2].T).mean()) if not fell.all() else np.inf
        sag = float(-moved[~fell, 2].mean()) if not fell.all() else np.inf
        found = f"{(~fell).sum()} of {NUM_ROBOTS} are up after {STAND_S:g} s"
        if fell.any():
            cure = "correct 'reset' and 'standing_command', stiffen the servos, or set it to null"
            yield Check(name, WRONG, found, cure)
            return
        found += f", drift {drift:.3f} m and sag {sag:.3f} m after the first {DROP_S:g} s"
        if drift > MAX_DRIFT_M or sag > MAX_SAG_M:
            cure = "stiffen the servos, or set 'standing_command' to null: it stands by a skill"
            yield Check(name, WARNING, found, cure)
        else:
            yield Check(name, OK, found)


def _servos(model: RobotModel) -> Iterator[Check]:
    """Every joint by itself, in the air, pulled from home by a part of its range."""
    spec, name = model.spec, "servos"
    if spec.command_scale is None:
        yield Check(name, NOT_SEEN, "commands are no positions ('command_scale')")
        return
    num, home = spec.command_dim, np.array([spec.home[name] for name in spec.actuated_joints])
    gravity = model.mj_model.opt.gravity.copy()
    model.mj_model.opt.gravity[:] = 0.0
    try:
        physics = Physics(model, model.still_state(num))
        physics.lift(1.0)
        step = _steps_with_room(model, home)
        num_steps = round(STEP_S / spec.sim_dt)
        commands = np.tile(home, (num, num_steps, 1))
        commands[np.arange(num), :, np.arange(num)] += step[:, None]
        has_diverged = physics.advance(commands).any()
        positions, velocities = physics.joints()
    finally:
        model.mj_model.opt.gravity[:] = gravity
    if has_diverged:
        yield Check(name, WRONG, DIVERGED, STEADIER)
        return
    own = positions[np.arange(num), :, spec.actuated_columns]
    part = (own - home[:, None]) / step[:, None]  # (A, S): 0 to 1
    reach, overshoot = part[:, -1], part.max(axis=1) - 1.0
    has_risen = (part >= REACHED).any(axis=1)
    rise_s = np.where(has_risen, (part >= REACHED).argmax(axis=1) * spec.sim_dt, np.inf)
    slowest, wildest, weakest = rise_s.argmax(), overshoot.argmax(), reach.argmin()
    found = (
        f"63 % of a step within {rise_s.max():.2g} s ('{spec.actuators[slowest]}'), overshoot at "
        f"most {max(overshoot.max(), 0.0):.0%} ('{spec.actuators[wildest]}')"
    )
    shakes = np.abs(velocities[:, -1]).max(axis=0)
    if shakes.max() > MAX_SHAKE:
        found = f"'{spec.joints[shakes.argmax()]}' still moves at {shakes.max():.2g} a second"
        yield Check(name, WRONG, found, STEADIER)
    elif reach[weakest] < MIN_REACH:
        found = f"'{spec.actuators[weakest]}' comes {max(reach[weakest], 0.0):.0%} of a step far"
        yield Check(name, WRONG, found, "raise 'servos.kp', or correct what its actuator drives")
    elif rise_s.max() > MAX_RISE_S:
        yield Check(name, WARNING, found, "raise 'servos.kp', or lower 'servos.kd'")
    elif overshoot.max() > MAX_OVERSHOOT:
        yield Check(name, WARNING, found, "raise 'servos.kd'")
    else:
        yield Check(name, OK, found)


def _steps_with_room(model: RobotModel, home: Array) -> Array:
    """By how much each joint is pulled, up or down, where it can follow. Shape (A,)."""
    low, high, _ = model.joint_ranges()
    columns = model.spec.actuated_columns
    up, down = high[columns] - home, home - low[columns]
    size = np.minimum(STEP_PART * np.array(model.spec.command_scale), np.maximum(up, down))
    steps: Array = np.where(up >= np.minimum(size, down), size, -size)
    return steps


def _symmetries(model: RobotModel) -> Iterator[Check]:
    for symmetry in (model.spec.symmetry, model.spec.mirror):
        if symmetry is not None:
            worst = model.verify_symmetry(symmetry)
            found = "exact" if worst <= EXACT else f"holds to {worst:.1e} within 5 steps"
            yield Check(symmetry.key, OK, found)


def _standing(spec: RobotSpec) -> Array:
    return np.array(spec.safe_command if spec.standing_command is None else spec.standing_command)


def _whole_steps(spec: RobotSpec, delay_ms: float) -> float:
    return round(delay_ms / 1000.0 / spec.sim_dt) * spec.sim_dt * 1000.0
