"""The planner over DDS, with the point mass and a bundle that truly drives it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import Marker, MarkerArray

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import PlannerConfig
from dads_ros.diagnosis.records import PlannerSettings
from dads_ros.nodes.auditor import Auditor
from dads_ros.nodes.conversions import answered_stamp_ns, to_ns
from dads_ros.nodes.recording import Recording
from dads_ros.nodes.transforms import tf2_ros
from recordings import Logged, write_mcap
from ros_graph import (
    LATCHED,
    NodeProcess,
    Probe,
    Robot,
    is_doing,
    is_moving,
    is_unique,
    position,
    set_parameters,
)

Start = Callable[..., NodeProcess]


@pytest.fixture
def robot(shared: Robot) -> Robot:
    """The shared robot without a goal."""
    probe = shared.probe
    probe.call(Trigger, "skill_planner/cancel")
    probe.wait_for(lambda: not is_moving(probe))
    for messages in probe.messages.values():
        del messages[:-1]
    for topic in ("skill_planner/goal", "skill_planner/goal_reached"):
        probe.messages[topic].clear()
    return shared


def test_point_mass_reaches_its_goal_and_says_so(
    robot: Robot, point_mass_bundle: Path, tmp_path: Path
) -> None:
    """And the audit of its recording finds each command to be the bundle's."""
    probe = robot.probe
    probe.listen(PathMessage, "skill_planner/plan")
    probe.listen(MarkerArray, "skill_planner/rollouts")
    probe.listen(Float64MultiArray, "skill_planner/skill")
    timer = probe.node.create_timer(0.05, lambda: probe.send_goal(3.0, -2.0))  # as some do
    probe.wait_for(
        lambda: [m.data for m in probe.messages["skill_planner/goal_reached"]][-1:] == [True], 30.0
    )
    probe.node.destroy_timer(timer)
    answers = probe.messages["skill_planner/goal"]
    assert {(m.pose.position.x, m.pose.position.y) for m in answers} == {(3.0, -2.0)}
    assert robot.planner.said().count("goal: x 3.00 m, y -2.00 m") == 1  # one task
    # On a busy machine the probe hears it before the odometry of before.
    probe.wait_for(lambda: bool(np.linalg.norm(position(probe) - [3.0, -2.0]) < 0.5))
    assert probe.messages["joint_commands"][-1].layout.dim[0].label == "push_x,push_y"
    plan = probe.messages["skill_planner/plan"][-1]
    assert plan.header.frame_id == "odom"
    assert len(plan.poses) == PlannerConfig().planning_horizon + 1
    assert 1 < len(probe.messages["skill_planner/rollouts"][-1].markers) <= 21
    assert all(map(is_unique, probe.messages["skill_planner/rollouts"]))
    probe.wait_for(lambda: is_doing(probe, "goal reached"))
    topics = ("odom", "joint_commands", "skill_planner/skill")
    path = write_mcap(tmp_path / "x.mcap", recorded(probe, *topics))
    auditor = Auditor(SkillBundle(point_mass_bundle), PlannerSettings(), "", None, "")
    for message in Recording(str(path)).read():
        auditor.take(message)
    (check,) = (check for check in auditor.finish() if check.name == "policy")
    assert check.verdict == "ok", check
    num, idle = re.match(r"(\d+) commands are this bundle's, (\d+) of them", check.found).groups()
    assert int(num) - int(idle) > 20


def recorded(probe: Probe, *topics: str) -> list[Logged]:
    """What the probe heard there, in that order."""
    logged = []
    for topic in topics:
        messages = probe.messages[topic]
        times = probe.times[topic][-len(messages) :]
        logged += [
            Logged(f"/{topic}", message, round(1e9 * time))
            for message, time in zip(messages, times, strict=True)
        ]
    return sorted(logged, key=lambda one: one.log_ns)


@pytest.mark.parametrize(
    ("x", "frame", "reason"),
    [
        (float("nan"), "odom", "must be finite"),
        (1.0, "mars", "its frame is 'mars'" if tf2_ros is None else "from its frame 'mars'"),
    ],
)
def test_bad_goal_is_refused_and_the_old_one_stays(
    robot: Robot, x: float, frame: str, reason: str
) -> None:
    probe = robot.probe
    probe.send_goal(2.0, 2.0)
    probe.wait_for(lambda: probe.messages["skill_planner/goal"])

    def is_refused() -> bool:
        """One refusal a second is logged."""
        probe.send_goal(x, 0.0, frame)
        return reason in robot.planner.said()

    probe.wait_for(is_refused)
    assert "the old task stays" in robot.planner.said()
    probe.wait_for(lambda: np.linalg.norm(position(probe) - [2.0, 2.0]) < 0.5)
    assert len(probe.messages["skill_planner/goal"]) == 1


