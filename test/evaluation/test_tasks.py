"""Tasks of evaluate --task: tracks made by hand, and a robot that does them all."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.main import main
from dads_ros.config import PlannerConfig, SkillPriorConfig
from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError
from dads_ros.evaluation.driving import Drive, Driver
from dads_ros.evaluation.statistics import intervals, means
from dads_ros.evaluation.tasks import (
    FILLED,
    SHAPES,
    TASKS,
    count_visited,
    cross_track,
    evaluate_task,
    full_speed,
    full_twist,
    random_field,
    velocity_wobble,
)
from dads_ros.files import find_file
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace
from skill_models import Model, linear_rollout, turning_rollout


def driver_of(bundle: SkillBundle, **settings: object) -> Driver:
    model = RobotModel(bundle.robot)
    return Driver(model=model, policy=bundle.command, skills=bundle, seed=3, **settings)


@pytest.fixture(scope="module")
def figures(point_mass_bundle: Path) -> dict[str, dict[str, float | None]]:
    driver = driver_of(SkillBundle(point_mass_bundle))
    spec = driver.model.spec
    return {
        name: means(evaluate_task(name, driver, 6, task.num_steps(spec)))
        for name, task in TASKS.items()
        if not task.needs_yaw
    }


def test_a_robot_that_can_go_anywhere_does_every_task(
    figures: dict[str, dict[str, float | None]],
) -> None:
    assert figures["goal"]["goal_fraction_05m"] == 1.0
    assert figures["waypoints"]["waypoints_all_fraction"] == 1.0
    assert figures["path"]["path_done_fraction"] == 1.0
    for shape in SHAPES:
        error_m = figures["path"][f"cross_track_{shape}_m"]
        assert error_m is not None and error_m < 0.4
    error = figures["velocity"]["velocity_error"]
    settled = figures["velocity"]["velocity_error_settled"]
    assert error is not None and settled is not None and settled < 0.1 and settled < error < 0.4
    assert figures["obstacles"]["touch_fraction"] == 0.0
    share = figures["obstacles"]["obstacle_goal_fraction"]
    assert share is not None and share > 0.5  # at 1 m/s there is no time for all the ways around


def test_standing_is_measured_after_a_run_up_and_with_a_push(point_mass_bundle: Path) -> None:
    driver = driver_of(SkillBundle(point_mass_bundle))
    drives: list[Drive] = []
    drive = driver.drive

    def keep(*args: object, **kwargs: object) -> Drive:
        drives.append(drive(*args, **kwargs))
        return drives[-1]

    driver.__dict__["drive"] = keep
    figures = means(evaluate_task("stand", driver, 8, 200))
    velocity = np.diff(drives[-1].tracks, axis=1) / driver.model.spec.control_dt
    speed = np.linalg.norm(velocity, axis=2)
    run_up = len(velocity[0]) - 200
    assert (speed[1::2, run_up - 1] > 0.5).all() and (speed[::2, run_up - 1] < 0.1).all()
    pushed = speed[:, run_up + 100] - speed[:, run_up + 99]
    assert (pushed > 0.2).all()
    assert figures["stand_fall_fraction"] == 0.0
    drift = figures["stand_drift_m"]
    assert drift is not None and 0.1 < drift < 1.0  # the point mass rolls on for a second


def test_points_are_visited_one_after_the_other() -> None:
    points = np.array([[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]]).repeat(3, axis=0)
    there = np.stack([np.linspace(0.0, 3.0, 31), np.zeros(31)], axis=1)
    tracks = np.stack([there, there[::-1], there + np.array([0.0, 0.3])])
    assert count_visited(tracks, points, 0.25).tolist() == [3, 1, 0]


def test_cross_track_is_the_distance_from_the_path_until_its_end() -> None:
    path = np.stack([np.linspace(0.0, 10.0, 101), np.zeros(101)], axis=1)
    beside = path + np.array([0.0, 0.4])
    stays = np.zeros_like(path)
    leaves_at_the_end = np.concatenate([path, path[-1] + np.arange(101)[:, None] * [0.0, 1.0]])
    padded = np.stack([np.concatenate([beside, beside[-1:].repeat(101, 0)]), leaves_at_the_end])
    error, done = cross_track(padded, path[None].repeat(2, axis=0))
    np.testing.assert_allclose(error, [0.4, 0.0], atol=0.02)
    np.testing.assert_allclose(done, 1.0)
    error, done = cross_track(stays[None], path[None])
    np.testing.assert_allclose([error, done], 0.0, atol=1e-6)


def test_shapes_are_closed_and_8_m_wide() -> None:
    for line in SHAPES.values():
        np.testing.assert_allclose(line[-1], line[0] * 0.0, atol=1e-9)
        assert np.ptp(line, axis=0).max() == pytest.approx(8.0, rel=0.01)


def test_fields_are_filled_as_said_and_lie_ahead() -> None:
    for angle in (0.0, 2.0):
        field = random_field(angle, np.random.default_rng(0))
        assert FILLED <= field.is_lethal.mean() < FILLED + 0.02
        ahead = np.array([np.cos(angle), np.sin(angle)])
        assert field.clearance(np.zeros(2)) >= 1.9
        assert field.clearance(14.0 * ahead) >= 1.9
        along = field.clearance(np.linspace(2.0, 12.0, 200)[:, None] * ahead)
        assert along.min() < 1.0


def test_full_speed_is_what_is_possible_in_every_direction() -> None:
    model = Model(linear_rollout, SkillSpace(SkillPriorConfig(kind="disc")))
    driver = Driver(
        model=RobotModel(RobotSpec.load("ant")),
        policy=lambda obs, skill: obs,
        skills=model,
        planner=PlannerConfig(skill_range=0.5),
        seed=0,
    )
    # |z| metres in 10 of the 20 control steps of a second
    assert full_speed(driver) == pytest.approx(0.5 * 2.0, rel=0.05)


def test_full_speed_is_seen_from_the_heading() -> None:
    """A turn makes nobody faster sideways."""

    def ahead_only(start: np.ndarray, skills: np.ndarray, steps: float) -> np.ndarray:
        return turning_rollout(1.5)(start, skills * np.float32([1.0, 0.3, 1.0]), steps)

    space = SkillSpace(SkillPriorConfig(kind="box", dim=3))
    model = RobotModel(RobotSpec.load("ant"))
    skills = Model(ahead_only, space, ("x", "y", "yaw"), "heading", model.spec.control_dt)
    planner = PlannerConfig(skill_range=1.0)
    driver = Driver(model=model, policy=lambda obs, z: obs, skills=skills, planner=planner, seed=0)
    # Metres in 10 of the 20 control steps of a second.
    assert full_speed(driver) == pytest.approx(2.0 * 0.3, rel=0.1)
    np.testing.assert_allclose(full_twist(driver), [2.0, 0.6, 3.0], rtol=0.1)


def test_a_base_with_a_front_follows_twists_and_takes_up_headings(
    hovercraft_bundle: Path,
) -> None:
    driver = driver_of(SkillBundle(hovercraft_bundle))
    pose = means(evaluate_task("pose", driver, 8, 200))
    assert pose["goal_fraction_05m"] == 1.0 and pose["pose_fraction_05m_20deg"] == 1.0
    assert pose["heading_error_deg"] is not None and pose["heading_error_deg"] < 12.0
    twist = means(evaluate_task("twist", driver, 8, 200))
    assert twist["velocity_error_settled_mps"] < 0.1 < twist["full_sideways_mps"]
    assert twist["yaw_rate_error_settled_radps"] < 0.1 < twist["full_turn_radps"]
    assert twist["yaw_rate_error_settled_radps"] < twist["yaw_rate_error_radps"]


def test_a_base_with_a_front_goes_each_way_without_turning(hovercraft_bundle: Path) -> None:
    driver = driver_of(SkillBundle(hovercraft_bundle))
    values = means(evaluate_task("directions", driver, 12, 200))
    assert values["directions_3m"] == 12.0 and values["heading_kept_fraction"] == 1.0
    assert values["heading_off_deg"] < 10.0
    forward, left, _ = full_twist(driver)
    speeds = [values[f"{way}_mps"] for way in ("forward", "backward", "sideways")]
    assert speeds == pytest.approx([forward, forward, left], rel=0.25)
    few = means(evaluate_task("directions", driver, 1, 40))
    assert few["backward_mps"] is None and few["directions_3m"] == 0.0


def test_headings_need_a_bundle_that_predicts_yaw(point_mass_bundle: Path) -> None:
    driver = driver_of(SkillBundle(point_mass_bundle))
    with pytest.raises(ConfigError, match=r"'pose' needs a bundle that predicts yaw; .* x, y:"):
        evaluate_task("pose", driver, 2, 40)


def test_wobble_is_that_of_a_skill_that_is_held(point_mass_bundle: Path) -> None:
    bundle = SkillBundle(point_mass_bundle)
    driver, steps = driver_of(bundle), itertools.count()
    per_second = round(1.0 / bundle.control_dt)

    def now_and_then(policy_obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        return bundle.command(policy_obs, skill) * (next(steps) // per_second % 2)

    speeds = [0.5 * full_speed(driver), full_speed(driver)]
    steady = velocity_wobble(driver, speeds)
    unsteady = velocity_wobble(dataclasses.replace(driver, policy=now_and_then), speeds)
    assert 2.0 * steady.mean() < 0.1 < unsteady.mean()
    same = velocity_wobble(driver, [speeds[0], speeds[0]])
    assert len(same) == len(steady) / 2  # each skill counts once


def test_who_falls_keeps_neither_to_its_path_nor_to_its_heading(
    point_mass_bundle: Path, hovercraft_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first half of the robots."""
    drive = Driver.drive

    def with_falls(*arguments: object, **settings: object) -> Drive:
        done = drive(*arguments, **settings)
        return dataclasses.replace(done, fell=np.arange(len(done.fell)) < len(done.fell) / 2)

    monkeypatch.setattr(Driver, "drive", with_falls)
    path = evaluate_task("path", driver_of(SkillBundle(point_mass_bundle)), 6, 40)
    assert [len(path[f"cross_track_{name}m"]) for name in ("", "circle_")] == [3, 1]
    ways = evaluate_task("directions", driver_of(SkillBundle(hovercraft_bundle)), 12, 40)
    assert len(ways["heading_off_deg"]) == 6
    assert ways["heading_kept_fraction"].tolist() == [False] * 6 + [True] * 6


