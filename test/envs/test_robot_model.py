"""RobotModel: frames against MuJoCo's own, orders, symmetry, and what is refused."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from dads_ros.envs.model import MAX_MJCF_BYTES, RobotModel, load_mjcf
from dads_ros.errors import ConfigError
from dads_ros.observation import quaternion_to_matrix
from dads_ros.robot import RobotSpec

ROBOTS = ["ant", "half_cheetah", "humanoid", "point_mass"]


def tumbling_states(model: RobotModel, num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random qpos and qvel: any position, any orientation, fast in every direction."""
    rng, mj_model = np.random.default_rng(seed), model.mj_model
    qpos = rng.normal(0.0, 2.0, (num, mj_model.nq))
    for joint in range(mj_model.njnt):
        if mj_model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            part = slice(mj_model.jnt_qposadr[joint] + 3, mj_model.jnt_qposadr[joint] + 7)
            qpos[:, part] /= np.linalg.norm(qpos[:, part], axis=1, keepdims=True)
    return qpos, rng.normal(0.0, 5.0, (num, mj_model.nv))


@pytest.mark.parametrize("robot", ROBOTS)
def test_robot_state_agrees_with_mujoco_for_tumbling_states(robot: str) -> None:
    model = RobotModel(RobotSpec.load(robot))
    qpos, qvel = tumbling_states(model, 50)
    state = model.robot_state(qpos, qvel)
    data = mujoco.MjData(model.mj_model)
    body = mujoco.mjtObj.mjOBJ_XBODY
    for i in range(50):
        data.qpos[:], data.qvel[:] = qpos[i], qvel[i]
        mujoco.mj_forward(model.mj_model, data)
        velocity = np.empty(6)  # angular, linear; at the body frame's origin, in its axes
        mujoco.mj_objectVelocity(model.mj_model, data, body, model.body_id, velocity, 1)
        np.testing.assert_allclose(state.angular_velocity[i], velocity[:3], atol=1e-9)
        np.testing.assert_allclose(state.linear_velocity[i], velocity[3:], atol=1e-9)
        np.testing.assert_allclose(state.position[i], data.xpos[model.body_id], atol=1e-9)
        rotation = data.xmat[model.body_id].reshape(3, 3)
        np.testing.assert_allclose(quaternion_to_matrix(state.orientation[i]), rotation, atol=1e-9)
        np.testing.assert_allclose(state.up_z()[i], rotation[2, 2], atol=1e-9)
        yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
        np.testing.assert_allclose(state.yaw()[i], yaw, atol=1e-9)


def test_a_planar_base_with_a_hinge_agrees_with_mujoco(tmp_path: Path) -> None:
    """As the half-cheetah's: two slides and a pitch, no free joint."""
    model = RobotModel(spec_of(tmp_path, PLANAR_MJCF, base=PLANAR_BASE, actuators=("pitch",)))
    qpos, qvel = tumbling_states(model, 20)
    state = model.robot_state(qpos, qvel)
    data = mujoco.MjData(model.mj_model)
    for i in range(20):
        data.qpos[:], data.qvel[:] = qpos[i], qvel[i]
        mujoco.mj_forward(model.mj_model, data)
        velocity = np.empty(6)
        mujoco.mj_objectVelocity(
            model.mj_model, data, mujoco.mjtObj.mjOBJ_XBODY, model.body_id, velocity, 1
        )
        np.testing.assert_allclose(state.position[i], data.xpos[model.body_id], atol=1e-9)
        np.testing.assert_allclose(state.angular_velocity[i], velocity[:3], atol=1e-9)
        np.testing.assert_allclose(state.linear_velocity[i], velocity[3:], atol=1e-9)


