"""MPPI and SkillPlanner on a linear toy: a skill is a displacement in metres."""

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from dads_ros.config import PlannerConfig, SkillPriorConfig
from dads_ros.errors import PlanningError
from dads_ros.planning.costs import Candidates, GoalCost
from dads_ros.planning.mppi import POINTS_PER_SKILL, Mppi, Plan
from dads_ros.planning.skill_planner import PLANNER_PRESETS, SkillPlanner, robot_rngs
from dads_ros.skills import SkillSpace
from skill_models import Model, linear_rollout

BOX = SkillSpace(SkillPriorConfig(kind="box"))
DISC = SkillSpace(SkillPriorConfig(kind="disc"))
Float32 = NDArray[np.float32]


def make_planner(config: PlannerConfig, num: int = 1, space: SkillSpace = DISC) -> SkillPlanner:
    return SkillPlanner(Model(linear_rollout, space), config, rngs=robot_rngs(0, num))


@pytest.mark.parametrize("preset", PLANNER_PRESETS)
def test_the_receding_horizon_reaches_the_goal_and_stays(preset: str) -> None:
    config = PLANNER_PRESETS[preset]
    planner = make_planner(config)
    pose, cost = np.array([[0.5, -1.0, 0.3]]), GoalCost([[6.2, 3.1]], config.standing_radius_m)
    for _ in range(max(12, 120 // config.skill_duration_steps)):
        pose[:, :2] = planner.plan(pose, cost).predictions[:, 1, :2]
    assert np.linalg.norm(pose[0, :2] - [6.2, 3.1]) < config.standing_radius_m + 0.1
    assert np.linalg.norm(planner.plan(pose, cost).skill) < 0.15


@pytest.mark.parametrize("kind", ["box", "discrete"])
def test_plans_over_other_priors_reach_the_goal_with_skills_of_theirs(kind: str) -> None:
    """Discrete: skill i goes along x (0, 1) or y (2, 3), or stays (4)."""
    space = SkillSpace(SkillPriorConfig(kind=kind, dim=2 if kind == "box" else 5))
    moves = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]], np.float32)

    def rollout(pose: Float32, skills: Float32, duration_steps: int) -> Float32:
        return linear_rollout(pose, skills if kind == "box" else skills @ moves, duration_steps)

    config = PlannerConfig(skill_duration_steps=2)
    planner = SkillPlanner(Model(rollout, space), config, rngs=robot_rngs(0, 1))
    pose, cost = np.array([[0.5, -1.0, 0.3]]), GoalCost([[4.2, 3.1]], 0.1)
    for _ in range(60):
        plan = planner.plan(pose, cost)
        np.testing.assert_allclose(space.clip(plan.skills), plan.skills, atol=1e-6)
        pose[:, :2] = plan.predictions[:, 1, :2]
    assert np.linalg.norm(pose[0, :2] - [4.2, 3.1]) < 0.25


def test_at_the_goal_a_discrete_plan_is_the_skill_that_moves_least() -> None:
    space = SkillSpace(SkillPriorConfig(kind="discrete", dim=3))
    moves = np.array([[0.5, 0], [0, 0.01], [-0.5, 0]], np.float32)

    def rollout(pose: Float32, skills: Float32, duration_steps: int) -> Float32:
        return linear_rollout(pose, skills @ moves, duration_steps)

    planner = SkillPlanner(Model(rollout, space), PlannerConfig(), rngs=robot_rngs(0, 1))
    plan = planner.plan(np.array([[3.0, 1.0, 0.0]]), GoalCost([[3.0, 1.0]], 5.0))
    np.testing.assert_array_equal(plan.skill, [[0.0, 1.0, 0.0]])


def test_where_no_plan_is_better_than_standing_the_robot_stands() -> None:
    planner, poses = make_planner(PlannerConfig(), num=2), np.zeros((2, 3))
    plan = planner.plan(poses, GoalCost([[0.2, 0.2], [2.0, 0.0]], 0.4))
    assert not plan.skills[0].any()
    assert plan.cost[0] == 0.0
    assert plan.skill[1, 0] > 0.5