def test_of_few_numbers_no_interval_is_claimed() -> None:
    found = intervals({"few": np.full(4, 0.7), "enough": np.arange(5.0), "hits": np.ones(1, bool)})
    assert found["few"] is None and found["enough"] is not None
    assert found["hits"] == pytest.approx((0.207, 1.0), abs=1e-3)


def test_a_robot_on_a_line_has_velocities_but_no_paths() -> None:
    driver = driver_of(SkillBundle(Path(__file__).parents[2] / "models" / "half_cheetah"))
    with pytest.raises(ConfigError, match="'half_cheetah' moves on a line: take goal, waypoints"):
        evaluate_task("path", driver, 2, 40)
    num = {len(v) for v in evaluate_task("velocity", driver, 2, 400).values() if np.shape(v)}
    assert max(num - {64}) <= 2  # robots, not windows; 64 skills are held for the wobble
    values = evaluate_task("velocity", driver, 2, 40)
    assert np.isfinite(means(values)["full_speed_mps"] or np.nan)


def test_the_shipped_go2_goes_where_it_is_told_faces_it_and_stands_on_its_feet() -> None:
    driver = driver_of(SkillBundle(find_file("go2", folder="models")))
    pose = means(evaluate_task("pose", driver, 8, TASKS["pose"].num_steps(driver.model.spec)))
    reached = pose["pose_fraction_05m_20deg"]
    assert reached is not None and reached >= 0.875
    stand = means(evaluate_task("stand", driver, 8, 400))
    assert stand["stand_fall_fraction"] == 0.0
    drift, on_shanks = stand["stand_drift_m"], stand["stand_exceeded_contacts_fraction"]
    assert drift is not None and drift < 0.1 and on_shanks is not None and on_shanks < 0.02


