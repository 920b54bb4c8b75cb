"""RobotModel: frames against MuJoCo's own, orders, symmetry, and what is refused."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dads_ros.config import DomainRandomization
from dads_ros.envs.model import MAX_MJCF_BYTES, RobotModel, load_mjcf
from dads_ros.envs.randomization import gain_factor, varied_models
from dads_ros.errors import ConfigError
from dads_ros.observation import quaternion_to_matrix
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec
from legged import LEGGED, legged_spec

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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('axis="0 0 1"', 'axis="0 0 1" ref="1.25"'),
        ('axis="1 0 0"', 'axis="-1 0 0"'),
        ('axis="0 1 0"', 'axis="0 -1 0" ref="0.3"'),
    ],
)
def test_a_planar_base_with_a_hinge_agrees_with_mujoco(tmp_path: Path, old: str, new: str) -> None:
    """As the half-cheetah's, or the hopper's: two slides and a pitch, no free joint."""
    mjcf = PLANAR_MJCF.replace(old, new) if old else PLANAR_MJCF
    mjcf = mjcf.replace("<mujoco>", '<mujoco><compiler angle="radian"/>')
    model = RobotModel(spec_of(tmp_path, mjcf, base=PLANAR_BASE, actuators=("pitch",)))
    start = model.robot_state(*np.split(model.still_state(1)[:, 1:7], 2, axis=1))
    np.testing.assert_allclose(start.position, [[0.5, 0.2, 0.1]], atol=1e-9)
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
        back = model.qpos(state.position[i], state.orientation[i], np.empty(0))
        np.testing.assert_allclose(back[:2], qpos[i, :2], atol=1e-9)
        np.testing.assert_allclose(np.cos(back[2] - qpos[i, 2]), 1.0)


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


PITCH = '<joint name="pitch" type="hinge" axis="0 1 0"/>'
PITCH_FIRST_MJCF = PLANAR_MJCF.replace(PITCH, "").replace("<joint", f"{PITCH}<joint", 1)

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
        (PLANAR_MJCF.replace("1 0 0", "1 1 0"), {}, "'x: x', which is not at the origin"),
        (PLANAR_MJCF.replace("0 1 0", '0 1 0" pos="1 0 0'), {}, "'pitch: pitch', which is not"),
        (PLANAR_MJCF.replace("pos=", 'euler="9 0 0" pos='), {}, "has a parent or an orientation"),
        (PITCH_FIRST_MJCF, {}, "comes after its slides"),
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


LOOP_MJCF = """
<mujoco><compiler angle="radian"/><worldbody><body name="trunk"><freejoint/><geom size="0.1"/>
  <body name="crank" pos="0.3 0 0"><joint name="crank" axis="0 1 0"/><geom size="0.05"/>
    <body pos="0 0 0.2"><joint name="rod" axis="0 1 0"/><geom size="0.05"/></body></body>
