"""Closed loop: many robots do a task each, planning over their skills, without ROS.

Shapes: R robots, T steps, A actuators.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import ControlConfig, CostsConfig, PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.randomization import DomainRandomization
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.errors import PlanningError
from dads_ros.observation import RobotState
from dads_ros.planning.control_loop import Policy
from dads_ros.planning.controller import Errand, SkillController, make_loop
from dads_ros.planning.mppi import SkillModel
from dads_ros.planning.tasks import Task, load_cost

Array = NDArray[np.float64]


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
    delay_ms: float = 0.0
    """From state to command."""
    randomization: DomainRandomization | None = None
    """Of bodies and of what is sensed."""
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
            num_threads=self.num_threads,
        )
        config = ControlConfig(lock_step=True, planner=self.planner, costs=self.costs)
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
        tracks, yaws = np.empty((num, steps + 1, 2)), np.empty((num, steps + 1))
        tracks[:, 0], yaws[:, 0] = env.state.position[:, :2], env.state.yaw()
        commands = np.empty((steps, num, spec.command_dim))
        fell, ended = env.state.has_fallen(spec), np.zeros(num, bool)
        for step in range(steps):
            if step == stand_after:
                controller.turn_to(None)
            elif controller.plan_due and controller.errand is not None:
                change(task, step, env.sensed)
            answer = controller.step(env.sensed, round(step * spec.control_dt * 1e9))
            if controller.plan_error:
                raise PlanningError(controller.plan_error)
            assert answer is not None  # no stamp comes twice here
            env.step(answer.result.command, pushes.get(step))
            commands[step] = env.last_command
            # A robot whose episode ended stays where it was; the next step would reset it.
            ended |= env.terminated
            position, yaw = env.state.position[:, :2], env.state.yaw()
            tracks[:, step + 1] = np.where(ended[:, None], tracks[:, step], position)
            yaws[:, step + 1] = np.where(ended, yaws[:, step], yaw)
            fell |= ended | env.state.has_fallen(spec)
            self.progress(step + 1)
        is_up = ~(ended | env.state.has_fallen(spec))
        return Drive(tracks=tracks, yaws=yaws, commands=commands, fell=fell, is_up=is_up)