def test_joints_and_commands_are_in_the_robot_files_order() -> None:
    """In the Ant's MJCF joints begin at hip_1 and actuators at hip_4."""
    spec = RobotSpec.load("ant")
    swapped = dataclasses.replace(
        spec, joints=spec.joints[::-1], actuators=spec.actuators[::-1], symmetry=None
    )
    model, other = RobotModel(spec), RobotModel(swapped)
    qpos, qvel = tumbling_states(model, 4)
    one, two = model.robot_state(qpos, qvel), other.robot_state(qpos, qvel)
    np.testing.assert_array_equal(one.joint_positions, two.joint_positions[:, ::-1])
    np.testing.assert_array_equal(one.joint_velocities, two.joint_velocities[:, ::-1])
    command = np.arange(8.0)
    np.testing.assert_array_equal(model.to_ctrl(command), other.to_ctrl(command[::-1]))
    for name, value in zip(spec.actuators, command, strict=True):
        ctrl = model.to_ctrl(command)
        driven = [
            model.mj_model.joint(model.mj_model.actuator_trnid[i, 0]).name
            for i in np.flatnonzero(ctrl == value)
        ]
        assert driven == [name]


def test_start_yaw_is_uniform_and_the_robot_stands_at_the_origin() -> None:
    model = RobotModel(RobotSpec.load("ant"))
    states = model.reset_state(4000, np.random.default_rng(0))
    nq = model.mj_model.nq
    state = model.robot_state(
        states[:, 1 : 1 + nq], states[:, 1 + nq : 1 + nq + model.mj_model.nv]
    )
    quarter = np.bincount(((state.yaw() + np.pi) // (np.pi / 2.0)).astype(int), minlength=4)
    assert quarter[:4].min() > 900
    np.testing.assert_allclose(state.up_z(), 1.0)
    np.testing.assert_array_equal(state.position[:, :2], 0.0)
    np.testing.assert_array_equal(state.position[:, 2], model.spec.reset.height_m)


def test_the_declared_symmetry_of_the_ant_is_one() -> None:
    RobotModel(RobotSpec.load("ant"))  # verifies it


@pytest.mark.parametrize(
    "wrong",
    [
        {"ankle_1": "ankle_2", "ankle_2": "ankle_3", "ankle_3": "ankle_4", "ankle_4": "ankle_1"},
        {"hip_1": "hip_4", "hip_2": "hip_1", "hip_3": "hip_2", "hip_4": "hip_3"},
    ],
)
def test_a_false_symmetry_is_refused(wrong: dict[str, str]) -> None:
    spec = RobotSpec.load("ant")
    assert spec.symmetry is not None
    joints = spec.symmetry.joints | wrong
    false = dataclasses.replace(spec.symmetry, joints=joints)
    with pytest.raises(ConfigError, match="does not hold"):
        RobotModel(dataclasses.replace(spec, symmetry=false))


PLANAR_BASE = {"kind": "planar", "body": "cart", "joints": {"x": "x", "z": "z", "pitch": "pitch"}}
PLANAR_MJCF = """
<mujoco><worldbody><body name="cart" pos="0.5 0.2 0.7">
  <joint name="x" type="slide" axis="1 0 0"/><joint name="z" type="slide" axis="0 0 1"/>
  <joint name="pitch" type="hinge" axis="0 1 0"/><geom size="0.1"/>
</body></worldbody><actuator><motor joint="pitch"/></actuator></mujoco>
"""


FREE: dict[str, Any] = {
    "base": {"kind": "free", "body": "cart"},
    "joints": ["a", "b"],
    "actuators": ["a", "b"],
}
SWAP = {"symmetry": {"turn_deg": 180.0, "joints": {"a": "b", "b": "a"}}}
SWAP_C = {"symmetry": {"turn_deg": 180.0, "joints": {"c": "c"}}}
SWAP_PITCH = {"symmetry": {"turn_deg": 180.0, "joints": {"pitch": "pitch"}}}
FREE_MJCF = """
<mujoco><worldbody><body name="cart"><freejoint name="root"/><geom size="0.1"/>
  <body pos="0.2 0 0"><joint name="a" axis="0 1 0"/><geom size="0.1"/></body>
  <body pos="-0.2 0 0"><joint name="b" axis="0 -1 0"/><geom size="0.1"/></body>
  <body pos="0 0 0.2"><joint name="c" axis="0 0 1"/><geom size="0.1"/></body>
</body></worldbody><actuator>
  <motor joint="a" ctrllimited="true" ctrlrange="-1 1"/>
  <motor joint="b" ctrllimited="true" ctrlrange="-1 1"/>
</actuator></mujoco>
"""
ONE_MOTOR_MJCF = FREE_MJCF.replace('<motor joint="b" ctrllimited="true" ctrlrange="-1 1"/>', "")


def spec_of(folder: Path, mjcf: str, **changes: Any) -> RobotSpec:  # noqa: ANN401
    path = folder / "robot.xml"
    path.write_text(mjcf, encoding="utf-8")
    values = {"name": "test", "mjcf": str(path), "observation": ["height"]}
    values |= {"reset": {"height_m": 0.1}} | changes
    return RobotSpec.from_dict(values)


@pytest.mark.parametrize(
    ("mjcf", "changes", "words"),
    [
        ("<mujoco><body></mujoco>", {}, "does not load"),
        ("", {}, "does not load"),
        (PLANAR_MJCF, {"base": {**PLANAR_BASE, "body": "wheel"}}, "'wheel'"),
        (PLANAR_MJCF, {"base": {"kind": "free", "body": "cart"}}, "no free joint"),
        (PLANAR_MJCF, {"base": {**PLANAR_BASE, "joints": {"y": "y"}}}, "'y'; the MJCF has x, z"),
        (PLANAR_MJCF, {"base": {**PLANAR_BASE, "joints": {"up": "z"}}}, "axis 'up'"),
        (PLANAR_MJCF, {"joints": ["elbow"]}, "'elbow'; the MJCF has x, z, pitch"),
        (PLANAR_MJCF, {"base": {**PLANAR_BASE, "joints": {"x": "pitch"}}}, "'x: pitch'"),
        (PLANAR_MJCF, {"base": {**PLANAR_BASE, "joints": {"pitch": "z"}}}, "'pitch: z'"),
        (FREE_MJCF, FREE | {"joints": ["root", "a", "b"]}, "'root', which is neither"),
        (FREE_MJCF, FREE | {"command_high": [1.0, 2.0]}, "'b' go from -1 to 2"),
        (FREE_MJCF, FREE | {"command_low": [-3.0, -1.0]}, "'a' go from -3 to 1"),
        (FREE_MJCF, FREE | SWAP | {"command_high": [1.0, 0.5]}, "with other limits"),
        (FREE_MJCF, FREE | SWAP | {"joints": []}, "must map every one of 'joints'"),
        (FREE_MJCF, FREE | {"joints": ["c"]} | SWAP_C, "become nothing"),
        (ONE_MOTOR_MJCF, FREE | SWAP | {"actuators": ["a"]}, "driven are a, which become b"),
        (PLANAR_MJCF, {"joints": ["pitch"]} | SWAP_PITCH, "needs 'base.kind: free'"),
        (PLANAR_MJCF, {"actuators": ["motor"]}, "lists actuators motor; the MJCF has pitch"),
        (PLANAR_MJCF, {"actuators": ["pitch", "more"]}, "pitch, more"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_in_one_sentence(
    tmp_path: Path, mjcf: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        RobotModel(
            spec_of(tmp_path, mjcf, **{"base": PLANAR_BASE, "actuators": ["pitch"]} | changes)
        )
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_mjcf_file_is_named(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PLANAR_MJCF, base=PLANAR_BASE, actuators=["pitch"])
    spec = dataclasses.replace(spec, mjcf=str(tmp_path / "gone.xml"))
    with pytest.raises(ConfigError, match=r"gone\.xml"):
        RobotModel(spec)


def test_the_hash_is_of_the_numbers_of_the_compiled_model() -> None:
    spec = RobotSpec.load("point_mass")
    assert RobotModel(spec).sha256() == RobotModel(spec).sha256()
    assert RobotModel(spec).sha256() != RobotModel(dataclasses.replace(spec, sim_dt=0.01)).sha256()


def test_a_robot_that_no_check_refuses_loads(tmp_path: Path) -> None:
    """The twin of those above: what they change is all that is wrong with them."""
    without_c = FREE_MJCF.replace('<joint name="c" axis="0 0 1"/>', "")
    assert RobotModel(spec_of(tmp_path, without_c, **FREE | SWAP)).spec.symmetry is not None
    narrower = FREE | {"command_low": [-0.5], "command_high": [1.0, 0.5]}
    assert RobotModel(spec_of(tmp_path, FREE_MJCF, **narrower)).spec.command_high == (1.0, 0.5)


BALL = '<geom size="0.1"/>'


@pytest.mark.parametrize(
    ("mjcf", "words"),
    [
        ("<body>" * 100_000 + BALL + "</body>" * 100_000, "too deep"),
        ('<replicate count="1000">' * 4 + BALL + "</replicate>" * 4, "took more than"),
        (f'<geom size="{"9" * 100_000}"/>', "too large"),
        (" " * MAX_MJCF_BYTES, "no file of at most"),
        ("\0", "does not load"),
        (BALL + '</worldbody><size memory="100G"/><worldbody>', "allocate memory"),
        (BALL + "</worldbody><include file='robot.xml'/><worldbody>", "already included"),
        ("</worldbody><asset><mesh file='gone.obj'/></asset><worldbody>", "gone.obj"),
    ],
    ids=["deep", "replicated", "digits", "large", "nul", "memory", "loop", "mesh"],
)
def test_an_mjcf_file_that_takes_too_much_is_refused_in_one_sentence(
    tmp_path: Path, mjcf: str, words: str
) -> None:
    path = tmp_path / "robot.xml"
    path.write_text(f"<mujoco><worldbody>{mjcf}</worldbody></mujoco>")
    with pytest.raises(ConfigError) as caught:
        load_mjcf(path)
    text = str(caught.value)
    assert "robot.xml" in text and words in text and len(text) < 1000 and text.isprintable()


def test_a_model_whose_steps_are_slow_is_refused(tmp_path: Path) -> None:
    heap = "".join(f'<body pos="{0.01 * i} 0 0"><freejoint/>{BALL}</body>' for i in range(30))
    solver = '<option solver="PGS" tolerance="0" iterations="1000"/>'
    path = tmp_path / "robot.xml"
    path.write_text(f"<mujoco>{solver}<worldbody>{heap}</worldbody></mujoco>")
    with pytest.raises(ConfigError, match=r"one step of simulation takes|took more than"):
        load_mjcf(path)


@pytest.mark.skipif(mujoco.__version__ != "4.0.0", reason="the others compute it right")
def test_a_model_that_this_mujoco_computes_wrongly_is_refused(tmp_path: Path) -> None:
    chain = ('<body pos="0.5 0 0"><joint/>' + BALL) * 60 + "</body>" * 60
    path, mjcf = tmp_path / "robot.xml", "<mujoco>{}<worldbody>{}</worldbody></mujoco>"
    path.write_text(mjcf.format("", chain))
    with pytest.raises(ConfigError, match=r"60 degrees of freedom.*install MuJoCo 4\.0\.1"):
        load_mjcf(path)
    path.write_text(mjcf.format('<option jacobian="dense"/>', chain))
    assert load_mjcf(path).nv == 60


@pytest.mark.parametrize("name", ["/dev/zero", "/tmp", "a\0b", "x" * 5000])
def test_what_is_no_mjcf_file_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_mjcf(Path(name))
    assert len(str(caught.value)) < 1000 and str(caught.value).isprintable()


def test_a_model_is_compiled_anew_when_one_of_its_files_has_changed(tmp_path: Path) -> None:
    path, part = tmp_path / "robot.xml", tmp_path / "part.xml"
    path.write_text("<mujoco><include file='part.xml'/></mujoco>")
    part.write_text(f"<mujoco><worldbody>{BALL}</worldbody></mujoco>")
    assert load_mjcf(path).ngeom == load_mjcf(path).ngeom == 1
    part.write_text(f"<mujoco><worldbody>{BALL}{BALL}</worldbody></mujoco>")
    assert load_mjcf(path).ngeom == 2


def test_models_of_one_file_share_nothing() -> None:
    spec = RobotSpec.load("point_mass")
    one, two = RobotModel(spec), RobotModel(spec)
    one.mj_model.body_mass[:] = 7.0
    assert not np.any(two.mj_model.body_mass == 7.0)


def test_a_path_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.xml")
    path.write_text("<mujoco/>")
    with pytest.raises(ConfigError, match=r"does not load \('utf-8' codec .*check the path"):
        load_mjcf(path)
