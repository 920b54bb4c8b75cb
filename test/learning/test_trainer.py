import contextlib
import dataclasses
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.training import train
from dads_ros.config import read_yaml
from dads_ros.envs.model import RobotModel
from dads_ros.errors import CheckpointError, ConfigError, StorageError, TrainingError
from dads_ros.evaluation.skills import SkillMetrics, evaluate_skills
from dads_ros.files import atomic_write, find_file, only_trainer, share_folder, source_commit
from dads_ros.learning import trainer as trainer_module
from dads_ros.learning.agent import BODY_REWARD_ROWS, over_last_half
from dads_ros.learning.checkpoint import load_checkpoint, save_checkpoint
from dads_ros.learning.collector import PUSH_PERIOD_S
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.export import export_bundle
from dads_ros.learning.replay_buffer import Chunk
from dads_ros.learning.selection import COLLAPSE_ITERATIONS, CollapseDetector, Selection
from dads_ros.learning.trainer import Trainer
from dads_ros.observation import observation_slices
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import BodyLimitsSpec, RobotSpec
from hovercraft import hovercraft_config, write_hovercraft_bundle

ANT_OBSERVATION = RobotSpec.load("ant").observation


def small_config(**settings: object) -> TrainConfig:
    values = read_yaml(share_folder() / "config" / "train" / "point_mass.yaml")
    values["collect"] |= {"num_envs": 16, "warmup_steps": 512, "replay_capacity": 4000}
    values |= {"num_iterations": 12, "evaluate_every": 1000}
    return TrainConfig.from_dict(values | settings)


def run(trainer: Trainer, until: int) -> list[dict[str, float]]:
    lines = []
    for metrics in trainer.iterations():
        lines.append(metrics.to_dict())
        if metrics.iteration == until:
            break
    return lines


def evaluate(trainer: Trainer, delay_ms: float = 0.0, **settings: int) -> SkillMetrics:
    skills = trainer.agent.learned_skills()
    return trainer.selection.evaluate(skills, delay_ms, **settings)


def collect_chunk(trainer: Trainer, *, explore: bool) -> Chunk:
    policy = trainer.agent.sampling_policy(trainer._generators["action"], explore=explore)
    return trainer._collect(policy)


def weights(trainer: Trainer) -> list[torch.Tensor]:
    agent = trainer.agent
    modules = (agent.sac.actor, agent.sac.critic, agent._models, agent.normalizer)
    return [value.clone() for module in modules for value in module.state_dict().values()]


def test_a_seeded_run_repeats_exactly_and_another_seed_differs(tmp_path: Path) -> None:
    first = Trainer(small_config(), tmp_path / "a")
    second = Trainer(small_config(), tmp_path / "b")
    other = Trainer(small_config(seed=1), tmp_path / "c")
    lines = [run(trainer, 12) for trainer in (first, second, other)]
    assert lines[0] == lines[1]
    assert lines[0] != lines[2]
    assert all(map(torch.equal, weights(first), weights(second)))


