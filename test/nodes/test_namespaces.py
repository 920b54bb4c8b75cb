"""Three robots side by side, each in a namespace of its own, on one clock."""

from collections.abc import Callable
from pathlib import Path

import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock

from dads_ros.nodes.conversions import to_ns
from ros_graph import LATCHED, NodeProcess, Probe

Start = Callable[..., NodeProcess]
ROBOTS = ("robot1", "robot2", "robot3")
GOALS = {"robot2": (2.0, 0.0), "robot3": (0.0, -2.0)}


def newest(probe: Probe, robot: str) -> Odometry:
    return probe.messages[f"{robot}/odom"][-1]


@pytest.mark.slow
def test_each_robot_follows_its_own_goals_and_the_common_clock(
    start: Start, probe: Probe, point_mass_bundle: Path
) -> None:
    for robot in ROBOTS:
        common = {"namespace": robot, "frame_prefix": f"{robot}/"}
        clock = robot == "robot1"
        start("simulator", robot="point_mass", speed=4.0, publish_clock=clock, **common)
        start("skill_planner", bundle=point_mass_bundle, use_sim_time=True, **common)
        probe.listen(Odometry, f"{robot}/odom")
        probe.listen(PoseStamped, f"{robot}/skill_planner/goal", LATCHED)
    probe.listen(Clock, "/clock")
    publishers = {r: probe.node.create_publisher(PoseStamped, f"{r}/goal_pose", 5) for r in GOALS}
    probe.wait_for(lambda: all(p.get_subscription_count() for p in publishers.values()))
    probe.wait_for(lambda: all(probe.messages[f"{robot}/odom"] for robot in ROBOTS))
    for robot, (x, y) in GOALS.items():
        goal = PoseStamped()
        goal.header.frame_id = f"{robot}/odom"
        goal.pose.position.x, goal.pose.position.y = x, y
        publishers[robot].publish(goal)

    def is_near(robot: str, x: float, y: float) -> bool:
        position = newest(probe, robot).pose.pose.position
        return bool(abs(position.x - x) < 0.5 and abs(position.y - y) < 0.5)

    probe.wait_for(lambda: all(is_near(robot, *goal) for robot, goal in GOALS.items()))
    assert is_near("robot1", 0.0, 0.0)
    message = newest(probe, "robot1")
    assert (message.header.frame_id, message.child_frame_id) == ("robot1/odom", "robot1/base_link")
    assert not probe.messages["robot1/skill_planner/goal"]
    assert len(probe.node.get_publishers_info_by_topic("/clock")) == 1
    clock = {to_ns(m.clock) for m in probe.messages["/clock"]}
    for robot in GOALS:  # its states have the clock's own stamps, but for those before it came
        stamps = [to_ns(m.header.stamp) for m in probe.messages[f"{robot}/odom"]]
        assert stamps == sorted(stamps)
        assert len(clock.intersection(stamps[-20:])) >= 18


def test_a_simulator_without_the_clock_waits_for_it_and_follows_its_jumps(
    start: Start, probe: Probe
) -> None:
    start("simulator", robot="point_mass", publish_clock=False)
    probe.listen(Odometry, "odom")
    publisher = probe.node.create_publisher(Clock, "/clock", 10)
    probe.wait_for(lambda: publisher.get_subscription_count() and probe.is_heard("odom"))
    for seconds in (100.0, 100.1, 5.0, 5.1):
        message = Clock()
        message.clock.sec, message.clock.nanosec = int(seconds), round(seconds % 1.0 * 1e9)
        publisher.publish(message)
        if seconds in (100.1, 5.1):
            due = round(seconds * 1e9)
            probe.wait_for(
                lambda due=due: due in [to_ns(m.header.stamp) for m in probe.messages["odom"]]
            )
    stamps = [to_ns(m.header.stamp) / 1e9 for m in probe.messages["odom"]]
    assert [stamp for stamp in stamps if stamp > 0.0] == pytest.approx([100.1, 5.1])
