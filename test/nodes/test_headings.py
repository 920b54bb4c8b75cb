"""Skills with a heading (forward, left, turn) over DDS: velocities with a turn, goals as poses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from std_msgs.msg import Bool, Float64MultiArray
from visualization_msgs.msg import MarkerArray

from dads_ros.config import ControlConfig, PlannerConfig
from dads_ros.nodes.conversions import Frames, goal_message, goal_of
from dads_ros.transform import Transform
from ros_graph import LATCHED, NodeProcess, Probe, is_doing, is_unique, position

Start = Callable[..., NodeProcess]
SETTLED = 20
"""Control steps, 2 s."""


@pytest.fixture
def planner(probe: Probe, start: Start, hovercraft_bundle: Path) -> NodeProcess:
    """Of a hovercraft that stands."""
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(Odometry, "odom")
    probe.listen(PoseStamped, "skill_planner/goal", LATCHED)
    probe.listen(Bool, "skill_planner/goal_reached", LATCHED)
    probe.listen(PathMessage, "skill_planner/plan")
    probe.listen(MarkerArray, "skill_planner/rollouts")
    probe.listen(Float64MultiArray, "skill_planner/skill")
    probe.listen(DiagnosticArray, "/diagnostics")
    start("simulator", robot=hovercraft_bundle.parent / "old" / "hovercraft.yaml", speed=4.0)
    planner = start("skill_planner", bundle=hovercraft_bundle, use_sim_time=True)
    probe.wait_for(lambda: is_doing(probe, "no task: standing command"), 60.0)
    return planner


def pose_of(message: PoseStamped) -> np.ndarray:
    """x, y, yaw."""
    return goal_of(message, Transform())


def yaw(probe: Probe) -> float:
    return float(pose_of(PoseStamped(pose=probe.messages["odom"][-1].pose.pose))[2])


def test_it_follows_velocities_with_a_turn(probe: Probe, planner: NodeProcess) -> None:
    asked = -0.3, -0.2, -0.5
    publisher = probe.node.create_publisher(Twist, "cmd_vel", 5)
    message = Twist()
    message.linear.x, message.linear.y, message.angular.z = asked
    probe.node.create_timer(0.1, lambda: publisher.publish(message))

    def follows() -> bool:
        twists = [m.twist.twist for m in probe.messages["odom"][-SETTLED:]]
        found = np.array([[t.linear.x, t.linear.y, t.angular.z] for t in twists])
        return bool((np.abs(found - asked) < 0.15).all())

    probe.wait_for(lambda: len(probe.messages["odom"]) > SETTLED and follows())
    probe.wait_for(lambda: is_doing(probe, "on the way"))
    assert len(probe.messages["skill_planner/skill"][-1].data) == 3


def test_it_is_at_its_goal_with_the_heading_that_was_asked_for(
    probe: Probe, planner: NodeProcess
) -> None:
    """And its plan, its candidates and its goal are drawn as they are."""
    publisher = probe.node.create_publisher(PoseStamped, "goal_pose", 5)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    x, y, heading = goal = 2.0, 1.0, 2.5
    stamp = probe.messages["odom"][-1].header.stamp
    publisher.publish(goal_message(np.array([x, y]), heading, stamp, Frames.of("")))
    probe.wait_for(
        lambda: [m.data for m in probe.messages["skill_planner/goal_reached"]][-1:] == [True], 30.0
    )
    probe.wait_for(lambda: is_doing(probe, "goal reached"))
    assert np.linalg.norm(position(probe) - [x, y]) < ControlConfig().goal_tolerance_m
    turn = np.angle(np.exp(1j * (yaw(probe) - heading)))
    assert abs(turn) < ControlConfig().goal_tolerance_rad
    (shown,) = probe.messages["skill_planner/goal"]
    np.testing.assert_allclose(pose_of(shown), goal, atol=1e-6)
    first, last = (probe.messages["skill_planner/plan"][i].poses for i in (0, -1))
    assert len(first) == len(last) == PlannerConfig().planning_horizon + 1
    yaws = np.array([pose_of(pose)[2] for pose in last])
    assert (np.abs(np.angle(np.exp(1j * (yaws - heading)))) < 0.5).all()  # it faces that way
    assert all(map(is_unique, probe.messages["skill_planner/rollouts"]))
    assert 1 < len(probe.messages["skill_planner/rollouts"][-1].markers) <= 21
    driven = [len(m.data) for m in probe.messages["skill_planner/skill"] if m.data]
    assert driven and set(driven) == {3}


def test_a_skill_by_hand_has_three_entries(probe: Probe, planner: NodeProcess) -> None:
    publisher = probe.node.create_publisher(Float64MultiArray, "skill_planner/skill_by_hand", 5)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(Float64MultiArray(data=[0.3, 0.0]))
    probe.wait_for(lambda: "expected 3 finite numbers" in planner.said())
    message = Float64MultiArray(data=[0.0, 0.0, 0.5])
    probe.node.create_timer(0.1, lambda: publisher.publish(message))
    probe.wait_for(lambda: is_doing(probe, "skill by hand"))
    probe.wait_for(lambda: probe.messages["odom"][-1].twist.twist.angular.z > 0.4)