@pytest.mark.parametrize("kind", ["point_mass", "ant", "body state", "diayn", "metra"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, kind: str) -> None:
    config = small_config()
    if kind == "body state":
        fields = ["x", "y", *RobotSpec.load("point_mass").observation]
        config = small_config(prediction={"steps": 5, "fields": fields, "body_state": True})
    if kind == "diayn":
        config = small_config(reward={"objective": kind})
    if kind in ("ant", "metra"):
        values = read_yaml(share_folder() / "config" / "train" / "ant.yaml")
        values["collect"] |= {"num_envs": 16, "warmup_steps": 512, "replay_capacity": 4000}
        values["collect"] |= {"zero_skill_fraction": 0.2, "push_mps": (0.5, 0.5)}
        values["collect"] |= {"randomization": {"sensor_noise": 1.0, "gain": [0.8, 1.2]}}
        values["sac"] |= {"gradient_steps": 4, "compile": False}
        values["skill_dynamics"] |= {"warm_start_steps": 1}
        if kind == "metra":
            values["symmetry"] = {"mirror": True}
            values["skill_dynamics"] |= {"warm_start_steps": 0, "linear": False, "stretch": 1.0}
            values["reward"] |= {"objective": kind, "state_fields": ["x", "y", *ANT_OBSERVATION]}
        config = TrainConfig.from_dict(values | {"num_iterations": 12, "evaluate_every": 1000})
    whole = Trainer(config, tmp_path / "whole")
    lines = run(whole, 12)
    interrupted = Trainer(config, tmp_path / "parts")
    run(interrupted, 7)
    interrupted.save_checkpoint()
    resumed = Trainer(config, tmp_path / "parts", resume=True)
    assert resumed.iteration == 7
    assert resumed.agent.warm_start_over
    assert all(map(torch.equal, weights(interrupted), weights(resumed)))
    assert run(resumed, 12) == lines[7:]
    assert all(map(torch.equal, weights(whole), weights(resumed)))


def test_the_point_mass_learns_to_go_in_every_direction(tmp_path: Path) -> None:
    config = TrainConfig.from_yaml(share_folder() / "config" / "train" / "point_mass.yaml")
    trainer = Trainer(dataclasses.replace(config, num_iterations=110), tmp_path)
    before = evaluate(trainer).to_dict()
    run(trainer, 110)
    after = evaluate(trainer).to_dict()
    assert before["mean_displacement_m"] < 5.0
    assert after["sectors_3m"] == 12
    assert after["mean_displacement_m"] > 8.0
    assert after["prediction_error"] < 0.4


@pytest.mark.parametrize(("kind", "dim"), [("disc", 2), ("discrete", 6)])
def test_other_priors_learn_skills_that_can_be_told_apart(
    tmp_path: Path, kind: str, dim: int
) -> None:
    config = small_config(num_iterations=120, skill_prior={"kind": kind, "dim": dim})
    trainer = Trainer(config, tmp_path)
    lines = run(trainer, 120)
    assert lines[-1]["reward"] > 0.8
    assert lines[-1]["reward_cap_share"] > 0.2
    skills = trainer.agent.skill_space.grid(dim if kind == "discrete" else 64)
    moved = trainer.agent.learned_skills().delta(skills)
    tracks = evaluate(trainer, num_skills=len(skills)).displacement
    assert np.corrcoef(moved[:, 0], tracks[:, 0])[0, 1] > 0.7
    assert np.corrcoef(moved[:, 1], tracks[:, 1])[0, 1] > 0.7


def test_the_best_skills_are_kept_and_survive_a_checkpoint(tmp_path: Path) -> None:
    trainer = Trainer(small_config(evaluate_every=4), tmp_path)
    lines = run(trainer, 12)
    scores = {i + 1: line["score"] for i, line in enumerate(lines) if "score" in line}
    assert sorted(scores) == [4, 8, 12]
    best = trainer.selection.best
    assert best is not None
    assert scores[best.iteration] == best.score >= 0.5 * max(scores.values())
    trainer.save_checkpoint()
    restored = Trainer(small_config(evaluate_every=4), tmp_path, resume=True).selection.best
    assert restored is not None
    assert restored.score == best.score
    skill = trainer.agent.skill_space.grid(9)
    assert np.array_equal(restored.skills.delta(skill), best.skills.delta(skill))


def test_where_costs_grow_late_skills_are_kept_unless_they_are_much_worse(tmp_path: Path) -> None:
    trainer = Trainer(small_config(num_iterations=100), tmp_path)
    run(trainer, 12)
    skills = trainer.agent.learned_skills()
    for fall_cost, iteration, worth, kept in (
        ((0.0, 9.0), 50, 1.9, 95),
        ((0.0, 9.0), 50, 2.1, 50),
        ((0.0, 9.0), 90, 1.1, 90),
        ((0.0, 9.0), 92, 0.9, 95),
        ((9.0, 9.0), 50, 1.1, 50),
    ):
        reward = dataclasses.replace(trainer.config.reward, fall_cost=fall_cost)
        config = dataclasses.replace(trainer.config, reward=reward)
        selection = Selection(trainer.model, config)
        now, _ = selection.judge(skills, 12)
        assert now.score > 0.0
        selection.best = dataclasses.replace(now, score=worth * now.score, iteration=iteration)
        selection.judge(skills, 95)
        assert selection.best.iteration == kept


@pytest.mark.parametrize(("is_limited", "kept"), [(True, 95), (False, 50)])
def test_the_cost_of_a_bodys_limits_counts_where_there_are_limits(
    tmp_path: Path, is_limited: bool, kept: int
) -> None:
    trainer = Trainer(small_config(num_iterations=100), tmp_path)
    run(trainer, 12)
    skills, spec = trainer.agent.learned_skills(), trainer.model.spec
    limits = BodyLimitsSpec(height_m=(0.0, 1.0)) if is_limited else None
    model = RobotModel(dataclasses.replace(spec, body_limits=limits))
    selection = Selection(model, trainer.config)  # its limits_cost is [0.1, 1.0]
    now, _ = selection.judge(skills, 12)
    assert now.score > 0.0
    selection.best = dataclasses.replace(now, score=1.1 * now.score, iteration=50)
    selection.judge(skills, 95)
    assert selection.best.iteration == kept


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
def test_every_device_learns_the_same_and_its_run_goes_on_on_the_cpu(
    tmp_path: Path, device: str
) -> None:
    values = read_yaml(share_folder() / "config" / "train" / "ant.yaml")
    values["collect"] |= {"num_envs": 16, "warmup_steps": 512, "replay_capacity": 4000}
    values["sac"] |= {"gradient_steps": 4, "compile": False}
    values["skill_dynamics"] |= {"warm_start_steps": 1}
    values |= {"num_iterations": 12, "evaluate_every": 12}
    first = {}
    for name in dict.fromkeys(("cpu", device)):
        trainer = Trainer(
            TrainConfig.from_dict(values | {"device": name}), tmp_path / f"{device} {name}"
        )
        assert trainer.agent.device.type == name
        lines = run(trainer, 12)
        assert np.isfinite(lines[-1]["score"])
        first[name] = next(line for line in lines if "critic_loss" in line)
    assert first[device] == pytest.approx(first["cpu"], rel=1e-3, abs=1e-5)
    trainer.save_checkpoint()
    again = TrainConfig.from_dict(values | {"device": "cpu", "num_iterations": 14})
    (*_, last) = run(Trainer(again, trainer.out, resume=True), 14)
    assert np.isfinite(last["critic_loss"])


def test_skills_are_shown_now_and_then_and_nothing_depends_on_it(tmp_path: Path) -> None:
    seen, trainers = {}, {}
    for period in (0.0, 3600.0):
        config = small_config(show_period_s=period, evaluate_every=6)
        trainers[period] = Trainer(config, tmp_path / str(period))
        seen[period] = [m.skills for m in trainers[period].iterations()]
    assert [i for i, skills in enumerate(seen[3600.0]) if skills is not None] == [5, 11]
    assert [len(skills.tracks) for skills in seen[0.0]] == 2 * [32, 32, 32, 32, 32, 48]
    assert all(map(torch.equal, weights(trainers[0.0]), weights(trainers[3600.0])))
    best = [trainer.selection.best for trainer in trainers.values()]
    assert best[0] is not None and best[1] is not None
    assert best[0].score == best[1].score


def test_the_score_is_that_of_the_delay_that_does_worse(tmp_path: Path) -> None:
    collect = small_config().to_dict()["collect"] | {"delay_ms": [0.0, 40.0]}
    trainer = Trainer(small_config(collect=collect), tmp_path)
    run(trainer, 12)
    metrics = trainer.selection.judge(trainer.agent.learned_skills(), 12)[0].metrics

    def score(suffix: str) -> float:
        right = max(0.0, 1.0 - metrics["prediction_error" + suffix])
        falls = [metrics[f"{of}_fall_fraction{suffix}"] for of in ("skill", "switch")]
        return metrics["mean_displacement_m" + suffix] * right * (1.0 - max(falls)) ** 5

    assert score("") != score("_delayed")
    assert metrics["score"] == min(score(""), score("_delayed"))
    assert metrics["prediction_error"] == evaluate(trainer).to_dict()["prediction_error"]
    delayed = evaluate(trainer, 40.0).to_dict()["prediction_error"]
    assert metrics["prediction_error_delayed"] == delayed


def test_where_skills_turn_the_score_wants_both(tmp_path: Path) -> None:
    bundle = SkillBundle(write_hovercraft_bundle(tmp_path / "bundle"))
    selection = Selection(RobotModel(bundle.robot), hovercraft_config(tmp_path))
    now, held = selection.judge(bundle, 8)  # type: ignore[arg-type]
    figures = now.metrics
    assert (~held.leads_away).sum() == 12 and figures["skill_fall_fraction"] == 0.0
    goes = figures["mean_displacement_m"] * (1.0 - figures["prediction_error"])
    assert goes > 1.0 and now.score == pytest.approx(goes * np.radians(figures["turn_deg"]))


def test_skills_of_a_robot_that_falls_where_it_stands_are_worth_nothing() -> None:
    bundle = SkillBundle(find_file("humanoid", folder="models"))
    model, space = RobotModel(bundle.robot), bundle.skill_space
    held = evaluate_skills(model, space, bundle.command, bundle.rollout, 20, seed=0, num_skills=48)
    displacement = np.linalg.lstsq(held.skills, held.displacement / 10.0)[0]  # in 20 of 200 steps

    def limp(obs: np.ndarray, skills: np.ndarray) -> np.ndarray:
        return bundle.command(obs, skills) * (skills != 0.0).any(axis=1, keepdims=True)

    learned = SimpleNamespace(
        command=limp, delta=lambda skills: (skills @ displacement).astype(np.float32)
    )
    config = TrainConfig.from_yaml(Path("config/train/humanoid.yaml"))
    reward = dataclasses.replace(config.reward, motion_cost=(0.0, 0.0))
    for zero_skills in (0.2, 0.0):
        collect = dataclasses.replace(config.collect, zero_skill_fraction=zero_skills)
        selection = Selection(model, dataclasses.replace(config, collect=collect, reward=reward))
        now, _ = selection.judge(learned, 0)  # type: ignore[arg-type]
        falls = now.metrics.get("zero_skill_fall_fraction")
        if zero_skills:
            assert falls is not None and falls > 0.9 and now.score < 1e-3
        else:
            assert falls is None and now.score > 0.1


def test_skills_that_were_judged_before_standing_counted_are_replaced(tmp_path: Path) -> None:
    collect = small_config().to_dict()["collect"] | {"zero_skill_fraction": 0.1}
    trainer = Trainer(small_config(collect=collect), tmp_path)
    run(trainer, 12)
    skills = trainer.agent.learned_skills()
    trainer.selection.judge(skills, 12)
    saved = trainer.selection.checkpoint()
    assert saved is not None
    for score in (saved["score"], -np.inf):
        other = Selection(trainer.model, trainer.config)
        other.restore(saved, skills)
        assert other.best is not None and other.best.score == score
        saved["metrics"].pop("zero_skill_fall_fraction", None)


def test_schedules_change_over_the_last_half() -> None:
    factors = [over_last_half(1.0, 0.2, progress) for progress in (0.0, 0.5, 0.75, 1.0)]
    assert factors == pytest.approx([1.0, 1.0, 0.6, 0.2])


def test_skills_switch_faster_at_the_end_of_the_run(tmp_path: Path) -> None:
    collect = small_config().to_dict()["collect"] | {"skill_switch_probability": [0.0, 1.0]}
    trainer = Trainer(small_config(collect=collect, num_iterations=40), tmp_path)

    def longest_hold() -> int:
        chunks = [collect_chunk(trainer, explore=True) for _ in range(20)]
        first = np.concatenate([(c.skill_age == 0) & (c.skill_left > 0) for c in chunks])
        return int(np.concatenate([c.skill_left for c in chunks])[first].max())

    assert longest_hold() == trainer.config.collect.episode_steps
    trainer.iteration = 40
    longest_hold()  # ends the episodes that have begun with long holds
    assert longest_hold() < 2 * trainer.config.prediction.steps


def test_step_size_sigma_and_entropy_follow_their_schedules(tmp_path: Path) -> None:
    values = small_config(num_iterations=24).to_dict()
    values["sac"] |= {"final_learning_rate_factor": 0.5, "gradient_steps": 1}
    values["sac"] |= {"learn_temperature": True, "final_target_entropy_per_action": -1.0}
    values["skill_dynamics"] |= {"sigma_m": 9.0, "min_sigma_m": 9.0, "final_sigma_factor": 0.1}
    trainer = Trainer(TrainConfig.from_dict(values), tmp_path)
    (group,) = trainer.agent.sac.optimizers["critic"].param_groups
    run(trainer, 12)
    assert group["lr"] == pytest.approx(1e-3)
    assert trainer.agent.q.sigma.tolist() == pytest.approx([9.0, 9.0])
    assert trainer.agent.sac.target_entropy == 2 * -0.5
    run(trainer, 24)
    assert group["lr"] == pytest.approx(0.5e-3, rel=0.1)
    assert max(trainer.agent.q.sigma.tolist()) < 8.5
    assert trainer.agent.sac.target_entropy == pytest.approx(2 * -1.0, rel=0.1)


def test_a_run_that_diverges_says_what_is_not_finite_and_keeps_its_last_checkpoint(
    tmp_path: Path,
) -> None:
    trainer = Trainer(small_config(checkpoint_period_s=0.0), tmp_path)
    run(trainer, 10)
    with torch.no_grad():
        next(trainer.agent.sac.critic.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"diverged at iteration .*critic_loss.* not finite"):
        run(trainer, 12)
    sound = Trainer(small_config(checkpoint_period_s=0.0), tmp_path, resume=True)
    assert sound.iteration == 9  # the tenth was reported, and not yet saved
    assert all(torch.isfinite(value).all() for value in weights(sound))


def test_what_breaks_in_the_last_step_of_an_iteration_is_not_saved_either(tmp_path: Path) -> None:
    """No loss has seen it yet."""
    trainer = Trainer(small_config(checkpoint_period_s=0.0), tmp_path)
    run(trainer, 10)
    actor, left = trainer.agent.sac.actor, trainer.config.sac.gradient_steps

    def break_last_step(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            with torch.no_grad():
                next(actor.parameters()).fill_(float("inf"))

    trainer.agent.sac.optimizers["actor"].register_step_post_hook(break_last_step)
    with pytest.raises(TrainingError, match=r"diverged at iteration 10: actor not finite"):
        run(trainer, 11)
    sound = Trainer(small_config(checkpoint_period_s=0.0), tmp_path, resume=True)
    assert sound.iteration == 9
    assert not sound.agent.broken()


def test_a_run_whose_skills_collapse_stops_and_its_best_skills_are_kept(tmp_path: Path) -> None:
    trainer = Trainer(small_config(evaluate_every=5, num_iterations=20), tmp_path)
    run(trainer, 12)
    assert trainer.collapse.peak_reward > 0.0
    trainer.collapse = CollapseDetector(100.0, COLLAPSE_ITERATIONS - 4)
    with pytest.raises(TrainingError, match=r"collapsed: the reward was 100\.00 nats"):
        run(trainer, 20)
    assert trainer.iteration == 16
    resumed = Trainer(small_config(evaluate_every=5, num_iterations=20), tmp_path, resume=True)
    assert resumed.iteration == 16
    assert resumed.collapse.peak_reward == 100.0
    assert trainer.selection.best is not None and resumed.selection.best is not None
    assert resumed.selection.best.iteration == trainer.selection.best.iteration


def test_resuming_with_other_settings_names_them(tmp_path: Path) -> None:
    trainer = Trainer(small_config(), tmp_path)
    trainer.save_checkpoint()
    other = small_config(reward={"num_alt_skills": 7})
    with pytest.raises(CheckpointError, match=r"reward\.num_alt_skills \(100, now 7\)"):
        Trainer(other, tmp_path, resume=True)


def test_a_run_from_before_a_setting_goes_on_with_its_default_alone(tmp_path: Path) -> None:
    trainer = Trainer(small_config(), tmp_path)
    trainer.save_checkpoint()
    saved = load_checkpoint(tmp_path)
    del saved["config"]["collect"]["zero_skill_fraction"]
    save_checkpoint(tmp_path, saved)
    Trainer(small_config(), tmp_path, resume=True)
    collect = small_config().collect.to_dict() | {"zero_skill_fraction": 0.1}
    with pytest.raises(CheckpointError, match=r"collect\.zero_skill_fraction \(0\.0, now 0\.1\)"):
        Trainer(small_config(collect=collect), tmp_path, resume=True)


def test_costs_and_schedules_of_a_resumed_run_change_where_they_are_named(tmp_path: Path) -> None:
    Trainer(small_config(), tmp_path).save_checkpoint()
    collect = small_config().collect.to_dict() | {"push_mps": [0.1, 0.2]}
    pushed = small_config(collect=collect)
    larger = small_config(collect=collect | {"num_envs": 9})
    with pytest.raises(CheckpointError, match=r"push_mps.*changed by --set: reward\.fall_cost"):
        Trainer(pushed, tmp_path, resume=True, renewed=["reward.tilt_cost"])
    with pytest.raises(CheckpointError, match=r"settings: collect\.num_envs"):
        Trainer(larger, tmp_path, resume=True, renewed=["collect.push_mps", "collect.num_envs"])
    resumed = Trainer(pushed, tmp_path, resume=True, renewed=["collect.push_mps"])
    with contextlib.closing(resumed.iterations()) as iterations:
        next(iterations)
    assert Trainer(pushed, tmp_path, resume=True).iteration == 0, "the run's even if it is killed"


def test_a_run_that_ends_before_config_yaml_is_written_has_its_new_settings(
    tmp_path: Path,
) -> None:
    Trainer(small_config(), tmp_path).save_checkpoint()
    (tmp_path / "config.yaml").mkdir()  # so that it cannot be
    pushed = small_config(collect=small_config().collect.to_dict() | {"push_mps": [0.1, 0.2]})
    with pytest.raises(StorageError, match=r"config\.yaml"):
        train(pushed, tmp_path, resume=True, renewed=["collect.push_mps"])
    assert Trainer(pushed, tmp_path, resume=True).iteration == 0


def test_the_best_of_before_count_until_what_is_wanted_changes(tmp_path: Path) -> None:
    trainer = Trainer(small_config(), tmp_path)
    trainer.selection.judge(trainer.agent.learned_skills(), 0)
    trainer.save_checkpoint()
    same = Trainer(
        small_config(evaluate_every=500),
        tmp_path,
        resume=True,
        renewed=["evaluate_every", "collect.push_mps"],
    )
    assert same.selection.best is not None
    collect = small_config().collect.to_dict() | {"push_mps": [0.1, 0.2]}
    pushed = Trainer(
        small_config(collect=collect), tmp_path, resume=True, renewed=["collect.push_mps"]
    )
    assert pushed.selection.best is not None, "until the next are judged, so that none is lost"
    pushed.selection.judge(pushed.agent.learned_skills(), 1)
    assert pushed.selection.best.iteration == 1


def test_a_collapsed_run_goes_on_with_another_step_size_and_keeps_its_best_until_then(
    tmp_path: Path,
) -> None:
    settings = {"evaluate_every": 5, "num_iterations": 20}
    trainer = Trainer(small_config(**settings), tmp_path)
    run(trainer, 12)
    trainer.collapse = CollapseDetector(100.0, COLLAPSE_ITERATIONS - 1)
    with pytest.raises(TrainingError, match=r"collapsed"):
        run(trainer, 20)
    slower = small_config(**settings).sac.to_dict() | {"learning_rate": 1e-4}
    resumed = Trainer(
        small_config(**settings, sac=slower), tmp_path, resume=True, renewed=["sac.learning_rate"]
    )
    run(resumed, 14)
    assert resumed.selection.best is not None
    assert resumed.selection.best.iteration == 10
    run(resumed, 15)
    assert resumed.selection.best.iteration == 15


def test_a_folder_with_a_run_is_not_overwritten_and_an_empty_one_not_resumed(
    tmp_path: Path,
) -> None:
    with pytest.raises(CheckpointError, match="without --resume"):
        Trainer(small_config(), tmp_path, resume=True)
    Trainer(small_config(), tmp_path).save_checkpoint()
    with pytest.raises(CheckpointError, match="already holds a run"):
        Trainer(small_config(), tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    Trainer(small_config(), tmp_path).save_checkpoint()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        Trainer(small_config(), tmp_path, resume=True)


def test_resuming_with_another_robot_file_or_model_is_refused(tmp_path: Path) -> None:
    """The config names the robot file only by its path."""
    source = share_folder() / "config" / "robots"
    for name in ("point_mass.yaml", "point_mass.xml"):
        (tmp_path / name).write_text((source / name).read_text())
    config = small_config(robot=str(tmp_path / "point_mass.yaml"))
    Trainer(config, tmp_path / "run").save_checkpoint()
    Trainer(config, tmp_path / "run", resume=True)
    mjcf = tmp_path / "point_mass.xml"
    mjcf.write_text(mjcf.read_text().replace('mass="1"', 'mass="2"'))
    with pytest.raises(CheckpointError, match="compiled model"):
        Trainer(config, tmp_path / "run", resume=True)
    mjcf.write_text(mjcf.read_text().replace('mass="2"', 'mass="1"'))
    robot = tmp_path / "point_mass.yaml"
    robot.write_text(robot.read_text().replace("[linear_velocity]", "[linear_velocity, height]"))
    with pytest.raises(CheckpointError, match="differ in observation"):
        Trainer(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize("key", ["config", "sac", "collector", "rngs"])
def test_a_checkpoint_that_lacks_a_part_is_named(tmp_path: Path, key: str) -> None:
    Trainer(small_config(), tmp_path).save_checkpoint()
    state = load_checkpoint(tmp_path)
    del state[key]
    save_checkpoint(tmp_path, state)
    with pytest.raises(CheckpointError, match=key):
        Trainer(small_config(), tmp_path, resume=True)


def test_the_commit_of_a_resumed_run_is_the_one_that_it_began_with(tmp_path: Path) -> None:
    trainer = Trainer(small_config(), tmp_path)
    assert trainer.commit == source_commit()
    trainer.commit = "0123456789" * 4
    trainer.save_checkpoint()
    assert Trainer(small_config(), tmp_path, resume=True).commit == "0123456789" * 4


def test_a_run_deletes_what_a_killed_one_left_half_written(tmp_path: Path) -> None:
    left = tmp_path / ".dads_ros.0123456789abcdef.tmp"
    left.touch()
    with atomic_write(tmp_path / "report.json") as written:  # by somebody who is alive
        run(Trainer(small_config(), tmp_path), 1)
        assert not left.exists()
        assert written.exists()


@pytest.mark.parametrize("explore", [True, False])
def test_experience_is_float32_whatever_torchs_default_is(tmp_path: Path, explore: bool) -> None:
    """While torch.compile traces, another thread may see any default."""
    trainer = Trainer(small_config(), tmp_path)
    torch.set_default_dtype(torch.float64)
    try:
        chunk = collect_chunk(trainer, explore=explore)
    finally:
        torch.set_default_dtype(torch.float32)
    assert chunk.action.dtype == chunk.log_prob.dtype == np.float32
    trainer._take_in(chunk)


@pytest.mark.parametrize("name", ["critic", "actor"])
def test_tracing_a_loss_never_changes_the_default_dtype_of_other_threads(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(small_config(num_iterations=8), tmp_path)
    run(trainer, 8)
    batch, _ = trainer.agent._prepare(trainer.agent._sample(trainer.replay, 8), trainer.progress)
    noise = torch.zeros(8, trainer.robot.command_dim)
    traced = torch.compile(trainer.agent.sac._gradients[name], backend="eager", dynamic=False)
    seen = []
    set_default_dtype = torch.set_default_dtype

    def record(dtype: torch.dtype) -> None:
        seen.append(dtype)
        set_default_dtype(dtype)

    monkeypatch.setattr(torch, "set_default_dtype", record)
    traced(batch, noise, torch.tensor(0.1))
    assert set(seen) <= {torch.float32}


def test_a_run_that_cannot_be_written_can_be_exported_but_not_resumed(
    small_disk: Path, tmp_path: Path
) -> None:
    config, out = small_config(num_iterations=8), small_disk / "run"
    trainer = Trainer(config, out)
    run(trainer, 8)
    trainer.save_checkpoint()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    export_bundle(Trainer(config, out, resume=True), tmp_path / "bundle")
    assert SkillBundle(tmp_path / "bundle").robot.name == "point_mass"
    with pytest.raises(ConfigError, match=r"cannot be written \(Read-only"), only_trainer(out):
        pass
    with pytest.raises(StorageError, match=r"checkpoint\.pt' cannot be written \(Read-only"):
        trainer.save_checkpoint()


def test_a_physics_that_diverges_teaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MuJoCo puts a robot that diverged back to the origin, 100 m away: no displacement of it."""
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log where it runs
    trainer = Trainer(small_config(), tmp_path / "run")
    env = trainer.collector.env
    env.physics.states[:, 1] += 100.0
    env.look()
    for metrics in trainer.iterations():
        env.physics.states[metrics.iteration % env.num_envs, -1] = np.nan
        if metrics.iteration == 12:
            break
    assert trainer.replay is not None
    sample = trainer.replay.sample(4000, torch.Generator().manual_seed(0))
    assert all(part.isfinite().all() for part in sample if part.is_floating_point())
    assert sample.delta.abs().max() < 5.0
    assert all(value.isfinite().all() for value in weights(trainer))


def test_the_loss_of_q_reaches_only_q(tmp_path: Path) -> None:
    trainer = Trainer(small_config(), tmp_path)
    run(trainer, 8)
    assert trainer.replay is not None
    agent, sac = trainer.agent, trainer.agent.sac
    parts = (sac.actor, sac.critic, sac.critic_target, sac.average_actor, agent.normalizer)
    others = [p for module in parts for p in module.parameters()] + [sac.log_alpha]
    for p in (*others, *agent.q.parameters()):
        p.grad = None
    before = weights(trainer)
    agent._fit_skill_dynamics(trainer.replay, trainer.progress)
    assert all(p.grad is None for p in others)
    assert all(p.grad is not None for p in agent.q.parameters())
    after, num_q = weights(trainer), len(agent._models.state_dict())
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    first_q = len(sac.actor.state_dict()) + len(sac.critic.state_dict())
    assert all(same[:first_q] + same[first_q + num_q :])
    assert not all(same)


def test_the_warm_start_ends_when_the_skills_go_far_enough_or_its_steps_are_over(
    tmp_path: Path,
) -> None:
    warm = {"warm_start_steps": 64, "warm_start_m": 0.3, "hidden": [16]}
    over = {}
    for name, until in (("far", 100.0), ("near", 0.0)):
        trainer = Trainer(
            small_config(skill_dynamics=warm | {"warm_start_until": until}), tmp_path / name
        )
        agent = trainer.agent
        fresh = [value.clone() for value in agent.q.parameters()]
        over[name] = []
        for _ in trainer.iterations():
            over[name].append(agent.warm_start_over)
            untouched = all(map(torch.equal, fresh, agent.q.parameters()))
            assert untouched is not agent.warm_start_over
            if agent.sac.num_updates > 80:
                break
    assert over["near"].index(True) < over["far"].index(True)
    assert not over["far"][0]


def test_every_axis_of_the_heading_is_learned_up_to_the_top_speed(tmp_path: Path) -> None:
    trainer = Trainer(hovercraft_config(tmp_path, num_iterations=70), tmp_path / "run")
    *_, last = run(trainer, 70)
    assert 0.55 < last["wanted_forward_mps"] <= 1.2 and 0.5 < last["wanted_backward_mps"] <= 0.9
    assert 0.31 < last["wanted_sideways_mps"] <= 0.6 and 0.5 < last["wanted_turn_radps"] <= 1.0
    skills = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0) * np.float32([[1], [-1]] * 3)
    moved = trainer.agent.learned_skills().delta(skills)  # in half a second
    for axis, least in enumerate((0.2, 0.1, 0.15)):
        assert moved[2 * axis, axis] > least and moved[2 * axis + 1, axis] < -least


def test_a_warm_start_without_end_keeps_what_is_wanted_while_the_exported_q_learns(
    tmp_path: Path,
) -> None:
    pinned = {"skill_dynamics": {"warm_start_steps": 10**9, "warm_start_until": 100.0}}
    trainer = Trainer(hovercraft_config(tmp_path, **pinned), tmp_path / "run")
    agent, skill = trainer.agent, torch.eye(3)
    fresh = [value.clone() for value in agent.q.parameters()]
    *_, last = run(trainer, 15)
    assert "q_loss" in last and not agent.warm_start_over
    torch.testing.assert_close(
        agent.reward_q.mean(skill), torch.diag(torch.tensor([0.2, 0.15, 0.2]))
    )
    assert not all(map(torch.equal, fresh, agent.q.parameters()))


def test_noise_grows_from_the_first_robot_to_the_last(tmp_path: Path) -> None:
    collect = {"num_envs": 64, "warmup_steps": 512, "noise_scale": [0.0, 2.0]}
    trainer = Trainer(small_config(collect=collect), tmp_path)
    chunk, agent = collect_chunk(trainer, explore=False), trainer.agent
    obs, skill = torch.from_numpy(chunk.policy_obs[0]), torch.from_numpy(chunk.skill[0])
    with torch.no_grad():
        mean = agent.sac.actor.sample(
            agent.normalizer(agent.features(obs, skill)[0]),
            torch.zeros(len(obs), trainer.robot.command_dim),
        )[0]
    off = np.abs(chunk.action[0] - mean.numpy()).mean(1)
    assert off[0] < 1e-6
    num = len(off) // 4
    assert off[-num:].mean() > 2.0 * off[:num].mean()


def test_pushes_come_now_and_then_to_every_robot_and_as_strong_as_the_schedule_says(
    tmp_path: Path,
) -> None:
    steps, num, final = 200, 64, 0.5
    collect = {"num_envs": num, "steps_per_iteration": steps, "push_mps": (0.0, final)}
    trainer = Trainer(small_config(collect=collect | {"episode_steps": num * steps}), tmp_path)
    env, velocities = trainer.collector.env, [np.zeros((num, 2))]

    def still(
        obs: NDArray[np.float32], skill: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        velocities.append(env.state.ground_velocity(env.spec))
        return np.zeros((num, 2), np.float32), np.zeros(num, np.float32)

    def jumps(progress: float) -> NDArray[np.float64]:
        velocities.clear()
        trainer.iteration = round(progress * trainer.config.num_iterations)
        trainer._collect(still)
        return np.linalg.norm(np.diff(velocities, axis=0), axis=2)

    assert jumps(0.5).max() < 0.1 * final
    pushed = jumps(1.0)
    is_pushed = pushed > 0.2 * final  # friction at twice as fast takes less than that in a step
    assert is_pushed.any(axis=0).mean() > 0.9
    share = 0.8 * env.spec.control_dt / PUSH_PERIOD_S
    assert 0.6 * share < is_pushed.mean() < 1.4 * share
    assert 0.7 * final < pushed.max() < 1.05 * final


def explorer(
    out: Path, robot: str, collect: Mapping[str, object] = MappingProxyType({}), **parts: object
) -> Trainer:
    """Random actions for 240 steps of 16 robots, in episodes of 50; nothing is learned."""
    collect = {"num_envs": 16, "steps_per_iteration": 60, "episode_steps": 50, **collect}
    values = {"robot": robot, "collect": collect | {"warmup_steps": 10**6}, "num_iterations": 4}
    trainer = Trainer(TrainConfig.from_dict(values | parts), out)
    run(trainer, 4)
    return trainer


def test_a_fall_costs(tmp_path: Path) -> None:
    reward = {"fall_cost": [50.0, 100.0]}
    trainer = explorer(tmp_path, "humanoid", reward=reward, prediction={"steps": 30})
    assert trainer.replay is not None
    generator = torch.Generator().manual_seed(0)
    sample = trainer.replay.sample(4096, generator, with_early_falls=True)
    fell, early = sample.terminated, ~sample.is_whole
    assert (fell & early).any() and (fell & ~early).any() and (early & ~fell).any()
    for progress, cost in ((0.2, 50.0), (1.0, 100.0)):
        batch, metrics = trainer.agent._prepare(sample, progress)
        assert (batch.reward[early] == -cost * fell[early].float()).all()
        assert batch.reward[fell].max() < 20.0 - cost and batch.reward[~fell].min() > -20.0
        assert metrics["reward"] > -20.0, "what is reported is the intrinsic reward alone"
    robot = RobotSpec.load("humanoid")
    stays = dataclasses.replace(
        robot, fallen=dataclasses.replace(robot.fallen, ends_episode=False)
    )
    (tmp_path / "lying.yaml").write_text(yaml.safe_dump(stays.to_dict()))
    with pytest.raises(ConfigError, match=r"set 'fallen\.ends_episode: true' in the file"):
        explorer(tmp_path / "lying", str(tmp_path / "lying.yaml"), reward=reward)


def test_who_cannot_tell_its_yaw_learns_in_the_heading_frame(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"observes 'orientation'.*'prediction\.frame: heading'"):
        Trainer(TrainConfig(robot="go2"), tmp_path)
    prediction = PredictionSpec(fields=("x", "y", "yaw"), frame="heading", steps=1)
    Trainer(TrainConfig(robot="go2", prediction=prediction), tmp_path)


def test_the_last_iteration_is_judged_as_well(tmp_path: Path) -> None:
    trainer = Trainer(small_config(evaluate_every=8), tmp_path)
    judged = [line["iteration"] for line in numbered(trainer) if "score" in line]
    assert judged == [8, 12]


def numbered(trainer: Trainer) -> list[dict[str, float]]:
    """Lines of a whole run, with their iterations."""
    return [{"iteration": m.iteration, **m.to_dict()} for m in trainer.iterations()]


def test_one_robot_learns_through_its_resets_and_explores(tmp_path: Path) -> None:
    collect = {"num_envs": 1, "steps_per_iteration": 1, "episode_steps": 12, "warmup_steps": 30}
    collect |= {"replay_capacity": 1000, "noise_scale": [0.0, 1.5]}
    trainer = Trainer(small_config(collect=collect, num_iterations=40), tmp_path)
    assert [line["iteration"] for line in numbered(trainer)] == [*range(1, 41)]
    obs, skill = trainer.collector.env.policy_obs(), np.zeros((1, 2), np.float32)
    policy = trainer.agent.sampling_policy(torch.Generator().manual_seed(0), explore=False)
    actions = [policy(obs, skill)[0] for _ in range(2)]
    assert np.abs(actions[0] - actions[1]).max() > 1e-3


def test_a_run_that_does_not_get_going_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(small_config(), tmp_path)
    run(trainer, 12)
    said = [r.getMessage() for r in caplog.records if "half of the run" in r.getMessage()]
    assert len(said) == 1 and "skills cannot be told apart yet" in said[0]


def test_a_tilted_base_costs(tmp_path: Path) -> None:
    trainer = explorer(tmp_path, "humanoid", reward={"tilt_cost": [0.0, 3.0]})
    assert trainer.replay is not None
    sample = trainer.replay.sample(2048, torch.Generator().manual_seed(0))
    costs = []
    for progress in (0.5, 1.0):
        trainer._rngs["alt_skill"].bit_generator.state = np.random.PCG64(3).state
        costs.append(-trainer.agent._prepare(sample, progress)[0].reward)
    quaternion = sample.next_policy_obs[:, observation_slices(trainer.robot)["orientation"]]
    turn = Rotation.from_quat(quaternion.double().numpy(), scalar_first=True)
    up_z = turn.apply([0.0, 0.0, 1.0])[:, 2]
    assert up_z.min() < 0.9
    np.testing.assert_allclose(costs[1] - costs[0], 3.0 * (1.0 - up_z), atol=1e-4)
    with pytest.raises(ConfigError, match=r"'reward\.tilt_cost' needs .* 'orientation'"):
        Trainer(small_config(reward={"tilt_cost": [0.0, 1.0]}), tmp_path / "point mass")


def test_a_fall_costs_as_much_as_limits_that_are_exceeded_for_good(tmp_path: Path) -> None:
    trainer = explorer(tmp_path, "ant")
    assert trainer.replay is not None
    sample = trainer.replay.sample(64, torch.Generator().manual_seed(0))
    falls = torch.arange(64) % 2 == 0
    sample = sample._replace(
        exceeded=torch.full((64, 2), 9.0), terminated=falls.to(sample.terminated.dtype)
    )
    paid = []
    for cost in (0.0, 0.5):
        reward = dataclasses.replace(trainer.config.reward, limits_cost=(0.0, cost))
        trainer.agent.config = dataclasses.replace(trainer.config, reward=reward)
        trainer.agent._rng = np.random.default_rng(3)
        paid.append(trainer.agent._prepare(sample, 1.0)[0].reward)
    most = 0.5 * 4.0
    wanted = torch.where(falls, most / (1.0 - trainer.config.sac.discount), most)
    assert torch.allclose(paid[0] - paid[1], wanted, rtol=1e-3)


@pytest.mark.parametrize(("part", "num_small"), [(0.0, 0.3), (0.7, 0.7)])
def test_a_part_of_the_new_skills_inside_an_episode_is_near_the_last(
    tmp_path: Path, part: float, num_small: float
) -> None:
    collect = {"num_envs": 64, "steps_per_iteration": 400, "episode_steps": 400}
    collect |= {"skill_switch_probability": (1.0, 1.0), "nearby_skill_fraction": part}
    chunk = collect_chunk(Trainer(small_config(collect=collect), tmp_path), explore=True)
    change = np.linalg.norm(np.diff(chunk.skill, axis=0), axis=2)[chunk.skill_age[1:] == 0]
    # 0.86 of the nearby ones are that small, and 0.3 of two that are drawn from the disc
    assert (change < 0.6).mean() == pytest.approx(num_small, abs=0.05)


def test_training_and_selection_draw_zero_and_short_skills_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = small_config().to_dict()["collect"] | {"num_envs": 256, "replay_capacity": 64000}
    collect |= {"zero_skill_fraction": 0.2, "short_skill_fraction": 1.0}
    trainer = Trainer(small_config(collect=collect), tmp_path)
    skills = trainer.agent.learned_skills()
    switched: list[np.ndarray] = []

    def command(obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        switched.append(skill)
        return skills.command(obs, skill)

    learned = SimpleNamespace(command=command, delta=skills.delta)
    trainer.selection.evaluate_switching(learned)  # type: ignore[arg-type]
    for drawn in (collect_chunk(trainer, explore=True).skill[0], np.concatenate(switched)):
        length = np.linalg.norm(drawn, axis=1)
        assert (length == 0.0).mean() == pytest.approx(0.2, abs=0.1)
        assert np.median(length[length > 0.0]) == pytest.approx(0.29, abs=0.08)  # of a disc 0.71


def test_moving_under_a_zero_skill_costs(tmp_path: Path) -> None:
    trainer = explorer(tmp_path, "ant", collect={"zero_skill_fraction": 0.3})
    assert trainer.replay is not None
    sample = trainer.replay.sample(2048, torch.Generator().manual_seed(0))
    trainer.agent._rng = np.random.default_rng(3)
    plain, _ = trainer.agent._prepare(sample, trainer.progress)
    reward = dataclasses.replace(trainer.config.reward, motion_cost=(0.5, 0.7))
    trainer.agent.config = dataclasses.replace(trainer.config, reward=reward)
    trainer.agent._rng = np.random.default_rng(3)
    paid, _ = trainer.agent._prepare(sample, 1.0)
    is_zero, cost = (sample.skill == 0.0).all(dim=1), plain.reward - paid.reward
    assert 0.2 < is_zero.float().mean() < 0.4
    assert (cost[~is_zero] == 0.0).all()
    speed = sample.delta.norm(dim=1) / (trainer.config.prediction.steps * trainer.robot.control_dt)
    joint_speed = sample.next_policy_obs[:, observation_slices(trainer.robot)["joint_velocities"]]
    wanted = 0.7 * (torch.log1p(speed / 0.1) + torch.log1p(joint_speed.square().mean(1).sqrt()))
    assert torch.allclose(cost[is_zero], wanted[is_zero], atol=1e-5)


def test_the_reward_is_that_of_the_linear_q_with_its_means_stretched(tmp_path: Path) -> None:
    values = small_config().to_dict()
    values["skill_dynamics"] |= {"linear": True, "stretch": 1.5}
    trainer = Trainer(TrainConfig.from_dict(values), tmp_path)
    run(trainer, 12)
    assert trainer.replay is not None
    sample = trainer.replay.sample(4096, torch.Generator().manual_seed(0))
    _, metrics = trainer.agent._prepare(sample, trainer.progress)
    with torch.no_grad():
        own = {
            (name, stretch): q.log_prob(sample.delta, sample.skill, stretch).mean().item()
            for name, q in (("linear", trainer.agent.reward_q), ("free", trainer.agent.q))
            for stretch in (1.0, 1.5)
        }
    assert metrics["log_q_own"] == pytest.approx(own.pop(("linear", 1.5)), abs=1e-5)
    assert all(abs(metrics["log_q_own"] - other) > 1e-3 for other in own.values())


def test_importance_weights_are_ratios_of_probabilities_and_clipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "NORMALIZER_STEPS", 1)
    values = small_config().to_dict()
    values["prediction"] |= {"steps": 1}
    values["skill_dynamics"] |= {"importance_clip": 3.0}
    trainer = Trainer(TrainConfig.from_dict(values), tmp_path)
    for _ in range(4):
        trainer.iteration += 1
        trainer._take_in(collect_chunk(trainer, explore=False))
    assert trainer.replay is not None
    sample = trainer.replay.sample(512, torch.Generator().manual_seed(0))
    unchanged = trainer.agent._importance_weight(sample)
    assert unchanged.quantile(0.9) < 1.01 and unchanged.quantile(0.1) > 0.99
    half = sample._replace(log_prob=sample.log_prob + float(np.log(2.0)))
    assert trainer.agent._importance_weight(half).median() == pytest.approx(0.5, rel=0.01)
    run(trainer, 12)
    assert trainer.agent.sac.num_updates > 0
    weight = trainer.agent._importance_weight(sample)
    assert weight.std() > 0.05
    assert weight.min() >= 1.0 / 3.0 - 1e-6 and weight.max() <= 3.0 + 1e-6


def test_symmetries_need_what_they_are_built_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not observe 'orientation'"):
        Trainer(small_config(symmetry={"yaw": True}), tmp_path / "a")
    with pytest.raises(ConfigError, match=r"needs 'skill_prior\.kind: disc'"):
        small_config(symmetry={"yaw": True}, skill_prior={"kind": "box"})
    with pytest.raises(ConfigError, match=r"needs 'prediction\.steps: 1'"):
        small_config(skill_dynamics={"importance_clip": 10.0})
    with pytest.raises(ConfigError, match=r"expected 0 .off. or at least 1"):
        small_config(skill_dynamics={"importance_clip": 0.5})
    with pytest.raises(ConfigError, match=r"needs a 'skill_dynamics\.warm_start_m' above 0"):
        small_config(skill_dynamics={"warm_start_steps": 10})
    with pytest.raises(ConfigError, match=r"needs a 'skill_dynamics\.sigma_ratio' above 0"):
        small_config(skill_dynamics={"final_sigma_factor": 0.5})
    with pytest.raises(ConfigError, match=r"needs 'skill_prior\.dim: 2'"):
        small_config(
            symmetry={"yaw": True},
            skill_prior={"kind": "disc", "dim": 3},
            skill_dynamics={"linear": True},
        )
    for name in ("zero_skill_fraction", "short_skill_fraction", "nearby_skill_fraction"):
        with pytest.raises(ConfigError, match=f"{name}.*a discrete one has no zero skill"):
            small_config(skill_prior={"kind": "discrete"}, collect={name: 0.1})
    with pytest.raises(ConfigError, match="it is the cost of moving under a zero skill"):
        small_config(reward={"motion_cost": (0.0, 0.1)})
    with pytest.raises(ConfigError, match=r"needs 'sac\.learn_temperature: true'"):
        small_config(sac={"final_target_entropy_per_action": -1.0})
    for bad, text in (
        ({"critic_bounds": (-10.0, 10.0)}, r"needs a 'sac\.critic_bins' of at least 2"),
        ({"critic_bins": 1}, "expected at least 2"),
        ({"critic_bins": 9, "critic_bounds": (1.0, 1.0)}, "the smaller bound first"),
    ):
        with pytest.raises(ConfigError, match=text):
            small_config(sac=bad)
    with pytest.raises(ConfigError, match=r"fall_cost' of 500 is beyond .* no more than 150"):
        small_config(sac={"critic_bins": 9}, reward={"fall_cost": (0.0, 500.0)})
    with pytest.raises(ConfigError, match="no direction in a discrete skill"):
        TrainConfig.from_dict(
            {
                "robot": "ant",
                "skill_prior": {"kind": "discrete"},
                "skill_dynamics": {"warm_start_steps": 10, "warm_start_m": 0.3},
            }
        )


def test_body_fields_do_not_go_with_features_that_are_turned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has height: that needs 'symmetry\.yaw: false'"):
        small_config(
            prediction={"fields": ["x", "y", "height"]},
            skill_prior={"kind": "disc"},
            symmetry={"yaw": True},
        )
    config = small_config(prediction={"fields": ["x", "y", "height"]})
    with pytest.raises(ConfigError, match="which robot 'point_mass' does not observe"):
        Trainer(config, tmp_path)


def test_both_signs_of_a_quaternion_teach_the_same_change(tmp_path: Path) -> None:
    config = TrainConfig.from_dict(
        {
            "robot": "ant",
            "prediction": {"fields": ["x", "y", "height", "orientation"]},
            "collect": {"num_envs": 8, "steps_per_iteration": 40, "warmup_steps": 500},
        }
    )
    trainer = Trainer(config, tmp_path)
    run(trainer, 2)
    assert trainer.replay is not None
    obs = trainer.replay._data["policy_obs"]
    part = observation_slices(trainer.robot)["orientation"]
    samples = []
    for sign in (1.0, -1.0):
        obs[..., part] *= sign
        trainer._generators["learn"].manual_seed(0)
        samples.append(trainer.agent._sample(trainer.replay, 200))
    assert torch.equal(samples[0].policy_obs[:, part], -samples[1].policy_obs[:, part])
    assert torch.allclose(samples[0].delta, samples[1].delta)
    assert samples[0].delta[:, 3:].abs().max() > 0.01


def test_with_the_body_state_predictions_after_a_change_of_skill_are_right(
    tmp_path: Path,
) -> None:
    """The point mass has a time constant of 1 s, a prediction spans half of one."""
    errors, values = {}, small_config().to_dict()
    values["skill_dynamics"] |= {"linear": True}
    for body_state in (False, True):
        values["prediction"] |= {"body_state": body_state}
        config = TrainConfig.from_dict(values | {"num_iterations": 100})
        trainer = Trainer(config, tmp_path / str(body_state))
        run(trainer, 100)
        errors[body_state] = trainer.selection.evaluate_switching(
            trainer.agent.learned_skills()
        ).to_dict()["switch_prediction_error"]
    assert errors[True] < 0.6 * errors[False]


def test_the_reward_compares_skills_in_the_body_state_that_was_seen(tmp_path: Path) -> None:
    trainer = Trainer(small_config(prediction={"steps": 10, "body_state": True}), tmp_path)
    run(trainer, 12)
    agent = trainer.agent
    assert trainer.replay is not None
    assert agent.body_state is not None
    sample = trainer.replay.sample(200, torch.Generator().manual_seed(0))
    agent._rng = np.random.default_rng(3)
    batch, _ = agent._prepare(sample, trainer.progress)
    rng, rewards = np.random.default_rng(3), []
    known, num_alt = torch.ones(1, 1), trainer.config.reward.num_alt_skills
    for row in range(200):
        if row % BODY_REWARD_ROWS == 0:
            alt = torch.from_numpy(agent.skill_space.sample(num_alt, rng))
        delta, obs = sample.delta[row : row + 1], sample.start_obs[row : row + 1]
        with torch.no_grad():
            log_probs = [
                agent.q.log_prob(delta, z[None], body=agent.body_state(obs, z[None], known))
                for z in (sample.skill[row], *alt)
            ]
        own = log_probs[0]
        rewards.append(own - torch.logsumexp(torch.stack(log_probs), 0) + np.log(num_alt + 1))
    assert torch.allclose(batch.reward, torch.cat(rewards), atol=1e-4)
    away = sample._replace(start_obs=sample.start_obs + 1.0)
    agent._rng = np.random.default_rng(3)
    assert not torch.allclose(
        agent._prepare(away, trainer.progress)[0].reward, batch.reward, atol=1e-2
    )


def test_rewards_of_a_trained_point_mass_prefer_the_skill_that_was_held(tmp_path: Path) -> None:
    trainer = Trainer(small_config(), tmp_path)
    run(trainer, 12)
    assert trainer.replay is not None
    sample = trainer.replay.sample(512, torch.Generator().manual_seed(0))
    batch, metrics = trainer.agent._prepare(sample, trainer.progress)
    assert batch.reward.max() <= np.log(trainer.config.reward.num_alt_skills + 1) + 1e-5
    assert metrics["log_q_own"] - metrics["log_q_others"] == pytest.approx(
        metrics["reward"], abs=1e-4
    )


@pytest.mark.parametrize(
    ("prior", "prediction", "symmetry"),
    [
        ("box", {"steps": 1}, {}),
        ("box", {"steps": 10, "frame": "heading", "fields": ["x", "y", "yaw"]}, {}),
        ("disc", {"steps": 10, "fields": ["x", "y", "yaw"]}, {"yaw": True}),
        ("box", {"steps": 5}, {"body": True}),
        ("disc", {"steps": 10}, {"yaw": True, "body": True}),
        ("disc", {"steps": 10, "body_state": True}, {"yaw": True, "body": True}),
        ("box", {"steps": 5, "body_state": True, "fields": ["x", "y", "height"]}, {}),
        ("box", {"steps": 1, "body_state": True, "fields": ["x", "y", *ANT_OBSERVATION]}, {}),
        ("disc", {"steps": 1, "fields": ["x", "y", *ANT_OBSERVATION]}, {"mirror": True}),
    ],
)
def test_every_frame_span_and_symmetry_trains_and_predicts(
    tmp_path: Path, prior: str, prediction: dict[str, object], symmetry: dict[str, bool]
) -> None:
    config = TrainConfig.from_dict(
        {
            "robot": "ant",
            "num_iterations": 10,
            "skill_prior": {"kind": prior},
            "prediction": prediction,
            "symmetry": symmetry,
            "skill_dynamics": {"hidden": [16]},
            "sac": {"hidden": [16], "gradient_steps": 4},
            "collect": {
                "num_envs": 16,
                "steps_per_iteration": 8,
                "warmup_steps": 256,
                "skill_switch_probability": [0.1, 0.1],
                "delay_ms": [0, 50],
            },
        }
    )
    trainer = Trainer(config, tmp_path)
    before = [value.clone() for value in trainer.agent.q.parameters()]
    (*_, last) = run(trainer, 10)
    assert np.isfinite(list(last.values())).all()
    assert not all(map(torch.equal, before, trainer.agent.q.parameters()))
    metrics = evaluate(trainer, num_skills=4)
    assert metrics.predicted[:, -1].shape == (4, 2)
    assert np.isfinite(metrics.predicted).all()
