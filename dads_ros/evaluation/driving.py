"""Closed loop: many robots do a task each, planning over their skills, without ROS.

Shapes: R robots, T steps, A actuators.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import CostsConfig, PlannerConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.observation import RobotState
from dads_ros.planning.control_loop import ControlLoop, Policy
from dads_ros.planning.mppi import SkillModel
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs
from dads_ros.planning.tasks import Task

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


@dataclass(frozen=True, kw_only=True)
class Driver:
    """Drives robots in lock step: a plan is used at the step at which it is made."""

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
    ) -> Drive:
        """Drive from the origin.

        Args:
            task: of R robots; what it remembers changes.
            num: R.
            steps: T.
            change: called before each plan with the task, the number of steps made and the state.
        """
        rng, spec = np.random.default_rng(self.seed), self.model.spec
        env = one_episode_env(
            self.model,
            num,
            steps,
            rng=rng,
            delay_ms=self.delay_ms,
            num_threads=self.num_threads,
        )
        planner = SkillPlanner(self.skills, self.planner, rngs=robot_rngs(self.seed, num))
        loop = ControlLoop(spec, self.policy, planner)
        tracks, yaws = np.empty((num, steps + 1, 2)), np.empty((num, steps + 1))
        tracks[:, 0], yaws[:, 0] = env.state.position[:, :2], env.state.yaw()
        commands = np.empty((steps, num, spec.command_dim))
        fell, ended = env.state.has_fallen(spec), np.zeros(num, bool)
        for step in range(steps):
            state = _finite(env.state)
            if loop.plan_due:
                change(task, step, state)
                cost = task.cost(
                    np.column_stack([state.position[:, :2], state.yaw()]),
                    self.costs,
                    held=loop.skill,
                    robot_radius_m=spec.radius_m,
                    standing_radius_m=self.planner.standing_radius_m,
                )
                loop.plan(state, env.last_command, cost)
            env.step(loop.command(state, env.last_command))
            commands[step] = env.last_command
            # A robot whose episode ended stays where it was; the next step would reset it.
            ended |= env.terminated
            position, yaw = env.state.position[:, :2], env.state.yaw()
            tracks[:, step + 1] = np.where(ended[:, None], tracks[:, step], position)
            yaws[:, step + 1] = np.where(ended, yaws[:, step], yaw)
            fell |= ended | env.state.has_fallen(spec)
            self.progress(step + 1)
        return Drive(tracks=tracks, yaws=yaws, commands=commands, fell=fell)


def _finite(state: RobotState) -> RobotState:
    """Zeros for the numbers of a robot whose physics broke down; it is out of the run anyway."""
    if state.is_finite():
        return state
    fields = RobotState.__dataclass_fields__
    return RobotState(*(np.nan_to_num(getattr(state, name), posinf=0.0) for name in fields))
