"""The guard over DDS: whatever becomes of the planner's process, the robot is stopped."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from dads_ros.nodes.guard_node import is_by_guard
from ros_graph import (
    ROOT,
    NodeProcess,
    Probe,
    Robot,
    children_of,
    guard_of,
    health,
    is_moving,
    is_running,
    start_robot,
)

SHARED = "/dev/shm/fastrtps_"
Start = Callable[..., NodeProcess]


def by_guard(probe: Probe) -> list[Float64MultiArray]:
    return [m for m in probe.messages["joint_commands"] if is_by_guard(m)]


def change(probe: Probe, number: int) -> bool:
    service = "skill_planner/change_state"
    return bool(probe.call(ChangeState, service, transition=Transition(id=number)).success)


@pytest.fixture
def robot(probe: Probe, start: Start, point_mass_bundle: Path) -> Robot:
    """On its way to a goal that is far away."""
    robot = start_robot(probe, start, point_mass_bundle)
    probe.send_goal(500.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))
    return robot


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_a_planner_that_is_gone_or_stopped_is_stood_in_for(
    robot: Robot, number: signal.Signals
) -> None:
    probe = robot.probe
    guard = guard_of(robot.planner)
    robot.planner.process.send_signal(number)
    probe.wait_for(lambda: len(by_guard(probe)) > 5)
    assert all(list(message.data) == [0.0, 0.0] for message in by_guard(probe))
    assert by_guard(probe)[0].layout.dim[0].label == "push_x,push_y"
    assert not is_moving(probe)
    if number == signal.SIGSTOP:
        robot.planner.process.send_signal(signal.SIGCONT)
        probe.wait_for(lambda: is_moving(probe))
        count = len(by_guard(probe))
        probe.wait_for_next("odom", 20)
        assert len(by_guard(probe)) == count
    else:
        robot.planner.process.wait()
        os.kill(guard, signal.SIGTERM)  # not before: then it would guard no longer
        probe.wait_for(lambda: not is_running(guard))


def test_an_orphan_stays_until_another_planner_drives(
    robot: Robot, start: Start, point_mass_bundle: Path
) -> None:
    """Which waits until DDS has forgotten the one that was killed."""
    probe, guard = robot.probe, guard_of(robot.planner)
    robot.planner.process.kill()
    robot.planner.process.wait()
    probe.wait_for(lambda: len(by_guard(probe)) > 2)
    start("skill_planner", bundle=point_mass_bundle, use_sim_time=True)
    probe.wait_for(lambda: not is_by_guard(probe.messages["joint_commands"][-1]), 60.0)
    probe.wait_for(lambda: not is_running(guard))
    probe.send_goal(500.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))


def test_an_orphan_ends_when_nobody_is_there_to_hear_it(
    start: Start, point_mass_bundle: Path
) -> None:
    probe = Probe()
    robot = start_robot(probe, start, point_mass_bundle)
    guard = guard_of(robot.planner)
    robot.planner.process.kill()
    robot.planner.process.wait()
    probe.wait_for(lambda: len(by_guard(probe)) > 2)
    robot.simulator.end()
    probe.close()
    bystander = Probe()
    bystander.wait_for(lambda: not is_running(guard), 40.0)
    bystander.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_its_guard_the_planner_does_not_drive(
    robot: Robot, number: signal.Signals
) -> None:
    probe, guard = robot.probe, guard_of(robot.planner)
    os.kill(guard, number)
    probe.wait_for(lambda: not is_moving(probe))
    probe.wait_for(lambda: re.match(r"the guard has.*: standing command", health(probe)[1]))
    assert health(probe)[0] == 2
    if number == signal.SIGSTOP:
        os.kill(guard, signal.SIGCONT)
    else:
        assert change(probe, Transition.TRANSITION_DEACTIVATE)
        assert change(probe, Transition.TRANSITION_ACTIVATE)
        probe.send_goal(500.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))


@pytest.mark.slow
def test_a_rival_is_noticed_without_a_guard_as_well(robot: Robot) -> None:
    probe = robot.probe
    os.kill(guard_of(robot.planner), signal.SIGKILL)
    probe.wait_for(lambda: "the guard has ended" in health(probe)[1])
    probe.wait_for(lambda: probe.node.count_publishers("joint_commands") == 1)  # DDS takes 20 s
    publisher = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    probe.wait_for(lambda: health(probe)[1].startswith("safe command: /probe publishes on"))
    probe.node.destroy_publisher(publisher)
    probe.wait_for(lambda: "the guard has ended" in health(probe)[1])


def test_a_planner_that_was_deactivated_on_purpose_is_left_alone(robot: Robot) -> None:
    probe = robot.probe
    assert change(probe, Transition.TRANSITION_DEACTIVATE)
    probe.wait_for(lambda: not is_moving(probe))
    count = len(by_guard(probe))
    robot.planner.process.send_signal(signal.SIGSTOP)
    probe.wait_for_next("odom", 40)
    robot.planner.process.send_signal(signal.SIGCONT)
    assert len(by_guard(probe)) == count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_planner_that_ends_takes_its_guard_with_it(robot: Robot, number: signal.Signals) -> None:
    probe, guard = robot.probe, guard_of(robot.planner)
    assert robot.planner.end(number) == 0
    probe.wait_for(lambda: not is_running(guard))
    probe.wait_for(lambda: not is_moving(probe))


def test_a_second_planner_of_the_robot_does_not_drive(
    robot: Robot, start: Start, point_mass_bundle: Path
) -> None:
    probe = robot.probe
    second = start("skill_planner", bundle=point_mass_bundle, use_sim_time=True)
    probe.wait_for(lambda: "/skill_planner publishes on" in second.said())
    assert second.process.wait(60) == 2
    assert "could not be activated" in second.said()
    probe.send_goal(500.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))


@pytest.mark.parametrize("name", ["teleop", "speed_guard"])
def test_another_publisher_of_commands_stops_the_robot_and_is_named(
    robot: Robot, name: str
) -> None:
    probe = robot.probe
    rival = Node(name, context=probe.node.context)
    rival.create_publisher(Float64MultiArray, "joint_commands", 5)
    probe.wait_for(lambda: health(probe)[0] == 2 and f"/{name} publishes on" in health(probe)[1])
    assert not is_moving(probe)
    rival.destroy_node()
    probe.wait_for(lambda: is_moving(probe))


HELD = """
import sys, time
from dads_ros.planning.guard import Guard
guard = Guard(name="planner_1_guard", namespace="/", topic="/joint_commands",
              command_type="float64_multi_array", actuators=["x"], safe_command=[0.5],
              is_led=False, control_dt=0.1)
