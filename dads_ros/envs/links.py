"""RobotLinks: a robot as a tree of links that hinges and slides move, and the URDF of it.

The root is the base body, so that the tree hangs from base_link; bodies that do not hang from it
are left out, as the world is. Written for showing a robot: masses and friction are not in it.
Shapes: L links without the root.
"""

import math
import xml.etree.ElementTree as ET
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from dads_ros.envs.model import RobotModel
from dads_ros.envs.shapes import Solid, solids_of
from dads_ros.observation import quaternion_to_matrix

Array = NDArray[np.float64]
ROOT = "base_link"
ENDLESS_M = 1e9
"""Either limit of a slide that has none: URDF knows none without."""
_NONE = -1
_STILL = np.array([1.0, 0.0, 0.0, 0.0])
_BALL, _SLIDE = int(mujoco.mjtJoint.mjJNT_BALL), int(mujoco.mjtJoint.mjJNT_SLIDE)


class Link(NamedTuple):
    """A link and the joint that joins it to its parent."""

    name: str
    parent: str
    joint_name: str
    joint: int
    """MuJoCo's; -1 where it is fixed to its parent."""
    position: Array
    """Of the joint in the parent's frame with the joint at 0, metres. Shape (3,)."""
    quaternion: Array
    """The same, (w, x, y, z). Shape (4,)."""


class RobotLinks:
    """A link for each body, where MuJoCo has the body, and others between a body's joints."""

    def __init__(self, model: RobotModel, frame_prefix: str = "") -> None:
        """Take the tree from the compiled model; the prefix is put before every link's name."""
        self._model, self._robot, self._prefix = model.mj_model, model.spec.name, frame_prefix
        self._joint_names = {self._name_at(address) for address in self._model.name_jntadr}
        self._link_names = {"map", "odom", ROOT}
        self._bodies = {model.body_id: f"{frame_prefix}{ROOT}"}
        self.links: list[Link] = []
        """Each after its parent. Length L."""
        for body in range(model.body_id + 1, self._model.nbody):  # a parent comes first
            if int(self._model.body_parentid[body]) in self._bodies:
                self._add(body)
        self._positions = np.array([link.position for link in self.links]).reshape(-1, 3)
        self._quaternions = np.array([link.quaternion for link in self.links]).reshape(-1, 4)

    def poses(self, state: Array) -> tuple[Array, Array]:
        """Where each link is in its parent's frame, in a full-physics state.

        Args:
            state: a row of ``Physics.states``.
        Returns: positions (L, 3), metres, and quaternions (L, 4), (w, x, y, z).
        """
        model, qpos = self._model, state[1 : 1 + self._model.nq]
        positions, quaternions = self._positions.copy(), self._quaternions.copy()
        for row, link in enumerate(self.links):
            if link.joint == _NONE:
                continue
            kind, first = int(model.jnt_type[link.joint]), int(model.jnt_qposadr[link.joint])
            axis, value = model.jnt_axis[link.joint], qpos[first]
            if kind == _SLIDE:
                positions[row] += _turned(link.quaternion, axis * value)
            elif kind == _BALL:
                quaternions[row] = _product(link.quaternion, qpos[first : first + 4])
            else:
                quaternions[row] = _product(link.quaternion, _turn(axis, value))
        return positions, quaternions

    def urdf(self) -> str:
        """The tree and its solids; joints are named as in the MJCF, links as their frames."""
        robot = ET.Element("robot", name=_printable(self._robot))
        solids: dict[str, list[tuple[Solid, Array, Array]]] = {}
        for geom, solid in solids_of(self._model):
            name = self._bodies.get(int(self._model.geom_bodyid[geom]))
            if name is not None:
                place = self._model.geom_pos[geom], self._model.geom_quat[geom]
                solids.setdefault(name, []).append((solid, *place))
        for name in [self._bodies[min(self._bodies)], *(link.name for link in self.links)]:
            element = ET.SubElement(robot, "link", name=name)
            for solid, position, quaternion in solids.get(name, []):
                _add_solid(element, solid, position, quaternion)
        for link in self.links:
            self._add_joint(robot, link)
        ET.indent(robot)
        return ET.tostring(robot, encoding="unicode")

    def _add(self, body: int) -> None:
        """The links of a body: one for each joint, the last one the body's own if it can be."""
        model = self._model
        parent = self._bodies[int(model.body_parentid[body])]
        name = self._name_at(model.name_bodyadr[body]) or f"body{body}"
        position, quaternion = model.body_pos[body].copy(), model.body_quat[body].copy()
        first, num = int(model.body_jntadr[body]), int(model.body_jntnum[body])
        for joint in range(first, first + num):
            anchor, axis = model.jnt_pos[joint], model.jnt_axis[joint]
            position = position + _turned(quaternion, anchor)
            zero = float(model.qpos0[model.jnt_qposadr[joint]])  # what the MJCF was drawn at
            if model.jnt_type[joint] == _SLIDE:
                position -= _turned(quaternion, axis * zero)
            elif model.jnt_type[joint] != _BALL:
                quaternion = _product(quaternion, _turn(axis, -zero))
            is_body = joint == first + num - 1 and not anchor.any()
            joint_name = self._name_at(model.name_jntadr[joint])
            joint_name = joint_name or _free(f"joint{joint}", self._joint_names)
            link = name if is_body else f"{joint_name}_link"
            parent = self._append(link, parent, joint_name, joint, position, quaternion)
            position, quaternion = -anchor, _STILL
        if num == 0 or position.any():
            joint_name = _free(f"{name}_fixed", self._joint_names)
            parent = self._append(name, parent, joint_name, _NONE, position, quaternion)
        self._bodies[body] = parent

    def _name_at(self, address: int) -> str:
        """The name that MuJoCo keeps there, which may be of any bytes."""
        names: bytes = self._model.names
        return _printable(names[address : names.index(0, address)].decode(errors="replace"))

    def _append(self, name: str, parent: str, *joint: Any) -> str:  # noqa: ANN401
        """Returns: the name that it got."""
        name = f"{self._prefix}{_free(name, self._link_names)}"
        self.links.append(Link(name, parent, *joint))
        return name

    def _add_joint(self, robot: ET.Element, link: Link) -> None:
        model, joint = self._model, link.joint
        kind, is_limited = "fixed", joint != _NONE and bool(model.jnt_limited[joint])
        if joint != _NONE:
            hinge = "revolute" if is_limited else "continuous"
            kind = {_BALL: "floating", _SLIDE: "prismatic"}.get(int(model.jnt_type[joint]), hinge)
        element = ET.SubElement(robot, "joint", name=link.joint_name, type=kind)
        ET.SubElement(element, "parent", link=link.parent)
        ET.SubElement(element, "child", link=link.name)
        _add_origin(element, link.position, link.quaternion)
        if kind in ("revolute", "continuous", "prismatic"):
            ET.SubElement(element, "axis", xyz=_text(model.jnt_axis[joint]))
        if kind in ("revolute", "prismatic"):
            low, high = model.jnt_range[joint] if is_limited else (-ENDLESS_M, ENDLESS_M)
            limits = {"lower": _text([low]), "upper": _text([high])}
            ET.SubElement(element, "limit", {**limits, "effort": "0", "velocity": "0"})


