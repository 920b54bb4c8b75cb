"""PlanDisplay: ~/skill; a plan on ~/plan and, now and then, ~/rollouts; ~/goal_tolerance."""

import time

import numpy as np
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from visualization_msgs.msg import Marker, MarkerArray

from dads_ros.nodes.conversions import Frames, path_message, skill_message, to_stamp
from dads_ros.nodes.markers import goal_marker, rollout_markers
from dads_ros.nodes.runner import LATCHED_QOS, NO_PUBLISHER_EVENTS, RELIABLE_QOS
from dads_ros.nodes.settings import SkillPlannerConfig
from dads_ros.planning.mppi import SkillModel
from dads_ros.planning.skill_planner import Plan


class PlanDisplay:
    """Publishes plans from whichever thread plans, never from the control tick.

    There it only says the skill, once the command has left.
    """

    def __init__(self, node: Node, frames: Frames) -> None:
        """Make the publishers."""
        self._node, self._frames = node, frames
        quiet = {"event_callbacks": NO_PUBLISHER_EVENTS}
        self._path = node.create_publisher(Path, "~/plan", RELIABLE_QOS, **quiet)
        self._skill = node.create_publisher(Float64MultiArray, "~/skill", RELIABLE_QOS, **quiet)
        self._rollouts = node.create_publisher(MarkerArray, "~/rollouts", RELIABLE_QOS, **quiet)
        self._goal = node.create_publisher(Marker, "~/goal_tolerance", LATCHED_QOS, **quiet)
        self._rollouts_time = -np.inf

    def show_goal(self, goal: NDArray[np.floating] | None, tolerance_m: float) -> None:
        """Publish where a goal x, y counts as reached, in metres, or that there is none. (2,)."""
        stamp = self._node.get_clock().now().to_msg()
        self._goal.publish(goal_marker(goal, tolerance_m, stamp=stamp, frame=self._frames.odom))

    def show_skill(self, skill: NDArray[np.floating] | None, stamp_ns: int) -> None:
        """Publish the one that the command for a state was made for, if any. Shape (D,)."""
        try:
            self._skill.publish(skill_message(skill, stamp_ns))
        except Exception as error:
            self._complain("skill", error)

    def show(
        self,
        plan: Plan,
        model: SkillModel,
        config: SkillPlannerConfig,
        height: float,
        stamp_ns: int,
    ) -> None:
        """Publish the plan of the first robot, at a height in metres above the ground."""
        try:
            self._path.publish(self.path(plan, model, config, height, stamp_ns))
            now = time.monotonic()
            is_due = now - self._rollouts_time >= 1.0 / config.rollouts_rate_hz
            if is_due and self._rollouts.get_subscription_count():
                self._rollouts_time = now
                self._rollouts.publish(self.rollouts(plan, config, height, stamp_ns))
        except Exception as error:  # a picture less must not stop the planning
            self._complain("plan", error)

    def _complain(self, what: str, error: Exception) -> None:
        text = f"the {what} cannot be shown: {error!r}"
        self._node.get_logger().error(text, throttle_duration_sec=1.0)

    def path(
        self,
        plan: Plan,
        model: SkillModel,
        config: SkillPlannerConfig,
        height: float,
        stamp_ns: int,
    ) -> Path:
        """The predicted way: before the first and after each skill, with its time."""
        poses = plan.predictions[0, :, : 3 if "yaw" in model.fields else 2]
        step_s = config.planner.skill_duration_steps * model.control_dt
        return path_message(poses, height, stamp_ns, step_s, self._frames)

    def rollouts(
        self, plan: Plan, config: SkillPlannerConfig, height: float, stamp_ns: int
    ) -> MarkerArray:
        """Some of the candidates."""
        return rollout_markers(
            plan.candidates[0],
            plan.costs[0],
            num=config.num_rollouts,
            height=height,
            stamp=to_stamp(stamp_ns),
            frame=self._frames.odom,
        )