guard.wait_until_ready()
guard.promise(0.0)
time.sleep(600)
"""


def test_output_that_nobody_reads_does_not_hold_up_the_guard(probe: Probe) -> None:
    """As of a terminal that is held by Ctrl-S: whatever is written there waits for ever."""
    probe.listen(Float64MultiArray, "joint_commands")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    planner = subprocess.Popen(
        [sys.executable, "-c", HELD], stdout=writer, stderr=writer, cwd=ROOT
    )
    probe.wait_for(lambda: len(by_guard(probe)) > 5, 60.0)
    children = children_of(planner)
    planner.kill()
    planner.wait()
    count = len(by_guard(probe))
    probe.wait_for(lambda: len(by_guard(probe)) > count + 5)
    for child in children:
        os.kill(child, signal.SIGKILL)
    os.close(reader)
    os.close(writer)


NAMED_PROFILE = """\
<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com"><profiles>
  <participant profile_name="mine" is_default_profile="true"><rtps><name>mine</name></rtps>
  </participant>
</profiles></dds>
"""
"""Says nothing about transports."""
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"


@pytest.mark.parametrize(
    ("environment", "has_profile", "shares", "listens_to_network"),
    [
        ({RANGE: "LOCALHOST"}, False, False, False),
        ({RANGE: "localhost"}, False, False, False),
        ({"ROS_LOCALHOST_ONLY": "1", "ROS_STATIC_PEERS": "127.0.0.1"}, False, False, False),
        ({RANGE: "LOCALHOST", "ROS_STATIC_PEERS": "127.0.0.1"}, False, True, False),
        ({RANGE: "LOCALHOST"}, True, True, False),
        ({RANGE: "SUBNET"}, False, False, True),
        ({RANGE: "SUBNET"}, True, False, True),
    ],
)
def test_the_guard_keeps_out_of_the_shared_memory_of_dds_and_in_its_discovery_range(
    probe: Probe,
    tmp_path: Path,
    environment: dict[str, str],
    has_profile: bool,
    shares: bool,
    listens_to_network: bool,
) -> None:
    """A process that is stopped within that memory keeps its locks."""
    probe.listen(Float64MultiArray, "joint_commands")
    if has_profile:
        (tmp_path / "DEFAULT_FASTRTPS_PROFILES.xml").write_text(NAMED_PROFILE, encoding="utf-8")
    chosen = (RANGE, "FASTDDS_BUILTIN_TRANSPORTS")
    kept = {name: value for name, value in os.environ.items() if name not in chosen}
    planner = subprocess.Popen(
        [sys.executable, "-c", HELD],
        cwd=tmp_path,
        env=kept | {"PYTHONPATH": str(ROOT)} | environment,
    )
    try:
        probe.wait_for(lambda: len(by_guard(probe)) > 3, 60.0)
        [guard] = children_of(planner)
        assert (SHARED in Path(f"/proc/{guard}/maps").read_text()) == shares
        assert SHARED in Path("/proc/self/maps").read_text()  # as there is of others
        multicast = f":{7400 + 250 * int(os.environ['ROS_DOMAIN_ID']):04X} "
        assert (multicast in Path("/proc/net/udp").read_text()) == listens_to_network
    finally:
        end(planner)


def end(planner: subprocess.Popen) -> None:
    """With its guard."""
    children = children_of(planner)
    planner.kill()
    planner.wait()
    for child in children:
        os.kill(child, signal.SIGKILL)


def test_a_first_command_that_was_noted_by_half_is_held(probe: Probe) -> None:
    """The planner was killed in between: how fast to go on from it does not stand there yet."""
    probe.listen(Float64MultiArray, "joint_commands")
    led = HELD.replace("is_led=False", "is_led=True")
    half = led.replace("guard.promise(0.0)", "guard._way[0] = 0.3; guard.promise(0.0)")
    planner = subprocess.Popen([sys.executable, "-c", half], cwd=ROOT)
    try:
        probe.wait_for(lambda: len(by_guard(probe)) > 3, 60.0)
        assert {tuple(message.data) for message in by_guard(probe)} == {(0.3,)}
    finally:
        end(planner)


BROKEN = """
import sys
from rclpy.lifecycle import TransitionCallbackReturn
from dads_ros.nodes import planner_node
class Broken(planner_node.SkillPlannerNode):
    def on_activate(self, state):
        super().on_activate(state)
        raise RuntimeError("no more threads")
planner_node.SkillPlannerNode = Broken
sys.exit(planner_node.main())
"""


def test_a_transition_that_fails_half_way_leaves_nothing_that_drives(
    probe: Probe, start: Start, point_mass_bundle: Path
) -> None:
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(Odometry, "odom")
    probe.listen(DiagnosticArray, "/diagnostics")
    start("simulator", robot="point_mass", speed=4.0)
    start("skill_planner", script=BROKEN, bundle=point_mass_bundle, autostart=False)
    assert change(probe, Transition.TRANSITION_CONFIGURE)
    assert not change(probe, Transition.TRANSITION_ACTIVATE)
    probe.wait_for(lambda: health(probe)[1] == "not configured")
    count = len(probe.messages["joint_commands"])
    probe.wait_for_next("odom", 10)
    assert len(probe.messages["joint_commands"]) == count
    assert not any(any(message.data) for message in probe.messages["joint_commands"])