def test_the_chosen_skill_is_the_best_one_there_is() -> None:
    for part in (1.0, 0.6):
        config = PlannerConfig(
            num_samples=400, planning_horizon=1, num_refine_steps=10, skill_range=part
        )
        far = make_planner(config).plan(np.zeros((1, 3)), GoalCost([[30.0, 40.0]]))
        np.testing.assert_allclose(far.skill, [[0.6 * part, 0.8 * part]], atol=0.02)
        corner = make_planner(config, space=BOX).plan(np.zeros((1, 3)), GoalCost([[30.0, 30.0]]))
        np.testing.assert_allclose(corner.skill, [[part, part]], atol=0.01)


def test_more_refinements_never_cost_more() -> None:
    poses, cost = np.zeros((40, 3)), GoalCost(np.random.default_rng(1).uniform(-2, 2, (40, 2)))
    costs = []
    for num in (1, 2, 4, 8):
        config = PlannerConfig(num_samples=16, num_refine_steps=num)
        costs.append(make_planner(config, num=40).plan(poses, cost).cost)
    assert (np.diff(costs, axis=0) <= 1e-6).all()
    assert np.mean(costs[-1]) < np.mean(costs[0]) - 0.05
    # The chosen plan beats every candidate of the last refinement.
    plan = make_planner(config, num=40).plan(poses, cost)
    assert (plan.cost[:, None] <= plan.costs + 1e-6).all()


def test_the_plan_is_consistent_with_its_predictions_and_cost() -> None:
    config = PlannerConfig(num_samples=20, planning_horizon=3)
    goals = np.array([[1.0, 2.0], [-1.5, 0.5]])
    poses = np.array([[0.1, 0.2, 0.0], [1.0, 1.0, 2.0]])
    plan = make_planner(config, num=2).plan(poses, GoalCost(goals))
    assert plan.skills.shape == (2, 3, 2) and plan.predictions.shape == (2, 4, 2)
    assert plan.costs.shape == (2, 20) and plan.candidates.shape == (2, 20, 4, 2)
    expected = linear_rollout(poses, plan.skills, config.skill_duration_steps)
    np.testing.assert_allclose(plan.predictions, expected, atol=1e-6)
    fraction = np.arange(1, POINTS_PER_SKILL + 1)[:, None] / POINTS_PER_SKILL
    points = [
        np.concatenate([a + fraction * (b - a) for a, b in itertools.pairwise(path)])
        for path in expected
    ]
    by_hand = [np.linalg.norm(p - g, axis=1).mean() for p, g in zip(points, goals, strict=True)]
    np.testing.assert_allclose(plan.cost, by_hand, rtol=1e-5)
    assert (np.linalg.norm(plan.skills, axis=-1) <= 1.0 + 1e-6).all()


def test_weights_are_the_softmax_of_the_cost_over_the_temperature() -> None:
    """One refinement over known candidates, against five lines of numpy."""
    config = PlannerConfig(
        num_samples=8,
        planning_horizon=1,
        num_refine_steps=1,
        temperature=0.3,
        noise_std=0.4,
        skill_range=0.5,
    )
    seen: list[Float32] = []

    def recording_rollout(pose: Float32, skills: Float32, duration_steps: int) -> Float32:
        seen.append(skills)
        return linear_rollout(pose, skills, duration_steps)

    cost = GoalCost([[0.2, 0.1]])
    mppi = Mppi(Model(recording_rollout, BOX), config, robot_rngs(3, 1))
    plan = mppi.optimize(np.zeros((1, 1, 2), np.float32), np.zeros((1, 3)), cost)
    candidates, (mean,) = seen[0][:, 0], seen[1][:, 0]
    weights = np.exp(-plan.costs[0] / 0.3)
    np.testing.assert_allclose(mean, weights @ candidates / weights.sum(), rtol=1e-5)
    drawn = np.random.default_rng((3, 0)).standard_normal((5, 2), dtype=np.float32) * 0.4
    np.testing.assert_allclose(candidates[3:], np.clip(drawn, -0.5, 0.5), atol=1e-6)
    assert not candidates[:3].any()  # the mean, the elite and standing still: all zero here


