"""The closed loop to goals, without ROS."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import CostsConfig, PlannerConfig, SkillPriorConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.goals import GoalMetrics, evaluate_goals, sample_goals
from dads_ros.evaluation.statistics import means
from dads_ros.planning.control_loop import ControlLoop
from dads_ros.planning.costs import GoalCost
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace
from skill_models import Model, linear_rollout

ANT = RobotSpec.load("ant")


def run(folder: Path, goals: Any, steps: int = 100, **settings: Any) -> GoalMetrics:  # noqa: ANN401
    bundle = SkillBundle(folder)
    model, settings = RobotModel(bundle.robot), {"seed": 0} | settings
    driver = Driver(model=model, policy=bundle.command, skills=bundle, **settings)
    return evaluate_goals(driver, goals, steps)


def test_the_point_mass_reaches_goals_and_stays(point_mass_bundle: Path) -> None:
    metrics = run(
        point_mass_bundle, sample_goals(RobotSpec.load("point_mass"), 16, 5.0, seed=1), steps=200
    )
    assert metrics.reached(0.5).all()
    values = means(metrics.values)
    assert values["goal_fraction_05m"] == 1.0 and values["fall_fraction"] == 0.0
    assert values["normalised_distance_400"] is None


def test_normalised_distance_is_the_papers_sum() -> None:
    tracks = np.zeros((2, 401, 2))
    tracks[0, :, 0] = np.linspace(0.0, 4.0, 401)
    tracks[1, :] = [0.0, 1.0]
    goals = np.array([[4.0, 0.0], [0.0, 3.0]])
    rest = {"yaws": tracks[..., 0], "commands": tracks, "fell": np.zeros(2, bool)}
    rest["is_up"] = ~rest["fell"]
    metrics = GoalMetrics(body={}, goals=goals, tracks=tracks, **rest)
    by_hand = [
        sum(np.hypot(*(g - s)) for s in track[1:201]) / (200 * np.hypot(*g))
        for g, track in zip(goals, tracks, strict=True)
    ]
    np.testing.assert_allclose(metrics.normalised_distance(200), by_hand)
    assert means(metrics.values)["normalised_distance_200"] == pytest.approx(np.mean(by_hand))
    assert metrics.reached(1.0).tolist() == [True, False]
    lying = dataclasses.replace(metrics, is_up=np.array([False, True]))
    assert lying.reached(1.0).tolist() == [False, False]


def test_one_robots_commands_are_those_of_a_hand_written_loop(point_mass_bundle: Path) -> None:
    """The loop as the planner node runs it in lock step: one robot, state by state."""
    bundle, goal, seed = SkillBundle(point_mass_bundle), [[3.0, -2.0]], 7
    costs = CostsConfig(skill_change=0.0)
    metrics = run(point_mass_bundle, goal, seed=seed, steps=30, costs=costs)
    env = VectorEnv(
        RobotModel(bundle.robot), 1, rng=np.random.default_rng(seed), episode_steps=1000
    )
    planner = SkillPlanner(bundle, PlannerConfig(), rngs=robot_rngs(seed, 1))
    loop = ControlLoop(bundle.robot, bundle.command, planner)
    cost = GoalCost(goal, PlannerConfig().standing_radius_m)
    for step in range(30):
        if loop.plan_due:
            loop.plan(env.state, env.last_command, cost)
        command = loop.command(env.state, env.last_command)
        env.step(command)
        np.testing.assert_allclose(metrics.commands[step], command, atol=1e-9)


def test_a_delayed_command_changes_the_run(point_mass_bundle: Path) -> None:
    prompt, late = (run(point_mass_bundle, [[2.0, 0.0]], delay_ms=ms) for ms in (0.0, 100.0))
    assert np.abs(prompt.tracks - late.tracks).max() > 0.01


def test_a_run_reports_its_progress(point_mass_bundle: Path) -> None:
    steps: list[int] = []
    run(point_mass_bundle, [[1.0, 0.0]], steps=5, progress=steps.append)
    assert steps == [1, 2, 3, 4, 5]


def test_goals_are_uniform_in_the_square_and_seeded() -> None:
    goals = sample_goals(ANT, 2000, 15.0, seed=0)
    assert np.abs(goals).max() <= 15.0
    np.testing.assert_allclose(goals.mean(axis=0), 0.0, atol=0.7)
    np.testing.assert_allclose(goals.std(axis=0), 15.0 / 3.0**0.5, rtol=0.05)
    np.testing.assert_array_equal(goals, sample_goals(ANT, 2000, 15.0, seed=0))
    assert not np.array_equal(goals, sample_goals(ANT, 2000, 15.0, seed=1))


def test_goals_of_a_robot_on_a_line_are_on_that_line() -> None:
    goals = sample_goals(RobotSpec.load("half_cheetah"), 2000, 15.0, seed=0)
    assert not goals[:, 1].any()
    distance = np.abs(goals[:, 0])
    assert 1.0 <= distance.min() < 1.1 and 14.9 < distance.max() <= 15.0
    assert abs((goals[:, 0] > 0.0).mean() - 0.5) < 0.05


@pytest.mark.parametrize("ends_episode", [False, True])
def test_a_fallen_robot_gets_the_safe_command_and_is_counted(ends_episode: bool) -> None:
    """Ants told to push their hips and ankles as far as they go, until some of them fall."""
    robot = RobotSpec.load("ant_paper")  # half of its torque throws none over
    fallen = dataclasses.replace(robot.fallen, ends_episode=ends_episode)
    robot = dataclasses.replace(robot, fallen=fallen)
    rng = np.random.default_rng(0)
    driver = Driver(
        model=RobotModel(robot),
        policy=lambda obs, skill: np.sign(rng.standard_normal((len(obs), 8))) * (obs[:, :1] > 0.0),
        skills=Model(linear_rollout, SkillSpace(SkillPriorConfig())),
        seed=0,
    )
    metrics = evaluate_goals(driver, sample_goals(robot, 24, 15.0, seed=0), 40)
    assert 0.0 < means(metrics.values)["fall_fraction"] == metrics.fell.mean() < 1.0
    silent = ~metrics.commands.any(axis=2)  # (T, R)
    assert not silent[:, ~metrics.fell].any()
    assert silent[:, metrics.fell].any(axis=0).mean() > 0.8  # who fell at the last step got none
