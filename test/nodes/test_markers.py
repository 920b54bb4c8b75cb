"""What RViz is given to draw."""

import mujoco
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from visualization_msgs.msg import Marker, MarkerArray

from dads_ros.colours import of_directions
from dads_ros.envs.model import RobotModel
from dads_ros.envs.shapes import RobotShapes
from dads_ros.nodes.markers import RobotMarkers, goal_marker, rollout_markers, skill_fan_markers
from dads_ros.robot import RobotSpec
from ros_graph import ROOT, is_unique

ROBOTS = sorted(path.stem for path in ROOT.glob("config/robots/*.yaml"))


def messages() -> dict[str, MarkerArray]:
    """One of every kind that this package publishes."""
    candidates, costs = np.zeros((8, 3, 2)), np.arange(8.0)
    found = {
        f"rollouts {num}": rollout_markers(
            candidates, costs, num=num, height=0.5, stamp=Time(), frame="odom"
        )
        for num in (1, 20)
    }
    found["skill fan"] = skill_fan_markers(np.zeros((4, 6, 2)), stamp=Time(), frame="odom")
    for robot in ROBOTS:
        model = RobotModel(RobotSpec.load(robot))
        shapes = RobotShapes(model)
        poses = shapes.poses(model.reset_state(1, np.random.default_rng(0))[0])
        found[robot] = RobotMarkers(shapes.solids, "odom").update(*poses, Time())
    return found


def test_no_message_has_two_markers_of_one_namespace_and_id() -> None:
    for kind, message in messages().items():
        assert len(message.markers) > 0
        assert is_unique(message), kind


@pytest.mark.parametrize("robot", ["ant", "point_mass"])
def test_robot_markers_stand_where_mujoco_has_the_solids(robot: str) -> None:
    model = RobotModel(RobotSpec.load(robot))
    shapes = RobotShapes(model)
    state = model.reset_state(1, np.random.default_rng(0))[0]
    data = mujoco.MjData(model.mj_model)
    mujoco.mj_setState(model.mj_model, data, state, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    mujoco.mj_forward(model.mj_model, data)
    markers = RobotMarkers(shapes.solids, "odom").update(*shapes.poses(state), Time()).markers
    serialize_message(markers[0])
    moving = [g for g in range(model.mj_model.ngeom) if model.mj_model.geom_bodyid[g] != 0]
    assert len(shapes.solids) == len(moving)
    firsts = [m for m in markers if m.type != Marker.SPHERE] or markers
    capsules = sum(solid.kind == "capsule" for solid in shapes.solids)
    assert len(markers) == len(moving) + 2 * capsules
    assert len(firsts) >= capsules
    for geom in moving:
        centre = data.geom_xpos[geom]
        places = [[m.pose.position.x, m.pose.position.y, m.pose.position.z] for m in markers]
        assert np.abs(np.array(places) - centre).sum(axis=1).min() < 1e-9


def test_round_ends_of_a_capsule_lie_on_its_axis() -> None:
    model = RobotModel(RobotSpec.load("ant"))
    shapes = RobotShapes(model)
    row = next(i for i, solid in enumerate(shapes.solids) if solid.kind == "capsule")
    state = model.reset_state(1, np.random.default_rng(0))[0]
    positions, quaternions = shapes.poses(state)
    single = RobotMarkers([shapes.solids[row]], "odom")
    markers = single.update(positions[row : row + 1], quaternions[row : row + 1], Time()).markers
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, quaternions[row])
    end = markers[2].pose.position
    expected = positions[row] + 0.5 * shapes.solids[row].size[2] * turn.reshape(3, 3)[:, 2]
    np.testing.assert_allclose([end.x, end.y, end.z], expected, atol=1e-9)


def test_rollouts_show_the_best_first_and_at_most_so_many() -> None:
    rng = np.random.default_rng(0)
    candidates, costs = rng.normal(size=(64, 3, 2)), rng.uniform(size=64)
    array = rollout_markers(candidates, costs, num=20, height=0.5, stamp=Time(), frame="odom")
    serialize_message(array)
    assert array.markers[0].action == Marker.DELETEALL
    strips = array.markers[1:]
    assert len(strips) == 20
    assert {marker.header.frame_id for marker in array.markers} == {"odom"}
    best = [[point.x, point.y] for point in strips[0].points]
    np.testing.assert_allclose(best, candidates[np.argmin(costs)])
    assert strips[0].color.b > strips[0].color.r
    assert strips[-1].color.r > strips[-1].color.b


def test_the_disc_of_a_goal_is_as_wide_as_its_tolerance_and_goes_with_it() -> None:
    disc = goal_marker(np.array([3.0, -2.0]), 0.7, stamp=Time(), frame="odom")
    serialize_message(disc)
    assert (disc.type, disc.action) == (Marker.CYLINDER, Marker.ADD)
    assert (disc.scale.x, disc.scale.y) == (1.4, 1.4)
    assert (disc.pose.position.x, disc.pose.position.y) == (3.0, -2.0)
    gone = goal_marker(None, 0.7, stamp=Time(), frame="odom")
    assert gone.action == Marker.DELETE
    assert (gone.ns, gone.id) == (disc.ns, disc.id)


def test_skill_fan_is_one_marker_with_every_piece_of_every_track() -> None:
    """In the colour of the track's direction, as in every other picture."""
    ends = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.3, -0.8]])
    tracks = np.linspace(0.0, 1.0, 6)[:, None] * ends[:, None]
    fan = skill_fan_markers(tracks, stamp=Time(), frame="odom").markers[-1]
    assert fan.type == Marker.LINE_LIST
    assert len(fan.points) == len(fan.colors) == 4 * 5 * 2
    found = np.array([[c.r, c.g, c.b] for c in fan.colors]).reshape(4, 10, 3)
    np.testing.assert_allclose(found, np.tile(of_directions(ends)[:, None], (1, 10, 1)), atol=1e-6)
