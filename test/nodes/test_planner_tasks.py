"""Tasks over topics: goal, path, velocity and map, with a point mass."""

import itertools
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TransformStamped, Twist, TwistStamped
from nav_msgs.msg import OccupancyGrid
from nav_msgs.msg import Path as PathMessage
from rclpy.serialization import serialize_message
from std_msgs.msg import Float64MultiArray, Header
from std_srvs.srv import Trigger

from dads_ros.nodes.transforms import tf2_ros
from ros_graph import (
    LATCHED,
    Probe,
    Robot,
    health,
    is_doing,
    is_moving,
    position,
    set_parameters,
)


@pytest.fixture
def robot(shared: Robot) -> Robot:
    """The shared robot, at the origin without a task."""
    probe = shared.probe
    probe.call(Trigger, "skill_planner/cancel")
    probe.call(Trigger, "simulator/reset_world")
    probe.wait_for(lambda: not is_moving(probe) and np.linalg.norm(position(probe)) < 0.2)
    for topic in ("odom", "joint_commands", "skill_planner/goal_reached"):
        del probe.messages[topic][:-1]
    return shared


def track(probe: Probe) -> np.ndarray:
    """Where the robot was. Shape (T, 2)."""
    places = [message.pose.pose.position for message in probe.messages["odom"]]
    return np.array([(place.x, place.y) for place in places])


def velocity(probe: Probe) -> np.ndarray:
    twist = probe.messages["odom"][-1].twist.twist.linear
    return np.array([twist.x, twist.y])


def has_reached(probe: Probe) -> bool:
    return [m.data for m in probe.messages["skill_planner/goal_reached"]][-1:] == [True]


