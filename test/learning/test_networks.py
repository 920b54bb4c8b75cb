import dataclasses

import numpy as np
import pytest
import torch

from dads_ros.config import SkillPriorConfig
from dads_ros.envs.model import RobotModel
from dads_ros.learning.config import SymmetryConfig, TrainConfig
from dads_ros.learning.networks import Actor, Features, RunningNormalizer, TwinCritic
from dads_ros.observation import RobotState, build_policy_obs
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec

DISC = SkillPriorConfig(kind="disc", dim=2)


def ant_features(*, yaw: bool, body: bool) -> tuple[RobotModel, Features]:
    model = RobotModel(RobotSpec.load("ant"))
    symmetry = SymmetryConfig(yaw=yaw, body=body)
    return model, Features(model, TrainConfig(robot="ant", skill_prior=DISC, symmetry=symmetry))


def tumbling_state(rng: np.random.Generator, num: int = 64) -> RobotState:
    quaternion = rng.standard_normal((num, 4))
    return RobotState(
        position=rng.standard_normal((num, 3)),
        orientation=quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True),
        linear_velocity=rng.standard_normal((num, 3)),
        angular_velocity=rng.standard_normal((num, 3)),
        joint_positions=rng.standard_normal((num, 8)),
        joint_velocities=rng.standard_normal((num, 8)),
    )


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product of quaternions (w, x, y, z)."""
    w1, x1, y1, z1 = np.moveaxis(a, -1, 0)
    w2, x2, y2, z2 = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        axis=-1,
    )


def test_with_yaw_symmetry_turning_world_and_skill_together_changes_no_feature() -> None:
    model, features = ant_features(yaw=True, body=True)
    rng = np.random.default_rng(0)
    state, command = tumbling_state(rng), rng.uniform(-1, 1, (64, 8))
    skill = rng.uniform(-0.7, 0.7, (64, 2))
    angle = 1.1
    turn = np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
    turned = dataclasses.replace(state, orientation=multiply(turn, state.orientation))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen, _ = features(
        torch.from_numpy(build_policy_obs(model.spec, state, command)), torch.tensor(skill).float()
    )
    again, _ = features(
        torch.from_numpy(build_policy_obs(model.spec, turned, command)),
        torch.tensor(skill @ rotation.T).float(),
    )
    assert torch.allclose(seen, again, atol=1e-5)


def test_with_yaw_symmetry_a_zero_skill_is_seen_from_the_heading() -> None:
    model, features = ant_features(yaw=True, body=True)
    rng, zero = np.random.default_rng(0), torch.zeros(64, 2)
    state, command = tumbling_state(rng), rng.uniform(-1, 1, (64, 8))
    turn = np.array([np.cos(0.55), 0.0, 0.0, np.sin(0.55)])
    turned = dataclasses.replace(state, orientation=multiply(turn, state.orientation))
    faster = dataclasses.replace(state, linear_velocity=1.5 * state.linear_velocity)
    seen, again, moving = (
        features(torch.from_numpy(build_policy_obs(model.spec, each, command)), zero)[0]
        for each in (state, turned, faster)
    )
    assert torch.allclose(seen, again, atol=1e-5)
    is_flat = np.abs(state.up_z()) > 0.1  # else the body's x-axis is nearly vertical
    assert ((seen - moving)[is_flat].abs().sort(dim=1).values[:, -3:] > 1e-3).all()


def test_in_the_heading_frame_turning_the_world_changes_no_feature() -> None:
    model = RobotModel(RobotSpec.load("ant"))
    prediction = PredictionSpec(fields=("x", "y", "yaw"), frame="heading")
    config = TrainConfig(robot="ant", skill_prior=DISC, prediction=prediction)
    features, rng = Features(model, config), np.random.default_rng(0)
    state, command = tumbling_state(rng), rng.uniform(-1, 1, (64, 8))
    turn = np.array([np.cos(0.6), 0.0, 0.0, np.sin(0.6)])
    turned = dataclasses.replace(state, orientation=multiply(turn, state.orientation))
    skill = torch.rand(64, 2)
    seen, again = (
        features(torch.from_numpy(build_policy_obs(model.spec, each, command)), skill)[0]
        for each in (state, turned)
    )
    assert torch.allclose(seen, again, atol=1e-4)
    level = np.zeros((64, 4))
    level[:, 0], level[:, 3] = np.cos(angles := rng.uniform(-3.0, 3.0, 64)), np.sin(angles)
    state = dataclasses.replace(state, orientation=level)
    obs = torch.from_numpy(build_policy_obs(model.spec, state, command))
    velocity = torch.from_numpy(state.linear_velocity).float()  # ahead, to the left, up
    assert torch.allclose(features(obs, skill)[0][:, :3], velocity, atol=1e-5)


def test_in_the_heading_frame_a_body_that_feels_no_orientation_sees_what_it_feels() -> None:
    spec = dataclasses.replace(
        RobotSpec.load("ant"), observation=("linear_velocity", "angular_velocity", "last_command")
    )
    prediction = PredictionSpec(fields=("x", "y", "yaw"), frame="heading")
    config = TrainConfig(robot="ant", skill_prior=DISC, prediction=prediction)
    features, rng = Features(RobotModel(spec), config), np.random.default_rng(0)
    state, command = tumbling_state(rng), rng.uniform(-1, 1, (64, 8))
    obs, skill = torch.from_numpy(build_policy_obs(spec, state, command)), torch.rand(64, 2)
    seen, _ = features(obs, skill)
    assert torch.equal(seen.sort(dim=1).values, torch.cat([obs, skill], 1).sort(dim=1).values)


@pytest.mark.parametrize("yaw", [False, True])
def test_relabelled_bodies_have_the_same_features_and_the_relabelled_action(yaw: bool) -> None:
    model, features = ant_features(yaw=yaw, body=True)
    rng = np.random.default_rng(1)
    state, command = tumbling_state(rng), rng.uniform(-1, 1, (64, 8))
    # One turn of the labels by hand: base axes +90 degrees, leg i reads what leg i + 1 read.
    half = np.radians(45.0)
    turn = np.array([np.cos(half), 0.0, 0.0, np.sin(half)])

    def turned(v: np.ndarray) -> np.ndarray:
        return np.stack([v[:, 1], -v[:, 0], v[:, 2]], axis=1)

    legs = [2, 3, 4, 5, 6, 7, 0, 1]
    ankle_signs = np.array([1, -1, 1, 1, 1, -1, 1, 1])
    relabelled = RobotState(
        position=state.position,
        orientation=multiply(state.orientation, turn),
        linear_velocity=turned(state.linear_velocity),
        angular_velocity=turned(state.angular_velocity),
        joint_positions=ankle_signs * state.joint_positions[:, legs],
        joint_velocities=ankle_signs * state.joint_velocities[:, legs],
    )
    # Commands are in the order hip_4 ankle_4 hip_1 ankle_1 ...
    command_signs = np.array([1, 1, 1, -1, 1, 1, 1, -1])
    relabelled_command = command_signs * command[:, legs]
    skill = torch.tensor(rng.uniform(-0.7, 0.7, (64, 2))).float()
    seen, turns = features(torch.from_numpy(build_policy_obs(model.spec, state, command)), skill)
    obs = build_policy_obs(model.spec, relabelled, relabelled_command)
    again, turns_again = features(torch.from_numpy(obs), skill)
    assert torch.allclose(seen, again, atol=1e-5)
    assert set(((turns - turns_again) % 4).tolist()) == {1}
    action = torch.rand(64, 8)
    mine = features.to_robot(action, turns).numpy()
    theirs = features.to_robot(action, turns_again).numpy()
    assert np.allclose(command_signs * mine[:, legs], theirs)


def test_actions_survive_the_way_to_the_relabelled_robot_and_back() -> None:
    _, features = ant_features(yaw=False, body=True)
    action, turns = torch.rand(40, 8), torch.arange(40) % 4
    assert torch.equal(features.to_robot(features.from_robot(action, turns), turns), action)


def test_normalizer_agrees_with_the_whole_data() -> None:
    data = torch.randn(1000, 3) * torch.tensor([1.0, 5.0, 0.2]) + torch.tensor([0.0, 3.0, -1.0])
    normalizer = RunningNormalizer(3)
    for part in data.split(130):
        normalizer.update(part)
    assert torch.allclose(normalizer.mean, data.mean(0), atol=1e-4)
    assert torch.allclose(normalizer.variance, data.var(0, correction=0), rtol=1e-3)


def test_log_prob_of_the_actor_is_that_of_a_squashed_gaussian() -> None:
    torch.manual_seed(0)
    actor = Actor(4, 2, (16,))
    features, noise = torch.randn(50, 4), torch.randn(50, 2)
    action, log_prob = actor.sample(features, noise)
    mean, log_std = actor(features)
    base = torch.distributions.Normal(mean, log_std.exp())
    squashed = torch.distributions.TransformedDistribution(
        base, torch.distributions.TanhTransform(cache_size=1)
    )
    assert torch.allclose(squashed.log_prob(action).sum(1), log_prob, atol=1e-2)
    assert torch.allclose(actor.log_prob(features, action), log_prob, atol=1e-2)


def test_twin_critics_are_two_independent_networks() -> None:
    torch.manual_seed(0)
    critic = TwinCritic(6, (16, 16))
    features, action = torch.randn(8, 4), torch.randn(8, 2)
    both = critic(features, action)
    assert both.shape == (2, 8)
    hidden = torch.cat([features, action], 1)
    for layer, (weight, bias) in enumerate(zip(critic.weights, critic.biases, strict=True)):
        hidden = hidden @ weight[1] + bias[1]
        hidden = hidden if layer == 2 else torch.relu(hidden)
    assert torch.allclose(both[1], hidden.squeeze(1), atol=1e-6)
    assert not torch.allclose(both[0], both[1])
