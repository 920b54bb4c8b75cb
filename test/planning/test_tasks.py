"""Tasks and what they cost at a moment."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from dads_ros.config import CostsConfig, PlannerConfig, SkillPriorConfig
from dads_ros.errors import PlanningError
from dads_ros.observation import turned
from dads_ros.planning.costs import PathCost, WaypointsCost, WeightedCosts
from dads_ros.planning.obstacles import ObstacleMap
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs
from dads_ros.planning.tasks import Task, load_cost
from dads_ros.skills import SkillSpace
from skill_models import Model, candidates, turning_rollout

START = np.array([[0.0, 0.0, np.pi / 2]])
CUSTOM = '''
class StaySouth:
    """Metres north of the x-axis."""

    def __call__(self, plans):
        return plans.positions[..., 1].clip(0.0).mean(axis=-1)
'''


def cost_of(
    task: Task, start: np.ndarray = START, *, predicts_falls: bool = False, **weights: object
) -> WeightedCosts:
    return task.cost(
        start,
        CostsConfig(**({"skill_change": 0.0} | weights)),
        held=np.array([[1.0, 0.0]]),
        robot_radius_m=0.3,
        standing_radius_m=0.0,
        predicts_falls=predicts_falls,
    )


def test_only_what_is_asked_for_costs() -> None:
    plans = candidates([[[[3.0, 4.0]]]])
    assert set(cost_of(Task(goals=np.zeros((1, 2)))).by_term(plans)) == {"goal", "bounds"}
    assert set(cost_of(Task(), skill_change=1.0, bounds=0.0).by_term(plans)) == {"skill_change"}
    assert cost_of(Task())(plans).tolist() == [[0.0]]
    risky = candidates([[[[3.0, 4.0, 0.1], [3.0, 4.0, 0.3]], [[3.0, 4.0, 0.0], [3.0, 4.0, 0.0]]]])
    risky = dataclasses.replace(risky, fields=("x", "y", "falls"))
    cost = cost_of(Task(), predicts_falls=True, fall=2.0)(risky)
    np.testing.assert_allclose(cost, [[2.0 * (1.0 - np.exp(-0.3)), 0.0]], rtol=1e-5)


def test_a_velocity_is_in_base_link_and_turns_with_the_robot() -> None:
    task = Task(velocities=np.array([[2.0, 0.0]]))
    north, east = candidates([[[[0.0, 2.0]]]]), candidates([[[[2.0, 0.0]]]])
    np.testing.assert_allclose(cost_of(task)(north), [[0.0]], atol=1e-6)
    np.testing.assert_allclose(cost_of(task)(east), [[8.0**0.5]], rtol=1e-6)
    np.testing.assert_allclose(cost_of(task, np.zeros((1, 3)))(east), [[0.0]], atol=1e-6)


def test_a_path_remembers_how_far_the_robot_has_come() -> None:
    path = PathCost([[0.0, 0.0], [5.0, 0.0]], cross_track=1.0)
    for x in (0.0, 0.8, 1.6):
        cost_of(Task(path=path), np.array([[x, 0.2, 0.0]]))
    np.testing.assert_allclose(path.left_m, [5.0 - 1.6], atol=0.06)


def test_goals_in_a_row_remember_which_were_reached() -> None:
    waypoints = WaypointsCost([[[1.0, 0.0], [1.0, 3.0]]], reached_radius_m=0.5)
    plans = candidates([[[[1.0, 0.0]]]])
    cost = cost_of(Task(waypoints=waypoints), np.zeros((1, 3)))
    np.testing.assert_allclose(cost.by_term(plans)["goal"], [[3.0]], rtol=1e-6)
    cost_of(Task(waypoints=waypoints), np.array([[0.8, 0.1, 0.0]]))
    assert waypoints.index.tolist() == [1]


def test_with_a_map_the_goal_costs_the_way_around() -> None:
    cells = np.zeros((80, 80), bool)
    cells[10:70, 50] = True
    task = Task(goals=np.array([[2.0, 0.0]]), maps=[ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0))])
    plans = candidates([[[[0.0, 0.0]], [[0.0, -3.4]], [[1.6, 0.0]]]])
    costs = cost_of(task, np.array([[-2.0, 0.0, 0.0]])).by_term(plans)
    assert costs["goal"][0, 0] > costs["goal"][0, 1] + 1.0
    assert np.isfinite(costs["obstacles"]).tolist() == [[True, True, False]]


def test_a_changed_margin_changes_the_way() -> None:
    cells = np.zeros((80, 80), bool)
    cells[:38, 40] = cells[46:, 40] = True
    task = Task(goals=np.array([[2.0, 0.0]]), maps=[ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0))])
    plans, start = candidates([[[[-2.0, 0.0]]]]), np.array([[-2.0, 0.0, 0.0]])
    narrow, wide, again = (
        cost_of(task, start, margin_m=margin).by_term(plans)["goal"][0, 0]
        for margin in (0.01, 3.0, 0.01)
    )
    assert wide > 1.5 * narrow and again == narrow


def test_a_cost_of_ones_own_is_a_class_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_costs.py").write_text(CUSTOM, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    cost = Task().cost(
        START,
        CostsConfig(custom_weight=2.0),
        held=None,
        robot_radius_m=0.3,
        standing_radius_m=0.0,
        custom=load_cost("my_costs:StaySouth"),
    )
    assert cost(candidates([[[[0.0, -1.0]], [[0.0, 1.5]]]])).tolist() == [[0.0, 3.0]]
    sys.modules.pop("my_costs")


def test_nothing_is_imported_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + CUSTOM)
    monkeypatch.chdir(tmp_path)
    for place in ("", str(tmp_path)):  # as python -c and python -m have it
        monkeypatch.syspath_prepend(place)
        with pytest.raises(PlanningError, match="not in the working folder"):
            load_cost("trap:StaySouth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["no_such_package:Cost", "math:NoSuch", "math:pi", "math", "os:abort", "sys:exit"]
)
def test_a_cost_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(PlanningError, match=name):
        load_cost(name)


def test_no_name_is_no_cost() -> None:
    assert load_cost("") is None


@pytest.mark.parametrize("turn_rate", [0.25, 0.5, 1.0])
def test_a_robot_gets_to_its_goal_and_turns_as_it_was_asked_to(turn_rate: float) -> None:
    """From 5 m away, by closed loop; for each of six robots another way and another turn."""
    config, num = PlannerConfig(), 6
    space = SkillSpace(SkillPriorConfig(kind="box", dim=3))
    model = Model(turning_rollout(turn_rate), space, ("x", "y", "yaw"))
    planner = SkillPlanner(model, config, rngs=robot_rngs(0, num))
    angles = np.linspace(0.0, 5.0, num)
    goals = turned(np.tile([5.0, 0.0], (num, 1)), angles)
    headings, pose, held = np.linspace(1.0, 3.0, num), np.zeros((num, 3)), None
    task = Task(goals=goals, headings=headings)
    for _ in range(120):
        sizes = {"robot_radius_m": 0.1, "standing_radius_m": config.standing_radius_m}
        plan = planner.plan(pose, task.cost(pose, CostsConfig(), held=held, **sizes))
        pose, held = plan.predictions[:, 1, :3].astype(float), plan.skill
    assert np.linalg.norm(pose[:, :2] - goals, axis=1).max() < 0.5
    assert np.cos(pose[:, 2] - headings).min() > np.cos(0.1)
