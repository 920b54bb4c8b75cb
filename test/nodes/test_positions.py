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
from std_srvs.srv import Trigger

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.files import share_folder
from dads_ros.nodes.conversions import COMMAND_TYPES
from dads_ros.nodes.guard_node import REPEAT_S, is_by_guard
from dads_ros.planning.controller import STARTING, WAITING
from dads_ros.robot import RobotSpec
from legged import JOINTS, LEGGED, VALUES
from ros_graph import NodeProcess, Probe, guard_of, health, is_doing, is_running, stand

Start = Callable[..., NodeProcess]
RAMP_S = 20.0
RANGE = 6.0
BENT = [-0.8, -0.4, -0.8, -0.4]
"""Of the legged robot, whose hips are commanded by -0.1 .. 0.5."""


def ant_bundle(folder: Path, **changes: object) -> RobotSpec:
    """Of an Ant that counts as a robot that is commanded by positions."""
    shutil.copytree(share_folder() / "models" / "ant", folder)
    manifest = BundleManifest.load(folder)
    robot = dataclasses.replace(manifest.robot, command_scale=(RANGE / 2.0,), **changes)
    dataclasses.replace(manifest, robot=robot).save(folder)
    return robot


def legged_file(folder: Path, **changes: object) -> Path:
    """A robot file, and its MJCF."""
    (folder / "legged.xml").write_text(LEGGED, encoding="utf-8")
    path = folder / "legged.yaml"
    path.write_text(json.dumps(VALUES | {"mjcf": "legged.xml"} | changes), encoding="utf-8")
    return path


def hip(probe: Probe) -> float:
    message = probe.messages["joint_states"][-1]
    return float(message.position[list(message.name).index(JOINTS[0])])


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
    probe.wait_for(lambda: is_doing(probe, STARTING))
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


STOPPED = """
import os, signal, sys
from dads_ros.nodes import planner_node
class Stopped(planner_node.SkillController):
    num_steps = 0
    def step(self, *args):
        step = super().step(*args)
        self.num_steps += 1
        if self.num_steps == 20:
            os.kill(os.getpid(), signal.SIGSTOP)
        return step
planner_node.SkillController = Stopped
sys.exit(planner_node.main())
"""


def test_a_command_that_was_made_before_its_guard_stood_in_is_not_sent(
    probe: Probe, start: Start, tmp_path: Path
) -> None:
    """It would be a jump back: the planner is stopped after a control step, before its command."""
    robot = ant_bundle(tmp_path / "bundle")
    probe.listen(Float64MultiArray, "joint_commands")
    commands = probe.messages["joint_commands"]
    stand(probe, robot, np.array([robot.home[name] for name in robot.joints]) + 0.6)
    planner = start(
        "skill_planner", script=STOPPED, bundle=tmp_path / "bundle", start_ramp_s=RAMP_S
    )
    probe.wait_for(lambda: sum(map(is_by_guard, commands)) > 10, 60.0)
    planner.process.send_signal(signal.SIGCONT)
    probe.wait_for(lambda: sum(not is_by_guard(message) for message in commands) > 30)
    changes = np.abs(np.diff([message.data for message in commands], axis=0))
    assert changes.max() <= RANGE / RAMP_S * REPEAT_S + 1e-9


def test_the_simulator_keeps_the_last_command_where_the_pose_is_not_the_safe_one(
    probe: Probe, start: Start, tmp_path: Path
) -> None:
    path = legged_file(tmp_path, safe_mode="damp")
    probe.listen(JointState, "joint_states")
    probe.listen(DiagnosticArray, "/diagnostics")
    publisher = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    start("simulator", robot=path, command_timeout_s=0.2)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)

    def says(text: str) -> bool:
        return any(text in m.status[0].message for m in probe.messages["/diagnostics"][-1:])

    publisher.publish(Float64MultiArray(data=BENT))
    probe.wait_for(lambda: says("no fresh command: the last command is applied"))
    probe.wait_for(lambda: hip(probe) < -0.5)
    probe.wait_for_next("joint_states", 50)
    assert hip(probe) < -0.5
    publisher.publish(Float64MultiArray(data=[0.0]))  # of another robot
    probe.wait_for_next("joint_states", 50)
    assert hip(probe) < -0.5
    assert probe.call(Trigger, "simulator/reset_world").success
    probe.wait_for_next("joint_states", 50)
    assert hip(probe) > 0.0


def test_the_simulator_takes_positions_wherever_joints_reach(
    probe: Probe, start: Start, tmp_path: Path
) -> None:
    path = legged_file(tmp_path)
    probe.listen(JointState, "joint_states")
    publisher = probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)
    start("simulator", robot=path, command_timeout_s=60.0)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(Float64MultiArray(data=BENT))
    probe.wait_for(lambda: bool(probe.messages["joint_states"]) and hip(probe) < -0.5)
