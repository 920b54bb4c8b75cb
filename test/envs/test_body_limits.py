"""How a body may move: what exceeds a limit is measured, and nothing else."""

from typing import Any

import numpy as np
import pytest

from dads_ros.config import DomainRandomization, SkillPriorConfig
from dads_ros.envs.body_limits import BodyLimits, Moved
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.evaluation.skills import evaluate_skills, evaluate_switching
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace
from legged import LEGGED, legged_spec
from skill_models import linear_rollout

LIMITS: dict[str, Any] = {
    "command_rate": 0.1,
    "torque": 0.5,
    "joint_speed": [2.0],
    "joint_margin": 0.1,
    "height_m": [0.3, 0.34],
    "tilt_deg": 10.0,
}
NAMES = ("command_rate", "torque", "joint_speed", "joint_margin", "height", "tilt", "contacts")


@pytest.fixture
def model() -> RobotModel:
    return RobotModel(legged_spec(body_limits=LIMITS))


def still(model: RobotModel) -> Moved:
    """One robot that stands at home and does what it is told: nothing."""
    home = np.array(model.spec.safe_command)
    env = VectorEnv(model, 1, rng=np.random.default_rng(0), episode_steps=9)
    return Moved(
        commands=np.tile(home, (2, 1, 1)),
        applied=np.tile(home, (1, 4, 1)),
        positions=np.tile(home, (1, 4, 1)),
        velocities=np.zeros((1, 4, 4)),
        touching=np.zeros((1, 4, len(model.contact_columns)), bool),
        state=env.state,
    )


def test_a_robot_that_stands_exceeds_nothing(model: RobotModel) -> None:
    limits = BodyLimits(model)
    assert limits.names == NAMES
    np.testing.assert_array_equal(limits.exceeded(still(model)), np.zeros((1, len(NAMES))))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("command_rate", 1.0),
        ("torque", 1.0),
        ("joint_speed", 0.5),
        ("joint_margin", 0.5),
        ("height", 1.0),
        ("tilt", 1.0),
        ("contacts", 1.0),
    ],
)
def test_what_exceeds_a_limit_counts_by_its_part_of_the_limit(
    model: RobotModel, name: str, part: float
) -> None:
    moved, spec = still(model), model.spec
    if name == "command_rate":  # a fifth of the range, twice the limit
        low, high = spec.command_limits
        moved.commands[0] += 0.2 * (high - low)
    elif name == "torque":  # as much as they can, twice the limit
        moved.applied[:] += 20.0 / 60.0
    elif name == "joint_speed":
        moved.velocities[:] = -3.0  # and their torques are 6 of 20 N m
    elif name == "joint_margin":
        _, high, _ = model.joint_ranges()
        moved.positions[:] = high - 0.05
        moved.applied[:] = moved.positions
    elif name == "height":
        moved.state.position[:, 2] = 0.34 + 0.02
    elif name == "tilt":
        angle = np.radians(20.0) / 2.0
        moved.state.orientation[:] = [np.cos(angle), 0.0, np.sin(angle), 0.0]
    else:
        moved.touching[:, :, 0] = True  # the trunk
    exceeded = dict(zip(NAMES, BodyLimits(model).exceeded(moved)[0], strict=True))
    assert exceeded[name] == pytest.approx(part, rel=1e-5)
    others = [value for other, value in exceeded.items() if other != name]
    np.testing.assert_allclose(others, 0.0, atol=1e-7)


def test_one_joint_of_four_counts_half_and_feet_may_touch_the_ground(model: RobotModel) -> None:
    moved = still(model)
    moved.velocities[:, :, 1] = 4.0
    moved.touching[:, :, model.is_foot] = True
    exceeded = dict(zip(NAMES, BodyLimits(model).exceeded(moved)[0], strict=True))
    assert exceeded["joint_speed"] == pytest.approx(0.5) and exceeded["contacts"] == 0.0


def test_the_environment_measures_what_robots_do() -> None:
    model = RobotModel(legged_spec(body_limits=LIMITS | {"torque": 0.05}))
    env = VectorEnv(model, 2, rng=np.random.default_rng(0), episode_steps=200)
    home, far = np.array(model.spec.safe_command), np.array(model.spec.command_high)
    assert not env.exceeded.any()
    env.step(np.stack([home, far]))
    exceeded = dict(zip(env.limit_names, env.exceeded.T, strict=True))
    assert exceeded["command_rate"][0] == 0.0
    assert exceeded["command_rate"][1] == pytest.approx(4.0)  # half the range
    assert exceeded["torque"][1] > exceeded["torque"][0] == 0.0
    for _ in range(3):
        env.step(np.stack([home, far]))
    assert dict(zip(env.limit_names, env.exceeded.T, strict=True))["command_rate"][1] == 0.0


