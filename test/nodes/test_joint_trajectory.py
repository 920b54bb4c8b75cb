"""Commands for joint_trajectory_controller, of the planner and of its guard, over DDS."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from dads_ros.nodes.guard_node import is_by_guard
from dads_ros.robot import RobotSpec
from ros_graph import NodeProcess, Probe, doctor, guard_of, health, is_running, stand

Start = Callable[..., NodeProcess]
ANT = RobotSpec.load("ant")
TOPIC = "legs_controller/joint_trajectory"


@contextmanager
def teleop() -> Iterator[None]:
    """Commands of the other type; DDS lets no participant have both on one topic."""
    context = Context()
    rclpy.init(context=context)
    node = Node("teleop", context=context)
    node.create_publisher(Float64MultiArray, TOPIC, 5)
    yield
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_planner_and_guard_send_trajectories(probe: Probe, start: Start) -> None:
    probe.listen(JointTrajectory, TOPIC)
    probe.listen(DiagnosticArray, "/diagnostics")
    commands = probe.messages[TOPIC]

    def is_moving() -> bool:
        return bool(commands) and any(abs(x) > 0.01 for x in commands[-1].points[0].positions)

    def by_guard() -> list[JointTrajectory]:
        return [message for message in commands if is_by_guard(message)]

    stand(probe, ANT, np.array([ANT.home[name] for name in ANT.joints]))
    planner = start(
        "skill_planner",
        bundle="ant",
        command_type="joint_trajectory",
        remap=f"joint_commands:={TOPIC}",
    )
    probe.wait_for(lambda: commands, 60.0)
    assert "as positions of joints" in planner.said()  # which the Ant's torques are not
    probe.send_goal(500.0, 0.0)
    probe.wait_for(is_moving)
    assert by_guard() == []

    with teleop():
        probe.wait_for(lambda: "/teleop publishes on" in health(probe)[1])
        assert not is_moving()
    probe.wait_for(is_moving)

    guard = guard_of(planner)
    planner.process.send_signal(signal.SIGKILL)
    probe.wait_for(lambda: len(by_guard()) > 5)
    for message in by_guard():
        assert message.joint_names == list(ANT.actuators)
        (point,) = message.points
        assert list(point.positions) == [0.0] * 8
        assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 50_000_000)
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)
    planner.process.wait()

    other = probe.node.create_publisher(JointTrajectory, TOPIC, 5)
    relief = JointTrajectory(joint_names=list(ANT.actuators))
    count = len(by_guard())
    probe.wait_for(lambda: len(by_guard()) > count + 5)  # its own do not relieve it
    assert is_running(guard)

    def is_relieved() -> bool:
        other.publish(relief)
        return not is_running(guard)

    probe.wait_for(is_relieved)


def test_a_robot_whose_actuators_are_no_joints_is_refused(
    start: Start, point_mass_bundle: Path
) -> None:
    planner = start("skill_planner", bundle=point_mass_bundle, command_type="joint_trajectory")
    assert planner.process.wait(20) == 2
    assert "not named as one of its 'joints': push_x, push_y" in planner.said()
    assert "Traceback" not in planner.said()


def test_a_dry_run_and_the_doctor_know_trajectories(probe: Probe, start: Start) -> None:
    topic = "skill_planner/would_be_commands"
    probe.listen(JointTrajectory, "joint_commands")  # as the controller does
    probe.listen(JointTrajectory, topic)
    stand(probe, ANT, np.array([ANT.home[name] for name in ANT.joints]))
    start("skill_planner", bundle="ant", command_type="joint_trajectory", dry_run=True)
    probe.wait_for_next(topic, 2, 60.0)
    _, checks = doctor(probe, "--bundle", "ant")
    assert checks["driver"] == ("ok", "joint_commands goes to /probe, as joint_trajectory")
    assert checks["commands"][0] == "ok"
    assert "dry run's delay" not in checks  # a trajectory does not say what it answers
    assert not probe.is_heard("joint_commands")