def test_a_robots_plan_does_not_depend_on_how_many_plan_with_it() -> None:
    goals = np.array([[3.0, 1.0], [-2.0, 0.0], [0.0, 5.0]])
    together = make_planner(PlannerConfig(), num=3).plan(np.zeros((3, 3)), GoalCost(goals))
    alone = make_planner(PlannerConfig(), num=1).plan(np.zeros((1, 3)), GoalCost(goals[:1]))
    np.testing.assert_allclose(alone.skills[0], together.skills[0], atol=1e-6)


def test_the_same_seed_gives_the_same_plans() -> None:
    def plans() -> list[Plan]:
        planner = make_planner(PlannerConfig())
        return [planner.plan(np.zeros((1, 3)), GoalCost([[2.0, 1.0]])) for _ in range(3)]

    for one, other in zip(plans(), plans(), strict=True):
        np.testing.assert_array_equal(one.skills, other.skills)


def test_warm_start_makes_a_poor_search_better_and_reset_forgets_it() -> None:
    config = PlannerConfig(
        num_samples=5, num_refine_steps=1, noise_std=0.2, planning_horizon=1, skill_range=1.0
    )
    pose, cost = np.zeros((1, 3)), GoalCost([[50.0, 0.0]])
    warm, cold = make_planner(config), make_planner(dataclasses.replace(config, warm_start=False))
    for _ in range(20):
        warm_skill, cold_skill = warm.plan(pose, cost).skill, cold.plan(pose, cost).skill
    assert warm_skill[0, 0] > 0.9 > 0.6 > cold_skill[0, 0]
    warm.reset()
    assert warm.plan(pose, cost).skill[0, 0] < 0.6


def test_the_warm_start_is_the_last_plan_moved_up_by_one_skill() -> None:
    config = PlannerConfig(num_samples=64, planning_horizon=3, noise_std=0.001, num_refine_steps=1)
    planner = make_planner(config)
    planner._mean[:] = [[[0.1, 0.0], [0.5, 0.5], [0.0, 0.9]]]
    plan = planner.plan(np.zeros((1, 3)), GoalCost([[30.0, 30.0]]))
    second = planner.plan(np.zeros((1, 3)), GoalCost([[30.0, 30.0]]))
    np.testing.assert_allclose(second.skills[0, :2], plan.skills[0, 1:], atol=0.01)
    np.testing.assert_allclose(second.skills[0, 2], plan.skills[0, 2], atol=0.01)


def test_smoothing_correlates_the_skills_of_a_sequence_at_constant_spread() -> None:
    config = PlannerConfig(
        num_samples=4000, planning_horizon=4, num_refine_steps=1, noise_std=0.1, smoothing=0.9
    )
    mppi = Mppi(Model(linear_rollout, BOX), config, robot_rngs(0, 1))
    mppi._sample_noise()
    noise = mppi._noise[0, 0, :, :, 0]
    np.testing.assert_allclose(noise.std(axis=0), 0.1, rtol=0.05)
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1] - 0.9) < 0.02
    assert abs(np.corrcoef(noise[:, 0], noise[:, 3])[0, 1] - 0.9**3) < 0.03


def test_a_robot_that_stands_still_is_kicked_and_one_that_walks_is_not() -> None:
    config = PlannerConfig(
        kick_distance_m=0.05, planning_horizon=1, num_samples=200, skill_range=0.5
    )
    planner = make_planner(config, num=2)
    cost, poses = GoalCost([[9.0, 0.0], [9.0, 0.0]]), np.zeros((2, 3))
    first = planner.plan(poses, cost)
    np.testing.assert_allclose(first.skill, [[0.5, 0.0]] * 2, atol=0.1)
    poses[1, 0] += 0.5
    second = planner.plan(poses, cost)
    assert np.linalg.norm(second.skill[0] - [0.5, 0.0]) > 0.2
    np.testing.assert_allclose(second.skill[1], [0.5, 0.0], atol=0.1)
    expected = linear_rollout(poses, second.skills, config.skill_duration_steps)
    np.testing.assert_allclose(second.predictions, expected, atol=1e-6)
    kicks = [planner.plan(poses, cost).skill[0] for _ in range(20)]
    assert np.linalg.norm(kicks, axis=1).max() <= 0.5 + 1e-6


def test_a_robot_at_its_goal_is_not_kicked() -> None:
    planner = make_planner(PlannerConfig(kick_distance_m=0.1))
    for _ in range(5):
        assert np.linalg.norm(planner.plan(np.zeros((1, 3)), GoalCost([[0, 0]])).skill) < 0.05


