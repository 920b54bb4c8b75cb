"""The planner over DDS when something ends, is missing or is not active."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from dads_ros.nodes.conversions import answered_stamp_ns
from ros_graph import (
    STATE_TIMEOUT_S,
    NodeProcess,
    Probe,
    health,
    is_doing,
    is_moving,
    set_parameters,
    start_robot,
)

Start = Callable[..., NodeProcess]


def commands_of_a_stop(probe: Probe) -> list[list[float]]:
    """The last two answers to states, for the robot to come to a stand, and the last command."""
    commands = probe.messages["joint_commands"]
    probe.wait_for(lambda: answered_stamp_ns(commands[-1]) is None)
    answers = [message for message in commands if answered_stamp_ns(message) is not None]
    return [list(message.data) for message in (*answers[-2:], commands[-1])]


def test_killed_simulator_means_safe_commands_until_it_is_back(
    probe: Probe, start: Start, point_mass_bundle: Path
) -> None:
    robot = start_robot(probe, start, point_mass_bundle)
    probe.send_goal(50.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))
    robot.simulator.kill()
    killed = time.monotonic()
    probe.wait_for(lambda: not is_moving(probe))
    # Seconds to spare: a busy machine may not let the planner run.
    assert probe.times["joint_commands"][-1] - killed < STATE_TIMEOUT_S + 5.0
    assert list(probe.messages["joint_commands"][-1].data) == [0.0, 0.0]
    probe.wait_for(lambda: health(probe)[0] == 2 and "no state for" in health(probe)[1])
    start("simulator", robot="point_mass", speed=4.0)
    probe.wait_for(lambda: is_moving(probe))
    probe.wait_for(lambda: is_doing(probe, "on the way"))


def test_without_autostart_it_drives_only_while_active(
    start: Start, probe: Probe, point_mass_bundle: Path
) -> None:
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(Odometry, "odom")
    start("simulator", robot="point_mass", speed=4.0)
    planner = start("skill_planner", bundle=point_mass_bundle, autostart=False)

    def change(number: int) -> bool:
        service = "skill_planner/change_state"
        return bool(probe.call(ChangeState, service, transition=Transition(id=number)).success)

    assert change(Transition.TRANSITION_CONFIGURE)
    probe.wait_for_next("odom", 3)
    assert not probe.messages["joint_commands"]
    assert change(Transition.TRANSITION_ACTIVATE)
    probe.send_goal(50.0, 0.0)
    probe.wait_for(lambda: probe.messages["odom"][-1].twist.twist.linear.x > 0.5)
    assert change(Transition.TRANSITION_DEACTIVATE)
    assert commands_of_a_stop(probe) == [[0.0, 0.0]] * 3
    count = len(probe.messages["joint_commands"])
    probe.wait_for_next("odom", 5)
    assert len(probe.messages["joint_commands"]) <= count + 3  # safe ones, repeated
    assert list(probe.messages["joint_commands"][-1].data) == [0.0, 0.0]
    assert change(Transition.TRANSITION_CLEANUP)
    assert change(Transition.TRANSITION_CONFIGURE)
    assert change(Transition.TRANSITION_ACTIVATE)
    probe.wait_for_next("joint_commands", 2)
    assert change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert planner.end() == 0


def test_signals_end_both_nodes_with_zero(
    probe: Probe, start: Start, point_mass_bundle: Path
) -> None:
    nodes = []
    for number in (signal.SIGINT, signal.SIGTERM):
        name = number.name.lower()
        probe.listen(Float64MultiArray, f"{name}/joint_commands")
        simulator = start("simulator", robot="point_mass", namespace=name)
        planner = start("skill_planner", bundle=point_mass_bundle, namespace=name)
        nodes += [(number, simulator), (number, planner)]
    for number in (signal.SIGINT, signal.SIGTERM):
        probe.wait_for_next(f"{number.name.lower()}/joint_commands", 3)
    for number, node in nodes:
        assert node.end(number) == 0
        assert "Traceback" not in node.said()
    # At once, and not when DDS gives it up after 20 s.
    own = ("/sigint", "/sigterm")
    probe.wait_for(
        lambda: not any(ns in own for _, ns in probe.node.get_node_names_and_namespaces()), 15.0
    )


@pytest.mark.parametrize(
    ("node", "number"), [("simulator", signal.SIGINT), ("skill_planner", signal.SIGTERM)]
)
def test_signal_during_the_start_is_exit_code_zero(
    start: Start, point_mass_bundle: Path, node: str, number: signal.Signals
) -> None:
    settings = {"simulator": {"robot": "ant"}, "skill_planner": {"bundle": point_mass_bundle}}
    process = start(node, **settings[node])
    process.wait_for_handlers()
    assert process.end(number) == 0
    assert "Traceback" not in process.said()


def test_lowered_state_timeout_holds_at_once_and_the_end_is_the_safe_command(
    probe: Probe, start: Start, point_mass_bundle: Path
) -> None:
    robot = start_robot(probe, start, point_mass_bundle, state_timeout_s=60.0)
    probe.send_goal(50.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))
    assert probe.call(SetBool, "simulator/set_pause", data=True).success
    set_parameters(probe, {"state_timeout_s": 0.2})
    probe.wait_for(lambda: not is_moving(probe))
    set_parameters(probe, {"state_timeout_s": 1.6})
    probe.wait_for_next("joint_commands", count=8)  # again and again, should one get lost
    assert np.median(np.diff(probe.times["joint_commands"][-6:])) < 0.8
    set_parameters(probe, {"state_timeout_s": 60.0})
    assert probe.call(SetBool, "simulator/set_pause", data=False).success
    probe.wait_for(lambda: is_moving(probe))
    probe.wait_for(lambda: probe.messages["odom"][-1].twist.twist.linear.x > 0.5)
    assert robot.planner.end(signal.SIGTERM) == 0
    assert commands_of_a_stop(probe) == [[0.0, 0.0]] * 3


def test_missing_bundle_is_one_sentence_and_exit_code_two(start: Start, tmp_path: Path) -> None:
    planner = start("skill_planner", bundle=tmp_path)
    assert planner.process.wait(20) == 2
    assert "is not a skill bundle" in planner.said()
    assert "Traceback" not in planner.said()


@pytest.mark.parametrize("kind", ["goal", "path"])
def test_a_task_is_kept_over_a_restart_if_that_is_wanted(
    probe: Probe, start: Start, point_mass_bundle: Path, tmp_path: Path, kind: str
) -> None:
    kept = tmp_path / "task"
    robot = start_robot(probe, start, point_mass_bundle)
    assert robot.planner.end() == 0
    settings = {"bundle": point_mass_bundle, "use_sim_time": True, "task_file": kept}
    planner = start("skill_planner", **settings)
    if kind == "goal":
        probe.send_goal(500.0, 0.0)
    else:
        publisher = probe.node.create_publisher(PathMessage, "goal_path", 5)
        probe.wait_for(lambda: publisher.get_subscription_count() > 0)
        message = PathMessage()
        message.header.frame_id = "odom"
        for x in (0.0, 500.0):
            pose = PoseStamped()
            pose.pose.position.x = x
            message.poses.append(pose)
        publisher.publish(message)
    probe.wait_for(lambda: is_moving(probe))
    assert planner.end() == 0
    probe.wait_for(lambda: not is_moving(probe))
    planner = start("skill_planner", **settings)
    probe.wait_for(lambda: is_moving(probe))
    for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        service = "skill_planner/change_state"
        assert probe.call(ChangeState, service, transition=Transition(id=number)).success
    probe.wait_for_next("joint_commands", 5)
    assert not is_moving(probe)  # that was on purpose
    probe.send_goal(500.0, 0.0)
    probe.wait_for(lambda: is_moving(probe) and kept.exists())
    assert probe.call(Trigger, "skill_planner/cancel").success
    probe.wait_for(lambda: not kept.exists())
    assert planner.end() == 0
    kept.write_bytes(b"goal_pose\nthis is no message")
    planner = start("skill_planner", **settings)
    probe.wait_for(lambda: "'task_file' holds no task" in planner.said())
    probe.wait_for_next("joint_commands", 2)
    assert not is_moving(probe)
