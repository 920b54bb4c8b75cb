"""The tables of comparisons: what is measured, what is kept, what is written."""

import argparse
import dataclasses
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from baselines import goal_sac, pets
from baselines.config import GoalSacConfig, PetsConfig
from tables import contenders
from tables.contenders import (
    Command,
    Contender,
    Dads,
    GoalSac,
    Pets,
    Shipped,
    Trained,
    TrainingRun,
)
from tables.document import PATH, _cell, document
from tables.protocols import (
    CircleGoals,
    Coverage,
    Distances,
    FarGoals,
    HeldSkills,
    Protocol,
    RandomGoals,
    hold,
    is_near,
    longest,
    steps_up,
)
from tables.results import Result, Run, all_runs, mean_and_half_width
from tables.rows import ABLATIONS, TABLES, WHOLE_STATE, Column, Row, Table
from tables.searches import SEARCHES, TRAINING_SEED, as_text
from tables.work import run_all

from dads_ros.cli import export
from dads_ros.config import PlannerConfig, SkillPriorConfig
from dads_ros.errors import ConfigError, TrainingError
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.learning.selection import CollapseDetector
from dads_ros.planning.skill_planner import PAPER_COSTS, PLANNER_PRESETS
from dads_ros.process import SIGNALS
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace
from ros_graph import children_of

