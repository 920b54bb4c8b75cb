"""RobotLinks: its URDF, read as anybody would, puts every link where MuJoCo has the body."""

import xml.etree.ElementTree as ET
from pathlib import Path

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dads_ros.envs.links import RobotLinks
from dads_ros.envs.model import RobotModel
from dads_ros.robot import BaseSpec, ResetSpec, RobotSpec

Pose = tuple[np.ndarray, np.ndarray]
"""Position (3,) and rotation matrix (3, 3)."""
ODD_MJCF = """
<mujoco>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="post" pos="3 0 0"><geom type="box" size=".1 .2 .3"/></body>
    <body name="ball" pos="5 0 0"><freejoint/><geom type="sphere" size=".1"/></body>
    <body name="torso" pos="0 0 1" euler="10 20 30">
      <freejoint/>
      <geom type="box" size=".1 .2 .3" pos=".1 0 0" euler="0 90 20" rgba="1 0 0 .5"/>
      <body name="base_link" pos=".1 .2 .3" quat="3 1 3 -1">
        <joint name="joint3" type="slide" axis="3 1 2" pos=".1 0 0" ref=".2"/>
        <joint type="hinge" axis="1 2 3" pos=".01 .02 .03" ref="40"/>
        <geom type="capsule" size=".05 .2" pos="0 .1 0" euler="30 0 0"/>
        <body name="odom" pos="0 .5 0" euler="0 -90 0">
          <joint name="a&lt;&quot;b" type="ball" pos="0 .1 0" limited="false"/>
          <geom type="cylinder" size=".05 .2"/>
          <body pos=".3 0 0" euler="40 50 60">
            <geom type="ellipsoid" size=".1 .2 .3"/>
            <body name="tip" pos="0 0 .2">
              <joint name="tip_fixed" type="hinge" axis="0 1 0" range="-30 30"/>
              <joint name="slide" type="slide" axis="0 0 1" range="-1 1"/>
              <geom type="sphere" size=".1"/>
              <body name="end"><geom type="sphere" size=".1"/></body>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="slide" name="motor"/></actuator>
</mujoco>
"""


def numbers(text: str | None) -> np.ndarray:
    assert text is not None
    return np.array([float(part) for part in text.split()])


def origin(element: ET.Element) -> Pose:
    found = element.find("origin")
    assert found is not None
    turn = Rotation.from_euler("xyz", numbers(found.get("rpy")))  # about fixed axes
    return numbers(found.get("xyz")), turn.as_matrix()


def after(first: Pose, second: Pose) -> Pose:
    return first[0] + first[1] @ second[0], first[1] @ second[1]


def forward_kinematics(urdf: ET.Element, root: Pose, positions: dict[str, np.ndarray]) -> dict:
    """Where every link of a URDF is; joints lie anywhere in the file."""
    joints, poses = urdf.findall("joint"), {"base_link": root}
    assert len({joint.get("name") for joint in joints}) == len(joints)
    assert len(urdf.findall("link")) == len(joints) + 1
    while joints:
        joint = next(j for j in joints if j.find("parent").get("link") in poses)  # type: ignore
        joints.remove(joint)
        place, turn = after(poses[joint.find("parent").get("link")], origin(joint))  # type: ignore
        kind, value = joint.get("type"), positions.get(str(joint.get("name")))
        if kind == "floating":
            assert value is not None
            turn = turn @ Rotation.from_quat(np.roll(value, -1)).as_matrix()
        elif kind != "fixed":
            assert value is not None
            axis = numbers(joint.find("axis").get("xyz"))  # type: ignore[union-attr]
            axis /= np.linalg.norm(axis)
            if kind == "prismatic":
                place = place + turn @ axis * value[0]
            else:
                turn = turn @ Rotation.from_rotvec(axis * value[0]).as_matrix()
        poses[str(joint.find("child").get("link"))] = place, turn  # type: ignore[union-attr]
    assert set(poses) == {link.get("name") for link in urdf.findall("link")}
    return poses


def link_names(model: RobotModel) -> dict[int, str]:
    """The link of every body that hangs from the base."""
    mj, found = model.mj_model, {model.body_id: "base_link"}
    renamed = {"base_link": "base_link_", "odom": "odom_"}
    for body in range(1, mj.nbody):
        if int(mj.body_parentid[body]) in found and body != model.body_id:
            name = mj.body(body).name
            found[body] = renamed.get(name, name) or f"body{body}"
    return found


def odd_robot(folder: Path, mjcf: bytes = ODD_MJCF.encode(), name: str = "odd") -> RobotModel:
    (folder / "odd.xml").write_bytes(mjcf)
    return RobotModel(
        RobotSpec(
            name=name,
            mjcf=str(folder / "odd.xml"),
            base=BaseSpec(body="torso"),
            joints=("slide",),
            actuators=("motor",),
            observation=("joint_positions",),
            reset=ResetSpec(height_m=2.0),
        )
    )


