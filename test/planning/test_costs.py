"""Costs against numbers worked by hand."""

import numpy as np
import pytest

from dads_ros.errors import PlanningError
from dads_ros.planning.costs import GoalCost, WaypointsCost


def test_goal_cost_is_the_mean_distance_over_the_points() -> None:
    predictions = np.array([[[[0.0, 0.0], [3.0, 0.0]], [[3.0, 4.0], [3.0, 4.0]]]], np.float32)
    cost = GoalCost([[3.0, 4.0]])
    np.testing.assert_allclose(cost(predictions), [[(5.0 + 4.0) / 2.0, 0.0]])


def test_goal_cost_ignores_predicted_yaw() -> None:
    predictions = np.zeros((1, 1, 2, 3), np.float32)
    predictions[..., 2] = 2.0
    np.testing.assert_allclose(GoalCost([[0.0, 2.0]])(predictions), [[2.0]])


def test_nothing_inside_its_radius_costs_and_outside_only_what_is_beyond() -> None:
    predictions = np.array([[[[0.0, 0.1]], [[0.0, -2.0]]]], np.float32)
    np.testing.assert_allclose(GoalCost([[0.0, 0.0]], 0.5)(predictions), [[0.0, 1.5]])


def test_each_robot_has_its_own_goal() -> None:
    predictions = np.zeros((2, 1, 1, 2), np.float32)
    np.testing.assert_allclose(GoalCost([[1.0, 0.0], [0.0, 7.0]])(predictions), [[1.0], [7.0]])


def test_waypoints_cost_counts_the_way_that_is_left() -> None:
    cost = WaypointsCost([[[1.0, 0.0], [1.0, 2.0]]], reached_radius_m=0.25)
    far = np.array([[[[0.0, 0.0]]]], np.float32)
    np.testing.assert_allclose(cost(far), [[1.0 + 2.0]])
    reached_first = np.array([[[[1.0, 0.0], [1.0, 1.0]]]], np.float32)
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
