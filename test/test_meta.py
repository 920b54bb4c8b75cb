"""A meta-controller over skills: what it picks from, how long it holds it, what it learns."""

import dataclasses
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from baselines import meta, run
from baselines.config import MetaConfig
from baselines.meta import (
    MetaAgent,
    SkillVecEnv,
    action_space,
    algorithm,
    load_skills,
    skills_of,
)
from baselines.run import Watch
from baselines.sb3 import TrainedPolicy
from stable_baselines3 import PPO
from tables import contenders
from tables.contenders import Dads, LearningAgent, Meta, Shipped, Trained
from tables.document import PATH, document
from tables.protocols import LearningGoals
from tables.results import Result, all_runs
from tables.rows import TABLES

from bundles import write_bundle
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import SkillPriorConfig
from dads_ros.errors import BundleError, ConfigError
from dads_ros.evaluation.goals import sample_goals
from dads_ros.process import STOP
from dads_ros.skills import SkillSpace

BENCHMARK = PATH.parents[1] / "benchmark"
CONFIG = MetaConfig(
    bundle="point_mass",
    test_goals=2,
    test_range_m=2.0,
    samples=(200, 3000),
    skill_range=1.0,
    num_envs=4,
    episode_steps=50,
    learning_starts=200,
    rollout_skills=5,
    batch_size=20,
    hidden=(32, 32),
    learning_rate=3e-3,
    discount=0.8,
)
PROTOCOL = LearningGoals(num=2, range_m=2.0, starts=4, steps=50, samples=CONFIG.samples)


@pytest.fixture(scope="module", params=["SAC", "PPO"])
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MetaConfig:
    """Over skills that hold a velocity: any in a disc; eight of the fastest."""
    angle, velocities = np.arange(8) * np.pi / 4.0, None
    if request.param == "PPO":
        velocities = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    folder = write_bundle(tmp_path_factory.mktemp("skills") / "bundle", velocities=velocities)
    return dataclasses.replace(CONFIG, bundle=str(folder))


