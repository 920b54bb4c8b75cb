"""ControlLoop: which skill is held, when the next plan is due, and the policy's command.

The same object drives the robots of an evaluation and the one of the planner node, so that both
send the same commands. Shapes: R robots, D skill dimensions, O policy_obs, A actuators.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import PlannerConfig
from dads_ros.observation import RobotState, build_policy_obs
from dads_ros.planning.costs import Cost
from dads_ros.planning.skill_planner import Plan, SkillPlanner, robot_rngs
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]
RAMP_S = 0.5
"""In which a skill of length 1 becomes a zero skill."""
Policy = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.floating]]
"""(policy_obs (R, O), skill (R, D)) -> command in the actuator's unit (R, A)."""


class ControlLoop:
    """Receding horizon: every ``skill_duration_steps`` control steps a new plan is due.

    In lock step::

        if loop.plan_due:
            loop.plan(state, last_command, cost)
        command = loop.command(state, last_command)

    Where planning has its own thread, that thread plans from ``plan_start`` and hands plans over
    by ``hold``; the control step never waits for it.
    """

    def __init__(self, robot: RobotSpec, policy: Policy, planner: SkillPlanner) -> None:
        """Start without a skill: a plan is due."""
        self.robot, self._policy, self.planner = robot, policy, planner
        self.num_robots = planner.num_robots
        self.skill: NDArray[np.float32] | None = None
        """The skill that is held; None stands still. Shape (R, D)."""
        self.asked_skill: NDArray[np.float32] | None = None
        """That of the last command; None where the policy was not asked for it. Shape (R, D)."""
        self.stands: NDArray[np.bool_] = np.zeros(1, bool)
        """Robots for which the plan finds nothing better than to stand. Shape (R,)."""
        self._steps = 0

    def renewed(self, config: PlannerConfig, seed: int) -> "ControlLoop":
        """The same without a past: no skill, new samples."""
        rngs = robot_rngs(seed, self.num_robots)
        planner = SkillPlanner(self.planner.model, config, rngs=rngs)
        return ControlLoop(self.robot, self._policy, planner)

    def go_on_from(self, other: "ControlLoop") -> None:
        """Hold what another one holds."""
        self.skill, self.stands, self.asked_skill = other.skill, other.stands, other.asked_skill

    @property
    def plan_due(self) -> bool:
        """Whether a new plan is to be made from the state of this control step."""
        return self._steps % self.planner.config.skill_duration_steps == 0

    def request_plan(self) -> None:
        """Make a plan due now, as for a new goal."""
        self._steps = 0

    def plan(self, state: RobotState, last_command: Array, cost: Cost) -> Plan:
        """Plan and hold the plan's skill from this control step on. Raises: PlanningError."""
        plan = self.planner.plan(plan_start(self.robot, state, last_command), cost)
        self.hold(plan)
        return plan

    def hold(self, plan: Plan) -> None:
        """Hold a plan's skill, or stand where that is best, from this control step on."""
        self.skill, self.stands = plan.skill, plan.stands

    def hold_by_hand(self, skill: NDArray[np.floating]) -> None:
        """Hold a skill that nobody planned, brought into ``skill_range``. Shape (R, D)."""
        space, part = self.planner.model.skill_space, self.planner.config.skill_range
        self.skill, self.stands = space.clip(skill, part), np.zeros(len(skill), bool)

    def command(
        self,
        state: RobotState,
        last_command: Array,
        fallen: NDArray[np.bool_] | None = None,
        stands: NDArray[np.bool_] | bool = False,
    ) -> Array:
        """One control step.

        Args:
            state: measured now, of R robots.
            last_command: sent at the step before. Shape (R, A).
            fallen: ``state.has_fallen``, where that is known already. Shape (R,).
            stands: robots that stand whatever is planned. Shape (R,).
        Returns: the policy's command; without a skill, and where a robot is to stand, the
            standing command or, where there is none, that of skills that become the stillest
            one, in RAMP_S from one of length 1; the safe command of a robot that has fallen.
            Shape (R, A).
        """
        self._steps += 1
        standing, still = self.robot.standing_command, self.planner.stillest_skill
        skill, planned = self.skill, self.stands  # once: a plan may be made or fail meanwhile
        if skill is None:
            planned = np.ones(len(last_command), bool)
        stands = (planned | stands)[:, None]
        if standing is not None and stands.all():
            self.asked_skill = None
            command = np.broadcast_to(standing, last_command.shape)
        else:
            if skill is None or stands.any():
                skill = np.where(stands, self._toward(still), still if skill is None else skill)
            self.asked_skill = skill
            command = self._policy(build_policy_obs(self.robot, state, last_command), skill)
            if standing is not None:
                command = np.where(stands, standing, command)
        fallen = state.has_fallen(self.robot) if fallen is None else fallen
        if not fallen.any():
            return command
        return np.where(fallen[:, None], self.robot.safe_command, command)

    def _toward(self, still: NDArray[np.float32]) -> NDArray[np.float32]:
        """The skills of this control step of robots that come to a stand. Shape (R, D)."""
        before = self.asked_skill
        is_discrete = self.planner.model.skill_space.config.kind == "discrete"
        if before is None or is_discrete:
            return np.broadcast_to(still, (self.num_robots, len(still)))
        way = still - before
        left = np.linalg.norm(way, axis=1, keepdims=True)
        part = np.minimum(1.0, self.robot.control_dt / RAMP_S / np.maximum(left, 1e-9))
        return np.where(part < 1.0, before + part * way, still).astype(np.float32)


def plan_start(robot: RobotSpec, state: RobotState, last_command: Array) -> Array:
    """What a plan starts from, as ``PredictionSpec.rollout`` takes it. Shape (R, 6 + O)."""
    obs, velocity = build_policy_obs(robot, state, last_command), state.ground_velocity(robot)
    place = state.position[:, :2]
    return np.column_stack([place, state.yaw(), velocity, state.yaw_rate(robot), obs])
