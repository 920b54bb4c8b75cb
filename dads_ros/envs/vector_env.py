"""Many copies of a robot: Physics moves them, VectorEnv adds episodes and delay.

Shapes: N robots, S simulation steps, A actuators.
"""

import copy
import dataclasses
import os
from typing import Any

import mujoco
import numpy as np
from mujoco import rollout
from numpy.typing import NDArray

from dads_ros.config import DomainRandomization
from dads_ros.envs.body_limits import BodyLimits, Moved
from dads_ros.envs.model import RobotModel
from dads_ros.envs.randomization import gain_factor, varied_models, with_noise
from dads_ros.errors import ConfigError
from dads_ros.observation import RobotState, build_policy_obs

Array = NDArray[np.float64]
MAX_DELAY_S = 1.0
"""From state to command."""
END_SHARE = 0.5
"""Of the delays drawn, for the shortest and the longest: what is learned for one in the middle
lies between what is learned for those around it; at an end it does not."""
_CTRL = mujoco.mjtState.mjSTATE_CTRL
_CTRL_AND_FORCE = mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_XFRC_APPLIED


class Physics:
    """N robots in MuJoCo, each in a world of its own, moved together on a thread pool."""

    def __init__(
        self,
        model: RobotModel,
        states: Array,
        num_threads: int = 1,
        models: list[mujoco.MjModel] | None = None,
    ) -> None:
        """Start at full-physics states. Shape (N, num_state).

        ``models``: of each robot, where they differ. Length N.
        """
        self.model = model
        self.states = np.array(states)
        self._models = models or [model.mj_model] * len(states)
        self._datas = [mujoco.MjData(self._models[0]) for _ in range(num_threads)]
        self._rollout = rollout.Rollout(nthread=num_threads if num_threads > 1 else 0)
        self._output = self._sensed = np.empty((0,))

    def advance(self, commands: Array, wrench: Array | None = None) -> NDArray[np.bool_]:
        """Move every robot by S simulation steps.

        Args:
            commands: in the robot file's order and unit. Shape (N, S, A).
            wrench: force (N) and torque (N m) on the base body, world frame. Shape (N, 6).
        Returns: robots whose simulation diverged and means nothing any more. Shape (N,).
        """
        control = self.model.to_ctrl(np.asarray(commands, np.float64))
        spec = int(_CTRL)
        if wrench is not None:
            num, steps, _ = control.shape
            force = np.zeros((num, steps, self.model.mj_model.nbody * 6))
            force[:, :, self.model.body_id * 6 : self.model.body_id * 6 + 6] = wrench[:, None]
            control, spec = np.concatenate([control, force], axis=-1), int(_CTRL_AND_FORCE)
        shape = (*control.shape[:2], self.model.num_state)
        if self._output.shape != shape:
            self._output = np.empty(shape)
            self._sensed = np.empty((*shape[:2], self.model.mj_model.nsensordata))
        self._rollout.rollout(
            self._models,
            self._datas,
            self.states,
            np.ascontiguousarray(control),
            control_spec=spec,
            skip_checks=True,
            nstep=shape[1],
            state=self._output,
            sensordata=self._sensed,
        )
        due = self.states[:, 0] + (shape[1] - 0.5) * self.model.spec.sim_dt
        self.states[:] = self._output[:, -1]
        # MuJoCo resets a simulation that diverges, its clock included.
        return (self.states[:, 0] < due) | ~np.isfinite(self.states).all(axis=1)

    def lift(self, height_m: float) -> None:
        """Put every robot with a free base so much higher."""
        if self.model.spec.base.kind == "free":
            self.states[:, 1 + self.model.base_qpos + 2] += height_m

    def joints(self) -> tuple[Array, Array]:
        """Positions and velocities after each simulation step of the last move. (N, S, J) each."""
        first = 1 + self.model.mj_model.nq
        return (
            self._output[..., 1 + self.model.joint_qpos],
            self._output[..., first + self.model.joint_dof],
        )

    def touching(self) -> NDArray[np.bool_]:
        """Which geoms touched the ground in each simulation step of the last move. (N, S, G)."""
        found = self._sensed[..., self.model.contact_columns] > 0.0  # (N, S, G, parts)
        return np.asarray(found.any(axis=-1))

    def time(self) -> Array:
        """Simulated seconds. Shape (N,)."""
        return self.states[:, 0]

    def robot_state(self) -> RobotState:
        """The robots' states now."""
        nq, nv = self.model.mj_model.nq, self.model.mj_model.nv
        return self.model.robot_state(
            self.states[:, 1 : 1 + nq], self.states[:, 1 + nq : 1 + nq + nv]
        )


