"""Mirror: a mirrored transition is what the simulator does from the mirrored state."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from dads_ros.config import SkillPriorConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.errors import ConfigError
from dads_ros.learning.config import SymmetryConfig, TrainConfig
from dads_ros.learning.mirror import Mirror
from dads_ros.learning.replay_buffer import Transition
from dads_ros.learning.trainer import Trainer
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec

NUM = 16
BODY = ("joint_positions", "linear_velocity", "orientation", "last_command")
PREDICTION = PredictionSpec(fields=("x", "y", "yaw", *BODY), steps=1)


def config_of(robot: str) -> TrainConfig:
    return TrainConfig(
        robot=robot,
        prediction=PREDICTION,
        skill_prior=SkillPriorConfig(kind="disc", dim=3),
        symmetry=SymmetryConfig(mirror=True),
    )


def step(env: VectorEnv, action: np.ndarray, skill: np.ndarray) -> Transition:
    """One control step of every robot as a transition."""
    low, high = env.spec.command_limits
    obs, place, yaw = env.policy_obs(), env.state.position.copy(), env.state.yaw()
    env.step(low + (action + 1.0) * 0.5 * (high - low))
    delta = env.state.position - place
    delta[:, 2] = (env.state.yaw() - yaw + np.pi) % (2.0 * np.pi) - np.pi
    change, rest = env.policy_obs() - obs, torch.zeros(NUM)
    columns = PREDICTION.observation_columns(env.spec)
    return Transition(
        policy_obs=torch.from_numpy(obs),
        action=torch.from_numpy(action).float(),
        log_prob=rest,
        next_policy_obs=torch.from_numpy(env.policy_obs()),
        skill=torch.from_numpy(skill).float(),
        delta=torch.from_numpy(np.concatenate([delta, change[:, columns]], axis=1)).float(),
        start_obs=torch.from_numpy(obs),
        terminated=rest > 0,
        exceeded=torch.zeros(len(rest), 0),
        is_whole=rest == 0,
        place=torch.zeros(NUM, 3),
        next_place=torch.from_numpy(delta).float(),
    )


def mirrored_states(model: RobotModel, states: np.ndarray) -> np.ndarray:
    """By the robot file's words alone: y, roll and yaw change sign, joints change places."""
    mirror, spec, mj = model.spec.mirror, model.spec, model.mj_model
    assert mirror is not None
    result = states.copy()
    qpos, qvel = result[:, 1 : 1 + mj.nq], result[:, 1 + mj.nq : 1 + mj.nq + mj.nv]
    old_qpos, old_qvel = qpos.copy(), qvel.copy()
    qpos[:, :7] *= [1, -1, 1, 1, -1, 1, -1]
    qvel[:, :6] *= [1, -1, 1, -1, 1, -1]
    for joint, q, v in zip(spec.joints, model.joint_qpos, model.joint_dof, strict=True):
        source = mirror.joints[joint]
        sign, index = (-1 if source[0] == "-" else 1), spec.joints.index(source.lstrip("-"))
        qpos[:, q] = sign * old_qpos[:, model.joint_qpos[index]]
        qvel[:, v] = sign * old_qvel[:, model.joint_dof[index]]
    return result


@pytest.mark.parametrize(("robot", "tolerance"), [("ant", 1e-4), ("humanoid", 0.02)])
def test_the_simulator_does_what_the_mirror_says(robot: str, tolerance: float) -> None:
    model, rng = RobotModel(RobotSpec.load(robot)), np.random.default_rng(0)
    if robot == "humanoid":  # where its MJCF is not symmetric
        model.mj_model.joint("left_knee").stiffness = 0.0
        model.mj_model.joint("right_hip_y").armature = model.mj_model.joint("left_hip_y").armature
    mirror = Mirror(model, config_of(robot))
    envs = [VectorEnv(model, NUM, rng=rng, episode_steps=100) for _ in range(2)]
    skill = rng.uniform(-0.5, 0.5, (NUM, 3))
    for _ in range(4):
        step(envs[0], rng.uniform(-1, 1, (NUM, model.spec.command_dim)), skill)
    action = rng.uniform(-1, 1, (NUM, model.spec.command_dim))
    envs[1].physics.states[:] = mirrored_states(model, envs[0].physics.states)
    envs[1].look()
    command = torch.from_numpy(envs[0].last_command)
    envs[1].last_command[:] = (command[:, mirror.action_index] * mirror.action_sign).numpy()

    expected = mirror(step(envs[0], action, skill), torch.ones(NUM, dtype=torch.bool))
    actual = step(envs[1], expected.action.numpy().astype(float), expected.skill.numpy())
    assert (expected.next_place != 0.0).all(), "every robot moves and turns"
    fields = ("policy_obs", "action", "next_policy_obs", "start_obs", "skill", "delta")
    for name in (*fields, "next_place"):
        mine, theirs = getattr(actual, name), getattr(expected, name)
        assert torch.allclose(mine, theirs, atol=tolerance), name
    np.testing.assert_allclose(expected.skill.numpy(), skill * [1, -1, -1], atol=1e-6)


def test_rows_that_are_not_chosen_stay_and_twice_is_back() -> None:
    model, rng = RobotModel(RobotSpec.load("ant")), np.random.default_rng(1)
    mirror = Mirror(model, config_of("ant"))
    env = VectorEnv(model, NUM, rng=rng, episode_steps=100)
    transition = step(env, rng.uniform(-1, 1, (NUM, 8)), rng.uniform(-0.5, 0.5, (NUM, 3)))
    which = torch.arange(NUM) % 2 == 0
    once = mirror(transition, which)
    for mine, was in zip(once, transition, strict=True):
        assert torch.equal(mine[~which], was[~which])
    assert not torch.allclose(once.action[which], transition.action[which])
    for mine, was in zip(mirror(once, which), transition, strict=True):
        assert torch.equal(mine, was)


def test_an_entry_that_is_for_no_turn_keeps_its_sign() -> None:
    flat = dataclasses.replace(config_of("ant"), prediction=PredictionSpec())
    signs = Mirror(RobotModel(RobotSpec.load("ant")), flat).skill_sign
    assert signs.tolist() == [1.0, -1.0, 1.0]


def test_a_trainer_learns_from_both_sides(tmp_path: Path) -> None:
    config = config_of("ant").to_dict() | {"num_iterations": 4, "sac": {"hidden": [8]}}
    config["skill_dynamics"] = {"hidden": [8]}
    config["collect"] = {"num_envs": 8, "steps_per_iteration": 50, "warmup_steps": 100}
    trainer = Trainer(TrainConfig.from_dict(config, "test"), tmp_path)
    losses = [values.values.get("critic_loss") for values in trainer.iterations()]
    assert np.isfinite(losses[-1])
    trainer.replay._data["action"][:] = torch.arange(8.0)
    action = trainer.agent._sample(trainer.replay, 1000).action
    is_mirrored = (action != torch.arange(8.0)).any(dim=1)
    assert 0.4 < is_mirrored.float().mean() < 0.6


def test_a_robot_without_a_mirror_is_refused() -> None:
    model = RobotModel(RobotSpec.load("half_cheetah"))
    with pytest.raises(ConfigError, match=r"declares no 'mirror'.*symmetry\.mirror: false"):
        Mirror(model, config_of("half_cheetah"))


def test_a_skill_without_a_second_entry_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'symmetry\.mirror' needs a continuous"):
        TrainConfig(
            robot="ant",
            skill_prior=SkillPriorConfig(kind="discrete", dim=4),
            symmetry=SymmetryConfig(mirror=True),
        )
