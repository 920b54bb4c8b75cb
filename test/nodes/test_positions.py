"""A robot that is commanded by positions, over DDS."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.files import share_folder
from dads_ros.planning.controller import STARTING, WAITING
from legged import JOINTS, LEGGED, VALUES
from ros_graph import NodeProcess, Probe, health

Start = Callable[..., NodeProcess]


def test_nobody_commands_it_before_its_joints_are_known(
    probe: Probe, start: Start, tmp_path: Path
) -> None:
    """Neither the planner nor its guard: it may lie. Here an Ant that counts as such a robot."""
    folder = tmp_path / "bundle"
    shutil.copytree(share_folder() / "models" / "ant", folder)
    manifest = BundleManifest.load(folder)
    robot = dataclasses.replace(manifest.robot, command_scale=(3.0,))
    dataclasses.replace(manifest, robot=robot).save(folder)
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(DiagnosticArray, "/diagnostics")
    planner = start("skill_planner", bundle=folder, start_ramp_s=20.0, use_sim_time=True)
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
