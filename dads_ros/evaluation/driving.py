"""Closed loop: many robots do a task each, planning over their skills, without ROS.

Shapes: R robots, T steps, A actuators.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import ControlConfig, CostsConfig, DomainRandomization, PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv, one_episode_env
from dads_ros.errors import PlanningError
from dads_ros.evaluation.statistics import Values
from dads_ros.observation import RobotState
from dads_ros.planning.control_loop import Policy
from dads_ros.planning.controller import Errand, SkillController, make_loop
from dads_ros.planning.mppi import SkillModel
from dads_ros.planning.tasks import Task, load_cost

Array = NDArray[np.float64]
PUSH_PERIOD_S = 4.0


@dataclass(frozen=True, kw_only=True)
class Drive:
    """What every robot did."""

    tracks: Array
    """Base position x, y before the first and after each step, world frame, m. (R, T + 1, 2)."""
    yaws: Array
    """Yaw at the same times, rad. Shape (R, T + 1)."""
    commands: Array
    """Sent at each step, in the robot file's order and unit. Shape (T, R, A)."""
    fell: NDArray[np.bool_]
    """The robot counted as fallen at some step. Shape (R,)."""
    is_up: NDArray[np.bool_]
    """At the end it counts as fallen no more, and no fall has ended its episode. Shape (R,)."""
    body: Values
    """How bodies moved, of a robot file with ``body_limits``: part of its range by which a command
    changed in a control step, and the part of the control steps in which each limit was exceeded;
    while the robot was up. Shape (R,) each."""

    @property
    def health(self) -> Values:
        """What every task reports: falls, and how bodies moved. Shape (R,) each."""
        return {"fall_fraction": self.fell, **self.body}


@dataclass(frozen=True, kw_only=True)
class Driver:
    """Drives robots in lock step, as the planner node does: a plan is used at its own step."""

    model: RobotModel
    policy: Policy
    """Mean action."""
    skills: SkillModel
    """What is planned with."""
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    costs: CostsConfig = field(default_factory=CostsConfig)
    seed: int
    """Of the start (uniform yaw, noise; ``default_rng(seed)``) and of the planner's samples
    (``robot_rngs(seed, R)``)."""
    delay_ms: float | tuple[float, float] = 0.0
    """From state to command; or a range of which each robot has one."""
    randomization: DomainRandomization | None = None
    """Of bodies and of what is sensed."""
    push_mps: float = 0.0
    """Every PUSH_PERIOD_S each robot is made so much faster."""
    num_threads: int | None = None
    """Of the physics; all available cores by default."""
    progress: Callable[[int], None] = lambda step: None
    """Called with the number of steps made."""

    def drive(
        self,
        task: Task,
        num: int,
        steps: int,
        change: Callable[[Task, int, RobotState], None] = lambda task, step, state: None,
        *,
        stand_after: int | None = None,
        pushes: Mapping[int, Array] = MappingProxyType({}),
    ) -> Drive:
        """Drive from the origin.

        Args:
            task: of R robots; what it remembers changes.
            num: R.
            steps: T.
            change: called before each plan with the task, the number of steps made and the state.
            stand_after: the task ends after so many steps, and the robots stand; None: with T.
            pushes: by the number of steps made, how much faster the next one makes each robot,
                world frame, m/s. Shape (R, 2).
        """
        rng, spec = np.random.default_rng(self.seed), self.model.spec
        env = one_episode_env(
            self.model,
            num,
            steps,
            rng=rng,
            delay_ms=self.delay_ms,
            randomization=self.randomization,
            bodies_seed=self.seed,
            num_threads=self.num_threads,
        )
        config = ControlConfig(
            lock_step=True,
            planner=self.planner,
            costs=self.costs,
            start_ramp_s=0.0,  # robots stand at their home at the start
        )
        loop = make_loop(spec, self.policy, self.skills, config, self.seed, num)
        controller = SkillController(
            loop,
            lambda: config,
            seed=self.seed,
            custom=load_cost(self.costs.custom),
            clock=lambda: 0.0,  # in lock step nothing takes time
            say=lambda text: None,  # falls are counted
            tell=lambda text: None,
        )
        controller.activate()
        controller.turn_to(Errand(task, received=0.0))

        def command(step: int) -> Array:
            if step == stand_after:
                controller.turn_to(None)
            elif controller.plan_due and controller.errand is not None:
                change(task, step, env.sensed)
            answer = controller.step(env.sensed, round(step * spec.control_dt * 1e9))
            if controller.plan_error:
                raise PlanningError(controller.plan_error)
            assert answer is not None  # no stamp comes twice here
            return answer.result.command

        def push(step: int) -> Array:
            return self._push(step, num) + pushes.get(step, 0.0)

        return follow(env, steps, command, push, self.progress)

    def _push(self, step: int, num: int) -> Array:
        """Of this step, for ``VectorEnv.step``: all at once, each in a direction of its own."""
        period = round(PUSH_PERIOD_S / self.model.spec.control_dt)
        if self.push_mps == 0.0 or step % period != period // 2:
            return np.zeros((num, 2))
        angle = np.random.default_rng((self.seed, step)).uniform(-np.pi, np.pi, num)
        return self.push_mps * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def follow(
    env: VectorEnv,
    steps: int,
    command: Callable[[int], Array],
    push: Callable[[int], Array] | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> Drive:
    """What robots do that are sent commands, whoever makes them.

    Args:
        env: R robots at their start, with one episode each.
        steps: T.
        command: what is sent, from the number of steps made. Shape (R, A).
        push: likewise how much faster the robots are made, world frame, m/s. Shape (R, 2).
        progress: called with the number of steps made.
    """
    num, spec = env.num_envs, env.spec
    tracks, yaws = np.empty((num, steps + 1, 2)), np.empty((num, steps + 1))
    tracks[:, 0], yaws[:, 0] = env.state.position[:, :2], env.state.yaw()
    commands = np.empty((steps, num, spec.command_dim))
    fell, ended = env.state.has_fallen(spec), np.zeros(num, bool)
    low, high = spec.command_limits
    exceeded, rate = np.zeros((num, len(env.limit_names))), np.zeros(num)
    steps_up = np.zeros(num)
    for step in range(steps):
        wanted, before = command(step), env.last_command.copy()
        pushed = None if push is None else push(step)
        env.step(wanted, pushed if pushed is not None and pushed.any() else None)
        commands[step] = env.last_command
        is_up = ~(ended | env.fallen | env.diverged)
        steps_up += is_up
        exceeded += is_up[:, None] * (env.exceeded > 0.0)
        rate += is_up * (np.abs(commands[step] - before) / (high - low)).mean(axis=1)
        # A robot whose episode ended stays where it was; the next step would reset it.
        ended |= env.terminated
        position, yaw = env.state.position[:, :2], env.state.yaw()
        tracks[:, step + 1] = np.where(ended[:, None], tracks[:, step], position)
        yaws[:, step + 1] = np.where(ended, yaws[:, step], yaw)
        fell |= ended | env.fallen
        progress(step + 1)
    is_up = ~(ended | env.state.has_fallen(spec))
    body: dict[str, Array] = {}
    if env.limit_names:
        per_step = np.maximum(steps_up, 1.0)
        body["command_rate"] = rate / per_step
        for name, column in zip(env.limit_names, exceeded.T, strict=True):
            body[f"exceeded_{name}_fraction"] = column / per_step
    return Drive(tracks=tracks, yaws=yaws, commands=commands, fell=fell, is_up=is_up, body=body)
