"""Domain randomization: every robot has a body of its own, and sensors that are not exact."""

import mujoco
import numpy as np
import pytest

from dads_ros.config import DomainRandomization
from dads_ros.envs.model import GROUND, RobotModel
from dads_ros.envs.randomization import varied_models, with_noise
from dads_ros.envs.vector_env import Physics, VectorEnv
from dads_ros.errors import ConfigError
from dads_ros.robot import RobotSpec
from legged import LEGGED, legged_spec


@pytest.fixture
def model() -> RobotModel:
    return RobotModel(legged_spec())


def stand(model: RobotModel, randomization: DomainRandomization, num: int = 16) -> VectorEnv:
    """After a second on the standing command."""
    rng = np.random.default_rng(0)
    env = VectorEnv(model, num, rng=rng, episode_steps=500, randomization=randomization)
    for _ in range(50):
        env.step(np.tile(model.spec.safe_command, (num, 1)))
    return env


def test_bodies_are_drawn_within_their_ranges(model: RobotModel) -> None:
    ranges = DomainRandomization(friction=(0.4, 1.2), mass=(0.7, 1.3), gain=(0.8, 1.2))
    models, plain = varied_models(model, ranges, 64, np.random.default_rng(0)), model.mj_model
    ground = plain.geom_bodyid == 0
    for values, low, high in (
        ([m.body_subtreemass[1] / plain.body_subtreemass[1] for m in models], 0.7, 1.3),
        ([m.body_inertia[1, 0] / plain.body_inertia[1, 0] for m in models], 0.7, 1.3),
        ([m.actuator_gainprm[0, 0] / 60.0 for m in models], 0.8, 1.2),
        ([-m.actuator_biasprm[0, 1] / 60.0 for m in models], 0.8, 1.2),
        ([-m.actuator_biasprm[0, 2] / 2.0 for m in models], 0.8, 1.2),
        ([m.geom_friction[ground, 0][0] for m in models], 0.4, 1.2),
    ):
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high >= max(values) > high - 0.1 * (high - low)
    assert plain.actuator_gainprm[0, 0] == 60.0  # the robot's own model is as it was


