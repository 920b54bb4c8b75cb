import math

import numpy as np
import torch

from dads_ros.config import SkillPriorConfig
from dads_ros.learning.config import SkillDynamicsConfig, SymmetryConfig, TrainConfig
from dads_ros.learning.skill_dynamics import SkillDynamics
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec


def make(
    *,
    yaw: bool = False,
    linear: bool = False,
    body_dim: int = 0,
    fields: tuple[str, ...] = ("x", "y"),
    **settings: object,
) -> SkillDynamics:
    torch.manual_seed(0)
    return SkillDynamics(
        TrainConfig(
            robot="ant",
            skill_prior=SkillPriorConfig(kind="disc", dim=2),
            prediction=PredictionSpec(fields=fields),  # type: ignore[arg-type]
            symmetry=SymmetryConfig(yaw=yaw),
            skill_dynamics=SkillDynamicsConfig(hidden=(32,), **settings),  # type: ignore[arg-type]
        ),
        RobotSpec.load("ant"),
        body_dim=body_dim,
        linear=linear,
    )


def test_log_prob_equals_the_mixture_of_gaussians_worked_in_numpy() -> None:
    delta, skill = torch.randn(5, 2) * 0.3, torch.rand(5, 2) * 2 - 1
    q = make(num_experts=3, sigma_m=0.2)
    logits, means = (a.detach().double().numpy() for a in q(skill))
    square = ((delta.double().numpy()[:, None] - means) ** 2).sum(-1) / 0.2**2
    density = (np.exp(logits) * np.exp(-square / 2) / (2 * math.pi * 0.2**2)).sum(1)
    assert np.allclose(q.log_prob(delta, skill).detach(), np.log(density), atol=1e-4)


def test_all_pairs_equal_row_by_row() -> None:
    for experts in (1, 4):
        q = make(num_experts=experts, yaw=True)
        delta, skill = torch.randn(6, 2) * 0.3, torch.rand(4, 2) * 2 - 1
        pairs = q.log_prob_of_all(delta, skill)
        for i in range(4):
            row = q.log_prob(delta, skill[i].expand(6, 2))
            assert torch.allclose(pairs[i], row, atol=1e-4)


def test_importance_weights_say_what_counts() -> None:
    q, skill = make(sigma_m=0.1), torch.rand(64, 2) * 2 - 1
    delta = torch.randn(64, 2) * 0.2
    weight = torch.cat([torch.full((32,), 2.0), torch.zeros(32)])
    expected = q.loss(delta[:32], skill[:32])
    assert torch.allclose(q.loss(delta, skill, weight), expected)


def test_with_yaw_symmetry_turning_skill_and_displacement_changes_nothing() -> None:
    q = make(yaw=True)
    delta, skill = torch.randn(9, 2), torch.rand(9, 2) * 2 - 1
    angle = torch.tensor(0.7)
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    assert torch.allclose(
        q.log_prob(delta, skill), q.log_prob(delta @ turn.T, skill @ turn.T), atol=1e-4
    )
    assert torch.allclose(q.mean(skill) @ turn.T, q.mean(skill @ turn.T), atol=1e-6)
    assert torch.allclose(q.mean(torch.zeros(1, 2)), torch.zeros(1, 2))


def test_a_linear_q_is_linear_in_the_skill() -> None:
    skill = torch.rand(9, 2) * 2 - 1
    for yaw in (False, True):
        q = make(yaw=yaw, linear=True, warm_start_m=0.1)
        mixed = 0.3 * skill - 0.7 * skill.flip(0)
        expected = 0.3 * q.mean(skill) - 0.7 * q.mean(skill).flip(0)
        assert torch.allclose(q.mean(mixed), expected, atol=1e-6)
    free = make(yaw=True)
    assert not torch.allclose(free.mean(0.3 * skill), 0.3 * free.mean(skill), rtol=0.01, atol=0)