class VectorEnv:
    """Episodes for N robots.

    An episode ends after ``episode_steps`` (truncated), by a fall where the robot file says so, or
    when the physics is no longer finite (both terminated). The step after that one resets the
    robot instead of moving it, so the last observation of an episode is never lost.

    The command of step t acts after the robot's delay: until then those of the steps before do.
    """

    def __init__(
        self,
        model: RobotModel,
        num_envs: int,
        *,
        rng: np.random.Generator,
        episode_steps: int,
        delay_ms: tuple[float, float] = (0.0, 0.0),
        randomization: DomainRandomization | None = None,
        bodies_seed: int = 0,
        staggered: bool = False,
        num_threads: int = 1,
    ) -> None:
        """Reset all robots.

        Args:
            model: the robot.
            num_envs: N.
            rng: source of every random number here.
            episode_steps: control steps of an episode.
            delay_ms: range of the delay from state to command, drawn for each episode, half of
                them from its two ends.
            randomization: of bodies, drawn once for each robot, and of what is sensed.
            bodies_seed: of these bodies, which a run that is resumed has again.
            staggered: spread the first episodes' ends, so that resets do not coincide.
            num_threads: of the physics.
        Raises: ConfigError when a delay is longer than MAX_DELAY_S, or not a whole number of
            simulation steps.
        """
        spec = model.spec
        if delay_ms[1] > 1000.0 * MAX_DELAY_S or delay_ms[0] > delay_ms[1]:
            raise ConfigError(
                f"delay is {_span(delay_ms)} ms; expected at most {1000.0 * MAX_DELAY_S:g} ms, "
                "and the smaller number first"
            )
        steps = np.array(delay_ms) / 1000.0 / spec.sim_dt
        if np.abs(steps - np.round(steps)).max() > 1e-6:
            raise ConfigError(
                f"delay is {_span(delay_ms)} ms; expected multiples of the simulation step "
                f"'sim_dt' of robot '{spec.name}', {spec.sim_dt * 1000.0:g} ms"
            )
        self.model, self.spec, self.num_envs = model, spec, num_envs
        self._rng, self.episode_steps, self._delay_ms = rng, episode_steps, delay_ms
        self._randomization = randomization or DomainRandomization()
        bodies = np.random.default_rng((bodies_seed, num_envs))
        models = varied_models(model, self._randomization, num_envs, bodies)
        start = model.reset_state(num_envs, rng)
        self.physics = Physics(model, start, num_threads, models)
        num_sent = max(1, -(-round(steps[1]) // spec.num_substeps))
        self._sent = np.tile(np.array(spec.safe_command), (num_envs, num_sent, 1))
        """Commands, newest first, that may still act. Shape (N, at least 1, A)."""
        self._limits = BodyLimits(model, np.array([gain_factor(model, own) for own in models]))
        self.limit_names = self._limits.names
        """Of the robot file's ``body_limits`` that are set (L)."""
        self.exceeded = np.zeros((num_envs, len(self.limit_names)), np.float32)
        """By which part of each of them, in the last step; 0 after a reset. Shape (N, L)."""
        self.steps = np.zeros(num_envs, int)
        if staggered:
            self.steps[:] = np.arange(num_envs) * episode_steps // num_envs
        self._delay = self._draw_delay(num_envs)
        self.terminated = np.zeros(num_envs, bool)
        self.fallen = np.zeros(num_envs, bool)
        """By its state or by a contact in the last step, as the robot file says. Shape (N,)."""
        self.diverged = np.zeros(num_envs, bool)
        """Robots whose state after the last step means nothing. Shape (N,)."""
        self.look()

    @property
    def last_command(self) -> Array:
        """Sent at the last step; the safe command after a reset. Shape (N, A)."""
        return self._sent[:, 0]

    def filtered(self, wanted: NDArray[np.floating]) -> Array:
        """The command for the next step: a wanted one, as the robot file filters it. (N, A)."""
        clipped = np.clip(np.asarray(wanted, np.float64), *self.spec.command_limits)
        return self.spec.filtered(clipped, self.last_command)

    @property
    def needs_reset(self) -> NDArray[np.bool_]:
        """Robots that the next step resets instead of moving. Shape (N,)."""
        return self.terminated | (self.steps >= self.episode_steps)

    def policy_obs(self) -> NDArray[np.float32]:
        """What the policy sees. Shape (N, O)."""
        return build_policy_obs(self.spec, self.sensed, self.last_command)

    def step(self, commands: NDArray[np.floating], push: Array | None = None) -> None:
        """Move every robot by one control step, or reset it.

        Args:
            commands: clipped to limits. Shape (N, A).
            push: a force on the base during this step, as the change of velocity that it would
                be for a rigid body; world frame, m/s. Shape (N, 2).
        """
        wrench = None
        if push is not None:
            wrench = np.pad(self.model.mass_kg / self.spec.control_dt * push, ((0, 0), (0, 4)))
        reset = self.needs_reset
        commands = np.clip(commands, *self.spec.command_limits)
        sent = np.concatenate([commands[:, None], self._sent], axis=1)
        late = self._delay[:, None] - np.arange(self.spec.num_substeps)  # (N, S)
        steps_ago = np.maximum(0, -(-late // self.spec.num_substeps))
        applied = sent[np.arange(self.num_envs)[:, None], steps_ago]
        diverged = self.physics.advance(applied, wrench)
        self._sent = sent[:, :-1]
        self.steps += 1
        touching = self.physics.touching()
        if self.limit_names:
            moved = Moved(
                sent[:, :2].swapaxes(0, 1),
                applied,
                *self.physics.joints(),
                touching,
                self.physics.robot_state(),
            )
            self.exceeded = self._limits.exceeded(moved)
        touches = touching[..., self.model.is_fallen].any(axis=(1, 2))
        if reset.any():
            self.reset(reset)
        self.look()
        self.diverged = diverged & ~reset
        self.fallen = self.state.has_fallen(self.spec) | (touches & ~reset)
        self.terminated = self.diverged.copy()
        if self.spec.fallen.ends_episode:
            self.terminated |= self.fallen & ~reset
        self.exceeded[self.diverged] = 0.0

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Start a new episode for some robots. Shape (N,)."""
        num = int(which.sum())
        self.physics.states[which] = self.model.reset_state(num, self._rng)
        self._sent[which] = self.spec.safe_command
        self.exceeded[which] = 0.0
        self.steps[which] = 0
        self._delay[which] = self._draw_delay(num)
        self.look()

    def checkpoint(self) -> dict[str, Any]:
        """Everything that ``restore`` needs to go on exactly here."""
        return {
            "states": self.physics.states.copy(),
            "sent": self._sent.copy(),
            "steps": self.steps.copy(),
            "delay": self._delay.copy(),
            "terminated": self.terminated.copy(),
            "sensed": dataclasses.asdict(copy.deepcopy(self.sensed)),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from ``checkpoint``."""
        self.physics.states[:] = saved["states"]
        # Runs of before delays could be longer than a control step kept the last one only.
        self._sent = saved["sent"].copy() if "sent" in saved else saved["last_command"][:, None]
        self.steps, self._delay = saved["steps"].copy(), saved["delay"].copy()
        self.terminated = saved["terminated"].copy()
        self.look()
        if "sensed" in saved:  # with the noise that it had
            self.sensed = RobotState(**copy.deepcopy(saved["sensed"]))

    def look(self) -> None:
        """Take in the states of the physics, which somebody may have set."""
        self.state = self.sensed = self.physics.robot_state()
        """The robots as they are, and as their sensors report them."""
        if self._randomization.sensor_noise > 0.0:
            self.sensed = with_noise(self.state, self._randomization.sensor_noise, self._rng)

    def _draw_delay(self, num: int) -> NDArray[np.int64]:
        """Delay in simulation steps; one of ``END_SHARE`` is one of the two ends. Shape (num,)."""
        low, high = (round(ms / 1000.0 / self.spec.sim_dt) for ms in self._delay_ms)
        ends, all_of_them = (
            self._rng.choice([low, high], num),
            self._rng.integers(low, high + 1, num),
        )
        return np.where(self._rng.random(num) < END_SHARE, ends, all_of_them)


def one_episode_env(
    model: RobotModel,
    num_envs: int,
    steps: int,
    *,
    rng: np.random.Generator,
    delay_ms: float | tuple[float, float] = 0.0,
    randomization: DomainRandomization | None = None,
    bodies_seed: int = 0,
    num_threads: int | None = None,
) -> VectorEnv:
    """Robots to be measured over T control steps, which end before any episode is truncated.

    Args:
        model: the robot.
        num_envs: N.
        steps: T.
        rng: source of the starts.
        delay_ms: from state to command, the same for all; or a range of which each has one.
        randomization: of bodies and of what is sensed.
        bodies_seed: of these bodies.
        num_threads: of the physics; all available cores by default.
    """
    return VectorEnv(
        model,
        num_envs,
        rng=rng,
        episode_steps=steps + 1,
        delay_ms=delay_ms if isinstance(delay_ms, tuple) else (delay_ms, delay_ms),
        randomization=randomization,
        bodies_seed=bodies_seed,
        num_threads=num_threads or available_cores(),
    )


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _span(values: tuple[float, float]) -> str:
    return " to ".join(f"{value:g}" for value in dict.fromkeys(values))