def test_cancel_makes_it_stand(robot: Robot) -> None:
    probe, topic = robot.probe, "skill_planner/goal_tolerance"
    probe.listen(Marker, topic, LATCHED)
    probe.send_goal(50.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))

    def is_shown(radius_m: float) -> bool:
        disc = probe.messages[topic][-1]
        is_there = (disc.action, disc.pose.position.x) == (Marker.ADD, 50.0)
        return is_there and disc.scale.x == disc.scale.y == pytest.approx(2.0 * radius_m)

    probe.wait_for(lambda: is_shown(0.5))
    for radius_m in (0.7, 0.5):
        set_parameters(probe, {"goal_tolerance_m": radius_m})
        probe.wait_for(lambda radius_m=radius_m: is_shown(radius_m))
    assert probe.call(Trigger, "skill_planner/cancel").message == "the task is cancelled"
    probe.wait_for(lambda: probe.messages[topic][-1].action == Marker.DELETE)
    probe.wait_for(lambda: list(probe.messages["joint_commands"][-1].data) == [0.0, 0.0])
    probe.wait_for(lambda: is_doing(probe, "no task: standing command"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda odom: setattr(odom.twist.twist.linear, "x", float("nan")), "not finite"),
        (lambda odom: setattr(odom.pose.pose.position, "y", float("inf")), "not finite"),
        (lambda odom: odom.pose.pose.orientation.__init__(x=1.0, w=0.0), "has fallen"),
        (lambda odom: setattr(odom.pose.pose.orientation, "w", 0.0), "quaternion"),
    ],
)
def test_bad_state_means_the_safe_command_until_good_ones_are_back(
    robot: Robot, spoil: Callable[[Odometry], None], reason: str
) -> None:
    probe = robot.probe
    odometry = probe.node.create_publisher(Odometry, "odom", 5)
    joints = probe.node.create_publisher(JointState, "joint_states", 5)
    probe.send_goal(50.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))
    probe.wait_for(lambda: odometry.get_subscription_count() > 1)
    probe.wait_for(lambda: joints.get_subscription_count() > 0)
    assert probe.call(SetBool, "simulator/set_pause", data=True).success
    bad, state = probe.messages["odom"][-1], JointState()
    bad.header.stamp.sec += 100
    state.header = bad.header
    spoil(bad)
    said = robot.planner.said()
    joints.publish(state)
    odometry.publish(bad)
    probe.wait_for(lambda: not is_moving(probe))
    probe.wait_for(lambda: "safe command: " in robot.planner.said()[len(said) :])
    assert reason in robot.planner.said()[len(said) :]
    assert probe.call(SetBool, "simulator/set_pause", data=False).success
    probe.wait_for(lambda: is_moving(probe))
    probe.node.destroy_publisher(odometry)
    probe.node.destroy_publisher(joints)


def test_late_plan_means_the_standing_command(robot: Robot) -> None:
    probe = robot.probe
    probe.send_goal(50.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))
    set_parameters(probe, {"planner.num_samples": 20000, "planner.planning_horizon": 10})
    set_parameters(probe, {"skill_timeout_s": 0.05})
    probe.wait_for(lambda: is_doing(probe, "the plan is late: standing command", 1))
    probe.wait_for(lambda: not is_moving(probe))
    set_parameters(probe, {"planner.num_samples": 64, "planner.planning_horizon": 2})
    set_parameters(probe, {"skill_timeout_s": 1.0})
    probe.wait_for(lambda: is_moving(probe))


def test_new_bundle_is_taken_while_it_runs_and_a_broken_one_is_not(
    robot: Robot, point_mass_bundle: Path, tmp_path: Path
) -> None:
    probe = robot.probe

    def load(folder: Path | str) -> Trigger.Response:
        """Makes some plans to warm up; those of this many candidates take a while."""
        set_parameters(probe, {"bundle": str(folder), "planner.num_samples": 20_000})
        return probe.call(Trigger, "skill_planner/load_bundle")

    set_parameters(probe, {"skill_timeout_s": 60.0})  # plans take a while as well
    probe.send_goal(50.0, 0.0)
    probe.wait_for(lambda: is_moving(probe))
    other = point_mass_bundle.with_name("other")
    shutil.copytree(point_mass_bundle, other)
    before = len(probe.messages["joint_commands"])
    first_state = to_ns(probe.messages["odom"][-1].header.stamp)
    response = load(other)
    assert response.success
    assert str(other) in response.message
    probe.wait_for_next("joint_commands", 5)
    answered = [answered_stamp_ns(m) for m in probe.messages["joint_commands"]]
    states = [to_ns(message.header.stamp) for message in probe.messages["odom"]]
    meanwhile = [stamp for stamp in states if first_state <= stamp <= answered[-1]]
    assert len(meanwhile) > 5
    # A busy machine may drop a state for a newer one; loading would lose all of them.
    assert len(set(meanwhile) - set(answered)) <= 0.2 * len(meanwhile)
    sent = np.array([list(m.data) for m in probe.messages["joint_commands"][before:]])
    assert np.abs(sent).max(axis=1).min() > 0.1  # the skill is held meanwhile
    (other / "policy.onnx").write_bytes(b"damaged")
    response = load(other)
    assert not response.success
    assert "is damaged" in response.message
    assert "the old bundle stays" in load("~nosuchuser/bundle").message
    shutil.copytree(point_mass_bundle, tmp_path / "elsewhere")
    assert "lies outside" in load(tmp_path / "elsewhere").message
    (point_mass_bundle.with_name("link")).symlink_to(tmp_path / "elsewhere")
    assert "lies outside" in load(point_mass_bundle.with_name("link")).message
    assert "joints" in load("ant").message  # another robot's, though it is a shipped one
    set_parameters(probe, {"planner.num_samples": 64, "skill_timeout_s": 1.0})
    probe.wait_for_next("joint_commands", 10)
    probe.wait_for(lambda: is_moving(probe))