class Recording(SkillBundle):
    """Remembers which skills it was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[np.ndarray] = []

    def command(self, policy_obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        self.asked.append(skill.copy())
        return super().command(policy_obs, skill)


def test_an_action_is_a_skill_that_is_held_for_ten_control_steps(config: MetaConfig) -> None:
    bundle, goal = Recording(Path(config.bundle)), np.array([2.0, 1.0])
    env = SkillVecEnv(bundle, config, goal, seed=0)
    env.reset()
    env.action_space.seed(0)
    for _ in range(5):
        actions = np.stack([env.action_space.sample() for _ in range(4)])
        before = len(bundle.asked)
        seen, _, done, _ = env.step(actions)
        asked = np.stack(bundle.asked[before:])
        np.testing.assert_array_equal(
            asked, np.stack([skills_of(bundle.skill_space, actions, 1.0)] * 10)
        )
        np.testing.assert_array_equal(seen["desired_goal"], np.tile(goal, (4, 1)))
    assert done.all(), "of 50 control steps"


@pytest.mark.parametrize(("kind", "reach"), [("box", 0.4), ("disc", 0.4)])
def test_actions_reach_as_far_as_skills_that_are_planned_over_and_no_farther(
    kind: str, reach: float
) -> None:
    space = SkillSpace(SkillPriorConfig(kind=kind, dim=3), part=0.8)
    box = action_space(space, 0.5)
    np.testing.assert_allclose(box.high, reach, rtol=1e-3)
    actions = np.stack([box.low, box.high, 0.5 * box.high, [box.high[0], 0.0, 0.0]])
    skills = skills_of(space, actions, 0.5)
    np.testing.assert_allclose(space.clip(skills, 0.5), skills, rtol=1e-6)
    np.testing.assert_allclose(skills[3], actions[3], rtol=1e-6)


def test_every_discrete_skill_has_a_number() -> None:
    space = SkillSpace(SkillPriorConfig(kind="discrete", dim=5))
    assert action_space(space, 0.5).n == 5
    np.testing.assert_array_equal(skills_of(space, np.arange(5), 0.5), np.eye(5))


def test_no_two_goals_begin_with_the_same_networks(config: MetaConfig) -> None:
    config = dataclasses.replace(config, samples=(200,))
    agents = [meta.Training(config, 0), meta.Training(config, 0), meta.Training(config, 1)]
    first, again, other = (TrainedPolicy.of(each._agent).policy for each in agents)
    assert first == again != other
    agents[0].policies.append(TrainedPolicy.of(agents[0]._agent))  # the first goal is over
    assert TrainedPolicy.of(agents[0]._new_agent()).policy != first


@pytest.mark.slow
def test_a_meta_controller_learns_each_goal_and_holds_its_skills(
    config: MetaConfig, tmp_path: Path
) -> None:
    assert meta.train(config, 0, tmp_path) == 0
    agent = MetaAgent(config, tmp_path, "a commit")
    assert isinstance(agent, LearningAgent)
    figures = PROTOCOL.measure(agent, lambda step: None)
    first, last = (figures[f"normalised_distance_{samples}"] for samples in config.samples)
    assert last < 0.75 < 0.9 < first

    agent._bundle = bundle = Recording(Path(config.bundle))
    goals = sample_goals(bundle.robot, 2, 2.0, 2020)
    agent.go(goals[::-1], 25, seed=0, progress=lambda step: None)
    held = [bundle.asked[first : first + 10] for first in (0, 10, 20)]
    assert [len(skills) for skills in held] == [10, 10, 5]
    assert all((skills == part[0]).all() for part in held for skills in part)
    swapped = agent.go(goals[::-1], 50, seed=0, progress=lambda step: None)
    assert swapped.normalised_distance(50).mean() < 0.75, "each goal has its own policy"

    with pytest.raises(ConfigError, match=r"goal \[9\. 9\.\]; expected the goals of the test"):
        agent.go([[9.0, 9.0]], 1, seed=0, progress=lambda step: None)
    with pytest.raises(ConfigError, match="after 500 samples; expected one of 200, 3000"):
        agent.after(500)


@pytest.mark.parametrize("stop", [600, 640])
def test_a_run_that_was_stopped_goes_on_with_the_goal_that_it_was_at(
    config: MetaConfig,
    stop: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = dataclasses.replace(config, samples=(200, 400))

    class Stopping(Watch):
        """A signal comes with the second goal: at the end of its first stage, or after that."""

        def goes_on(self, step: int) -> bool:
            if step == stop:
                patch.setattr(STOP, "is_asked", True)
            return super().goes_on(step)

    with monkeypatch.context() as patch:
        patch.setattr(run, "Watch", Stopping)
        meta.train(config, 0, tmp_path)
    checkpoint = tmp_path / "checkpoint"
    kept = {path.relative_to(checkpoint): path.read_bytes() for path in policies(checkpoint)}
    expected = ["goal0/200", "goal0/400", "goal1/200"][: 2 if stop == 600 else 3]
    assert [str(path.parent) for path in kept] == expected
    assert not (tmp_path / "policy").exists()
    assert meta.train(config, 0, tmp_path) == 0
    # PPO learns after each 200, and what it has not learned from it makes again
    learns_late = algorithm(load_skills(config).skill_space) is PPO
    made = {600: 400, 640: 600}[stop] if learns_late else stop
    assert f"{800 - made} of 800 steps left" in capsys.readouterr().err
    found = {path.relative_to(tmp_path / "policy"): path for path in policies(tmp_path / "policy")}
    assert len(found) == 4 and not checkpoint.exists()
    assert all(found[name].read_bytes() == content for name, content in kept.items())


def policies(folder: Path) -> list[Path]:
    return sorted(folder.glob("goal*/*/policy.pt"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"episode_steps": 55}, r"'episode_steps' is 55.*multiple of 'skill_steps', 10"),
        ({"samples": (400, 500)}, r"'samples' is \[400, 500\].*growing multiples of 200"),
        ({"samples": (400, 400)}, r"'samples' is \[400, 400\].*growing multiples of 200"),
        ({"samples": ()}, r"'samples' is \[\].*growing multiples of 200"),
    ],
)
def test_settings_that_cannot_go_together_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(CONFIG, **changes)


def test_skills_that_cannot_be_picked_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'bundle' is 'go2'.*expected one with 'frame: world'"):
        meta.train(dataclasses.replace(CONFIG, bundle="go2"), 0, tmp_path)
    with pytest.raises(BundleError, match="not a skill bundle"):
        meta.train(dataclasses.replace(CONFIG, bundle=str(tmp_path)), 0, tmp_path)
    with pytest.raises(ConfigError, match="'no_such' was not found"):
        meta.train(dataclasses.replace(CONFIG, bundle="no_such"), 0, tmp_path)


def test_the_skills_are_trained_first_and_then_what_picks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "RUNS", tmp_path)
    skills, said = Trained("point_mass", (0,)), []

    def command(arguments: Sequence[str]) -> None:
        said.append(arguments)
        if arguments[0] == "dads_ros":
            write_bundle(Path(arguments[-1]) / "bundle")

    row = Meta(skills, {"test_goals": 3})
    row.train(0, command)
    assert [arguments[0] for arguments in said] == ["dads_ros", "baselines.meta"]
    config = MetaConfig.from_yaml(Path(said[1][said[1].index("--config") + 1]))
    assert config == MetaConfig(bundle=str(skills.bundle(0)), test_goals=3)
    assert row.training(0) == skills.training(0), "at a time one of the two at most is trained"
    folders = {said[1][-1]}
    for other in (Meta(skills), Meta(Trained("point_mass", (0,), {"num_iterations": 7}))):
        other.train(0, command)
        folders.add(said[-1][-1])
    assert len(folders) == 3, "each in a folder of its own"
    assert row.num_env_steps() == skills.num_env_steps() + 3 * 200_000
    assert Meta(skills).settings() != row.settings()
    shutil.rmtree(skills.bundle(0))
    write_bundle(skills.bundle(0), velocities=2.0 * np.eye(2))
    with pytest.raises(ConfigError, match=r"was begun with other .* skills .*remove it"):
        row.train(0, command)


@pytest.mark.slow
def test_its_command_trains_what_a_row_is_measured_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "RUNS", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARK))
    monkeypatch.chdir(BENCHMARK.parent)
    changes = {"test_goals": 1, "samples": [200], "episode_steps": 50, "num_envs": 4}
    row = Meta(Shipped("point_mass"), {**changes, "rollout_skills": 5, "batch_size": 20})

    def command(arguments: Sequence[str]) -> None:
        subprocess.run([sys.executable, "-m", *arguments], check=True)

    row.train(0, command)
    agent = row.load(0)
    assert re.fullmatch(r"\S+ over skills of \S+( \(refitted at \S+\))?", agent.training_commit)
    figures = LearningGoals(num=1, steps=20, samples=(200,)).measure(agent, lambda step: None)
    assert figures.keys() == {"normalised_distance_200", "fall_fraction_200"}
    assert row.train_s(0) is not None


def test_who_plans_needs_no_samples() -> None:
    agent = Dads(skills=Shipped("point_mass")).load(0)
    assert not isinstance(agent, LearningAgent)
    figures = PROTOCOL.measure(agent, lambda step: None)
    first, last = (figures[f"normalised_distance_{samples}"] for samples in PROTOCOL.samples)
    assert first == last < 0.6
    assert figures["fall_fraction_3000"] == 0.0


def test_meta_controllers_of_the_table_learn_the_goals_that_they_are_measured_on() -> None:
    (table,) = (table for table in TABLES if table.name == "hierarchies")
    protocol = table.protocol
    assert isinstance(protocol, LearningGoals)
    learned = [row.contender for row in table.rows if isinstance(row.contender, Meta)]
    assert len(learned) == 4
    for contender in learned:
        settings = contender.settings()["meta"]
        assert settings["samples"] == list(protocol.samples)
        tested = [settings[f"test_{name}"] for name in ("goals", "range_m", "seed")]
        assert tested == [protocol.num, protocol.range_m, protocol.seed]
        assert settings["episode_steps"] == protocol.steps
    plan = [row.contender.planner for row in table.rows if isinstance(row.contender, Dads)]
    assert {planner.skill_range for planner in plan} == {settings["skill_range"]}


def test_the_document_has_a_column_for_each_number_of_samples(tmp_path: Path) -> None:
    (table,) = (table for table in TABLES if table.name == "hierarchies")
    name = "SAC over the skills of the shipped bundle"
    run = next(run for run in all_runs([table], tmp_path) if run.row.name == name)
    figures = {name: 0.1 for name in table.figures} | {"normalised_distance_200000": 0.375}
    Result(
        "hierarchies", run.row.name, run.seed, "c", "c", run.settings(), figures, 1.0, 60.0, {}
    ).save(run.path)
    text = document([table], tmp_path)
    assert "| 25,000 samples | 50,000 samples | 100,000 samples | 200,000 samples |" in text
    assert f"| {run.row.name} | one | 5.7 | 0.100 | 0.100 | 0.100 | 0.375 |" in text
