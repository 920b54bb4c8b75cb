"""dads-ros doctor beside a robot that is right and beside one that is not, over DDS."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import Quaternion
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from dads_ros.nodes.conversions import Frames, joint_state_message, odometry_message
from dads_ros.observation import RobotState
from dads_ros.robot import RobotSpec
from ros_graph import ROOT, NodeProcess, Probe, doctor

Start = Callable[..., NodeProcess]


def test_a_robot_that_is_right_is_found_right(probe: Probe, start: Start) -> None:
    """In a namespace and with a prefix, which the doctor learns of the planner."""
    place = {"namespace": "robot1", "frame_prefix": "robot1/"}
    probe.listen(Float64MultiArray, "/robot1/joint_commands")
    start("simulator", robot="ant", **place)
    start("skill_planner", bundle="ant", use_sim_time=True, **place)
    probe.wait_for_next("/robot1/joint_commands", 2, 60.0)
    code, checks = doctor(probe, "--bundle", "ant", "--namespace", "robot1")
    assert code == 0, checks
    # What a busy machine may have late, and what cannot be seen of a robot that stands.
    may_differ = {"joint_states rate", "odom rate", "state delay", "command delay"}
    still = {name for name, (verdict, _) in checks.items() if verdict != "ok"} - may_differ
    assert still <= {"joint units", "odom twist", "odom turning"}
    assert may_differ < set(checks)
    assert checks["who commands"][1] == "/robot1/skill_planner, with its guard"
    assert checks["driver"][1] == "joint_commands goes to /probe, /robot1/simulator"
    assert "'robot1/odom'" in checks["odom frames"][1]
    assert "and so has the planner" in checks["clock"][1]


def test_what_a_driver_does_wrong_is_named(probe: Probe) -> None:
    robot, num = RobotSpec.load("ant"), 8
    state = RobotState(
        np.array([0.0, 0.0, 0.5]), np.array([1.0, 0, 0, 0]), *np.zeros((2, 3)), *np.ones((2, num))
    )
    joints = joint_state_message(robot, state, 0)
    joints.name[0] = "joint_7"
    joints.position[1] = 60.0  # degrees
    joints.velocity[1] = float("nan")
    odometry = odometry_message(state, 0, Frames("world", "base_link"))
    odometry.pose.pose.orientation = Quaternion(x=1.0, w=0.0)  # w, x, y, z as x, y, z, w
    imu = Imu()
    imu.orientation_covariance[0] = -1.0  # it has none
    imu.linear_acceleration.z = -9.81
    imu_publisher = probe.node.create_publisher(Imu, "imu", 5)
    joints_publisher = probe.node.create_publisher(JointState, "joint_states", 5)
    odometry_publisher = probe.node.create_publisher(Odometry, "odom", 5)
    probe.node.create_publisher(Float64MultiArray, "joint_commands", 5)

    def publish() -> None:
        now = probe.node.get_clock().now()
        joints.header.stamp = now.to_msg()
        odometry.header.stamp = (now - Duration(seconds=0.04)).to_msg()
        imu_publisher.publish(imu)
        joints_publisher.publish(joints)
        odometry_publisher.publish(odometry)

    probe.node.create_timer(0.1, publish)
    code, checks = doctor(probe)
    assert code == 1
    wrong = {name: found for name, (verdict, found) in checks.items() if verdict == "wrong"}
    on_a_busy_machine = {"joint_states rate", "odom rate", "state delay"}
    assert set(wrong) - on_a_busy_machine == {
        *("joint names", "joint positions", "joint velocities", "joint units"),
        *("odom frames", "odom quaternion", "joint_states stamps", "who commands"),
        "imu gravity",
    }
    assert "missing: hip_1; unknown: joint_7" in wrong["joint names"]
    assert "/probe publishes on joint_commands" in wrong["who commands"]
    assert checks["odom rate"][0] != "ok"
    assert checks["driver"][0] == "warning"
    assert checks["clock"][0] == "ok"


def test_a_namespace_that_is_none_is_one_sentence() -> None:
    command = [sys.executable, "-m", "dads_ros", "doctor", "--namespace", "no good"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("dads-ros: error: --namespace is 'no good'")