</body></worldbody>
<actuator><motor joint="crank"/></actuator>
<keyframe><key name="home" qpos="0 0 0.5  0.8 0 0.6 0  0.8 -0.7"/></keyframe></mujoco>
"""


def test_starts_are_those_of_the_keyframe_also_where_nobody_names_a_joint(tmp_path: Path) -> None:
    base = {"kind": "free", "body": "trunk"}
    changes = {"base": base, "joints": ["crank"], "actuators": ["crank"]}
    model = RobotModel(spec_of(tmp_path, LOOP_MJCF, **changes, reset={"keyframe": "home"}))
    qpos = model.still_state(5)[:, 1 : 1 + model.mj_model.nq]
    np.testing.assert_allclose(qpos[:, 7:], [[0.8, -0.7]] * 5)
    up = Rotation.from_quat(qpos[:, 3:7], scalar_first=True).apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(up[:, 2], 0.8**2 - 0.6**2, atol=1e-9)  # as tilted
    assert np.ptp(up[:, 0]) > 0.5  # in any direction


@pytest.mark.parametrize(
    "servo",
    [
        '<position joint="b" kp="80" kv="4" timeconst="0.05"/>',
        '<intvelocity joint="b" kp="80" kv="4"/>',
    ],
)
def test_servos_with_a_state_begin_where_the_joint_is(tmp_path: Path, servo: str) -> None:
    mjcf = FREE_MJCF[: FREE_MJCF.index("<actuator>")].replace(
        "<mujoco>", '<mujoco><option gravity="0 0 0"/>'
    )
    reset = {"height_m": 0.5, "joint_positions": {"b": -0.6}}
    changes = {"base": FREE["base"], "joints": ["b"], "actuators": ["b"], "reset": reset}
    at = [-0.6] if servo.startswith("<position") else [0.0]  # the second takes a velocity
    changes |= {"safe_command": at, "command_low": [-1.0], "command_high": [1.0]}
    model = RobotModel(
        spec_of(tmp_path, f"{mjcf}<actuator>{servo}</actuator></mujoco>", **changes)
    )
    data = mujoco.MjData(model.mj_model)
    mujoco.mj_setState(
        model.mj_model, data, model.still_state(1)[0], mujoco.mjtState.mjSTATE_FULLPHYSICS
    )
    data.ctrl[:] = model.to_ctrl(np.array(at))
    for _ in range(50):
        mujoco.mj_step(model.mj_model, data)
    assert abs(data.joint("b").qpos[0] + 0.6) < 0.01


PAIRED = LEGGED.replace(
    "<worldbody>",
    '<default><geom contype="0" conaffinity="0"/></default><worldbody>'
    '<geom name="floor" type="plane" size="9 9 1"/>',
).replace(
    "<actuator>",
    '<contact><pair geom1="left_foot" geom2="floor"/><pair geom1="right_foot" geom2="floor"/>'
    "</contact><actuator>",
)


def test_contact_pairs_touch_slip_and_refuse_ground(tmp_path: Path) -> None:
    model = RobotModel(legged_spec(PAIRED))
    assert model.is_foot.tolist() == [True, True]
    planes = model.mj_model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
    assert planes.sum() == 1  # no second floor
    rng = np.random.default_rng(0)
    (own,) = varied_models(model, DomainRandomization(friction=(0.3, 0.3)), 1, rng)
    assert (own.pair_friction[:, :2] == 0.3).all()
    uneven = DomainRandomization(ground_m=0.05)
    with pytest.raises(ConfigError, match="contact pairs that name the floor"):
        varied_models(model, uneven, 1, rng)
    of_feet = LEGGED.replace(
        "<actuator>", '<contact><pair geom1="left_foot" geom2="right_foot"/></contact><actuator>'
    )
    assert len(varied_models(RobotModel(legged_spec(of_feet)), uneven, 1, rng)) == 1


@pytest.mark.parametrize("changes", [{"feet": ["arm"]}, {"fallen": {"contacts": ["trunk"]}}])
def test_what_cannot_touch_the_ground_is_no_foot_and_no_sign_of_a_fall(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError, match="of which nothing can touch the ground"):
        RobotModel(legged_spec(PAIRED, **changes))


def test_a_mirror_holds_with_toes_that_nothing_drives() -> None:
    toe = (
        '<body pos="0.2 0 -0.15"><joint name="{0}_toe" axis="0 1 0" stiffness="5" damping="0.1"/>'
    )
    toe += '<geom size="0.02" pos="0.05 0 0"/></body>'
    mjcf = LEGGED
    for side in ("left", "right"):
        shin = f'<geom name="{side}_shin"'
        mjcf = mjcf.replace(shin, toe.format(side) + shin)
    mjcf = mjcf.replace("0.2 -0.4  0.2 -0.4  0.5", "0.2 -0.4 0  0.2 -0.4 0  0.5")
    model = RobotModel(legged_spec(mjcf))
    assert model.spec.mirror is not None and model.verify_symmetry(model.spec.mirror) < 1e-6


def test_the_strength_of_a_muscle_varies_and_not_its_range(tmp_path: Path) -> None:
    mjcf = FREE_MJCF[: FREE_MJCF.index("<actuator>")]
    muscle = '<actuator><muscle joint="b" lengthrange="-1 1"/></actuator></mujoco>'
    changes = {"base": FREE["base"], "joints": ["b"], "actuators": ["b"]}
    model = RobotModel(spec_of(tmp_path, mjcf + muscle, **changes))
    rng = np.random.default_rng(0)
    (own,) = varied_models(model, DomainRandomization(gain=(0.5, 0.5)), 1, rng)
    before, after = model.mj_model.actuator_gainprm[0], own.actuator_gainprm[0]
    np.testing.assert_array_equal(after[[0, 1, 4, 5, 6]], before[[0, 1, 4, 5, 6]])
    assert after[3] == 0.5 * before[3] and gain_factor(model, own) == 0.5


def test_a_joint_that_turns_without_end_is_a_wheel(caplog: pytest.LogCaptureFixture) -> None:
    rolling = LEGGED.replace(
        '<joint name="left_hip" axis="0 1 0" range="-1 1"/>',
        '<joint name="left_hip" axis="0 1 0"/>',
    )
    changes: dict[str, Any] = {"mirror": None}
    RobotModel(legged_spec(rolling, **changes))
    assert "turn without end: left_hip; " in caplog.text
    caplog.clear()
    RobotModel(legged_spec(rolling, wheels=["left_hip"], **changes))
    assert "without end" not in caplog.text
    with pytest.raises(ConfigError, match="'right_hip', which is no hinge without a range"):
        RobotModel(legged_spec(rolling, wheels=["right_hip"], **changes))
    with pytest.raises(ConfigError, match="'wheels' names 'roll', not one of 'joints'"):
        legged_spec(wheels=["roll"])
    jumping = PredictionSpec(fields=("x", "y", "joint_positions"))
    with pytest.raises(ConfigError, match="jump from pi to -pi"):
        jumping.observation_columns(legged_spec(rolling, wheels=["left_hip"]))
