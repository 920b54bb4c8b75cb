"""Costs against numbers worked by hand. Plans start at the origin and take a second."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from dads_ros.errors import PlanningError
from dads_ros.planning.costs import (
    BoundsCost,
    Candidates,
    GoalCost,
    HeadingCost,
    PathCost,
    SkillChangeCost,
    TurnCost,
    VelocityCost,
    WaypointsCost,
    WeightedCosts,
)
from skill_models import candidates

FIGURE_EIGHT = [[0, 0], [2, 2], [4, 0], [2, -2], [0, 0], [-2, 2], [-4, 0], [-2, -2], [0, 0]]


def test_goal_cost_is_the_mean_distance_over_the_points() -> None:
    plans = candidates([[[[0.0, 0.0], [3.0, 0.0]], [[3.0, 4.0], [3.0, 4.0]]]])
    np.testing.assert_allclose(GoalCost([[3.0, 4.0]])(plans), [[(5.0 + 4.0) / 2.0, 0.0]])


def test_goal_cost_ignores_predicted_yaw() -> None:
    plans = candidates([[[[0.0, 0.0, 2.0], [0.0, 0.0, 2.0]]]])
    np.testing.assert_allclose(GoalCost([[0.0, 2.0]])(plans), [[2.0]])


def test_nothing_inside_its_radius_costs_and_outside_only_what_is_beyond() -> None:
    plans = candidates([[[[0.0, 0.1]], [[0.0, -2.0]]]])
    np.testing.assert_allclose(GoalCost([[0.0, 0.0]], 0.5)(plans), [[0.0, 1.5]])


def test_each_robot_has_its_own_goal() -> None:
    plans = candidates(np.zeros((2, 1, 1, 2)))
    np.testing.assert_allclose(GoalCost([[1.0, 0.0], [0.0, 7.0]])(plans), [[1.0], [7.0]])


def test_heading_costs_the_shorter_angle_once_the_robot_is_near_the_goal() -> None:
    """Wherever plans lead: to go away again saves nothing."""
    plans = candidates([[[[0.0, 0.0, 3.0]], [[5.0, 0.0, 3.0]]]], fields=("x", "y", "yaw"))
    near, far = (HeadingCost([[x, 0.0]], [-3.0], near_m=1.0)(plans) for x in (0.0, 5.0))
    np.testing.assert_allclose(near, [[2.0 * np.pi - 6.0] * 2], rtol=1e-5)
    np.testing.assert_array_equal(far, [[0.0, 0.0]])


def test_heading_without_predicted_yaw_is_refused() -> None:
    with pytest.raises(PlanningError, match="predicts x, y and no yaw"):
        HeadingCost([[0.0, 0.0]], [0.0], near_m=1.0)(candidates(np.zeros((1, 1, 1, 2))))


def test_velocity_costs_the_distance_from_where_it_would_have_led() -> None:
    plans = candidates([[[[1.0, 0.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    np.testing.assert_allclose(VelocityCost([[2.0, 0.0]])(plans), [[0.0, 1.5]])


def test_a_velocity_that_turns_leads_around_a_circle_and_the_robot_with_it() -> None:
    """pi rad/s for a second: half a circle of radius 1 / pi to the left."""
    points = [[[[1 / np.pi, 1 / np.pi, np.pi / 2], [0.0, 2 / np.pi, np.pi]]]]
    plans = candidates(points, fields=("x", "y", "yaw"))
    np.testing.assert_allclose(VelocityCost([[1.0, 0.0]], [np.pi])(plans), [[0.0]], atol=1e-6)
    np.testing.assert_allclose(TurnCost([np.pi])(plans), [[0.0]], atol=1e-6)
    np.testing.assert_allclose(TurnCost([0.0])(plans), [[0.75 * np.pi]], rtol=1e-6)


def test_a_path_costs_the_way_left_and_the_distance_from_it() -> None:
    cost = PathCost([[0.0, 0.0], [10.0, 0.0]], cross_track=3.0)
    plans = candidates([[[[2.0, 0.0]], [[2.0, 1.0]], [[0.0, 0.0]]]])
    np.testing.assert_allclose(cost(plans), [[8.0, 11.0, 10.0]], atol=0.01)


def test_where_a_path_crosses_itself_progress_stays_on_its_branch() -> None:
    """Along the figure of eight the middle is passed three times."""
    cost = PathCost(FIGURE_EIGHT, cross_track=1.0)
    whole = float(cost.left_m[0])
    corners, seen = np.array(FIGURE_EIGHT, float), []
    for start, end in itertools.pairwise(corners):
        for part in np.linspace(0.0, 1.0, 15):
            cost.advance((start + part * (end - start))[None])
        seen.append(float(cost.left_m[0]))
    np.testing.assert_allclose(seen, whole * np.arange(7, -1, -1) / 8, atol=0.15)


def test_a_fast_robot_is_followed_along_the_path_from_plan_to_plan() -> None:
    cost = PathCost([[0.0, 0.0], [60.0, 0.0]], cross_track=1.0)
    for x in (0.0, 4.0, 9.0, 20.0):
        cost.advance(np.array([[x, 0.3]]))
        np.testing.assert_allclose(cost.left_m, [60.0 - x], atol=0.15)


def test_a_robot_at_the_end_of_its_path_has_no_way_left() -> None:
    cost = PathCost([[[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 5.0]]], cross_track=2.0)
    for x in (0.5, 1.0):
        cost.advance(np.array([[x, 0.0], [0.0, x]]))
    np.testing.assert_allclose(cost.left_m, [0.0, 4.0], atol=0.11)
    np.testing.assert_allclose(cost.ends, [[1.0, 0.0], [0.0, 5.0]])
    plans = candidates(np.array([[[[1.0, 0.0]]], [[[0.0, 1.5]]]]))
    np.testing.assert_allclose(cost(plans), [[0.0], [3.5]], atol=0.11)


def test_plans_out_of_bounds_are_forbidden_and_back_in_are_not() -> None:
    cost = BoundsCost([-1.0, -1.0, 1.0, 1.0])
    plans = candidates([[[[1.0, 1.0]], [[1.1, 0.0]], [[0.0, -1.1]]]])
    assert cost(plans).tolist() == [[0.0, np.inf, np.inf]]
    outside = BoundsCost([1.0, -1.0, 3.0, 1.0])
    plans = candidates([[[[0.5, 0.0]], [[-0.5, 0.0]], [[2.0, 0.0]]]])
    assert outside(plans).tolist() == [[0.0, np.inf, 0.0]]


def test_changes_of_skill_cost_their_length() -> None:
    skills = np.array([[[[1.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]], np.float32)
    still = np.zeros((1, 2, 3, 2), np.float32)
    plans = Candidates(skills, still, still[:, :, 1:], ("x", "y"), 1.0)
    np.testing.assert_allclose(SkillChangeCost([[1.0, 0.0]])(plans), [[0.5, 0.5]])


def test_costs_add_up_by_weight_and_each_is_known() -> None:
    plans = candidates([[[[3.0, 0.0]]]])
    cost = WeightedCosts(
        {
            "goal": (2.0, GoalCost([[0.0, 0.0]])),
            "other": (0.5, GoalCost([[0.0, 4.0]])),
            "off": (0.0, BoundsCost([0.0, 0.0, 1.0, 1.0])),
        }
    )
    assert cost(plans).tolist() == [[8.5]]
    assert {name: values.tolist() for name, values in cost.by_term(plans).items()} == {
        "goal": [[6.0]],
        "other": [[2.5]],
    }


def test_it_is_known_which_costs_forbid_plans() -> None:
    def custom(plans: Candidates) -> NDArray[np.float32]:
        return np.where(plans.points[..., -1, 0] > 4.0, np.inf, 0.0).astype(np.float32)

    bounds = BoundsCost([-5.0, -5.0, 2.0, 5.0])
    cost = WeightedCosts({"goal": (1.0, GoalCost([[0.0, 0.0]])), "custom": (1.0, custom)})
    both = WeightedCosts({"bounds": (1.0, bounds), "custom": (0.1, custom)})
    cost(candidates([[[[3.0, 0.0]]]]))
    assert cost.forbidding == []
    for x in (3.0, 5.0, 1.0):
        cost(candidates([[[[x, 0.0]]]]))
        both(candidates([[[[x, 0.0]]]]))
    assert cost.forbidding == ["custom"]
    assert both.forbidding == ["bounds"]  # but for the custom one no more would be allowed


def test_costs_that_forbid_plans_only_together_are_all_known() -> None:
    def never(plans: Candidates) -> NDArray[np.float32]:
        return np.full(plans.skills.shape[:2], np.inf, np.float32)

    outside, beyond = (candidates([[[[x, 0.0]]]]) for x in (3.0, -3.0))
    east, west = BoundsCost([-5.0, -5.0, 2.0, 5.0]), BoundsCost([-2.0, -5.0, 5.0, 5.0])
    each = WeightedCosts({"east": (1.0, east), "west": (1.0, west)})
    same = WeightedCosts({"east": (1.0, east), "custom": (1.0, never)})
    each(outside), each(beyond)  # refinement after refinement
    same(outside)
    assert each.forbidding == ["east", "west"]
    assert same.forbidding == ["east", "custom"]


def bad_shape(plans: Candidates) -> NDArray[np.float32]:
    return plans.points[..., 0]


def bad_number(plans: Candidates) -> NDArray[np.float32]:
    return np.full(plans.skills.shape[:2], np.nan, np.float32)


@pytest.mark.parametrize(("cost", "what"), [(bad_shape, "shape"), (bad_number, "not a number")])
def test_a_cost_that_gives_nonsense_is_named(cost: object, what: str) -> None:
    with pytest.raises(PlanningError, match=f"'mine'.*{what}"):
        WeightedCosts({"mine": (1.0, cost)})(candidates(np.zeros((1, 2, 3, 2))))


def test_waypoints_cost_counts_the_way_that_is_left() -> None:
    cost = WaypointsCost([[[1.0, 0.0], [1.0, 2.0]]], reached_radius_m=0.25)
    np.testing.assert_allclose(cost(candidates([[[[0.0, 0.0]]]])), [[1.0 + 2.0]])
    reached_first = candidates([[[[1.0, 0.0], [1.0, 1.0]]]])
    np.testing.assert_allclose(cost(reached_first), [[(2.0 + 1.0) / 2.0]])


def test_waypoints_advance_only_near_the_next_one_and_stop_at_the_last() -> None:
    cost = WaypointsCost([[[1.0, 0.0], [2.0, 0.0]]], reached_radius_m=0.25)
    for position, index in (([2.0, 0.0], 0), ([0.9, 0.0], 1), ([2.0, 0.1], 1)):
        cost.advance(np.array([position]))
        assert cost.index.tolist() == [index]


@pytest.mark.parametrize(
    "goals", [[[np.nan, 0.0]], [[np.inf, 0.0]], [[1.0, 2.0, 3.0]], [1.0, 2.0], []]
)
def test_goals_that_are_no_points_are_refused(goals: list[list[float]]) -> None:
    with pytest.raises(PlanningError):
        GoalCost(goals)


def test_on_a_path_that_moved_a_little_the_progress_made_stays() -> None:
    along = np.linspace(0.0, 8.0 * np.pi, 200)
    shape = 3.0 * np.stack([np.sin(along), 1.0 - np.cos(along)], axis=1)  # round and round
    path = PathCost(shape, cross_track=1.0)
    for place in shape[:130]:
        path.advance(place[None])
    moved = PathCost(1.02 * shape + 0.1, cross_track=1.0)
    moved.go_on_from(path)
    assert moved.left_m[0] == pytest.approx(1.02 * path.left_m[0], abs=0.3)
    moved.advance(1.02 * shape[130:131] + 0.1)
    assert 0.0 <= moved.distance(1.02 * shape[130:131] + 0.1)[0] < 0.1


@pytest.mark.parametrize("length_m", [0.0, 0.3, 0.7, 0.75])
def test_of_a_path_nothing_is_left_at_its_end(length_m: float) -> None:
    cost = PathCost([[0.0, 0.0], [length_m, 0.0]], cross_track=1.0)
    cost.advance(np.array([[length_m, 0.0]]))
    assert cost.left_m.tolist() == [0.0] and cost.ends[0, 0] == np.float32(length_m)
    assert len(PathCost([[1.0, 2.0]], cross_track=1.0).ends) == 1
