"""A robot that is commanded by positions, over DDS."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.files import share_folder
from dads_ros.nodes.conversions import COMMAND_TYPES
from dads_ros.nodes.guard_node import REPEAT_S, is_by_guard
from dads_ros.planning.controller import STARTING, WAITING
from dads_ros.robot import RobotSpec
from legged import JOINTS, LEGGED, VALUES
from ros_graph import NodeProcess, Probe, guard_of, health, is_running, stand

Start = Callable[..., NodeProcess]
RAMP_S = 20.0
RANGE = 6.0


def ant_bundle(folder: Path, **changes: object) -> RobotSpec:
    """Of an Ant that counts as a robot that is commanded by positions."""
    shutil.copytree(share_folder() / "models" / "ant", folder)
    manifest = BundleManifest.load(folder)
    robot = dataclasses.replace(manifest.robot, command_scale=(RANGE / 2.0,), **changes)
    dataclasses.replace(manifest, robot=robot).save(folder)
    return robot


def test_nobody_commands_it_before_its_joints_are_known(
    probe: Probe, start: Start, tmp_path: Path
) -> None:
    """It may lie."""
    folder = tmp_path / "bundle"
    robot = ant_bundle(folder)
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(DiagnosticArray, "/diagnostics")
    planner = start("skill_planner", bundle=folder, start_ramp_s=RAMP_S, use_sim_time=True)
    said = f"{WAITING}: no state yet"
    probe.wait_for(lambda: health(probe)[0] == 2 and health(probe)[1].startswith(said), 60.0)
    reports = len(probe.messages["/diagnostics"])
    probe.wait_for(lambda: len(probe.messages["/diagnostics"]) > reports + 2)
    assert not probe.messages["joint_commands"]
    start("simulator", robot="ant")
    probe.wait_for_next("joint_commands", 2, 60.0)
    np.testing.assert_allclose(probe.messages["joint_commands"][0].data, robot.safe_command)
    probe.wait_for(lambda: health(probe) == (0, STARTING))
    assert planner.end() == 0


def test_nor_does_its_guard(probe: Probe, start: Start, tmp_path: Path) -> None:
    ant_bundle(tmp_path / "bundle")
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(DiagnosticArray, "/diagnostics")
    planner = start("skill_planner", bundle=tmp_path / "bundle")
    probe.wait_for(lambda: health(probe)[1].startswith(WAITING), 60.0)
    guard = guard_of(planner)
    planner.process.kill()
    planner.process.wait()
    probe.wait_for(lambda: not is_running(guard))
    assert not probe.messages["joint_commands"]


@pytest.mark.parametrize(
    ("command_type", "mode", "number"),
    [
        ("float64_multi_array", "pose", signal.SIGKILL),
        ("joint_trajectory", "pose", signal.SIGSTOP),
        ("float64_multi_array", "hold", signal.SIGKILL),
        ("joint_trajectory", "damp", signal.SIGSTOP),
    ],
)
def test_its_guard_goes_on_from_what_was_sent_last(
    probe: Probe,
    start: Start,
    tmp_path: Path,
    command_type: str,
    mode: str,
    number: signal.Signals,
) -> None:
    """And a planner that was only stopped goes on from what its guard sent."""
    folder = tmp_path / "bundle"
    robot = ant_bundle(folder, safe_mode=mode)
    probe.listen(COMMAND_TYPES[command_type], "joint_commands")
    commands = probe.messages["joint_commands"]
    stand(probe, robot, np.array([robot.home[name] for name in robot.joints]) + 0.6)
    planner = start("skill_planner", bundle=folder, start_ramp_s=RAMP_S, command_type=command_type)

    def sent() -> np.ndarray:
        is_array = command_type == "float64_multi_array"
        return np.array([m.data if is_array else m.points[0].positions for m in commands])

    def num_by_guard() -> int:
        return sum(map(is_by_guard, commands))

    probe.wait_for(lambda: len(commands) > 5, 60.0)
    np.testing.assert_allclose(sent()[0], np.array(robot.safe_command) + 0.6)
    assert num_by_guard() == 0
    guard = guard_of(planner)
    planner.process.send_signal(number)
    probe.wait_for(lambda: num_by_guard() > 10)
    first = next(i for i, message in enumerate(commands) if is_by_guard(message))
    if number == signal.SIGSTOP:
        planner.process.send_signal(signal.SIGCONT)
        probe.wait_for(lambda: sum(not is_by_guard(m) for m in commands[first:]) > 5)
    else:
        if mode == "pose":
            probe.wait_for(lambda: np.allclose(sent()[-1], robot.safe_command, atol=1e-9))
        planner.process.wait()
        os.kill(guard, signal.SIGTERM)  # not before: then it would guard no longer
        probe.wait_for(lambda: not is_running(guard))
    changes = np.abs(np.diff(sent(), axis=0))
    assert changes.max() <= RANGE / RAMP_S * REPEAT_S + 1e-9
    assert changes[first : first + 10].any() == (mode == "pose")


def test_the_simulator_takes_positions_wherever_joints_reach(
    probe: Probe, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "legged.xml").write_text(LEGGED, encoding="utf-8")
    path = tmp_path / "legged.yaml"
    path.write_text(json.dumps(VALUES | {"mjcf": "legged.xml"}), encoding="utf-8")
    probe.listen(JointState, "joint_states")
    publisher = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    start("simulator", robot=path, command_timeout_s=60.0)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(Float64MultiArray(data=[-0.8, -0.4, -0.8, -0.4]))  # limits are -0.1 .. 0.5

    def hip() -> float:
        message = probe.messages["joint_states"][-1]
        return float(message.position[list(message.name).index(JOINTS[0])])

    probe.wait_for(lambda: bool(probe.messages["joint_states"]) and hip() < -0.5)