def test_a_goal_has_400_steps_and_20_seconds() -> None:
    steps = [TASKS["goal"].num_steps(RobotSpec.load(name)) for name in ("ant", "go2")]
    assert steps == [400, 1000]  # of 50 and 20 ms


def test_velocities_need_time_enough_for_a_mean(point_mass_bundle: Path) -> None:
    driver = driver_of(SkillBundle(point_mass_bundle))
    with pytest.raises(ConfigError, match="takes 2 steps; its mean velocities need at least"):
        evaluate_task("velocity", driver, 2, 2)
    values = evaluate_task("velocity", driver, 1, 20)
    assert sorted(values[f"velocity_error_{speed}"] is None for speed in ("half", "full")) == [
        False,
        True,
    ]


def test_the_command_prints_each_task_under_its_name(
    point_mass_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(point_mass_bundle), "--goals", "3", "--steps", "30", "--task"]
    assert main(["evaluate", *arguments, "waypoints", "goal", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["waypoints"]) >= {"waypoint_fraction", "waypoint_fraction_ci95"}
    assert report["waypoints"]["steps"] == report["goal"]["steps"] == 30
    assert report["goal"]["goal_fraction_1m"] is not None and "xy_bins" not in report
    assert main(["evaluate", *arguments, "velocity"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "task velocity" in lines and any(line.startswith("full_speed_mps") for line in lines)
    assert main(["evaluate", *arguments, "path", "--save"]) == 2
    assert "--save keeps skills and goals" in capsys.readouterr().err
    assert main(["evaluate", *arguments, "goal", "--goal-range", "3"]) == 2
    assert "leave the range out" in capsys.readouterr().err
