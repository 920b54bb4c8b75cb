import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from dads_ros.bundle.manifest import DYNAMICS_FILE, POLICY_FILE
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import PlannerConfig, read_yaml
from dads_ros.errors import BundleError, ConfigError
from dads_ros.files import share_folder
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.export import export_bundle
from dads_ros.learning.onnx_file import check_parity, write_onnx
from dads_ros.learning.trainer import Trainer
from dads_ros.observation import policy_obs_dim
from dads_ros.planning.costs import GoalCost
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs
from dads_ros.prediction import BODY
from dads_ros.robot import RobotSpec


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    values = read_yaml(share_folder() / "config" / "train" / "ant.yaml")
    values["collect"] |= {"num_envs": 32, "warmup_steps": 512}
    values["sac"] |= {"gradient_steps": 2, "compile": False}
    values["skill_dynamics"] |= {"refit": False}
    values |= {"num_iterations": 8, "evaluate_every": 1000}
    made = Trainer(TrainConfig.from_dict(values), tmp_path_factory.mktemp("run"))
    for _ in made.iterations():
        pass
    return made


@pytest.fixture(scope="module")
def bundle_folder(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export_bundle(trainer, folder)
    return folder


def test_the_bundle_gives_the_commands_and_predictions_of_the_trained_networks(
    trainer: Trainer, bundle_folder: Path
) -> None:
    bundle = SkillBundle(bundle_folder, trainer.robot)
    assert trainer.replay is not None
    recorded = trainer.replay.sample(256, torch.Generator().manual_seed(5))
    obs, skill = recorded.policy_obs.numpy(), recorded.skill.numpy()
    best = trainer.selection.best
    assert best is not None
    action = best.skills.command(obs, skill)
    assert np.ptp(action) > 0.1
    assert np.abs(bundle.command(obs, skill) - action).max() < 2e-5
    assert np.abs(bundle.command(obs[:1], skill[:1]) - action[:1]).max() < 2e-5
    expected = best.skills.delta(skill)
    assert np.abs(bundle.delta(skill) - expected).max() < 1e-5 * max(np.ptp(expected), 1e-3)
    assert bundle.manifest.training_metrics is not None
    assert bundle.manifest.training_metrics["score"] == best.score
    assert bundle.manifest.training_config == trainer.config.to_dict()


@pytest.mark.parametrize("fields", [("x", "y"), ("x", "y", *RobotSpec.load("ant").observation)])
def test_a_bundle_whose_predictions_start_from_the_body_state(
    tmp_path: Path, fields: tuple[str, ...]
) -> None:
    values = {
        "robot": "ant",
        "num_iterations": 6,
        "prediction": {"fields": list(fields), "body_state": True, "steps": 5},
        "skill_dynamics": {"hidden": [16]},
        "sac": {"hidden": [16], "gradient_steps": 2},
        "collect": {"num_envs": 32, "steps_per_iteration": 8, "warmup_steps": 512},
    }
    made = Trainer(TrainConfig.from_dict(values), tmp_path / "run")
    for _ in made.iterations():
        pass
    export_bundle(made, tmp_path / "bundle")
    bundle = SkillBundle(tmp_path / "bundle", made.robot)
    bundle.warm_up()
    best = made.selection.best
    assert best is not None
    assert made.replay is not None
    obs = made.replay.sample(64, torch.Generator().manual_seed(5)).policy_obs.numpy()
    start = np.concatenate([np.zeros((64, BODY)), obs], axis=1)
    skills = bundle.skill_space.sample(64 * 3, np.random.default_rng(0)).reshape(64, 3, 2)
    path = bundle.rollout(start, skills, 5)
    prediction = made.config.prediction
    expected = prediction.rollout(made.robot, best.skills.delta, start, skills, 5)
    assert path.shape == (64, 4, prediction.dim(made.robot))
    assert np.abs(path - expected).max() < 1e-4 * np.ptp(expected)
    blind = bundle.rollout(start[:, :3], skills, 5)
    assert np.abs(blind - path)[:, 1:, :2].max() > 1e-4
    planner = SkillPlanner(bundle, PlannerConfig(), rngs=robot_rngs(0, 64))
    assert np.isfinite(planner.plan(start, GoalCost(np.ones((64, 2)))).cost).all()


DISC = {"kind": "disc", "dim": 2}
OBSERVED = [name for name in RobotSpec.load("ant").observation if name != "orientation"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"skill_prior": {"kind": "discrete", "dim": 5}, "symmetry": {"body": True}},
        {"skill_prior": {"kind": "box", "dim": 3}, "skill_dynamics": {"warm_start_m": 0.1}},
        {"skill_prior": DISC, "symmetry": {"yaw": True, "body": True}},
        {"skill_prior": DISC, "symmetry": {"yaw": True, "mirror": True}, "robot": "humanoid"},
        {"skill_prior": {"kind": "box", "dim": 1}, "robot": "half_cheetah"},
        {"skill_dynamics": {"num_experts": 1, "linear": True}},
        {"prediction": {"fields": ["x", "y", "yaw"], "frame": "heading"}},
        {"prediction": {"fields": ["x", "y", *OBSERVED], "body_state": True}},
        {
            "skill_prior": {"kind": "disc", "dim": 4},
            "symmetry": {"yaw": True, "body": True},
            "prediction": {"body_state": True},
            "skill_dynamics": {"warm_start_m": 0.1},
        },
    ],
)
def test_whatever_can_be_trained_makes_networks_that_robots_take(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Before training: what operators a network has depends on its settings alone."""
    values = {"robot": "ant", "sac": {"hidden": [8]}, **changes}
    values["skill_dynamics"] = {"hidden": [8], "refit": False} | changes.get("skill_dynamics", {})
    made = Trainer(TrainConfig.from_dict(values), tmp_path)
    policy, dynamics = made.agent.learned_skills()
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(32, policy_obs_dim(made.robot), generator=generator)
    skill = torch.randn(32, made.config.skill_prior.dim, generator=generator)
    seen = {"policy_obs": obs, "skill": skill}
    inputs = {"skill": skill}
    if made.config.prediction.body_state:
        inputs |= {"policy_obs": obs, "known": torch.ones(32, 1)}
    for module, examples in ((policy, seen), (dynamics, inputs)):
        write_onnx(module, examples, "output", tmp_path / "network.onnx")
        check_parity(module, examples, "output", tmp_path / "network.onnx")


def test_a_model_that_differs_is_refused(trainer: Trainer, bundle_folder: Path) -> None:
    dynamics = trainer.agent.learned_skills().dynamics
    path = bundle_folder / DYNAMICS_FILE
    skill = torch.rand(64, 2)
    check_parity(dynamics, {"skill": skill}, "delta", path)
    with torch.no_grad():
        dynamics.q.net[-1].bias.add_(0.1)
    with pytest.raises(BundleError, match="no bundle was written"):
        check_parity(dynamics, {"skill": skill}, "delta", path)


def test_export_replaces_a_bundle_but_no_other_folder(
    trainer: Trainer, bundle_folder: Path, tmp_path: Path
) -> None:
    (bundle_folder / "notes.txt").write_text("walks well")
    (bundle_folder / "videos").mkdir()
    (bundle_folder / "videos" / "a.mp4").write_text("v")
    export_bundle(trainer, bundle_folder)
    assert [p.name for p in bundle_folder.parent.iterdir()] == ["bundle"]
    assert (bundle_folder / "notes.txt").read_text() == "walks well"  # nobody else has it
    assert (bundle_folder / "videos" / "a.mp4").read_text() == "v"
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("x")
    with pytest.raises(BundleError, match="holds other files"):
        export_bundle(trainer, other)
    assert (other / "precious.txt").read_text() == "x"


def test_the_files_carry_no_path_of_the_machine(bundle_folder: Path) -> None:
    for name in (POLICY_FILE, DYNAMICS_FILE):
        content = (bundle_folder / name).read_bytes()
        onnx.checker.check_model(onnx.load_model_from_string(content))
        assert b".py" not in content
        assert str(Path.home()).encode() not in content


def test_nothing_can_be_exported_before_anything_was_collected(
    trainer: Trainer, tmp_path: Path
) -> None:
    config = dataclasses.replace(trainer.config, seed=9)
    with pytest.raises(BundleError, match="nothing was collected"):
        export_bundle(Trainer(config, tmp_path / "run"), tmp_path / "bundle")


def test_the_manifest_names_the_commit_that_the_run_began_with(
    trainer: Trainer, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "commit", "0123456789" * 4)
    export_bundle(trainer, bundle_folder)
    assert SkillBundle(bundle_folder).manifest.commit == "0123456789" * 4


def test_export_into_a_file_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="is a file"):
        export_bundle(trainer, tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be written"):
        export_bundle(trainer, tmp_path / "file" / "bundle")
    assert (tmp_path / "file").read_text() == "x"


def test_export_takes_the_working_folder_when_it_is_empty(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    monkeypatch.chdir(folder)
    export_bundle(trainer, Path("."))
    assert SkillBundle(folder).manifest.robot == trainer.robot
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="holds other files"):
        export_bundle(trainer, Path("."))
