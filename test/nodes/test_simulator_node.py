"""The simulator over DDS."""

import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Wrench
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.nodes.conversions import command_message, to_ns
from dads_ros.process import PARENT_PID
from dads_ros.robot import RobotSpec
from ros_graph import LATCHED, ROOT, NodeProcess, Probe, is_unique

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
    asked = 0.025 * (len(stamps) - 1 - begin)
    assert 0.8 * asked < wall < 10.0 * asked  # never faster; slower where the machine is busy
    assert probe.messages["joint_states"][-1].name[:2] == ["hip_1", "ankle_1"]
    assert probe.messages["simulator/robot_markers"]
    assert all(map(is_unique, probe.messages["simulator/robot_markers"]))
    probe.listen(String, "robot_description", LATCHED)  # whoever comes late gets it as well
    urdf = ET.fromstring(probe.wait_for_next("robot_description").data)
    assert {"hip_1", "ankle_4"} < {joint.get("name") for joint in urdf.findall("joint")}


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


def test_it_ends_when_its_parent_has_ended(
    start: Start, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = start("simulator", robot="point_mass")
    probe.listen(Odometry, "robot1/odom")
    monkeypatch.setenv(PARENT_PID, str(parent.process.pid))
    child = start("simulator", robot="point_mass", namespace="robot1")
    probe.wait_for_next("robot1/odom")
    parent.kill()
    assert child.process.wait(20) == 0
    assert "has ended: so does this node" in child.said()


def test_command_acts_only_while_the_state_that_it_answers_is_young(
    start: Start, probe: Probe
) -> None:
    """Late answers, those of a state of the future and of the time before a restart or a reset."""
    probe.listen(Odometry, "odom")
    probe.listen(DiagnosticArray, "/diagnostics")
    publisher = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    robot, timeout_s = RobotSpec.load("point_mass"), 1.0
    simulator = start("simulator", robot="point_mass", command_timeout_s=timeout_s)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    first = to_ns(probe.wait_for_next("odom").header.stamp)

    def ignored() -> int:
        """As the next report says."""
        values = probe.wait_for_next("/diagnostics").status[0].values
        return int(next(v.value for v in values if v.key == "commands ignored"))

    def speed() -> float:
        return float(np.hypot(*velocity(probe.messages["odom"][-1])))

    probe.wait_for(lambda: to_ns(probe.messages["odom"][-1].header.stamp) > first + 2e9)
    count = ignored()
    newest = to_ns(probe.messages["odom"][-1].header.stamp)
    for stamp_ns in (first, newest + 10**12, -1, int("9" * 4000)):
        publisher.publish(command_message(robot, np.ones(2), stamp_ns))
    probe.wait_for(lambda: ignored() == count + 4)
    assert speed() < 0.05
    assert "answers stamp_ns=" in simulator.said()

    def answer_newest() -> bool:
        stamp_ns = to_ns(probe.messages["odom"][-1].header.stamp)
        publisher.publish(command_message(robot, np.ones(2), stamp_ns))
        return speed() > 0.1

    probe.wait_for(answer_newest)
    before = to_ns(probe.messages["odom"][-1].header.stamp)
    count = ignored()
    assert probe.call(Trigger, "simulator/reset_world").success
    publisher.publish(command_message(robot, np.ones(2), before))
    probe.wait_for(lambda: ignored() == count + 1)


@pytest.mark.parametrize("size", [1e30, 1e300])
def test_push_beyond_reason_leaves_it_running(start: Start, probe: Probe, size: float) -> None:
    probe.listen(Odometry, "odom")
    push = probe.node.create_publisher(Wrench, "simulator/push", 5)
    simulator = start("simulator", robot="ant", speed=4.0)
    probe.wait_for(lambda: push.get_subscription_count() > 0)
    wrench = Wrench()
    wrench.force.x = wrench.torque.z = size
    push.publish(wrench)
    probe.wait_for(lambda: "the world is reset" in simulator.said())
    probe.wait_for_next("odom", 20)
    assert all(np.isfinite(velocity(message)).all() for message in probe.messages["odom"])
    assert simulator.end() == 0


FAULTY = """
import sys
from dads_ros.nodes import simulator_node
from dads_ros.nodes.runner import run_node

class Faulty(simulator_node.SimulatorNode):
    '''Fails in its callbacks for wrenches, and now and then in its loop.'''

    def _take_push(self, message):
        if message.force.x > 1.0:
            raise SystemExit("leave")
        raise ValueError("x" * 10**6)

    def _advance(self, num_steps):
        super()._advance(num_steps)
        if self._num_steps % 50 == 0:
            raise RuntimeError("in the loop")

sys.exit(run_node(Faulty, Faulty.spin))
"""


def test_it_outlives_errors_of_callbacks_and_loop_with_the_safe_command(
    probe: Probe, start: Start, tmp_path: Path
) -> None:
    probe.listen(Odometry, "odom")
    probe.listen(DiagnosticArray, "/diagnostics")
    push = probe.node.create_publisher(Wrench, "simulator/push", 5)
    commands = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    settings = ("-p", "robot:=point_mass", "-p", "command_timeout_s:=60.0")
    log = (tmp_path / "log").open("w+b")
    process = subprocess.Popen(
        [sys.executable, "-c", FAULTY, "--ros-args", *settings], cwd=ROOT, stdout=log, stderr=log
    )
    try:
        probe.wait_for(lambda: push.get_subscription_count() > 0)
        probe.wait_for(lambda: commands.get_subscription_count() > 0)
        for force in (0.0, 2.0):
            commands.publish(Float64MultiArray(data=[1.0, 0.0]))
            wrench = Wrench()
            wrench.force.x = force
            push.publish(wrench)
            probe.wait_for_next("odom", 20)
        probe.wait_for(lambda: "no fresh" in probe.messages["/diagnostics"][-1].status[0].message)
        probe.wait_for(lambda: b"in the loop" in (tmp_path / "log").read_bytes())
        said = (tmp_path / "log").read_bytes()
        assert b"unexpected ValueError" in said
        assert b"Traceback" not in said
        assert len(said) < 20_000
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        log.close()


def test_node_whose_output_nobody_reads_goes_on(probe: Probe) -> None:
    """As after its terminal was closed."""
    probe.listen(Odometry, "odom")
    commands = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    command = [sys.executable, "-m", "dads_ros", "simulate", "--ros-args"]
    process = subprocess.Popen(
        [*command, "-p", "robot:=point_mass"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        process.stdout.close()
        probe.wait_for_next("odom")
        probe.wait_for(lambda: commands.get_subscription_count() > 0)
        for _ in range(3):  # each a line of the log, were they not throttled
            commands.publish(Float64MultiArray(data=[np.nan]))
            probe.wait_for_next("odom", 25)
        assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_of_the_start_is_exit_code_zero(
    start: Start, number: signal.Signals
) -> None:
    rng = np.random.default_rng()
    for _ in range(3):
        simulator = start("simulator", robot="ant")
        simulator.wait_for_handlers()
        time.sleep(rng.uniform(0.0, 2.0))  # any moment, not one to wait for
        assert simulator.end(number) == 0
        assert "Traceback" not in simulator.said()


def velocity(message: Odometry) -> tuple[float, float]:
    return message.twist.twist.linear.x, message.twist.twist.linear.y
