"""Our robots as a goal-conditioned environment of stable-baselines3."""

import numpy as np
import pytest
from baselines.goal_env import NEAR_M, GoalVecEnv
from baselines.run import drive

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.envs.model import RobotModel
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.goals import evaluate_goals
from dads_ros.files import find_file
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


def test_a_fall_does_not_end_an_episode() -> None:
    """The Half-Cheetah turns over under full torques, which ends episodes of its skills."""
    env = make("half_cheetah", episode_steps=200)
    env.reset()
    has_fallen, rng = np.zeros(3, bool), np.random.default_rng(0)
    for _ in range(150):
        _, _, done, _ = env.step(np.sign(rng.standard_normal(still(env).shape)))
        has_fallen |= env._env.fallen
        assert not done.any()
    assert has_fallen.any()


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
