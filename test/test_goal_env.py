"""Our robots as a goal-conditioned environment of stable-baselines3."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from baselines.goal_env import NEAR_M, GoalFromHere, GoalVecEnv, observation_of
from baselines.run import drive

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.envs.model import RobotModel
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.goals import evaluate_goals
from dads_ros.files import find_file
from dads_ros.observation import build_policy_obs, turned
from dads_ros.robot import RobotSpec


def make(robot: str = "point_mass", **settings: object) -> GoalVecEnv:
    chosen = {"seed": 0, "is_sparse": False, "episode_steps": 5, **settings}
    return GoalVecEnv(RobotModel(RobotSpec.load(robot)), 3, **chosen)


def still(env: GoalVecEnv) -> np.ndarray:
    return np.zeros((env.num_envs, *env.action_space.shape), np.float32)


def test_observations_are_of_the_declared_spaces() -> None:
    env = make("ant")
    seen = env.reset()
    assert all(len(part) == 3 for part in seen.values())
    first = {name: part[0] for name, part in seen.items()}
    assert env.observation_space.contains(first)
    assert np.abs(seen["desired_goal"]).max() <= 10.0


def test_goals_lie_where_the_robot_can_move() -> None:
    env = make("half_cheetah", episode_steps=1)
    goals = np.concatenate(
        [env.reset()["desired_goal"], *(env.step(still(env))[0]["desired_goal"] for _ in range(9))]
    )
    np.testing.assert_array_equal(goals[:, 1], 0.0)
    assert len(np.unique(goals[:, 0])) == 30


def test_the_reward_is_that_of_the_place_that_was_reached() -> None:
    env = make()
    env.reset()
    seen, reward, _, _ = env.step(np.ones_like(still(env)))
    way = np.linalg.norm(seen["achieved_goal"] - seen["desired_goal"], axis=1)
    np.testing.assert_allclose(reward, -way, rtol=1e-5)
    places, goal = np.array([[0.0, 0.9 * NEAR_M], [0.0, 1.1 * NEAR_M]]), np.zeros((2, 2))
    sparse = make(is_sparse=True).env_method("compute_reward", places, goal, None, indices=[0])
    assert sparse[0].tolist() == [0.0, -1.0]


def test_an_episode_ends_by_its_length_and_the_next_begins_at_once() -> None:
    env = make()
    goals = env.reset()["desired_goal"]
    for _ in range(4):
        seen, _, done, infos = env.step(np.ones_like(still(env)))
        assert not done.any() and infos == [{}] * 3
        np.testing.assert_array_equal(seen["desired_goal"], goals)
    before = seen["achieved_goal"]
    seen, reward, done, infos = env.step(np.ones_like(still(env)))
    assert done.all() and all(info["TimeLimit.truncated"] for info in infos)
    last = np.stack([info["terminal_observation"]["achieved_goal"] for info in infos])
    assert (last > before).all()
    np.testing.assert_allclose(reward, -np.linalg.norm(last - goals, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(seen["achieved_goal"], 0.0)
    assert (seen["desired_goal"] != goals).any(axis=1).all()
    _, _, done, _ = env.step(still(env))
    assert not done.any()


def test_one_that_falls_stays_there_until_its_episode_ends() -> None:
    """The Half-Cheetah turns over under full torques, which ends episodes of its skills."""
    env = make("half_cheetah", episode_steps=200)
    before, rng = env.reset(), np.random.default_rng(0)
    paid, has_fallen = np.zeros(3), np.zeros(3, bool)
    for _ in range(199):
        seen, reward, done, _ = env.step(np.sign(rng.standard_normal(still(env).shape)))
        assert not done.any()
        for name, part in seen.items():
            np.testing.assert_array_equal(part[has_fallen], before[name][has_fallen])
        np.testing.assert_array_equal(reward[has_fallen], paid[has_fallen])
        moved = (seen["observation"] != before["observation"]).any(axis=1)
        assert (moved == ~has_fallen).all()
        has_fallen |= env._env.fallen
        before, paid = seen, reward
    assert has_fallen.any()
    _, _, done, _ = env.step(still(env))
    before = env._observation()
    seen, _, _, _ = env.step(still(env))
    assert done.all() and (seen["observation"] != before["observation"]).any(axis=1).all()


def test_from_the_heading_the_ground_looks_the_same_at_any_yaw() -> None:
    """The same robot with its goal, turned together: what networks see does not change."""
    env = make("ant", from_heading=True)
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(20):
        env.step(rng.uniform(-0.5, 0.5, still(env).shape))
    extract = GoalFromHere(env.observation_space)
    state, seen = env._env.state, []
    for angle in (0.0, 1.0, 2.5, 4.0):
        turn = np.array([np.cos(angle / 2.0), 0.0, 0.0, np.sin(angle / 2.0)])
        turned_state = dataclasses.replace(
            state,
            position=np.append(turned(state.position[:, :2], angle), state.position[:, 2:], 1),
            orientation=product(turn, state.orientation),
        )
        robots = SimpleNamespace(
            spec=env._env.spec,
            state=turned_state,
            policy_obs=lambda of=turned_state: build_policy_obs(
                env._env.spec, of, env._env.last_command
            ),
        )
        given = observation_of(robots, turned(env._goals, angle), from_heading=True)
        assert env.observation_space.contains({name: part[0] for name, part in given.items()})
        with torch.no_grad():
            seen.append(extract({name: torch.from_numpy(part) for name, part in given.items()}))
    for each in seen[1:]:
        torch.testing.assert_close(each, seen[0], atol=1e-5, rtol=1e-5)
    assert (seen[0][0] - seen[0][1]).abs().max() > 0.1


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of quaternions (w, x, y, z): first b, then a. Shapes (4,), (N, 4) -> (N, 4)."""
    real = a[0] * b[:, :1] - b[:, 1:] @ a[1:, None]
    return np.append(real, a[0] * b[:, 1:] + b[:, :1] * a[1:] + np.cross(a[1:], b[:, 1:]), axis=1)


def test_robots_start_move_and_fall_as_those_that_plan() -> None:
    bundle = SkillBundle(find_file("humanoid", folder="models"))
    model = RobotModel(bundle.robot)
    command = np.linspace(*bundle.robot.command_limits, 9)
    driver = Driver(model=model, policy=lambda obs, skill: command, skills=bundle, seed=3)
    goals = np.array([[50.0, 0.0]] * 9)
    planned = evaluate_goals(driver, goals, 40)
    given = drive(model, lambda env: command, goals, 40, seed=3, progress=lambda step: None)
    for name, values in vars(planned).items():
        np.testing.assert_array_equal(getattr(given, name), values, name)
    assert given.fell.any() and not given.fell.all()


def test_attributes_are_not_set_from_outside() -> None:
    with pytest.raises(NotImplementedError, match="when the environment is made"):
        make().set_attr("goals", None)


def test_an_action_may_last_and_is_paid_the_mean_over_its_steps() -> None:
    short, long = make(), make(action_steps=5)
    for env in (short, long):
        env.reset()
    push = np.ones_like(still(short))
    rewards = [short.step(push)[1] for _ in range(5)]
    seen, reward, done, infos = long.step(push)
    np.testing.assert_allclose(reward, np.mean(rewards, axis=0), rtol=1e-5)
    assert done.all() and all(info["TimeLimit.truncated"] for info in infos)
    np.testing.assert_array_equal(seen["achieved_goal"], 0.0)