def test_every_robot_moves_as_its_own_model_does(model: RobotModel) -> None:
    ranges = DomainRandomization(
        friction=(0.4, 1.2), mass=(0.7, 1.3), gain=(0.8, 1.2), ground_m=0.04
    )
    start, rng = model.reset_state(4, np.random.default_rng(1)), np.random.default_rng(0)
    models = varied_models(model, ranges, 4, rng)
    physics = Physics(model, start, 1, models)
    commands = np.tile(model.spec.safe_command, (4, 60, 1))
    commands += rng.uniform(-0.1, 0.1, commands.shape)
    physics.advance(commands)
    for index, own in enumerate(models):
        data = mujoco.MjData(own)
        mujoco.mj_setState(own, data, start[index], mujoco.mjtState.mjSTATE_FULLPHYSICS)
        for command in commands[index]:
            data.ctrl[:] = model.to_ctrl(command)
            mujoco.mj_step(own, data)
        expected = np.empty(model.num_state)
        mujoco.mj_getState(own, data, expected, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        np.testing.assert_allclose(physics.states[index], expected, atol=1e-9)


def test_friction_is_all_that_a_range_of_friction_changes(model: RobotModel) -> None:
    ranges = DomainRandomization(friction=(0.3, 0.3))
    (own,) = varied_models(model, ranges, 1, np.random.default_rng(0))
    assert set(own.geom_friction[:, 0]) == {0.3}
    for name in ("geom_condim", "geom_priority", "geom_solref", "geom_solimp"):
        np.testing.assert_array_equal(getattr(own, name), getattr(model.mj_model, name))
    np.testing.assert_array_equal(own.geom_friction[:, 1:], model.mj_model.geom_friction[:, 1:])


def test_a_height_field_of_the_robots_world_stays_as_it_is() -> None:
    field = '<asset><hfield name="own" nrow="3" ncol="3" size="1 1 1 1"/></asset><worldbody>'
    field += '<geom type="hfield" hfield="own" pos="50 0 -5"/><geom type="plane" size="9 9 1"/>'
    model = RobotModel(legged_spec(LEGGED.replace("<worldbody>", field)))
    ranges = DomainRandomization(ground_m=0.04)
    (own,) = varied_models(model, ranges, 1, np.random.default_rng(0))
    assert own.nhfield == 2
    index = own.hfield("own").id
    first, num = own.hfield_adr[index], own.hfield_nrow[index] * own.hfield_ncol[index]
    assert not own.hfield_data[first : first + num].any() and own.hfield_data.any()


def test_another_seed_has_other_bodies(model: RobotModel) -> None:
    ranges, heights = DomainRandomization(mass=(0.5, 2.0), gain=(0.5, 0.5)), []
    for seed in (0, 0, 1):
        env = VectorEnv(
            model,
            4,
            rng=np.random.default_rng(0),
            episode_steps=99,
            randomization=ranges,
            bodies_seed=seed,
        )
        for _ in range(20):
            env.step(env.last_command)
        heights.append(env.state.position[:, 2].copy())
    np.testing.assert_array_equal(heights[0], heights[1])
    assert np.abs(heights[2] - heights[0]).max() > 1e-5


def test_without_ranges_all_have_one_model(model: RobotModel) -> None:
    sensed = DomainRandomization(sensor_noise=1.0)
    for ranges in (DomainRandomization(), sensed):
        assert set(map(id, varied_models(model, ranges, 3, np.random.default_rng(0)))) == {
            id(model.mj_model)
        }


def test_heavier_robots_with_weaker_servos_sag(model: RobotModel) -> None:
    light = DomainRandomization(mass=(0.7, 0.7), gain=(2.0, 2.0))
    heavy = DomainRandomization(mass=(1.5, 1.5), gain=(0.5, 0.5))
    little, much = (
        np.abs(stand(model, ranges).state.joint_positions - model.spec.safe_command).max(axis=1)
        for ranges in (light, heavy)
    )
    assert much.min() > 2.0 * little.max()


def test_a_slippery_ground_lets_a_robot_slide(model: RobotModel) -> None:
    moved = []
    for friction in ((0.02, 0.02), (1.0, 1.0)):
        env = stand(model, DomainRandomization(friction=friction), 4)
        env.step(env.last_command, np.tile([1.0, 0.0], (4, 1)))
        start = env.state.position[:, 0].copy()
        for _ in range(25):
            env.step(env.last_command)
        moved.append(env.state.position[:, 0] - start)
    assert moved[0].min() > 0.2 > 0.1 > np.abs(moved[1]).max()


def test_on_uneven_ground_robots_stand_at_different_heights(model: RobotModel) -> None:
    even = stand(model, DomainRandomization()).state.position[:, 2]
    uneven = stand(model, DomainRandomization(ground_m=0.04)).state.position[:, 2]
    assert np.ptp(even) < 1e-3 and np.ptp(uneven) > 0.01
    assert np.abs(uneven - even).max() < 0.06


@pytest.mark.parametrize("robot", ["go2", "ant", "humanoid"])
def test_bumps_bear_every_robot_as_its_own_floor_does(robot: str) -> None:
    """Geoms of a Go2 and an Ant touch only what their MJCF says, a Humanoid's without friction."""
    model = RobotModel(RobotSpec.load(robot))
    heights = [
        stand(model, DomainRandomization(ground_m=ground_m)).state.position[:, 2]
        for ground_m in (0.0, 0.04)
    ]
    assert np.ptp(heights[1] - heights[0]) > 0.02
    uneven = RobotModel(model.spec, uneven_ground=True).mj_model
    floor, field = uneven.geom("floor"), uneven.geom(GROUND)
    for name in ("contype", "conaffinity", "condim", "friction", "solref", "margin"):
        np.testing.assert_array_equal(getattr(field, name), getattr(floor, name), name)


def test_half_of_the_ground_is_beyond_half_of_the_height_of_bumps(model: RobotModel) -> None:
    ranges = DomainRandomization(ground_m=0.04)
    (own,) = varied_models(model, ranges, 1, np.random.default_rng(0))
    field = own.geom(GROUND)
    heights = field.pos[2] + own.hfield_size[0, 2] * own.hfield_data
    assert np.abs(heights).max() == pytest.approx(0.04)
    assert (np.abs(heights) > 0.02).mean() == pytest.approx(0.5, abs=0.01)


def test_sensors_have_noise_and_the_robot_has_none(model: RobotModel) -> None:
    env = stand(model, DomainRandomization(sensor_noise=1.0), 64)
    true, seen = env.state, env.sensed
    error = seen.joint_positions - true.joint_positions
    assert 0.009 < np.abs(error).max() <= 0.01
    np.testing.assert_array_equal(seen.position, true.position)
    np.testing.assert_allclose(np.linalg.norm(seen.orientation, axis=1), 1.0)
    assert 0.0 < np.degrees(np.arccos(seen.up_z())).max() < 6.0
    quiet = stand(model, DomainRandomization(), 64)
    np.testing.assert_allclose(quiet.state.joint_positions, true.joint_positions)
    assert np.abs(env.policy_obs() - quiet.policy_obs()).max() > 0.1


def test_noise_is_independent_of_the_robot_and_turns_about_every_axis() -> None:
    model = RobotModel(RobotSpec.load("ant"))
    env = VectorEnv(model, 4000, rng=np.random.default_rng(0), episode_steps=9)
    seen = with_noise(env.state, 1.0, np.random.default_rng(1))
    yaw = np.angle(np.exp(1j * (seen.yaw() - env.state.yaw())))
    assert np.std(yaw) == pytest.approx(0.05 / np.sqrt(3.0), rel=0.1)
    assert np.abs(np.mean(yaw)) < 0.002


def test_a_resumed_environment_has_the_same_bodies(model: RobotModel) -> None:
    ranges = DomainRandomization(mass=(0.5, 2.0), gain=(0.5, 1.5), ground_m=0.03)
    env = stand(model, ranges, 5)
    twin = VectorEnv(
        model, 5, rng=np.random.default_rng(7), episode_steps=500, randomization=ranges
    )
    twin.restore(env.checkpoint())
    for _ in range(10):
        env.step(env.last_command)
        twin.step(twin.last_command)
    np.testing.assert_array_equal(env.physics.states, twin.physics.states)


def test_a_range_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'mass' is .* the smaller one first"):
        DomainRandomization(mass=(1.2, 0.8))