def test_poses_and_costs_that_are_not_finite_are_refused_and_spoil_nothing() -> None:
    planner = make_planner(PlannerConfig())
    with pytest.raises(PlanningError, match="state"):
        planner.plan(np.array([[np.nan, 0.0, 0.0]]), GoalCost([[1.0, 0.0]]))
    with np.errstate(invalid="ignore"), pytest.raises(PlanningError, match="cost"):
        planner.plan(np.zeros((1, 3)), lambda p: np.full(p.skills.shape[:2], np.nan))
    assert np.isfinite(planner.plan(np.zeros((1, 3)), GoalCost([[1.0, 0.0]])).skills).all()


def test_a_forbidden_region_of_infinite_cost_is_avoided() -> None:
    goal = GoalCost([[5.0, 0.0]])

    def cost(plans: Candidates) -> Float32:
        forbidden = (plans.points[..., 0] > 0.3).any(axis=-1)
        return np.where(forbidden, np.inf, goal(plans)).astype(np.float32)

    plan = make_planner(PlannerConfig(num_samples=200)).plan(np.zeros((1, 3)), cost)
    assert 0.1 < plan.predictions[0, -1, 0] <= 0.3


def test_where_every_plan_is_forbidden_the_robot_stands_and_the_plan_says_so() -> None:
    def cost(plans: Candidates) -> Float32:
        moves = np.abs(plans.skills).max(axis=(2, 3)) > 0.0
        return np.where(moves & [[True], [False]], np.inf, 1.0).astype(np.float32)

    plan = make_planner(PlannerConfig(), num=2).plan(np.zeros((2, 3)), cost)
    assert plan.is_blocked.tolist() == [True, False]
    assert plan.stands[0] and not plan.skills[0].any()


def test_where_the_first_candidates_are_all_forbidden_the_next_ones_are_looked_at() -> None:
    goal, calls = GoalCost([[5.0, 0.0]]), itertools.count()

    def cost(plans: Candidates) -> Float32:
        return goal(plans) if next(calls) else np.full(plans.skills.shape[:2], np.inf, np.float32)

    plan = make_planner(PlannerConfig()).plan(np.zeros((1, 3)), cost)
    assert plan.predictions[0, -1, 0] > 0.1 and not plan.stands[0]


def test_not_every_way_is_forbidden_where_the_old_plan_is_allowed() -> None:
    mean = np.full((1, 1, 2), 0.3, np.float32)

    def cost(plans: Candidates) -> Float32:
        moves = np.abs(plans.skills).max(axis=(2, 3)) > 0.0
        is_old = np.abs(plans.skills - mean[:, None]).max(axis=(2, 3)) < 1e-4
        return np.where(is_old, 0.0, np.where(moves, np.inf, 99.0)).astype(np.float32)

    config = PlannerConfig(planning_horizon=1)
    mppi = Mppi(Model(linear_rollout, DISC), config, robot_rngs(0, 1))
    plan = mppi.optimize(mean, np.zeros((1, 3)), cost)
    assert not plan.stands[0] and not plan.is_blocked[0]


def test_not_every_way_is_forbidden_where_one_was_allowed_at_any_time() -> None:
    """Though the last candidates, close together, are all forbidden."""
    calls = itertools.count()

    def cost(plans: Candidates) -> Float32:
        moves = np.abs(plans.skills).max(axis=(2, 3)) > 0.0
        return np.where(moves, np.inf if next(calls) else 2.0, 1.0).astype(np.float32)

    plan = make_planner(PlannerConfig()).plan(np.zeros((1, 3)), cost)
    assert plan.stands[0] and not plan.is_blocked[0]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_where_even_standing_is_forbidden_or_all_is_perfect_there_is_a_plan(value: float) -> None:
    def cost(plans: Candidates) -> Float32:
        return np.full(plans.skills.shape[:2], value, np.float32)

    plan = make_planner(PlannerConfig()).plan(np.zeros((1, 3)), cost)
    assert plan.stands[0] and np.isfinite(plan.skills).all()
    assert plan.is_blocked[0] == (value > 0.0)