def test_it_follows_a_closed_path_to_its_end_however_often_it_is_sent(robot: Robot) -> None:
    """A square: its end is its start, and reached only when the robot has gone around."""
    probe = robot.probe
    publisher = probe.node.create_publisher(PathMessage, "goal_path", 5)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    corners = [(0.0, 0.0), (3.0, 0.0), (3.0, 3.0), (0.0, 3.0), (0.0, 0.0)]
    message = PathMessage()
    message.header.frame_id = "odom"
    for x, y in corners:
        pose = PoseStamped()
        pose.pose.position.x, pose.pose.position.y = x, y
        message.poses.append(pose)
    count = itertools.count()

    def send() -> None:
        """With another stamp each time, every other time in its poses too, or a little moved."""
        number = next(count)
        message.header.stamp.sec = number
        message.poses[1].header.stamp.sec = number // 2
        message.poses[2].pose.position.x = 3.0 + 0.01 * (number // 4 % 2)
        publisher.publish(message)

    timer = probe.node.create_timer(0.1, send)
    probe.wait_for(lambda: has_reached(probe), 60.0)
    probe.wait_for_next("odom", 20)
    assert has_reached(probe)
    probe.node.destroy_timer(timer)
    probe.node.destroy_publisher(publisher)
    assert robot.planner.said().count("]: path of 12.00 m to x 0.00 m, y 0.00 m") == 1
    went = track(probe)
    for x, y in corners:
        assert np.linalg.norm(went - [x, y], axis=1).min() < 0.5
    inside = np.minimum(went, 3.0 - went).min(axis=1)  # distance from the square's sides
    assert np.abs(inside).mean() < 0.3


def path_to(x: float) -> PathMessage:
    message = PathMessage()
    message.header.frame_id = "odom"
    for place in (0.0, x):
        message.poses.append(PoseStamped())
        message.poses[-1].pose.position.x = place
    return message


def test_of_a_path_and_a_goal_after_it_the_goal_counts(robot: Robot) -> None:
    """A path takes longer to read."""
    probe = robot.probe
    publisher = probe.node.create_publisher(PathMessage, "goal_path", 5)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(path_to(-300.0))
    probe.wait_for_next("odom", 8)  # of two messages that come at once either may be taken first
    probe.send_goal(300.0, 0.0)
    probe.wait_for(lambda: position(probe)[0] > 3.0)
    publisher.publish(path_to(-300.0))
    probe.wait_for(lambda: velocity(probe)[0] < -0.5)


def test_a_goal_that_the_robot_sees_is_where_it_was_seen(robot: Robot) -> None:
    probe = robot.probe
    probe.send_goal(2.0, -1.0)
    probe.wait_for(lambda: np.linalg.norm(position(probe) - [2.0, -1.0]) < 0.5)
    probe.wait_for(lambda: has_reached(probe) and not is_moving(probe))
    stands = np.array(position(probe))
    probe.send_goal(-2.0, 1.0, "base_link")
    goals = probe.messages["skill_planner/goal"]
    probe.wait_for(lambda: goals[-1].pose.position.x < 1.0)
    goal, place = goals[-1], goals[-1].pose.position
    assert goal.header.frame_id == "odom"
    np.testing.assert_allclose([place.x, place.y], stands + np.array([-2.0, 1.0]), atol=0.1)
    probe.wait_for(lambda: not has_reached(probe))
    probe.wait_for(lambda: has_reached(probe))
    assert "heading ignored (no yaw predicted)" in robot.planner.said()


@pytest.mark.skipif(tf2_ros is None, reason="tf2_ros is not installed; PyPI has it not")
def test_a_goal_on_a_localisers_map_is_turned_into_odom(robot: Robot) -> None:
    probe = robot.probe
    message = TransformStamped(header=Header(frame_id="map"), child_frame_id="odom")
    message.transform.translation.x = 1.0
    tf2_ros.StaticTransformBroadcaster(probe.node).sendTransform(message)
    goals = probe.messages["skill_planner/goal"]
    probe.send_goal(3.0, 1.0, "map")  # it waits for the transform, if that is not there yet
    probe.wait_for(lambda: goals and goals[-1].pose.position.x == 2.0)
    assert goals[-1].header.frame_id == "odom"
    probe.wait_for(lambda: np.linalg.norm(position(probe) - [2.0, 1.0]) < 0.5)


def test_it_holds_a_velocity_and_stands_when_cmd_vel_is_silent(robot: Robot) -> None:
    probe, message = robot.probe, Twist()
    publisher = probe.node.create_publisher(Twist, "cmd_vel", 5)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    message.linear.x, message.linear.y = 0.3, -0.4
    timer = probe.node.create_timer(0.1, lambda: publisher.publish(message))
    probe.wait_for(lambda: np.linalg.norm(velocity(probe) - [0.3, -0.4]) < 0.1)
    probe.node.destroy_timer(timer)
    probe.wait_for(lambda: is_doing(probe, "no task: standing command"))
    probe.wait_for(lambda: "is silent: the robot stands" in robot.planner.said())
    probe.wait_for(lambda: not is_moving(probe))


def test_it_holds_a_skill_by_hand_and_stands_when_the_hand_is_taken_away(robot: Robot) -> None:
    probe, message = robot.probe, Float64MultiArray(data=[0.3, -0.4])
    publisher = probe.node.create_publisher(Float64MultiArray, "skill_planner/skill_by_hand", 5)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(Float64MultiArray(data=[0.3]))
    probe.wait_for(lambda: "skill refused: it is 0.3; expected 2" in robot.planner.said())
    probe.send_goal(40.0, 0.0)
    timer = probe.node.create_timer(0.1, lambda: publisher.publish(message))
    probe.wait_for(lambda: is_doing(probe, "skill by hand"))
    probe.wait_for(lambda: np.linalg.norm(velocity(probe) - [0.3, -0.4]) < 0.1)
    probe.node.destroy_timer(timer)
    probe.wait_for(lambda: is_doing(probe, "no task: standing command"))
    probe.wait_for(lambda: not is_moving(probe))


def test_velocities_that_were_sent_long_ago_are_not_followed(robot: Robot) -> None:
    """A planner that was stopped finds them in its queue."""
    probe, process = robot.probe, robot.planner.process
    publisher = probe.node.create_publisher(Twist, "cmd_vel", 5)
    twist = Twist()
    twist.linear.x = 1.0

    def follows() -> bool:
        publisher.publish(twist)
        return is_moving(probe)

    probe.wait_for(follows)
    process.send_signal(signal.SIGSTOP)
    for _ in range(10):
        follows()
    begin = time.monotonic()
    probe.wait_for(lambda: time.monotonic() - begin > 1.0)
    process.send_signal(signal.SIGCONT)
    count = len(probe.messages["joint_commands"])
    probe.wait_for(lambda: len(probe.messages["joint_commands"]) > count + 10)
    assert not any(any(m.data) for m in probe.messages["joint_commands"][count + 1 :])
    probe.wait_for(lambda: "cmd_vel refused: it was sent" in robot.planner.said())


def test_a_velocity_outdates_a_path_that_is_still_being_read(robot: Robot) -> None:
    probe, twist, path = robot.probe, Twist(), path_to(-250.0)
    twist.linear.x = 1.0
    path.poses = [path.poses[0]] * 50_000 + path.poses[1:]
    long = serialize_message(path)  # here, which takes a while
    paths = probe.node.create_publisher(PathMessage, "goal_path", 5)
    velocities = probe.node.create_publisher(Twist, "cmd_vel", 5)
    probe.wait_for(lambda: paths.get_subscription_count() > 0)
    timer = probe.node.create_timer(0.02, lambda: velocities.publish(twist))
    probe.wait_for(lambda: velocity(probe)[0] > 0.5)
    paths.publish(long)
    paths.publish(path_to(-200.0))  # is to be read after it, and is outdated as well
    probe.wait_for_next("odom", 40)
    probe.node.destroy_timer(timer)
    probe.wait_for(lambda: is_doing(probe, "no task: standing command"))
    paths.publish(path_to(5.0))
    probe.wait_for(lambda: "path of 5.00 m" in robot.planner.said())
    assert "path of 250.00 m" not in robot.planner.said()


def test_velocities_of_the_other_type_are_noticed(robot: Robot) -> None:
    teleop = Probe()  # one process can publish only one of them
    teleop.node.create_publisher(TwistStamped, "cmd_vel", 5)
    sentence = "publishes cmd_vel as TwistStamped, of which nothing comes: set stamped_cmd_vel"
    robot.probe.wait_for(lambda: sentence in robot.planner.said())
    teleop.close()


def test_a_turn_is_refused_where_the_bundle_knows_no_heading(robot: Robot) -> None:
    probe, message = robot.probe, Twist()
    publisher = probe.node.create_publisher(Twist, "cmd_vel", 5)
    probe.wait_for(lambda: publisher.get_subscription_count() > 0)
    message.linear.x, message.angular.z = 0.5, 0.2
    publisher.publish(message)
    probe.wait_for(lambda: "angular z 0.2, but this bundle predicts" in robot.planner.said())
    assert not is_moving(probe)


def map_publisher(probe: Probe) -> Callable[[np.ndarray], None]:
    """Sends maps of cells of 0.1 m, true where an obstacle is, about the origin."""
    publisher = probe.node.create_publisher(OccupancyGrid, "map", LATCHED)

    def publish(cells: np.ndarray) -> None:
        grid = OccupancyGrid()
        grid.header.frame_id = "odom"
        grid.info.resolution = 0.1
        grid.info.height, grid.info.width = cells.shape
        corner = -0.05 * len(cells)
        grid.info.origin.position.x = grid.info.origin.position.y = corner
        grid.data = np.where(cells, 100, 0).astype(np.int8).ravel().tolist()
        for number in range(3):  # it comes again unchanged, but for its stamp
            grid.header.stamp.sec = number
            publisher.publish(grid)

    return publish


def test_it_says_what_a_map_keeps_it_from_and_forgets_it(robot: Robot) -> None:
    probe, publish = robot.probe, map_publisher(robot.probe)
    before = robot.planner.said().count("map: ")
    row, column = np.mgrid[:80, :80] * 0.1 - 4.0
    from_origin = np.maximum(np.abs(row), np.abs(column))
    publish((from_origin > 1.5) & (from_origin < 2.5))  # walls all around
    probe.wait_for(lambda: robot.planner.said().count("map: ") > before)
    probe.send_goal(3.5, 0.0)
    said = "no way leads to the goal on this map: standing command"
    probe.wait_for(lambda: is_doing(probe, said, 1))
    probe.wait_for(lambda: not is_moving(probe))
    assert np.linalg.norm(position(probe)) < 0.5
    probe.call(Trigger, "skill_planner/clear_map")
    probe.wait_for(lambda: position(probe)[0] > 0.5)
    probe.call(Trigger, "skill_planner/cancel")
    publish((column > 2.0) & (column < 3.0))
    probe.wait_for(lambda: robot.planner.said().count("map: ") > before + 1)
    probe.send_goal(2.5, 0.0)
    probe.wait_for(lambda: "the goal is in an obstacle: the robot goes" in health(probe)[1])
    probe.call(Trigger, "skill_planner/clear_map")


def test_it_goes_around_what_the_map_shows_and_says_when_it_cannot(robot: Robot) -> None:
    probe, publish = robot.probe, map_publisher(robot.probe)
    before = robot.planner.said().count("map: ")
    cells = np.zeros((80, 80), bool)
    cells[15:70, 58:62] = True  # a wall from y -2.5 to 3 m, 2 m ahead
    publish(cells)
    probe.wait_for(lambda: robot.planner.said().count("map: ") > before)
    probe.send_goal(3.5, 0.0)
    probe.wait_for(lambda: has_reached(probe), 60.0)
    went = track(probe)
    ahead = (np.abs(went[:, 0] - 2.0) < 0.2 + 0.2) & (went[:, 1] > -2.5 - 0.2) & (went[:, 1] < 3.2)
    assert not ahead.any()

    probe.wait_for(lambda: not is_moving(probe))
    row, column = np.mgrid[:200, :200] * 0.1 + 0.05 - 10.0
    here = position(probe)
    publish(np.hypot(column - here[0], row - here[1]) > 0.08)  # whatever it does, it touches
    probe.send_goal(-3.0, 0.0)
    probe.wait_for(lambda: health(probe)[1].startswith("every way is forbidden"))
    probe.wait_for(lambda: not is_moving(probe))
    publish(np.zeros((80, 80), bool))
    probe.wait_for(lambda: has_reached(probe), 60.0)
    assert robot.planner.said().count("map: ") == before + 3


def test_weights_change_while_it_drives(
    robot: Robot,
) -> None:
    probe = robot.probe
    set_parameters(probe, {"costs.bounds_m": [-5.0, -1.0, 1.0, 1.0]})
    probe.send_goal(3.0, 0.0)
    probe.wait_for(lambda: position(probe)[0] > 0.7)
    probe.wait_for(lambda: not is_moving(probe))
    assert position(probe)[0] < 2.0  # it rolls on a little
    set_parameters(probe, {"costs.bounds_m": [-5.0, -1.0, 5.0, 1.0]})
    probe.wait_for(lambda: has_reached(probe))