def test_stretch_scales_the_means() -> None:
    q = make(num_experts=1, sigma_m=0.2)
    skill, delta = torch.rand(9, 2) * 2 - 1, torch.randn(9, 2) * 0.3
    moved = delta - 0.5 * q.mean(skill)  # as far from the mean as delta is from 1.5 means
    assert torch.allclose(q.log_prob(delta, skill, 1.5), q.log_prob(moved, skill), atol=1e-4)
    pairs = q.log_prob_of_all(delta, skill, 1.5).diagonal()
    assert torch.allclose(pairs, q.log_prob(moved, skill), atol=1e-4)


def test_warm_start_predicts_along_the_skill_at_first() -> None:
    skill = torch.rand(9, 2) * 2 - 1
    for yaw in (False, True):
        q = make(yaw=yaw, warm_start_m=0.5, warm_start_steps=10)
        assert torch.allclose(q.mean(skill), 0.5 * skill, atol=0.02)


def test_fitting_lowers_the_loss_and_finds_the_means() -> None:
    q = make(sigma_m=0.1)
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-2)
    skill = torch.rand(512, 2) * 2 - 1
    delta = 0.4 * skill.flip(1) + 0.05 * torch.randn(512, 2)
    before = q.loss(delta, skill).item()
    for _ in range(300):
        optimizer.zero_grad()
        q.loss(delta, skill).backward()
        optimizer.step()
    assert q.loss(delta, skill).item() < before - 1.0
    assert (q.mean(skill) - 0.4 * skill.flip(1)).abs().mean() < 0.05


def test_sigma_follows_the_displacement_only_when_it_may() -> None:
    large = torch.full((100, 2), 1.0)
    fixed, following = make(sigma_m=0.1), make(sigma_m=0.1, sigma_ratio=0.5)
    for _ in range(300):
        fixed.adapt_sigma(large)
        following.adapt_sigma(large)
    assert torch.allclose(fixed.sigma, torch.tensor([0.1, 0.1]))
    assert torch.allclose(following.sigma, torch.tensor([0.5, 0.5]), atol=1e-3)
    for _ in range(300):
        following.adapt_sigma(large * 0.01)
    assert torch.allclose(following.sigma, torch.tensor([0.1, 0.1]), atol=1e-3)
    for _ in range(300):
        following.adapt_sigma(large, factor=0.4)
    assert torch.allclose(following.sigma, torch.tensor([0.2, 0.2]), atol=1e-3)
    for _ in range(300):
        following.adapt_sigma(large * 0.01, factor=0.4)
    assert torch.allclose(following.sigma, torch.tensor([0.04, 0.04]), atol=1e-3)


def test_a_body_state_counts_and_all_pairs_still_equal_row_by_row() -> None:
    q = make(num_experts=3, yaw=True, body_dim=5)
    delta, skill = torch.randn(6, 2) * 0.3, torch.rand(4, 2) * 2 - 1
    body = torch.randn(4, 6, 5)
    pairs = q.log_prob_of_all(delta, skill, 1.2, body)
    for i in range(4):
        row = q.log_prob(delta, skill[i].expand(6, 2), 1.2, body[i])
        assert torch.allclose(pairs[i], row, atol=1e-5)
    assert not torch.allclose(q.mean(skill, body[:, 0]), q.mean(skill, body[:, 1]), atol=1e-3)


def test_predicted_observations_have_the_scale_of_their_first_changes() -> None:
    q = make(fields=("x", "y", "height", "orientation"), sigma_m=0.2, sigma_body=0.5)
    size = torch.tensor([1.0, 1.0, 0.03, 2.0, 2.0, 0.5, 0.0])
    q.measure_scale(torch.randn(20_000, 7) * size)
    expected = torch.tensor([0.2, 0.2, 0.015, 1.0, 1.0, 0.25, 0.0005])
    assert torch.allclose(q.sigma, expected, rtol=0.03)
    assert torch.allclose(q.scale[:2], torch.tensor([0.2, 0.2]))
    assert torch.allclose(q.scale[2:], 2.0 * expected[2:], rtol=0.03)