POINT_MASS = Dads(skills=Shipped("point_mass"))
BENCHMARK = PATH.parents[1] / "benchmark"
GOALS = RandomGoals(num=4, range_m=2.0, steps=40)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where training runs go."""
    monkeypatch.setattr(contenders, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


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


def test_a_fall_ends_a_way_also_where_it_ended_no_episode_of_training() -> None:
    assert not RobotSpec.load("ant_paper").fallen.ends_episode
    skills = POINT_MASS.load(0)
    assert not skills.bundle.robot.fallen.ends_episode
    assert skills.model.spec.fallen.ends_episode


def test_every_ablation_differs_from_what_is_shipped_in_what_it_says() -> None:
    (table,) = (table for table in TABLES if table.name == "ablations")
    shipped, *others = (row.contender.settings()["training"] for row in table.rows)
    ablations = dict(zip(list(ABLATIONS)[1:], others, strict=True))
    assert ABLATIONS["as shipped"] == {}
    iterations = ablations["the actor from every batch"]["num_iterations"]
    assert iterations == round(shipped["num_iterations"] / 1.15)
    late_cost = shipped["reward"]["fall_cost"][1]
    early = ablations["the last fall cost from the start"]["reward"]["fall_cost"]
    assert list(early) == [late_cost, late_cost]
    one_step, steps = ablations["one step instead of k"], shipped["prediction"]["steps"]
    for length in ("sigma_m", "min_sigma_m", "warm_start_m"):
        expected = np.array(shipped["skill_dynamics"][length]) / steps
        assert one_step["skill_dynamics"][length] == pytest.approx(expected)
    for settings, changes in zip(others, list(ABLATIONS.values())[1:], strict=True):
        assert {part for part in settings if settings[part] != shipped[part]} == changes.keys()


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ("DIAYN, 20 discrete skills", {"DIAYN, 20 discrete skills"}),
        ("DIAYN", {"DIAYN, 20 discrete skills", "DIAYN, 20 discrete skills, whole state"}),
    ],
)
def test_a_row_is_chosen_by_its_name_alone_and_several_by_a_word(
    rows: str, chosen: set[str]
) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "tables", "--list", "--tables", "coverage", "--rows", rows],
        env=os.environ | {"PYTHONPATH": str(BENCHMARK)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert set(re.findall(r"coverage: (.*), seed", listed)) == chosen


def test_a_figure_that_a_seed_lacks_is_not_counted() -> None:
    assert _cell([0.5, math.nan], ".1f") == "0.5"
    assert _cell([math.nan], ".1f") == "-"


def test_names_of_tables_and_of_files_are_unique() -> None:
    paths = [run.path for run in all_runs(TABLES)]
    assert len(set(paths)) == len(paths)


def test_settings_of_every_row_can_be_trained_with() -> None:
    for run in all_runs(TABLES):
        assert run.settings()["contender"] and run.row.contender.num_env_steps() > 0


def test_the_whole_state_is_what_policies_of_the_ant_see_but_for_the_last_command() -> None:
    assert {*WHOLE_STATE, "last_command"} == {"x", "y", *RobotSpec.load("ant").observation}


def test_a_whole_report_has_every_figure_of_its_table() -> None:
    (table,) = (table for table in TABLES if table.name == "ablations")
    figures = measured(dataclasses.replace(table.protocol, num=2))
    assert table.figures <= figures.keys() and "seed" not in figures
    assert figures["goal_fraction_05m"] == 1.0 == figures["waypoints.waypoint_fraction"]
    assert figures["stand.stand_fall_fraction"] == 0.0


@pytest.mark.parametrize("name", ["coverage", "skills"])
def test_metra_stands_beside_skills_of_dads_that_differ_by_the_reward_alone(name: str) -> None:
    (table,) = (table for table in TABLES if table.name == name)
    settings = {row.name: row.contender.settings() for row in table.rows}
    dads, metra = (
        settings[of]["training"]
        for of in ("DADS, continuous, without directions", "METRA, continuous")
    )
    dads["skill_dynamics"]["stretch"] = 1.0  # of the reward of DADS
    for name, value in (("skill_switch_probability", (0.0, 0.0)), ("nearby_skill_fraction", 0.0)):
        dads["collect"][name] = metra["collect"][name]  # one skill per episode, as its paper's
        assert metra["collect"][name] == pytest.approx(value)
    assert {part for part in dads if dads[part] != metra[part]} == {"reward"}


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("DADS, 20 discrete skills", math.log(20)),
        ("DIAYN, 20 discrete skills", math.log(20)),
        ("METRA, continuous", 1.0),
    ],
)
def test_costs_are_the_same_part_of_the_most_that_a_step_can_be_paid(
    name: str, most: float
) -> None:
    (table,) = (table for table in TABLES if table.name == "coverage")
    settings = {row.name: row.contender.settings()["training"]["reward"] for row in table.rows[1:]}
    ours, theirs = settings["DADS, continuous"], settings[name]
    for cost in ("fall_cost", "tilt_cost"):
        first, last = theirs[cost]
        assert first == 0.0  # what is paid has to grow before it can cost anything
        np.testing.assert_allclose(last / most, ours[cost][1] / math.log(101), rtol=1e-3)


def test_the_papers_planners_plan_for_the_distance_or_the_time_alone() -> None:
    for row in (row for table in TABLES for row in table.rows if isinstance(row.contender, Dads)):
        is_papers = row.contender.planner in (
            PLANNER_PRESETS["paper_dense"],
            PLANNER_PRESETS["paper_sparse"],
        )
        costs = row.contender.costs
        assert (costs.skill_change == 0.0 == costs.fall) == is_papers, row.name


def test_a_run_is_made_once_and_its_result_says_what_it_was_made_with(tmp_path: Path) -> None:
    (run,) = all_runs([table()], tmp_path)
    assert run_all([run], jobs=1) == 0
    result = run.result()
    assert result is not None and result.figures["goal_fraction_1m"] == 1.0
    assert result.settings["protocol"]["range_m"] == 2.0
    assert result.settings["contender"]["planner"] == PlannerConfig().to_dict()
    assert result.seed == 0 and result.commit and "onnxruntime" in result.versions
    before = run.path.stat().st_ino  # an atomic write makes a new one
    assert run_all([run], jobs=1) == 0
    assert run.path.stat().st_ino == before


def test_a_run_that_fails_leaves_the_others(
    tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.write_text("no folder")
    bad = table(contender=Dads(skills=Trained("point_mass", (0,))))
    same = dataclasses.replace(bad, name="same")
    good = dataclasses.replace(table(), name="good")
    all_of_them = list(all_runs([bad, same, good], tmp_path / "results"))
    assert run_all(all_of_them, jobs=1) == 1
    assert [run.result() is None for run in all_of_them] == [True, True, False]
    said = capsys.readouterr().err
    assert said.count("failed (") == 1, "what is trained once fails once"


def test_a_run_with_a_mistake_in_the_code_leaves_no_thread(tmp_path: Path) -> None:
    class Wrong(Shipped):
        def train(self, seed: int, command: Command) -> None:
            raise RuntimeError("a mistake")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="a mistake"):
        run_all(list(all_runs([table(contender=Dads(skills=Wrong("point_mass")))], tmp_path)), 1)
    assert threading.active_count() == before


def keep(run: Run, value: float) -> None:
    figures = {"goal_fraction_1m": value, "fall_fraction": 0.0}
    trained, settings = f"{COMMIT} (refitted at {COMMIT})", run.settings()
    Result(
        "small", run.row.name, run.seed, COMMIT, trained, settings, figures, 1.0, 60.0, {}
    ).save(run.path)


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
    trained = "0123456 (refitted at 0123456)"
    assert f"Training seed 0, 1; trained at {trained}, 1 min a seed, measured at" in text


def test_results_of_other_settings_are_left_out_and_named(tmp_path: Path) -> None:
    (old,) = all_runs([table()], tmp_path)
    keep(old, 0.25)
    assert "0.250" in document([table()], tmp_path)
    figure = Column("goal_fraction_05m", "within 0.5 m")
    for changed in (
        table(dataclasses.replace(GOALS, steps=41)),
        table(dataclasses.replace(GOALS, version=2)),
        table(contender=dataclasses.replace(POINT_MASS, sparse_radius_m=1.0)),
        dataclasses.replace(table(), columns={"": (figure,)}),
    ):
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


@pytest.mark.parametrize("lacks", ["seed", "settings.contender"])
def test_what_is_no_result_is_refused_by_name(tmp_path: Path, lacks: str) -> None:
    (run,) = all_runs([table()], tmp_path)
    keep(run, 0.5)
    values = json.loads(run.path.read_text("utf-8"))
    del (values["settings"] if "." in lacks else values)[lacks.rpartition(".")[2]]
    run.path.write_text(json.dumps(values), "utf-8")
    with pytest.raises(ConfigError, match=r"the-point-mass-seed0\.json' is no result.*delete it"):
        document([table()], tmp_path)


def test_interval_of_a_mean() -> None:
    mean, half = mean_and_half_width([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.302653 / 3.0**0.5)
    assert mean_and_half_width([0.3]) == (0.3, None)


def python(*arguments: str) -> "subprocess.Popen[str]":
    """Where the benchmarks can be imported."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=BENCHMARK.parent,
        env=os.environ | {"PYTHONPATH": str(BENCHMARK)},
    )


