"""config/dads.rviz shows topics that exist, with their types and a QoS that matches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from rclpy.duration import Infinite
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from ros_graph import ROOT, NodeProcess, Probe

TYPES = {
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/Odometry": "nav_msgs/msg/Odometry",
    "rviz_default_plugins/Path": "nav_msgs/msg/Path",
    "rviz_default_plugins/Pose": "geometry_msgs/msg/PoseStamped",
}
SHOWN = {"Robot", "Odometry", "Goal", "Plan", "Rollouts", "Skill fan", "Grid"}
TINY_RUN = """
robot: point_mass
skill_dynamics: {hidden: [8, 8]}
sac: {hidden: [8, 8]}
"""


def qos_of(topic: dict[str, Any]) -> QoSProfile:
    """What RViz makes of a display's topic."""
    assert topic["History Policy"] == "Keep Last"
    return QoSProfile(
        depth=topic["Depth"],
        reliability=ReliabilityPolicy[topic["Reliability Policy"].upper().replace(" ", "_")],
        durability=DurabilityPolicy[topic["Durability Policy"].upper().replace(" ", "_")],
        liveliness=LivelinessPolicy.AUTOMATIC,
        deadline=Infinite,
        liveliness_lease_duration=Infinite,
    )


def test_every_display_and_the_goal_tool_match_the_running_nodes(
    start: Callable[..., NodeProcess], probe: Probe, point_mass_bundle: Path, tmp_path: Path
) -> None:
    manager = yaml.safe_load((ROOT / "config" / "dads.rviz").read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "odom"
    displays = {display["Name"]: display for display in manager["Displays"]}
    assert set(displays) == SHOWN
    (tmp_path / "tiny.yaml").write_text(TINY_RUN)
    start("simulator", robot="point_mass")
    start("skill_planner", bundle=point_mass_bundle)
    start("skill_trainer", config_file=tmp_path / "tiny.yaml", out=tmp_path / "run")
    node = probe.node
    for name in SHOWN - {"Grid"}:
        display, topic = displays[name], displays[name]["Topic"]
        assert display["Enabled"]
        probe.wait_for(lambda topic=topic: node.get_publishers_info_by_topic(topic["Value"]))
        for publisher in node.get_publishers_info_by_topic(topic["Value"]):
            assert publisher.topic_type == TYPES[display["Class"]]
            compatible, reason = qos_check_compatible(publisher.qos_profile, qos_of(topic))
            assert compatible == QoSCompatibility.OK, f"{name}: {reason}"
            assert publisher.qos_profile.durability == qos_of(topic).durability
    (tool,) = [t for t in manager["Tools"] if t["Class"] == "rviz_default_plugins/SetGoal"]
    assert tool["Topic"]["Value"] == "/goal_pose"
    (goal,) = node.get_subscriptions_info_by_topic("/goal_pose")
    assert goal.topic_type == "geometry_msgs/msg/PoseStamped"
    compatible, reason = qos_check_compatible(qos_of(tool["Topic"]), goal.qos_profile)
    assert compatible == QoSCompatibility.OK, reason
