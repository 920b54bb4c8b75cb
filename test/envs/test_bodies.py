"""What a robot is drawn with in 3-D is where MuJoCo has it."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from dads_ros.envs.bodies import WORLD, RobotBodies
from dads_ros.envs.model import RobotModel
from dads_ros.envs.shapes import RobotShapes
from dads_ros.files import share_folder
from dads_ros.observation import quaternion_to_matrix
from dads_ros.robot import ResetSpec, RobotSpec

ROBOTS = sorted(path.stem for path in Path(share_folder(), "config", "robots").glob("*.yaml"))
SOLIDS = """
<mujoco>
  <asset><mesh name="wedge" vertex="0 0 0  1 0 0  0 1 0  0 0 1" scale="0.3 0.3 0.3"/></asset>
  <worldbody>
    <geom type="plane" size="9 9 1"/>
    <geom name="wall" type="box" size="0.1 2 0.5" pos="3 0 0.5"/>
    <body name="torso" pos="0 0 1">
      <freejoint/>
      <geom type="{kind}" size="0.1 0.2 0.3" rgba="1 0 0 1" pos="1 2 3" euler="0 90 0"/>
      <body><joint name="a"/><geom type="mesh" mesh="wedge" rgba="0 1 0 1"/></body>
      <geom type="sphere" size="9" group="3"/>
    </body>
  </worldbody>
  <actuator><motor name="a" joint="a"/></actuator>
</mujoco>
"""
VOLUMES = {
    "sphere": 4 / 3 * np.pi * 0.1**3,
    "ellipsoid": 4 / 3 * np.pi * 0.1 * 0.2 * 0.3,
    "capsule": np.pi * 0.1**2 * (0.4 + 4 / 3 * 0.1),
    "cylinder": np.pi * 0.1**2 * 0.4,
    "box": 0.2 * 0.4 * 0.6,
}


def model_of(kind: str, folder: Path) -> RobotModel:
    file = folder / "robot.xml"
    file.write_text(SOLIDS.format(kind=kind))
    return RobotModel(
        RobotSpec(
            name="solids",
            mjcf=str(file),
            joints=("a",),
            actuators=("a",),
            observation=("joint_positions",),
            reset=ResetSpec(height_m=10.0),
        )
    )


def volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Of what the triangles enclose; negative where they face inwards."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)


@pytest.mark.parametrize("kind", VOLUMES)
def test_surfaces_enclose_what_they_show_and_face_outwards(kind: str, tmp_path: Path) -> None:
    bodies = RobotBodies(model_of(kind, tmp_path))
    colours = {surface.rgba[:3]: surface for surface in bodies.surfaces}
    solid = colours[1.0, 0.0, 0.0]
    middle = 0.5 * (solid.vertices.min(axis=0) + solid.vertices.max(axis=0))
    np.testing.assert_allclose(middle, [1.0, 2.0, 3.0], atol=1e-9)
    whole = volume(solid.vertices - middle, solid.triangles)
    assert 0.93 * VOLUMES[kind] < whole < 1.0001 * VOLUMES[kind]
    if kind in ("capsule", "cylinder"):  # its long axis is turned onto x
        length = 0.6 if kind == "capsule" else 0.4
        assert np.ptp(solid.vertices[:, 0]) == pytest.approx(length)


def test_meshes_and_the_world_are_there_but_not_the_ground_and_what_is_for_collisions(
    tmp_path: Path,
) -> None:
    model = model_of("box", tmp_path)
    bodies = RobotBodies(model)
    kinds = [surface.body for surface in bodies.surfaces]
    assert kinds.count(WORLD) == 1 and len(kinds) == 3
    wedge = next(s for s in bodies.surfaces if s.rgba == (0.0, 1.0, 0.0, 1.0))
    assert wedge.triangles.shape == (4, 3)
    assert volume(wedge.vertices, wedge.triangles) == pytest.approx(0.3**3 / 6, rel=1e-3)
    corner = wedge.vertices[np.abs(wedge.vertices).sum(axis=1).argmin()]
    np.testing.assert_allclose(corner, 0.0, atol=1e-6)  # MuJoCo moves a mesh to its centre
    assert bodies.mass_kg == pytest.approx(model.mj_model.body_subtreemass[model.body_id])


def test_every_corner_of_the_ant_lies_on_one_of_its_solids_however_it_tumbles() -> None:
    model, rng = RobotModel(RobotSpec.load("ant")), np.random.default_rng(0)
    bodies, shapes = RobotBodies(model), RobotShapes(model)
    state = model.reset_state(1, rng)[0]
    qpos = state[1 : 1 + model.mj_model.nq]
    qpos[:3], qpos[7:] = rng.normal(size=3), rng.uniform(-1.0, 1.0, 8)
    qpos[3:7] = np.array([0.5, -0.5, 0.1, 0.7]) / np.linalg.norm([0.5, -0.5, 0.1, 0.7])
    positions, quaternions = bodies.poses(qpos)
    places = dict(zip(bodies.bodies, zip(positions, quaternions, strict=True), strict=True))
    centres, turns = shapes.poses(state)
    axes = quaternion_to_matrix(turns)[:, :, 2]
    assert sorted(places) == sorted({surface.body for surface in bodies.surfaces})
    for surface in bodies.surfaces:
        position, quaternion = places[surface.body]
        corners = surface.vertices @ quaternion_to_matrix(quaternion).T + position
        off = []
        for solid, centre, axis in zip(shapes.solids, centres, axes, strict=True):
            half = 0.5 * solid.size[2] if solid.kind == "capsule" else 0.0
            along = np.clip((corners - centre) @ axis, -half, half)
            distance = np.linalg.norm(corners - centre - along[:, None] * axis, axis=1)
            off.append(np.abs(distance - 0.5 * solid.size[0]))
        assert np.min(off, axis=0).max() < 1e-9


@pytest.mark.parametrize("robot", ROBOTS)
def test_state_vectors_come_back_from_robot_states(robot: str) -> None:
    model, rng = RobotModel(RobotSpec.load(robot)), np.random.default_rng(2)
    state = model.reset_state(1, rng)[0]
    qpos = state[1 : 1 + model.mj_model.nq].copy()
    named = model.joint_qpos
    qpos[named] += rng.uniform(-0.5, 0.5, len(named))
    others = np.setdiff1d(np.arange(model.mj_model.nq), named)
    if model.spec.base.kind == "free":
        qpos[:3] = rng.normal(size=3)
        mujoco.mju_axisAngle2Quat(qpos[3:7], np.array([0.6, 0.0, 0.8]), 2.0)
    else:
        qpos[others] = rng.uniform(-1.0, 1.0, len(others))
    found = model.robot_state(qpos[None], np.zeros((1, model.mj_model.nv)))[0]
    back = model.qpos(found.position, found.orientation, found.joint_positions)
    np.testing.assert_allclose(back, qpos, atol=1e-9)


def test_a_joint_that_nobody_names_stays_as_in_the_mjcf() -> None:
    model = RobotModel(RobotSpec.load("ant"))
    qpos = model.qpos(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]), np.full(8, np.nan))
    np.testing.assert_array_equal(qpos[7:], model.mj_model.qpos0[7:])
