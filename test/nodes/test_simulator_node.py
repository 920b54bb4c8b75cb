"""The simulator over DDS."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Wrench
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.nodes.conversions import command_message, to_ns
from dads_ros.robot import RobotSpec
from ros_graph import ROOT, NodeProcess, Probe

Start = Callable[..., NodeProcess]


def test_states_come_in_pairs_every_control_step_with_the_clock(
    start: Start, probe: Probe
) -> None:
    for kind, topic in ((JointState, "joint_states"), (Odometry, "odom"), (Clock, "/clock")):
        probe.listen(kind, topic)
    probe.listen(MarkerArray, "simulator/robot_markers")
    start("simulator", robot="ant", speed=2.0)
    probe.wait_for_next("odom")
    begin = len(probe.messages["odom"])
    probe.wait_for_next("odom", 40)
    stamps = [to_ns(m.header.stamp) for m in probe.messages["odom"]]
    joint_stamps = [to_ns(m.header.stamp) for m in probe.messages["joint_states"]]
    assert set(np.diff(stamps)) == {50_000_000}
    assert set(joint_stamps) >= set(stamps[1:-1])
    assert {to_ns(m.clock) for m in probe.messages["/clock"]} >= set(stamps[1:-1])
    wall = probe.times["odom"][-1] - probe.times["odom"][begin]
    assert wall == pytest.approx(0.025 * (len(stamps) - 1 - begin), rel=0.2)
    assert probe.messages["joint_states"][-1].name[:2] == ["hip_1", "ankle_1"]
    assert probe.messages["simulator/robot_markers"]


def test_command_acts_until_it_is_too_old(start: Start, probe: Probe) -> None:
    probe.listen(Odometry, "odom")
    publisher = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    start("simulator", robot="point_mass", speed=2.0, command_timeout_s=0.3)
    probe.wait_for_next("odom")
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(Float64MultiArray(data=[1.0, 0.0]))

    def speed() -> float:
        return float(probe.messages["odom"][-1].twist.twist.linear.x)

    probe.wait_for(lambda: speed() > 0.3)
    probe.wait_for(lambda: speed() < 0.1)


def test_refused_commands_leave_it_running_without_a_fresh_command(
    start: Start, probe: Probe
) -> None:
    probe.listen(DiagnosticArray, "/diagnostics")
    publisher = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    simulator = start("simulator", robot="point_mass", command_timeout_s=60.0)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)

    def health() -> str:
        return str(probe.messages["/diagnostics"][-1].status[0].message)

    good = command_message(RobotSpec.load("point_mass"), np.ones(2), 0)
    publisher.publish(good)
    probe.wait_for(lambda: probe.messages["/diagnostics"] and "no fresh command" not in health())
    bad = command_message(RobotSpec.load("point_mass"), np.ones(2), 0)
    bad.layout.dim[1].label = "stamp_ns=abc"
    publisher.publish(bad)
    publisher.publish(Float64MultiArray(data=[1.0]))
    probe.wait_for(lambda: "no fresh command" in health())
    assert "answers 'stamp_ns=abc'" in simulator.said()
    publisher.publish(good)
    probe.wait_for(lambda: "no fresh command" not in health())


def test_push_moves_pause_stops_and_reset_puts_back(start: Start, probe: Probe) -> None:
    probe.listen(Odometry, "odom")
    push = probe.node.create_publisher(Wrench, "simulator/push", 5)
    start("simulator", robot="point_mass", speed=4.0, push_duration_s=0.5)
    probe.wait_for_next("odom")
    probe.wait_for(lambda: push.get_subscription_count() > 0)
    wrench = Wrench()
    wrench.force.y = 10.0
    push.publish(wrench)
    probe.wait_for(lambda: probe.messages["odom"][-1].pose.pose.position.y > 1.0)
    assert probe.call(SetBool, "simulator/set_pause", data=True).success
    stamp = to_ns(probe.messages["odom"][-1].header.stamp)
    assert probe.call(Trigger, "simulator/reset_world").success
    probe.wait_for(lambda: abs(probe.messages["odom"][-1].pose.pose.position.y) < 1e-9)
    assert to_ns(probe.messages["odom"][-1].header.stamp) > stamp
    assert probe.call(SetBool, "simulator/set_pause", data=False).success
    probe.wait_for_next("odom", 3)


def test_wrong_robot_is_one_sentence_and_exit_code_two(start: Start) -> None:
    simulator = start("simulator", robot="unicorn")
    assert simulator.process.wait(20) == 2
    assert "'unicorn' was not found" in simulator.said()
    assert "Traceback" not in simulator.said()


def test_bad_ros_arguments_are_one_sentence_and_exit_code_two() -> None:
    for arguments in (["surprise"], ["--ros-args", "-p", "x"]):
        command = [sys.executable, "-m", "dads_ros", "simulate", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1


def test_it_ends_when_its_parent_has_ended(start: Start, probe: Probe) -> None:
    parent = start("simulator", robot="point_mass")
    probe.listen(Odometry, "robot1/odom")
    child = start(
        "simulator", robot="point_mass", namespace="robot1", parent_pid=parent.process.pid
    )
    probe.wait_for_next("robot1/odom")
    parent.kill()
    assert child.process.wait(20) == 0
    assert "has ended: so does this node" in child.said()
