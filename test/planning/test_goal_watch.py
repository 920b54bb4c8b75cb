"""A goal is reached by staying there."""

import numpy as np
import pytest

from dads_ros.config import ControlConfig
from dads_ros.observation import RobotState
from dads_ros.planning.controller import Errand
from dads_ros.planning.goal_watch import GoalWatch
from dads_ros.planning.tasks import Task

SECOND = 1_000_000_000


def test_goal_counts_after_staying_without_a_break_and_only_once() -> None:
    watch = GoalWatch(np.array([1.0, 0.0]))
    at, away = np.array([1.2, 0.0]), np.array([2.0, 0.0])
    times = [(at, 0.0), (at, 0.9), (away, 1.0), (at, 1.1), (at, 2.0), (at, 2.1), (at, 3.0)]
    reached = [
        watch.update(place, int(time * SECOND), tolerance_m=0.5, hold_s=1.0)
        for place, time in times
    ]
    assert reached == [False, False, False, False, False, True, False]
    assert watch.has_reached


@pytest.mark.parametrize(
    "times",
    [
        ((5.0, False), (0.0, False), (0.9, False), (1.0, True)),  # time goes back
        ((0.0, False), (0.5, False), (5.0, False), (6.0, True)),  # nobody saw whether it stayed
    ],
)
def test_a_gap_in_time_starts_the_stay_anew(times: tuple[tuple[float, bool], ...]) -> None:
    watch = GoalWatch(np.zeros(2))
    for time, expected in times:
        stamp = int(time * SECOND)
        assert watch.update(np.zeros(2), stamp, tolerance_m=0.1, hold_s=1.0) == expected


def test_a_goal_that_moves_a_little_counts_the_stay_and_is_still_reached_while_near() -> None:
    watch, place = GoalWatch(np.zeros(2)), np.array([0.3, 0.0])

    def update(time: float) -> bool:
        return watch.update(place, int(time * SECOND), tolerance_m=0.5, hold_s=1.0)

    assert not update(0.0)
    assert watch.move(np.array([0.4, 0.0]), 0.5)  # in steps as far as you like
    assert watch.move(np.array([0.7, 0.0]), 0.5)
    assert update(1.0) and watch.has_reached
    assert watch.move(np.array([0.5, 0.0]), 0.5) and watch.has_reached
    assert not watch.move(np.array([0.9, 0.0]), 0.5)  # the robot is not there
    assert not watch.move(np.array([1.1, 0.0]), 0.5)
    assert watch.goal.tolist() == [0.5, 0.0]


def test_a_driven_robot_that_gets_no_farther_than_its_goal_is_stalled() -> None:
    watch, stamp_ns = GoalWatch(np.zeros(2)), 0

    def stalls(x: float, seconds: int, *, is_driven: bool = True) -> bool:
        nonlocal stamp_ns
        for _ in range(seconds):
            stamp_ns += SECOND
            watch.update(
                np.array([x, 0.0]), stamp_ns, tolerance_m=0.5, hold_s=3.0, is_driven=is_driven
            )
        return watch.is_stalled

    assert not stalls(5.0, 10) and stalls(5.2, 1)
    assert not stalls(4.4, 10)  # it moved
    assert not stalls(4.4, 60, is_driven=False)
    assert stalls(4.4, 10) and watch.stalled_s == 10.0
    assert not stalls(0.3, 2)  # at the goal, and hit off it
    assert not stalls(0.7, 9) and stalls(0.7, 1)
    for jump_ns in (-stamp_ns, 3 * SECOND):  # time goes back, or nobody heard of it for a while
        stamp_ns += jump_ns
        assert not stalls(0.7, 10) and stalls(0.7, 1)
    assert not stalls(0.3, 20) and watch.has_reached and not stalls(0.9, 20)


@pytest.mark.parametrize(("headings", "expected"), [(None, 1), (np.array([-3.0]), 3)])
def test_a_goal_with_a_heading_is_reached_by_who_looks_there(
    headings: np.ndarray | None, expected: int
) -> None:
    """The robot stands at the goal and turns; a heading of -3 rad is near one of 3.1 rad."""
    errand = Errand(Task(goals=np.zeros((1, 2)), headings=headings), GoalWatch(np.zeros(2)))
    config = ControlConfig(goal_hold_s=0.5, goal_tolerance_rad=0.3)
    for time, yaw in enumerate((0.0, 0.5, 3.1, 3.1)):
        turn = np.array([[np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]])
        still, no_joints = np.zeros((1, 3)), np.zeros((1, 0))
        state = RobotState(still, turn, still, still, no_joints, no_joints)
        is_reached = errand.update(state, time * SECOND, config)
        assert is_reached == (time == expected)


def test_a_robot_that_turns_on_its_goal_gets_on() -> None:
    watch = GoalWatch(np.zeros(2))
    for time in range(40):
        yaw = min(0.06 * time, 1.2)
        watch.update(
            np.zeros(2), time * SECOND, tolerance_m=0.1, hold_s=1.0, faces_it=False, yaw=yaw
        )
        assert watch.is_stalled == (time >= 28), time
