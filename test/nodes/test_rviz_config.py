"""config/dads.rviz shows topics that exist, with their types and a QoS that matches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
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

from dads_ros.nodes.conversions import Frames
from dads_ros.nodes.rviz_view import with_frame_prefix
from ros_graph import ROOT, NodeProcess, Probe

VIEW = (ROOT / "config" / "dads.rviz").read_text()
MANAGER = yaml.safe_load(VIEW)["Visualization Manager"]
DISPLAYS = {display["Name"]: display for display in MANAGER["Displays"]}
TYPES = {
    "rviz_default_plugins/Map": "nav_msgs/msg/OccupancyGrid",
    "rviz_default_plugins/Marker": "visualization_msgs/msg/Marker",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/Odometry": "nav_msgs/msg/Odometry",
    "rviz_default_plugins/Path": "nav_msgs/msg/Path",
    "rviz_default_plugins/Pose": "geometry_msgs/msg/PoseStamped",
    "rviz_default_plugins/RobotModel": "std_msgs/msg/String",
}
PUBLISHED = {
    *("Robot", "RobotModel", "Odometry", "Goal", "Goal tolerance", "Plan", "Rollouts"),
    "Skill fan",
}
SENT_BY_OTHERS = {"Map", "Goal path"}
WITHOUT_TOPIC = {"Grid", "TF"}
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


def topic_of(display: dict[str, Any]) -> dict[str, Any]:
    topic: dict[str, Any] = display.get("Topic") or display["Description Topic"]
    return topic


def test_every_display_and_the_goal_tool_match_the_running_nodes(
    start: Callable[..., NodeProcess], probe: Probe, point_mass_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_RUN)
    # Its topics are relative, so that a namespace is all that RViz needs.
    names = {"namespace": "robot2", "frame_prefix": "robot2/"}
    start("simulator", robot="point_mass", **names)
    start("skill_planner", bundle=point_mass_bundle, **names)
    start("skill_trainer", config_file=tmp_path / "tiny.yaml", out=tmp_path / "run", **names)
    node = probe.node
    assert set(DISPLAYS) == PUBLISHED | SENT_BY_OTHERS | WITHOUT_TOPIC
    for name in PUBLISHED:
        display, topic = DISPLAYS[name], topic_of(DISPLAYS[name])
        full = f"/robot2/{topic['Value']}"
        probe.wait_for(lambda full=full: node.get_publishers_info_by_topic(full))
        for publisher in node.get_publishers_info_by_topic(full):
            assert publisher.topic_type == TYPES[display["Class"]]
            compatible, reason = qos_check_compatible(publisher.qos_profile, qos_of(topic))
            assert compatible == QoSCompatibility.OK, f"{name}: {reason}"
            assert publisher.qos_profile.durability == qos_of(topic).durability
    for name in SENT_BY_OTHERS:  # to the planner, which gets what RViz gets
        display, topic = DISPLAYS[name], topic_of(DISPLAYS[name])
        (planner,) = node.get_subscriptions_info_by_topic(f"/robot2/{topic['Value']}")
        assert planner.topic_type == TYPES[display["Class"]]
        assert planner.qos_profile.reliability == qos_of(topic).reliability
        assert planner.qos_profile.durability == qos_of(topic).durability
    (tool,) = [t for t in MANAGER["Tools"] if t["Class"] == "rviz_default_plugins/SetGoal"]
    (goal,) = node.get_subscriptions_info_by_topic(f"/robot2/{tool['Topic']['Value']}")
    assert goal.topic_type == "geometry_msgs/msg/PoseStamped"
    compatible, reason = qos_check_compatible(qos_of(tool["Topic"]), goal.qos_profile)
    assert compatible == QoSCompatibility.OK, reason


def test_what_is_shown_can_be_seen() -> None:
    view = yaml.safe_load(VIEW)
    # RViz opens every panel that is listed, and four of them take most of the window.
    assert [panel["Class"] for panel in view["Panels"]] == ["rviz_common/Displays"]
    hidden = {name for name, display in DISPLAYS.items() if not display["Enabled"]}
    assert hidden == {"RobotModel"}  # red without /tf, and the same as Robot with it
    assert all(display["Enabled"] == display["Value"] for display in DISPLAYS.values())
    arrow, plan = DISPLAYS["Odometry"]["Shape"], DISPLAYS["Plan"]
    assert arrow["Shaft Length"] + arrow["Head Length"] >= 0.5
    assert min(arrow["Shaft Radius"], arrow["Head Radius"]) >= 0.05
    assert plan["Line Style"] == "Billboards"  # lines are a pixel wide
    assert plan["Line Width"] >= 0.1


@pytest.mark.parametrize("prefix", ["", "robot2/"])
def test_fixed_frame_and_the_frame_that_the_camera_follows_are_those_of_the_robot(
    prefix: str,
) -> None:
    view = yaml.safe_load(with_frame_prefix(VIEW, prefix))
    manager, frames = view["Visualization Manager"], Frames.of(prefix)
    camera = manager["Views"]["Current"]
    assert manager["Global Options"]["Fixed Frame"] == frames.odom
    assert camera["Class"] == "rviz_default_plugins/Orbit"  # follows the place, does not turn
    assert camera["Target Frame"] == frames.base_link
    assert manager["Displays"] == MANAGER["Displays"]
