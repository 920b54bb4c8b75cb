"""PETS: its model, its planner, the data of its kinds."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from baselines.config import PetsConfig
from baselines.pets import (
    Ensemble,
    Planner,
    Training,
    Transitions,
    columns_of,
    own_goal,
    state_of,
)
from baselines.run import drive
from tables.protocols import OwnGoals

from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.robot import RobotSpec

CONFIG = PetsConfig(
    robot="point_mass",
    kind="random",
    num_env_steps=2400,
    num_envs=16,
    episode_steps=25,
    learning_starts=400,
    hidden=(32, 32),
    batch_size=64,
    updates_per_vector_step=4,
    planning_horizon=12,
    num_samples=16,
    replay_capacity=2000,
)
POINT_MASS = RobotSpec.load("point_mass")


def trained(**changes: object) -> Training:
    training = Training(dataclasses.replace(CONFIG, **changes), seed=1)
    while not training.is_over:
        training.step()
    return training


@pytest.fixture(scope="module")
def random() -> Training:
    return trained()


def test_the_model_learns_the_point_masss_dynamics(random: Training) -> None:
    """On states and commands that it has not seen, against the physics, with an honest spread."""
    rng = np.random.default_rng(7)
    env = VectorEnv(RobotModel(POINT_MASS), 200, rng=rng, episode_steps=100)
    for _ in range(10):
        before = state_of(env)
        command = rng.uniform(-1.0, 1.0, (200, 2))
        env.step(command)
    change = state_of(env) - before
    inputs = torch.from_numpy(np.concatenate([before[:, 2:], command], 1, dtype=np.float32))
    with torch.no_grad():
        mean, log_variance = random.model(inputs.expand(3, -1, -1))
        normalised = (torch.from_numpy(change) - random.model.change.mean) / random.model.scale
    error = (mean - normalised)[..., :4]
    assert error.square().mean().sqrt() < 0.1
    assert 0.3 < (error.square() / log_variance[..., :4].exp()).mean().sqrt() < 3.0
    assert not torch.equal(mean[0], mean[1])


def test_a_plan_leads_to_goals_that_nobody_trained_on(random: Training) -> None:
    goals = np.array([[3.0, 0.0], [0.0, -3.0], [-2.0, 2.0]])
    env = VectorEnv(RobotModel(POINT_MASS), 3, rng=np.random.default_rng(3), episode_steps=1000)
    planner = Planner(random.model, CONFIG, POINT_MASS, 3, torch.Generator())
    for _ in range(80):
        env.step(planner.command(state_of(env), goals, env.steps == 0))
    assert np.linalg.norm(env.state.position[:, :2] - goals, axis=1).max() < 0.5


class Straight(Ensemble):
    """Goes where it is told, in each network further by as much, and draws nothing."""

    def draw_next(
        self, state: torch.Tensor, command: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        moved = state.clone()
        moved[..., :2] += command * torch.arange(1.0, 1.0 + self.num)[:, None, None]
        return moved


def straight_planner(num: int, **changes: object) -> Planner:
    config, generator = dataclasses.replace(CONFIG, **changes), torch.Generator()
    return Planner(Straight(5, 2, config, generator), config, POINT_MASS, num, generator)


def test_the_cost_is_the_mean_distance_over_the_plan_and_over_particles_that_stay() -> None:
    planner = straight_planner(1)
    candidates = torch.zeros(1, 2, 2, 2)
    candidates[0, 1, :, 0] = 1.0  # the second goes ahead: 1, 2 and 3 m a step by network
    cost = planner._cost(candidates, torch.zeros(1, 5), torch.tensor([[10.0, 0.0]]))
    torch.testing.assert_close(cost, torch.tensor([[10.0, 10.0 - 1.5 * 2.0]]))


def test_particles_that_fall_stay_there_but_only_those() -> None:
    """One network turns the Ant over in the second step, in which it would have gone 1 m."""
    ant = RobotSpec.load("ant")
    w, x, _, _ = columns_of(ant, "orientation")

    class Falling(Ensemble):
        def draw_next(
            self, state: torch.Tensor, command: torch.Tensor, noise: torch.Tensor
        ) -> torch.Tensor:
            moved = state.clone()
            moved[0, moved[0, :, 0] > 0.5, w], moved[0, moved[0, :, 0] > 0.5, x] = 0.0, 1.0
            moved[..., 0] += 1.0
            return moved

    config, generator = dataclasses.replace(CONFIG, num_networks=2), torch.Generator()
    planner = Planner(Falling(29, 8, config, generator), config, ant, 1, generator)
    state = torch.zeros(1, 29)
    state[0, w] = 1.0
    cost = planner._cost(torch.zeros(1, 1, 3, 8), state, torch.tensor([[10.0, 0.0]]))
    torch.testing.assert_close(cost, torch.tensor([[((9 + 9 + 9) + (9 + 8 + 7)) / 6]]))


@pytest.mark.parametrize("robot", ["ant", "point_mass", "go2"])
def test_fields_stand_in_the_state_where_they_are_said_to(robot: str) -> None:
    spec = RobotSpec.load(robot)
    spec = dataclasses.replace(spec, observation=tuple(reversed(spec.observation)))
    env = VectorEnv(RobotModel(spec), 2, rng=np.random.default_rng(0), episode_steps=9)
    for _ in range(3):
        env.step(np.full((2, spec.command_dim), 0.5))
    state = state_of(env)
    np.testing.assert_allclose(state[:, :2], env.state.position[:, :2], rtol=1e-6)
    fields = [field for field in spec.observation if field != "last_command"]
    assert state.shape[1] == 2 + sum(len(columns_of(spec, field)) for field in fields)
    for field in {"orientation", "joint_positions", "linear_velocity"} & set(fields):
        expected = getattr(env.state, field)
        np.testing.assert_allclose(state[:, columns_of(spec, field)], expected, rtol=1e-6)


def test_the_plan_of_a_new_episode_begins_with_nothing() -> None:
    planner = straight_planner(2, noise_std=0.0)
    planner.plans[:] = torch.linspace(0.0, 1.0, 12)[:, None]
    is_new = np.array([True, False])
    command = planner.command(np.zeros((2, 5)), np.zeros((2, 2)), is_new)
    np.testing.assert_allclose(command, [[0.0, 0.0], [1.0 / 11.0, 1.0 / 11.0]], rtol=1e-5)


def test_the_newest_transitions_are_kept() -> None:
    held = Transitions(5, 1, 1)
    for first in (0.0, 3.0, 6.0):
        rows = torch.arange(first, first + 3.0)[:, None]
        held.add(rows, -rows)
    inputs, changes = held.sample((1, 200), torch.Generator())
    assert set(inputs.flatten().tolist()) == {4.0, 5.0, 6.0, 7.0, 8.0}
    torch.testing.assert_close(changes, -inputs)


def goals_of(training: Training, steps: int) -> set[tuple[float, ...]]:
    """Those it has had robots go to."""
    seen = set()
    for _ in range(steps):
        training.step()
        seen |= {tuple(goal) for goal in training.goals.tolist()}
    return seen


def test_a_strong_oracle_learns_one_goal_of_the_test_and_is_measured_on_that_alone() -> None:
    settings = dataclasses.replace(CONFIG, kind="strong_oracle", learning_starts=10**6)
    ways: list[GoalMetrics] = []

    class Still:
        model, training_commit = RobotModel(POINT_MASS), ""

        def __init__(self, seed: int | None) -> None:
            kind = "strong_oracle" if seed is not None else "weak_oracle"
            config = dataclasses.replace(CONFIG, kind=kind)
            self.own_goal = own_goal(config, POINT_MASS, seed or 0)

        def go(self, goals: np.ndarray, steps: int, **others: object) -> GoalMetrics:
            ways.append(
                drive(self.model, lambda env: 0.0 * env.last_command, goals, steps, **others)
            )
            return ways[-1]

    for seed in (None, 0, 1):
        figures = OwnGoals(starts=2, steps=200).measure(Still(seed), lambda step: None)
        assert figures["normalised_distance_200"] == pytest.approx(1.0, abs=0.1)
    *every, first, second = ways
    assert len(every) == OwnGoals().first
    for seed, own in enumerate((first, second)):
        assert goals_of(Training(settings, seed), 60) == {tuple(every[seed].goals[0])}
        np.testing.assert_array_equal(own.goals, every[seed].goals)
    for way in ways:  # the starts are the same for each goal, and for each agent
        np.testing.assert_array_equal(way.tracks, ways[0].tracks)
    assert (ways[0].tracks[0] != ways[0].tracks[1]).any()


def test_a_weak_oracle_has_another_goal_in_each_episode_as_far_as_the_tests() -> None:
    settings = dataclasses.replace(CONFIG, kind="weak_oracle", learning_starts=10**6)
    goals = goals_of(Training(settings, 0), 60)
    assert len(goals) == 3 * 16  # of 25 steps, and one in which the robot is reset
    assert 13.0 < np.abs(list(goals)).max() <= 15.0


def test_only_steps_that_moved_a_robot_are_learned_from() -> None:
    training = Training(dataclasses.replace(CONFIG, learning_starts=10**6), 0)
    for _ in range(26 + 26 + 4):
        training.step()
    assert len(training.transitions) == 16 * (25 + 25 + 4)
    _, changes = training.transitions.sample((1, 5000), torch.Generator())
    assert changes[..., :2].abs().max() < 0.5


@pytest.mark.parametrize("kind", ["random", "strong_oracle"])
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(kind: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(CONFIG, kind=kind, num_env_steps=480, learning_starts=160)
    through, resumed = Training(settings, 0), Training(settings, 0)
    advance(through, lambda: through.num_env_steps < 480)
    advance(resumed, lambda: resumed.num_env_steps < 320)
    resumed.save(tmp_path)
    resumed = Training(settings, 0)
    resumed.restore(tmp_path)
    advance(resumed, lambda: not resumed.is_over)
    for name, values in through.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], values, rtol=0.0, atol=0.0)


def advance(training: Training, goes_on: Callable[[], bool]) -> None:
    while goes_on():
        training.step()


def test_wall_time_ends_a_run_and_counts_what_was_before(tmp_path: Path) -> None:
    settings = dataclasses.replace(CONFIG, max_minutes=60.0)
    training = Training(settings, 0)
    training.step()
    before = training.seconds
    assert not training.is_over
    assert training.seconds == before > 0.0, "asking costs nothing, steps do"
    training.seconds = 3600.0
    training.save(tmp_path)
    resumed = Training(settings, 0)
    resumed.restore(tmp_path)
    assert resumed.is_over and resumed.num_env_steps == 16