def _add_solid(link: ET.Element, solid: Solid, position: Array, quaternion: Array) -> None:
    """URDF has neither capsules nor ellipsoids: one with round ends, and a sphere as large."""
    width, depth, length = solid.size
    round_size = {"radius": _text([0.5 * width])}
    parts = [(0.0, "cylinder", {**round_size, "length": _text([length])})]
    if solid.kind == "box":
        parts = [(0.0, "box", {"size": _text(solid.size)})]
    elif solid.kind == "sphere":
        mean = (width * depth * length) ** (1.0 / 3.0)
        parts = [(0.0, "sphere", {"radius": _text([0.5 * mean])})]
    elif solid.kind == "capsule":
        parts += [(end * length, "sphere", round_size) for end in (-0.5, 0.5)]
    for offset, shape, size in parts:
        visual = ET.SubElement(link, "visual")
        _add_origin(visual, position + _turned(quaternion, np.array([0, 0, offset])), quaternion)
        ET.SubElement(ET.SubElement(visual, "geometry"), shape, size)
        # One name is one colour in all of a URDF.
        colour = ET.SubElement(visual, "material", name="rgba " + _text(solid.rgba))
        ET.SubElement(colour, "color", rgba=_text(solid.rgba))


def _add_origin(element: ET.Element, position: Array, quaternion: Array) -> None:
    """As URDF has it: turned about the fixed x-, y- and z-axis, in this order."""
    m = quaternion_to_matrix(quaternion)
    yaw = math.atan2(m[1, 0], m[0, 0])  # any, where the x-axis points up or down
    cos, sin = math.cos(yaw), math.sin(yaw)
    pitch = math.atan2(-m[2, 0], cos * m[0, 0] + sin * m[1, 0])
    roll = math.atan2(sin * m[0, 2] - cos * m[1, 2], cos * m[1, 1] - sin * m[0, 1])
    ET.SubElement(element, "origin", xyz=_text(position), rpy=_text([roll, pitch, yaw]))


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken, which takes it."""
    name = _printable(name)
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _printable(name: str) -> str:
    """XML has no signs for all else."""
    return "".join(letter for letter in name if letter.isprintable())


def _text(values: Array | list[float] | tuple[float, ...]) -> str:
    return " ".join(f"{value:.12g}" for value in values)


def _turn(axis: Array, angle: float) -> Array:
    quaternion = np.empty(4)
    mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
    return quaternion


def _product(first: Array, second: Array) -> Array:
    quaternion = np.empty(4)
    mujoco.mju_mulQuat(quaternion, first, second)
    return quaternion


def _turned(quaternion: Array, vector: Array) -> Array:
    turned = np.empty(3)
    mujoco.mju_rotVecQuat(turned, vector, quaternion)
    return turned
