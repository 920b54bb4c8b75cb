"""A planner that takes tilt and turn rates from an imu, over DDS."""

import math
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Quaternion, Twist
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from dads_ros.nodes.conversions import Frames, joint_state_message, odometry_message, to_stamp
from dads_ros.observation import RobotState
from dads_ros.robot import RobotSpec
from ros_graph import NodeProcess, Probe, health, is_moving

Start = Callable[..., NodeProcess]
ANT = RobotSpec.load("ant")
NORTH_RAD = -1.0
"""Heading of the robot by the imu, which has a north of its own."""
WILD_RAD_S = 1e6


def turned(yaw: float, roll: float) -> Quaternion:
    """First rolled about x, then turned about z."""
    (s, c), (p, q) = ((math.sin(a / 2), math.cos(a / 2)) for a in (yaw, roll))
    return Quaternion(x=c * p, y=s * p, z=s * q, w=c * q)


class Drivers:
    """Of an Ant that stands still and faces odom's y axis.

    By odom it lies on its back and spins, by the imu it stands: whatever is believed can be told.
    """

    def __init__(self, probe: Probe) -> None:
        self._clock = probe.node.get_clock()
        self._joints = probe.node.create_publisher(JointState, "joint_states", 5)
        self._odometry = probe.node.create_publisher(Odometry, "odom", 5)
        self._imu = probe.node.create_publisher(Imu, "imu", 5)
        self._velocity = probe.node.create_publisher(Twist, "cmd_vel", 5)
        self.has_imu, self.roll, self.yaw_rate = False, 0.0, 0.0
        probe.node.create_timer(ANT.control_dt, self._publish)

    def _publish(self) -> None:
        ankles, still = ANT.reset.joint_positions or {}, np.zeros(3)
        joints = np.array([ankles.get(name, 0.0) for name in ANT.joints])
        place, upright = np.array([0.0, 0.0, 0.55]), np.array([1.0, 0.0, 0.0, 0.0])
        state = RobotState(place, upright, still, still, joints, 0.0 * joints)
        stamp_ns = self._clock.now().nanoseconds
        odometry = odometry_message(state, stamp_ns, Frames.of(""))
        odometry.pose.pose.orientation = turned(math.pi / 2.0, math.pi)
        odometry.twist.twist.angular.z = WILD_RAD_S
        self._joints.publish(joint_state_message(ANT, state, stamp_ns))
        self._odometry.publish(odometry)
        if self.has_imu:
            imu = Imu(orientation=turned(NORTH_RAD, self.roll))
            imu.header.stamp, imu.angular_velocity.z = to_stamp(stamp_ns), self.yaw_rate
            self._imu.publish(imu)
        ahead = Twist()
        ahead.linear.x = 1.0
        self._velocity.publish(ahead)


def test_tilt_and_turn_rates_come_from_the_imu_and_the_heading_from_odom(
    probe: Probe, start: Start
) -> None:
    probe.listen(DiagnosticArray, "/diagnostics")
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(PathMessage, "skill_planner/plan")
    drivers = Drivers(probe)
    start("skill_planner", bundle="ant", use_imu=True)

    def is_said(text: str) -> bool:
        return text in health(probe)[1]

    probe.wait_for(lambda: is_said("without imu, which 'use_imu' asks for"), 60.0)
    assert not any(value for m in probe.messages["joint_commands"] for value in m.data)

    drivers.has_imu = True
    probe.wait_for(lambda: is_moving(probe))
    probe.wait_for(lambda: is_said("on the way"))

    def goes_along_y() -> bool:
        """One metre in the second or so that a plan has, give or take."""
        path = probe.wait_for_next("skill_planner/plan").poses
        begin, end = path[0].pose.position, path[-1].pose.position
        return bool(end.y - begin.y > 2.0 * abs(end.x - begin.x))

    probe.wait_for(goes_along_y)

    drivers.yaw_rate = WILD_RAD_S
    probe.wait_for(lambda: is_said("the velocity of imu's yaw is 1e+06"))
    drivers.yaw_rate, drivers.roll = 0.0, math.pi
    probe.wait_for(lambda: is_said("has fallen"))
    assert not is_moving(probe)
    drivers.roll = 0.0
    probe.wait_for(lambda: is_moving(probe))
    drivers.has_imu = False
    probe.wait_for(lambda: is_said("without imu"))
    assert not is_moving(probe)