def stopped(arguments: Sequence[str]) -> None:
    """A command of a run without an end, which gets SIGINT as it begins."""
    config = Path(arguments[arguments.index("--config") + 1])
    said = yaml.safe_load(config.read_text("utf-8"))
    steps = "num_iterations" if "num_iterations" in said else "num_env_steps"
    config.write_text(yaml.safe_dump(said | {steps: 10**9}), "utf-8")
    with python("-m", *arguments) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training"):
                said = line
                process.send_signal(signal.SIGINT)
    assert process.returncode == 128 + signal.SIGINT
    raise subprocess.CalledProcessError(process.returncode, arguments, output=said)


def refused(arguments: Sequence[str]) -> None:
    raise AssertionError(f"there is nothing to do, and not {arguments}")


@pytest.mark.slow
def test_a_training_run_that_was_stopped_goes_on(runs: Path) -> None:
    skills = Trained("point_mass", (0,))
    for resume in ([], ["--resume"]):
        with pytest.raises(subprocess.CalledProcessError) as stop:
            skills.train(0, stopped)
        assert stop.value.cmd[8:] == resume
    assert f"iteration 1 of {10**9}" not in stop.value.output
    assert not skills.bundle(0).exists()


ENDLESS = """
import sys
from pathlib import Path
from tables import contenders
from tables.contenders import Dads, Trained
from tables.protocols import RandomGoals
from tables.results import all_runs
from tables.rows import Row, Table
from tables.work import run_all

folder = Path(sys.argv[1])
contenders.RUNS = folder / "runs"
skills = Trained("point_mass", (0,), {"num_iterations": 10**9, "evaluate_every": 20})
row = Row("endless", Dads(skills=skills), "")
table = Table("small", "", "", RandomGoals(num=4, steps=40), {}, (row,))
sys.exit(run_all(list(all_runs([table], folder / "results")), jobs=1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_what_trains_as_well(tmp_path: Path, number: signal.Signals) -> None:
    with python("-c", ENDLESS, str(tmp_path)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if " of 12 sectors" in line:
                break
        (training,) = children_of(process)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert not Path(f"/proc/{training}").exists()
    assert "go on with: dads-ros train --resume" in said and "Traceback" not in said
    assert len(list((tmp_path / "runs").glob("*/seed0/checkpoint.pt"))) == 1


@pytest.mark.slow
def test_started_by_nohup_it_goes_on_after_a_hangup(tmp_path: Path) -> None:
    ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with python("-c", f"{ignored}\n{ENDLESS}", str(tmp_path)) as process:
        assert process.stderr is not None
        for number in (signal.SIGHUP, signal.SIGTERM):
            for line in process.stderr:
                if " of 12 sectors" in line:
                    break
            process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said


def test_a_training_run_that_collapsed_counts_with_its_best_skills(runs: Path) -> None:
    skills, exports = Trained("point_mass", (0,)), argparse.ArgumentParser()
    export.add_parser(exports.add_subparsers())
    with pytest.raises(TrainingError) as collapse:
        detector = CollapseDetector()
        for reward in (1.0, *(0.0,) * 300):
            detector.take(reward, 300)

    def collapsing(arguments: Sequence[str]) -> None:
        if "train" in arguments:
            raise subprocess.CalledProcessError(2, "dads_ros", output=f"{collapse.value}\n")
        chosen = exports.parse_args(arguments[1:])
        assert chosen.run == Path(skills.training(0))
        chosen.out.mkdir()

    skills.train(0, collapsing)
    assert skills.bundle(0).exists()
    skills.train(0, refused)


def test_wall_time_of_training_adds_up(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path)
    assert run.seconds is None
    (tmp_path / "seconds.txt").write_text("1000.0\n", "utf-8")
    run.call(lambda arguments: None, [])
    assert run.seconds is not None and run.seconds >= 1000.0


@pytest.mark.parametrize(("part", "name"), [("training", "evaluate_every"), ("robot", "radius_m")])
def test_a_training_run_goes_on_only_with_the_defaults_that_it_was_begun_with(
    runs: Path, part: str, name: str
) -> None:
    skills = Trained("point_mass", (0,))
    skills.train(0, lambda arguments: None)
    begun = Path(skills.training(0)) / "begun.json"
    values = json.loads(begun.read_text("utf-8"))
    del values["settings"]["training"]["device"], values["settings"]["robot"]["max_velocity"]
    begun.write_text(json.dumps(values), "utf-8")
    skills.train(0, lambda arguments: None)
    values["settings"][part][name] = 7
    begun.write_text(json.dumps(values), "utf-8")
    with pytest.raises(ConfigError, match=r"begun with other defaults.*remove it"):
        skills.train(0, refused)


def test_the_folder_of_a_training_run_is_by_what_is_said(runs: Path) -> None:
    plain, said = Trained("point_mass", (0,)), Trained("point_mass", (0,), {"sac": {"tau": 0.005}})
    assert plain.settings() == said.settings()
    assert plain.training(0) != said.training(0)
    assert Path(plain.training(0)).parents[1] == runs


def test_baselines_get_the_control_steps_of_the_skills_and_their_refit() -> None:
    steps = Trained("ant", (0,)).num_env_steps()
    assert steps == GoalSacConfig(robot="ant", sparse=True, her=True).num_env_steps
    assert steps == PetsConfig(robot="ant", kind="random").num_env_steps
    without = Trained("ant", (0,), {"skill_dynamics": {"refit": False}})
    assert steps - without.num_env_steps() == 256 * 320 * 5
    assert Shipped("ant").num_env_steps() == steps


@pytest.mark.parametrize("name", SEARCHES)
def test_rows_have_the_best_pair_of_a_search_once_all_were_measured(name: str) -> None:
    tables = {each.name: each for each in TABLES}
    rows = {row.name: row for row in tables["searches"].rows}
    search, figures = SEARCHES[name], []
    for pair in search.pairs:
        result = Run(tables["searches"], rows[f"{name}: {as_text(pair)}"], TRAINING_SEED).result()
        figures.append(result.figures["normalised_distance_400"] if result else math.nan)
    best = None if np.isnan(figures).any() else search.pairs[int(np.argmin(figures))]
    assert search.best == best
    (row,) = (row for row in tables["goals"].rows if row.name == name)
    config = row.contender.config.to_dict()
    assert best is None or {key: config[key] for key in best} == best
    assert TRAINING_SEED not in row.contender.seeds


@pytest.mark.parametrize("table", ["goals", "half_cheetah", "humanoid"])
def test_rivals_that_learn_commands_get_as_many_control_steps_as_the_skills(table: str) -> None:
    (found,) = (each for each in TABLES if each.name == table)
    steps = {
        row.contender.num_env_steps()
        for row in found.rows
        if row.name == "DADS, continuous" or row.name.startswith("Goal-conditioned SAC")
    }
    assert len(steps) == 1


def test_the_commit_of_a_bundle_names_that_of_a_later_refit() -> None:
    agent = Dads(skills=Shipped("ant")).load(0)
    manifest = agent.bundle.manifest
    assert agent.training_commit == contenders.commit_of(manifest)
    for refit, said in (
        (None, manifest.commit),
        (manifest.commit, manifest.commit),
        ("abc", f"{manifest.commit} (refitted at abc)"),
    ):
        assert contenders.commit_of(dataclasses.replace(manifest, refit_commit=refit)) == said


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


def test_skills_of_the_heading_frame_are_held_and_seen_from_the_heading() -> None:
    agent = Dads(skills=Shipped("go2")).load(0)
    skills = np.tile(np.float32([1.0, 0.0, 0.0]), (4, 1))
    found = hold(agent, skills, 50, seed=0)
    np.testing.assert_array_equal(found.skills, skills)
    assert (found.displacement[:, 0] > 2.0 * np.abs(found.displacement[:, 1])).all()


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
        POINT_MASS,
        planner=PLANNER_PRESETS["paper_sparse"],
        costs=PAPER_COSTS,
        sparse_radius_m=0.5,
    )
    figures = measured(Distances(num=8, distances_m=(2.0, 50.0), steps=120), sparse)
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


RIVAL = GoalSacConfig(
    robot="point_mass",
    sparse=False,
    her=True,
    goal_range_m=3.0,
    num_env_steps=6400,
    num_envs=16,
    episode_steps=50,
    learning_starts=1600,
    hidden=(32, 32),
    batch_size=128,
    updates_per_vector_step=4,
    learning_rate=6e-3,
    discount=0.95,
    replay_capacity=20_000,
)


MODEL_BASED = PetsConfig(
    robot="point_mass",
    kind="weak_oracle",
    test_range_m=5.0,
    num_env_steps=2400,
    num_envs=8,
    episode_steps=50,
    learning_starts=400,
    hidden=(32, 32),
    batch_size=64,
    planning_horizon=12,
    num_samples=16,
    replay_capacity=2000,
)
BASELINES = {
    "baselines.goal_sac": (goal_sac.train, GoalSacConfig),
    "baselines.pets": (pets.train, PetsConfig),
}


def here(arguments: Sequence[str]) -> None:
    """The command of a baseline in this process."""
    name, _, config, _, seed, _, out = arguments
    train, kind = BASELINES[name]
    assert train(kind.from_yaml(Path(config)), int(seed), Path(out)) == 0


def test_hindsight_goals_need_a_whole_episode_before_the_first_update() -> None:
    with pytest.raises(ConfigError, match=r"'learning_starts' is 799;.*expected at least 800"):
        dataclasses.replace(RIVAL, learning_starts=799)
    dataclasses.replace(RIVAL, learning_starts=799, her=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rival",
    [
        GoalSac(dataclasses.replace(RIVAL, num_env_steps=1600, learning_starts=800), (0,)),
        Pets(dataclasses.replace(MODEL_BASED, num_env_steps=1600), (0,)),
    ],
    ids=["goal_sac", "pets"],
)
def test_a_baseline_that_was_stopped_goes_on_and_does_so_alike(
    rival: GoalSac | Pets, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        rival.train(0, stopped)
    folder, stopped_there = Path(rival.training(0)), tmp_path / "copy"
    shutil.copytree(folder, stopped_there)
    tracks = []
    for _ in range(2):
        rival.train(0, here)
        said = capsys.readouterr().err
        assert " of 1600 steps left" in said and " 1600 of 1600 steps left" not in said
        rival.train(0, refused)
        assert not (folder / "checkpoint").exists()
        agent = rival.load(0)
        tracks.append(agent.go(np.eye(2), 20, seed=0, progress=lambda step: None).tracks)
        shutil.rmtree(folder)
        shutil.copytree(stopped_there, folder)
    np.testing.assert_array_equal(*tracks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rival", "reached"),
    [(GoalSac(RIVAL, (0,)), 0.8), (Pets(MODEL_BASED, (0,)), 1.0)],
    ids=["goal_sac", "pets"],
)
def test_a_baseline_learns(rival: GoalSac | Pets, reached: float, runs: Path) -> None:
    rival.train(0, here)
    figures = measured(Distances(num=16, distances_m=(2.0,), steps=100), rival)
    assert figures["goal_fraction_05m_2m"] >= reached