def test_torques_are_those_of_each_robots_own_servos() -> None:
    model = RobotModel(legged_spec(body_limits=LIMITS | {"torque": 0.0}))
    first = []
    for gain in (0.5, 1.0):
        env = VectorEnv(
            model,
            1,
            rng=np.random.default_rng(0),
            episode_steps=200,
            randomization=DomainRandomization(gain=(gain, gain)),
        )
        env.step(np.array([model.spec.safe_command]) + 0.01)
        first.append(env.exceeded[0, env.limit_names.index("torque")])
    assert 0.0 < first[0] < 0.9 * first[1]  # by nominal gains it would be 1.5 of it


@pytest.mark.parametrize("contacts", [(), ("arm",)], ids=["no fall", "fall"])
def test_what_is_no_foot_may_not_touch_the_ground(contacts: tuple[str, ...]) -> None:
    """And where the robot file says so, it is a fall."""
    fallen = {"min_up_z": -1.0, "contacts": contacts, "ends_episode": True}
    model = RobotModel(legged_spec(body_limits=LIMITS, fallen=fallen))
    env = VectorEnv(model, 1, rng=np.random.default_rng(0), episode_steps=900)
    env.physics.states[:, 4:8] = [0.0, 1.0, 0.0, 0.0]  # on its back, in the air
    touched, ended = [], []
    for _ in range(15):
        env.step(env.last_command)
        touched.append(env.exceeded[0, env.limit_names.index("contacts")] > 0.0)
        ended.append(env.terminated[0])
        if ended[-1]:
            break
    assert not touched[0] and touched[-1]
    assert ended[-1] == bool(contacts)


def test_falls_by_contact_are_falls_of_skills_as_well() -> None:
    """The feet here, which touch the ground at once."""
    fallen = {"contacts": ["left_shank"], "ends_episode": True}
    model = RobotModel(legged_spec(fallen=fallen))
    space = SkillSpace(SkillPriorConfig(kind="disc", dim=2))

    def policy(obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        return np.tile(model.spec.safe_command, (len(obs), 1))

    parts = model, space, policy, linear_rollout, 5
    held = evaluate_skills(*parts, seed=0, num_skills=8, steps=20)
    assert held.fallen.all() and (held.fall_step <= 5).all()
    assert evaluate_switching(*parts, seed=0, num_robots=8, steps=20).fallen.all()


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_ground_may_be_a_body_of_its_own(depth: int) -> None:
    floor = '<geom type="box" size="9 9 1" pos="0 0 -1"/>'
    for _ in range(depth):
        floor = f"<body>{floor}</body>"
    mjcf = LEGGED.replace("<worldbody>", f"<worldbody>{floor}")
    env = VectorEnv(
        RobotModel(legged_spec(mjcf)), 1, rng=np.random.default_rng(0), episode_steps=99
    )
    for _ in range(20):
        env.step(env.last_command)
    touching = env.physics.touching()[0, -1]
    np.testing.assert_array_equal(touching, env.model.is_foot)


def test_contacts_count_by_the_part_of_the_simulation_steps(model: RobotModel) -> None:
    moved = still(model)
    moved.touching[:, 0, 0] = True  # one of four
    exceeded = dict(zip(NAMES, BodyLimits(model).exceeded(moved)[0], strict=True))
    assert exceeded["contacts"] == pytest.approx(0.25)


def test_robots_with_servos_have_limits_and_others_have_none() -> None:
    spec = legged_spec()
    assert BodyLimits(RobotModel(spec)).names == (
        "command_rate",
        "torque",
        "joint_margin",
        "tilt",
        "contacts",
    )
    assert BodyLimits(RobotModel(RobotSpec.load("ant"))).names == ()
    off = {"command_rate": None, "torque": None, "joint_margin": None, "tilt_deg": None}
    none = legged_spec(body_limits=off | {"contacts": False})
    assert BodyLimits(RobotModel(none)).names == ()
