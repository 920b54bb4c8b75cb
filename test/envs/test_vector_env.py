"""VectorEnv: episodes, delay, resets; Physics against MuJoCo stepped by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import Physics, VectorEnv
from dads_ros.errors import ConfigError
from dads_ros.robot import CommandFilterSpec, RobotSpec

POINT_MASS = RobotModel(RobotSpec.load("point_mass"))
ANT = RobotModel(RobotSpec.load("ant"))
STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS


def make_env(model: RobotModel = POINT_MASS, num: int = 3, **settings: Any) -> VectorEnv:  # noqa: ANN401
    settings = {"rng": np.random.default_rng(0), "episode_steps": 100} | settings
    return VectorEnv(model, num, **settings)


@pytest.mark.parametrize("model", [POINT_MASS, ANT], ids=["point_mass", "ant"])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_physics_is_mujoco_stepped_by_hand(model: RobotModel, num_threads: int) -> None:
    rng = np.random.default_rng(0)
    start = model.reset_state(3, rng)
    commands = rng.uniform(-1.0, 1.0, (3, 40, model.spec.command_dim))
    physics = Physics(model, start, num_threads)
    physics.advance(commands[:, :15])
    physics.advance(commands[:, 15:])
    for i in range(3):
        data = mujoco.MjData(model.mj_model)
        mujoco.mj_setState(model.mj_model, data, start[i], STATE)
        for command in commands[i]:
            data.ctrl[:] = model.to_ctrl(command)
            mujoco.mj_step(model.mj_model, data)
        expected = np.empty(model.num_state)
        mujoco.mj_getState(model.mj_model, data, expected, STATE)
        np.testing.assert_allclose(physics.states[i], expected, atol=1e-9)
    np.testing.assert_allclose(physics.time(), 40 * model.spec.sim_dt)


def test_a_wrench_pushes_the_base() -> None:
    physics = Physics(POINT_MASS, np.zeros((2, POINT_MASS.num_state)))
    wrench = np.zeros((2, 6))
    wrench[1, 1] = 3.0
    physics.advance(np.zeros((2, 10, 2)), wrench)
    moved = physics.robot_state().position
    assert moved[0, 1] == 0.0 and moved[1, 1] > 0.01
    assert moved[1, 0] == 0.0


def test_a_push_makes_a_robot_so_much_faster() -> None:
    env, push = make_env(num=2), np.array([[0.0, 0.0], [1.0, -0.5]])
    env.step(np.zeros((2, 2)))
    before = env.state.ground_velocity(env.spec)
    env.step(np.zeros((2, 2)), push)
    np.testing.assert_allclose(env.state.ground_velocity(env.spec) - before, push, atol=0.1)


def test_an_episode_keeps_its_last_observation_and_the_reset_takes_a_step() -> None:
    env = make_env(num=2, episode_steps=3)
    for _ in range(3):
        assert not env.needs_reset.any()
        env.step(np.ones((2, 2)))
    last = env.policy_obs()
    assert env.needs_reset.all() and not env.terminated.any()
    assert last[:, 0].min() > 0.1, "the robots still have the speed that they ended with"
    env.step(np.ones((2, 2)))
    assert not env.needs_reset.any() and (env.steps == 0).all()
    np.testing.assert_array_equal(env.state.position[:, :2], 0.0)
    np.testing.assert_array_equal(env.last_command, 0.0)


def test_staggered_episodes_end_at_different_steps() -> None:
    env = make_env(num=10, episode_steps=20, staggered=True)
    ends = []
    for _ in range(20):
        ends.append(int(env.needs_reset.sum()))
        env.step(np.zeros((10, 2)))
    assert max(ends) == 1 and sum(ends) >= 9


def test_a_fall_ends_the_episode_only_where_the_robot_file_says_so() -> None:
    fallen = dataclasses.replace(ANT.spec.fallen, min_height_m=10.0)
    for ends_episode in (False, True):
        rule = dataclasses.replace(fallen, ends_episode=ends_episode)
        env = make_env(RobotModel(dataclasses.replace(ANT.spec, fallen=rule)), num=2)
        env.step(np.zeros((2, 8)))
        assert env.terminated.tolist() == [ends_episode] * 2
        assert env.needs_reset.tolist() == [ends_episode] * 2
        env.step(np.zeros((2, 8)))
        assert env.steps.tolist() == [0 if ends_episode else 2] * 2


def test_a_physics_that_breaks_down_ends_the_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log where it runs
    env = make_env(num=2)
    env.step(np.zeros((2, 2)))
    assert not env.terminated.any()
    env.physics.states[1, -1] = np.nan
    env.step(np.zeros((2, 2)))
    assert env.terminated.tolist() == [False, True]
    assert env.diverged.tolist() == [False, True]
    env.step(np.zeros((2, 2)))
    assert np.isfinite(env.physics.states).all() and env.steps.tolist() == [3, 0]
    assert not env.terminated.any() and not env.diverged.any()


@pytest.mark.parametrize("late_steps", [0, 2, 5])
def test_a_delayed_command_acts_late_by_that_many_simulation_steps(late_steps: int) -> None:
    """Unit force on a unit mass: the speed tells for how many substeps it acted."""
    delay = late_steps * POINT_MASS.spec.sim_dt * 1000.0
    env = make_env(num=1, delay_ms=(delay, delay))
    env.physics.states[:] = 0.0
    env.step(np.array([[1.0, 0.0]]))
    speed = 0.0
    for step in range(5):
        force = 1.0 if step >= late_steps else 0.0
        # implicitfast with mass 1 and damping 1
        speed = (speed + force * 0.02) / 1.02
    np.testing.assert_allclose(env.state.linear_velocity[0, 0], speed, atol=1e-12)
    env.step(np.array([[-1.0, 0.0]]))
    for step in range(5):
        force = -1.0 if step >= late_steps else 1.0
        speed = (speed + force * 0.02) / 1.02
    np.testing.assert_allclose(env.state.linear_velocity[0, 0], speed, atol=1e-12)


def test_the_delay_is_drawn_for_each_robot_within_its_range() -> None:
    env = make_env(num=200, delay_ms=(20.0, 60.0))
    assert set(env._delay.tolist()) == {1, 2, 3}


@pytest.mark.parametrize("num_steps", [2, 20])
def test_half_of_the_delays_are_an_end_of_their_range(num_steps: int) -> None:
    """A policy trained on 0 to 20 ms, all alike, fell most often at 0 ms."""
    env = make_env(ANT, num=4000, delay_ms=(0.0, 10.0 * num_steps))
    shares = np.bincount(env._delay, minlength=num_steps + 1) / 4000
    between = 0.5 / (num_steps + 1)
    assert shares[[0, -1]] == pytest.approx(0.25 + between, abs=0.04)
    assert shares[1:-1] == pytest.approx(between, abs=0.04)


def test_a_delay_that_no_robot_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 1000 ms"):
        make_env(delay_ms=(0.0, 1020.0))
    with pytest.raises(ConfigError, match=r"50 to 20 ms; .* the smaller number first"):
        make_env(delay_ms=(50.0, 20.0))


@pytest.mark.parametrize("delay_ms", [(15.0, 15.0), (0.0, 4.0), (25.0, 30.0)])
def test_a_delay_between_simulation_steps_is_refused(delay_ms: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="'sim_dt' of robot 'ant', 10 ms"):
        make_env(ANT, delay_ms=delay_ms)
    make_env(ANT, delay_ms=(10.0, 30.0))


def test_commands_are_clipped_to_the_actuators_limits() -> None:
    env, twin = make_env(num=1), make_env(num=1)
    env.step(np.array([[5.0, -5.0]]))
    twin.step(np.array([[1.0, -1.0]]))
    np.testing.assert_array_equal(env.physics.states, twin.physics.states)
    np.testing.assert_array_equal(env.last_command, [[1.0, -1.0]])


def test_the_last_command_is_part_of_the_ants_observation() -> None:
    env = make_env(ANT, num=1)
    command = np.linspace(-0.5, 0.5, 8)[None]
    env.step(command)
    np.testing.assert_allclose(env.policy_obs()[:, -8:], command, atol=1e-7)


def test_the_same_seed_repeats_exactly_and_robots_differ() -> None:
    env, twin = (make_env(ANT, num=2, delay_ms=(0.0, 50.0)) for _ in range(2))
    for _ in range(5):
        env.step(np.ones((2, 8)))
        twin.step(np.ones((2, 8)))
    np.testing.assert_array_equal(env.physics.states, twin.physics.states)
    assert not np.allclose(env.physics.states[0], env.physics.states[1])


def test_a_restored_env_goes_on_exactly() -> None:
    rng, other = np.random.default_rng(0), np.random.default_rng(5)
    env = make_env(ANT, num=3, rng=rng, episode_steps=4, delay_ms=(0.0, 50.0), staggered=True)
    env.step(np.ones((3, 8)))
    saved, state = env.checkpoint(), rng.bit_generator.state
    twin = make_env(ANT, num=3, rng=other, episode_steps=4, delay_ms=(0.0, 50.0))
    twin.restore(saved)
    other.bit_generator.state = state
    for _ in range(8):
        env.step(-np.ones((3, 8)))
        twin.step(-np.ones((3, 8)))
        np.testing.assert_array_equal(env.physics.states, twin.physics.states)
        np.testing.assert_array_equal(env.policy_obs(), twin.policy_obs())


def test_a_delay_may_be_longer_than_a_control_step() -> None:
    """Of 5 simulation steps here: with 7 of delay, the command of step 0 acts from the 8th on."""
    env = make_env(num=2, delay_ms=(140.0, 140.0))
    physics = Physics(POINT_MASS, env.physics.states)
    commands = np.random.default_rng(1).uniform(-1.0, 1.0, (6, 2, 2))
    late = np.concatenate([np.zeros((7, 2, 2)), np.repeat(commands, 5, axis=0)])[:30]
    for step, command in enumerate(commands):
        env.step(command)
        physics.advance(late[5 * step : 5 * step + 5].swapaxes(0, 1))
        np.testing.assert_allclose(env.physics.states, physics.states, atol=1e-12)
        np.testing.assert_array_equal(env.last_command, command)


def test_a_reset_forgets_the_commands_that_are_on_their_way() -> None:
    env = make_env(num=1, delay_ms=(200.0, 200.0), episode_steps=5)
    for _ in range(5):
        env.step(np.ones((1, 2)))
    env.step(np.ones((1, 2)))  # resets
    before = env.state.linear_velocity.copy()
    env.step(np.zeros((1, 2)))
    assert (np.abs(env.state.linear_velocity) <= np.abs(before)).all()


def test_wanted_commands_are_filtered_as_the_robot_file_says() -> None:
    spec = POINT_MASS.spec
    for given, expected in (
        ({"low_pass": 0.5}, [[0.5, -0.2], [0.75, -0.3]]),
        ({"max_rate": [3.0, 1.0]}, [[0.3, -0.1], [0.6, -0.2]]),
        ({"low_pass": 0.5, "max_rate": [3.0]}, [[0.3, -0.2], [0.6, -0.3]]),
        ({}, [[1.0, -0.4], [1.0, -0.4]]),
    ):
        filtered = dataclasses.replace(spec, command_filter=CommandFilterSpec(**given))
        env = make_env(RobotModel(filtered), num=1)
        for row in expected:
            env.step(env.filtered(np.array([[7.0, -0.4]])))
            np.testing.assert_allclose(env.last_command[0], row)
