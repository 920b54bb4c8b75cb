"""Two robots side by side, each in a namespace of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock

from ros_graph import LATCHED, NodeProcess, Probe


@pytest.mark.slow
def test_only_the_robot_that_got_the_goal_moves(
    start: Callable[..., NodeProcess], probe: Probe, point_mass_bundle: Path
) -> None:
    for robot in ("robot1", "robot2"):
        common = {"namespace": robot, "frame_prefix": f"{robot}/"}
        clock = robot == "robot1"
        start("simulator", robot="point_mass", speed=4.0, publish_clock=clock, **common)
        start("skill_planner", bundle=point_mass_bundle, use_sim_time=True, **common)
        probe.listen(Odometry, f"{robot}/odom")
        probe.listen(PoseStamped, f"{robot}/skill_planner/goal", LATCHED)
    probe.listen(Clock, "/clock")
    publisher = probe.node.create_publisher(PoseStamped, "robot2/goal_pose", 5)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    probe.wait_for(lambda: probe.messages["robot1/odom"] and probe.messages["robot2/odom"])
    goal = PoseStamped()
    goal.header.frame_id = "robot2/odom"
    goal.pose.position.x = 2.0
    publisher.publish(goal)
    probe.wait_for(lambda: probe.messages["robot2/odom"][-1].pose.pose.position.x > 1.5)
    newest = probe.messages["robot1/odom"][-1]
    assert abs(newest.pose.pose.position.x) < 0.5
    assert (newest.header.frame_id, newest.child_frame_id) == ("robot1/odom", "robot1/base_link")
    assert not probe.messages["robot1/skill_planner/goal"]
    assert len(probe.node.get_publishers_info_by_topic("/clock")) == 1
