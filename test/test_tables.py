"""The tables of comparisons: what is measured, what is kept, what is written."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from baselines.config import GoalSacConfig
from tables.contenders import Command, Contender, Dads, GoalSac, Shipped, Trained
from tables.document import PATH, document
from tables.protocols import (
    CircleGoals,
    Coverage,
    Distances,
    FarGoals,
    HeldSkills,
    Protocol,
    RandomGoals,
    is_near,
    longest,
    steps_up,
)
from tables.results import Result, Run, all_runs, mean_and_half_width
from tables.rows import TABLES, Column, Row, Table
from tables.work import run_all

from dads_ros.config import PlannerConfig, SkillPriorConfig
from dads_ros.errors import TrainingError
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.learning.selection import CollapseDetector
from dads_ros.planning.skill_planner import PLANNER_PRESETS
from dads_ros.skills import SkillSpace

POINT_MASS = Dads(skills=Shipped("point_mass"))
BENCHMARK = PATH.parents[1] / "benchmark"
GOALS = RandomGoals(num=4, range_m=2.0, steps=40)


def table(protocol: Protocol = GOALS, contender: Contender = POINT_MASS) -> Table:
    columns = (Column("goal_fraction_1m", "within 1 m"), Column("fall_fraction", "falls", ".1%"))
    row = Row("The point mass", contender, "A disc.")
    return Table("small", "A small table", "Goals.", protocol, {"": columns}, (row,))


def measured(protocol: Protocol, contender: Contender = POINT_MASS) -> dict[str, float]:
    return protocol.measure(contender.load(0), lambda step: None)


def test_the_document_is_what_the_results_give() -> None:
    assert document(TABLES) == PATH.read_text("utf-8"), "make tables, or make format"


def test_every_result_belongs_to_a_run() -> None:
    paths = {run.path for run in all_runs(TABLES)}
    assert set((BENCHMARK / "results").rglob("*.json")) <= paths


def test_names_of_tables_and_of_files_are_unique() -> None:
    paths = [run.path for run in all_runs(TABLES)]
    assert len(set(paths)) == len(paths)


def test_settings_of_every_row_can_be_trained_with() -> None:
    for run in all_runs(TABLES):
        assert run.settings()["contender"] and run.row.contender.num_env_steps() > 0


def test_a_run_is_made_once_and_its_result_says_what_it_was_made_with(tmp_path: Path) -> None:
    (run,) = all_runs([table()], tmp_path)
    assert run_all([run], jobs=1) == 0
    result = run.result()
    assert result is not None and result.figures["goal_fraction_1m"] == 1.0
    assert result.settings["protocol"]["range_m"] == 2.0
    assert result.settings["contender"]["planner"] == PlannerConfig().to_dict()
    assert result.seed == 0 and result.commit and result.measure_s > 0.0
    before = run.path.stat().st_ino  # an atomic write makes a new one
    assert run_all([run], jobs=1) == 0
    assert run.path.stat().st_ino == before


def test_a_run_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("where training runs go")
    bad = table(contender=Dads(skills=Trained("point_mass", (0,))))
    good = dataclasses.replace(table(), name="good")
    runs = list(all_runs([bad, good], tmp_path))
    assert run_all(runs, jobs=1) == 1
    assert [run.result() is None for run in runs] == [True, False]


def keep(run: Run, value: float) -> None:
    figures = {"goal_fraction_1m": value, "fall_fraction": 0.0}
    commit, settings = "0123456789", run.settings()
    Result("small", run.row.name, run.seed, commit, commit, settings, figures, 1.0, 60.0, {}).save(
        run.path
    )


def test_an_interval_stands_only_where_there_are_several_seeds(tmp_path: Path) -> None:
    several = table(contender=Dads(skills=Trained("point_mass", (0, 1, 2))))
    first, second, _ = all_runs([several], tmp_path)
    assert "Without results yet: The point mass." in document([several], tmp_path)
    keep(first, 0.5)
    text = document([several], tmp_path)
    assert "| The point mass | 1 of 3 | 0.1 | 0.500 | 0.0% |" in text
    keep(second, 0.7)
    text = document([several], tmp_path)
    assert "| 2 of 3 | 0.1 | 0.600 [-0.671, 1.871] | 0.0% [0.0%, 0.0%] |" in text
    assert "Training seed 0, 1; trained at 0123456, 1 minutes a seed" in text


def test_results_of_other_settings_are_left_out_and_named(tmp_path: Path) -> None:
    (old,) = all_runs([table()], tmp_path)
    keep(old, 0.25)
    assert "0.250" in document([table()], tmp_path)
    changed = table(dataclasses.replace(GOALS, steps=41))
    text = document([changed], tmp_path)
    assert "0.250" not in text
    assert "small/the-point-mass-seed0.json" in text and "Without results yet" in text


@pytest.mark.parametrize(
    ("part", "name"), [("planner", "num_samples"), ("costs", "goal"), ("training.sac", "tau")]
)
def test_a_result_from_before_a_setting_was_there_counts_as_of_its_default(
    tmp_path: Path, part: str, name: str
) -> None:
    (run,) = all_runs([table(contender=Dads(skills=Trained("point_mass", (0,))))], tmp_path)
    keep(run, 0.5)
    values = json.loads(run.path.read_text("utf-8"))
    inner = values["settings"]["contender"]
    for key in part.split("."):
        inner = inner[key]
    was = inner.pop(name)
    run.path.write_text(json.dumps(values), "utf-8")
    assert run.result() is not None
    inner[name] = was + 1
    run.path.write_text(json.dumps(values), "utf-8")
    assert run.result() is None and run.any_result() is not None


def test_what_is_no_result_is_refused_by_name(tmp_path: Path) -> None:
    (run,) = all_runs([table()], tmp_path)
    run.path.parent.mkdir(parents=True)
    run.path.write_text(json.dumps({"seed": 0}), "utf-8")
    with pytest.raises(Exception, match=r"the-point-mass-seed0\.json' is no result.*delete it"):
        document([table()], tmp_path)


def test_interval_of_a_mean() -> None:
    mean, half = mean_and_half_width([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.302653 / 3.0**0.5)
    assert mean_and_half_width([0.3]) == (0.3, None)


def stopped_at_first(said: list[str], sign: Path | None = None) -> Command:
    """A command that gets SIGINT the first time: when this file is there, or as it begins.

    ``said`` gets the arguments of each, and what it said as it began.
    """

    def command(arguments: Sequence[str]) -> None:
        said.append(" ".join(arguments))
        path = [str(BENCHMARK), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
        with subprocess.Popen(
            [sys.executable, "-m", *arguments], stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if not line.startswith("training"):
                    continue
                said[-1] += line
                if len(said) == 1:
                    while sign is not None and not sign.exists() and process.poll() is None:
                        os.sched_yield()
                    process.send_signal(signal.SIGINT)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, arguments[0])

    return command


@pytest.mark.slow
def test_a_training_run_that_was_stopped_goes_on_and_one_that_collapsed_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    skills = Trained(
        "point_mass", (0,), {"num_iterations": 30, "evaluate_every": 30, "checkpoint_period_s": 0}
    )
    said: list[str] = []
    folder = Path(skills.training(0))
    stopped = stopped_at_first(said, folder / "checkpoint.pt")

    with pytest.raises(subprocess.CalledProcessError):
        skills.train(0, stopped)
    assert not skills.bundle(0).exists()
    first_s = skills.train_s(0)
    skills.train(0, stopped)
    assert skills.bundle(0).exists()
    assert "--resume" in said[1] and "--resume" not in said[0]
    assert skills.train_s(0) > first_s > 0.0
    skills.train(0, stopped)
    assert len(said) == 2
    assert Trained("point_mass", (0,)).bundle(0).parents[1] != skills.bundle(0).parents[1]

    shutil.rmtree(skills.bundle(0))
    with pytest.raises(TrainingError) as collapse:
        detector = CollapseDetector()
        for reward in (1.0, *(0.0,) * 300):
            detector.take(reward, 300)

    def collapsing(arguments: Sequence[str]) -> None:
        if "train" in arguments:
            raise subprocess.CalledProcessError(2, "dads_ros", output=f"{collapse.value}\n")
        stopped(arguments)

    skills.train(0, collapsing)
    assert skills.bundle(0).exists()


def test_normalised_distance_and_goals_by_distance() -> None:
    figures = measured(Distances(num=4, distances_m=(1.0, 50.0), steps=60))
    assert figures["goal_fraction_05m_1m"] == 1.0
    assert figures["goal_fraction_05m_50m"] == 0.0
    assert figures["normalised_distance_1m"] < 0.6 < figures["normalised_distance_50m"] < 1.0


def test_time_near_a_goal_begins_when_it_is_reached() -> None:
    figures = measured(CircleGoals(num=4, distance_m=2.0, steps=80))
    assert figures["ever_fraction"] == figures["end_fraction"] == 1.0
    assert 0.3 < figures["time_fraction"] < 0.8


def test_more_goals_are_hit_in_more_steps_and_within_a_larger_radius() -> None:
    figures = measured(FarGoals(num=16, range_m=8.0, steps=(40, 120)))
    assert figures["hit_1m_40"] < figures["hit_3m_40"] < figures["hit_3m_120"]


def test_the_longest_skills_cover_more_than_those_drawn() -> None:
    figures = measured(Coverage(num=16, steps=80))
    assert figures["squares_drawn"] < figures["squares_longest"]
    assert figures["displacement_drawn_m"] < figures["displacement_longest_m"]


def test_skills_of_the_point_mass_lead_where_they_are_said_to() -> None:
    """Starts differ by a velocity of 0.1 m/s or so, which damping takes away."""
    figures = measured(HeldSkills(num=8, starts=8, moments=(10, 60)))
    assert 3.0 < figures["displacement_60_m"] / figures["displacement_10_m"] < 12.0
    assert figures["spread_60"] < 0.5 * figures["spread_10"] < 0.2
    assert figures["prediction_error_60"] < 0.2


@pytest.mark.parametrize("kind", ["disc", "box", "discrete"])
def test_longest_skills_keep_their_direction_and_end_where_the_prior_does(kind: str) -> None:
    space = SkillSpace(SkillPriorConfig(kind=kind, dim=3))
    drawn = space.sample(20, np.random.default_rng(0))
    found = longest(space, drawn)
    np.testing.assert_allclose(space.clip(found), found, atol=1e-6)
    assert (space.clip(1.01 * found) != 1.01 * found).any(axis=1).all()
    along = (found * drawn).sum(axis=1)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(drawn, axis=1)
    np.testing.assert_allclose(along, lengths, rtol=1e-5)


def test_planning_for_a_sparse_goal_sees_only_as_far_as_its_plans() -> None:
    sparse = dataclasses.replace(
        POINT_MASS, planner=PLANNER_PRESETS["paper_sparse"], sparse_radius_m=0.5
    )
    figures = measured(Distances(num=16, distances_m=(2.0, 50.0), steps=200), sparse)
    assert figures["goal_fraction_05m_2m"] > 0.7
    assert figures["normalised_distance_50m"] == pytest.approx(1.0, abs=0.02)


def test_a_robot_that_fell_near_its_goal_is_near_it_no_more() -> None:
    """Two robots go 1 m a step to a goal at 3 m; the second falls there, the first stays."""
    ahead = np.array([0.0, 1.0, 2.0, 3.0, 3.0, 3.0])
    wobbling = ahead + np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.2])
    tracks = np.stack([np.stack([x, np.zeros(6)], axis=1) for x in (wobbling, ahead)])
    fell = np.array([False, True])
    driven = GoalMetrics(
        goals=np.array([[3.0, 0.0]] * 2),
        tracks=tracks,
        yaws=np.zeros((2, 6)),
        commands=np.zeros((5, 2, 1)),
        fell=fell,
        is_up=~fell,
        body={},
    )
    assert steps_up(driven).tolist() == [5, 3]
    assert is_near(driven, 0.5).sum(axis=1).tolist() == [3, 1]


@pytest.mark.slow
def test_goal_conditioned_sac_goes_on_after_a_stop_and_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = GoalSacConfig(
        robot="point_mass",
        sparse=False,
        her=True,
        goal_range_m=3.0,
        num_env_steps=8000,
        num_envs=16,
        episode_steps=50,
        learning_starts=1600,
        hidden=(32, 32),
        batch_size=128,
        updates_per_vector_step=4,
        learning_rate=3e-3,
        discount=0.95,
        replay_capacity=20_000,
    )
    rival, said = GoalSac(config, (0,)), []
    stopped = stopped_at_first(said)
    with pytest.raises(subprocess.CalledProcessError):
        rival.train(0, stopped)
    rival.train(0, stopped)
    assert " 8000 of 8000 steps left" in said[0]
    assert " of 8000 steps left" in said[1] and " 8000 of" not in said[1]
    rival.train(0, stopped)
    assert len(said) == 2
    figures = measured(Distances(num=16, distances_m=(2.0,), steps=100), rival)
    assert figures["goal_fraction_05m_2m"] == 1.0