@pytest.mark.parametrize("robot", ["ant", "half_cheetah", "humanoid", "point_mass", "odd"])
def test_links_and_solids_are_where_mujoco_has_them(robot: str, tmp_path: Path) -> None:
    model = odd_robot(tmp_path) if robot == "odd" else RobotModel(RobotSpec.load(robot))
    mj, rng, links = model.mj_model, np.random.default_rng(0), RobotLinks(model)
    urdf, data, names = ET.fromstring(links.urdf()), mujoco.MjData(mj), link_names(model)
    assert urdf.get("name") == robot
    assert {link.get("name") for link in urdf.findall("link")} >= set(names.values())
    for _ in range(5):
        data.qpos[:] = rng.normal(0.0, 2.0, mj.nq)
        mujoco.mj_normalizeQuat(mj, data.qpos)
        mujoco.mj_kinematics(mj, data)
        positions = {  # of the unnamed ones, joint3 is a name that another has
            mj.joint(i).name or f"joint{i}_": data.joint(i).qpos.copy() for i in range(mj.njnt)
        }
        state = model.robot_state(data.qpos[None], np.zeros((1, mj.nv)))
        root = state.position[0], Rotation.from_quat(np.roll(state.orientation[0], -1)).as_matrix()
        poses = forward_kinematics(urdf, root, positions)
        for body, name in names.items():
            np.testing.assert_allclose(poses[name][0], data.xpos[body], atol=1e-8)
            np.testing.assert_allclose(poses[name][1], data.xmat[body].reshape(3, 3), atol=1e-8)
        drawn = [
            after(poses[str(link.get("name"))], origin(visual))
            for link in urdf.findall("link")
            for visual in link.findall("visual")
        ]
        drawn_poses = np.array([np.column_stack([place, turn]) for place, turn in drawn])
        for geom in np.flatnonzero(np.isin(mj.geom_bodyid, list(names))):
            here = np.column_stack([data.geom_xpos[geom], data.geom_xmat[geom].reshape(3, 3)])
            assert np.abs(drawn_poses - here).max(axis=(1, 2)).min() < 1e-8
        # The frames that are published are the same ones.
        state = np.concatenate([[0.0], data.qpos])
        told = {"base_link": root}
        for link, place, turn in zip(links.links, *links.poses(state), strict=True):
            matrix = Rotation.from_quat(np.roll(turn, -1)).as_matrix()
            told[link.name] = after(told[link.parent], (place, matrix))
        for name, (place, turn) in poses.items():
            np.testing.assert_allclose(told[name][0], place, atol=1e-8)
            np.testing.assert_allclose(told[name][1], turn, atol=1e-8)


def test_shapes_sizes_colours_and_limits_are_those_of_the_mjcf(tmp_path: Path) -> None:
    urdf = ET.fromstring(RobotLinks(odd_robot(tmp_path)).urdf())
    links = {str(link.get("name")): link for link in urdf.findall("link")}
    drawn = {
        name: [(shape.tag, dict(shape.attrib)) for shape in link.findall("visual/geometry/*")]
        for name, link in links.items()
    }
    assert drawn["base_link"] == [("box", {"size": "0.2 0.4 0.6"})]
    assert [shape for shape, _ in drawn["base_link_"]] == ["cylinder", "sphere", "sphere"]
    assert drawn["base_link_"][0][1] == {"radius": "0.05", "length": "0.4"}
    ends = [origin(v)[0] for v in links["base_link_"].findall("visual")]
    np.testing.assert_allclose(np.linalg.norm(ends[1] - ends[2]), 0.4, atol=1e-9)
    assert [shape for shape, _ in drawn["odom_"]] == ["cylinder"]
    np.testing.assert_allclose(float(drawn["body6"][0][1]["radius"]), (0.1 * 0.2 * 0.3) ** (1 / 3))
    colours = links["base_link"].findall("visual/material/color")
    assert [colour.get("rgba") for colour in colours] == ["1 0 0 0.5"]
    by_colour: dict[str, set[str]] = {}
    for material in urdf.findall("link/visual/material"):
        rgba = material.find("color").get("rgba")  # type: ignore[union-attr]
        by_colour.setdefault(str(material.get("name")), set()).add(str(rgba))
    assert all(len(colours) == 1 for colours in by_colour.values())
    joints = {joint.get("name"): joint for joint in urdf.findall("joint")}
    kinds = {name: joint.get("type") for name, joint in joints.items()}
    assert [kinds[n] for n in ("tip_fixed", "slide", "joint3", 'a<"b')] == [
        *("revolute", "prismatic", "prismatic", "floating"),
    ]
    limit = joints["tip_fixed"].find("limit")
    assert limit is not None
    np.testing.assert_allclose(numbers(limit.get("upper")), np.radians(30.0))


def test_names_of_any_bytes_make_a_urdf_that_can_be_read(tmp_path: Path) -> None:
    mjcf = ODD_MJCF.encode().replace(b'"end"', b'"e\xff&#1;d"').replace(b'"a&lt;', b'"\xed\xa0')
    urdf = ET.fromstring(RobotLinks(odd_robot(tmp_path, mjcf, name="o\x01<dd")).urdf())
    assert urdf.get("name") == "o<dd"
    assert "e\ufffdd" in {link.get("name") for link in urdf.findall("link")}


def test_a_prefix_is_put_before_links_but_not_before_joints() -> None:
    model = RobotModel(RobotSpec.load("ant"))
    links = RobotLinks(model, "robot2/")
    urdf = ET.fromstring(links.urdf())
    assert all(str(link.get("name")).startswith("robot2/") for link in urdf.findall("link"))
    assert urdf.find("link").get("name") == "robot2/base_link"  # type: ignore[union-attr]
    assert {link.get("name") for link in urdf.findall("joint")} >= set(model.spec.joints)
    assert {link.name for link in links.links} < {
        link.get("name") for link in urdf.findall("link")
    }
