import dataclasses
import math

import numpy as np
import pytest
import torch

from dads_ros.config import SkillPriorConfig
from dads_ros.errors import ConfigError
from dads_ros.learning.config import SkillDynamicsConfig, SymmetryConfig, TrainConfig
from dads_ros.learning.skill_dynamics import AxisDynamics, SkillDynamics
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec, TopSpeedSpec


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


TOP_SPEED = TopSpeedSpec(forward_mps=2.0, backward_mps=1.5, sideways_mps=1.0, turn_radps=3.0)
HEADING = PredictionSpec(fields=("x", "y", "yaw"), frame="heading", steps=10)


def heading_config(dim: int = 3, **settings: object) -> TrainConfig:
    values = {"linear": True, "warm_start_m": (0.3, 0.2, 0.4)} | settings
    return TrainConfig(
        robot="ant",
        skill_prior=SkillPriorConfig(kind="disc", dim=dim),
        prediction=HEADING,
        skill_dynamics=SkillDynamicsConfig(**values),  # type: ignore[arg-type]
    )


def make_axes(dim: int = 3, **settings: object) -> AxisDynamics:
    """Predictions of the Ant over half a second."""
    robot = dataclasses.replace(RobotSpec.load("ant"), top_speed=TOP_SPEED)
    return AxisDynamics(heading_config(dim, **settings), robot)


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


def test_each_axis_begins_at_its_warm_start_and_leads_by_itself() -> None:
    q, skill = make_axes(), torch.rand(9, 3) * 2 - 1
    torch.testing.assert_close(q.mean(skill), skill * torch.tensor([0.3, 0.2, 0.4]))
    flat = make_axes(2, warm_start_m=0.3).mean(skill[:, :2])  # no entry for a turn: none is wanted
    torch.testing.assert_close(flat, torch.cat([0.3 * skill[:, :2], torch.zeros(9, 1)], dim=1))
    free = SkillDynamics(heading_config(linear=False), RobotSpec.load("ant"))
    assert torch.allclose(free.mean(skill), q.mean(skill), atol=0.02)


def test_what_an_axis_leads_to_is_learned_each_way_for_itself() -> None:
    q, skill = make_axes(), torch.rand(4000, 3) * 2 - 1
    ahead, back = torch.tensor([0.9, 0.45, 1.2]), torch.tensor([0.6, 0.35, 0.8])
    delta = torch.where(skill > 0.0, ahead, back) * skill + 0.1 * torch.randn(4000, 3)
    for _ in range(200):
        q.fit(delta, skill)
    torch.testing.assert_close(q.reach, torch.stack([ahead, back]), rtol=0.0, atol=0.02)
    torch.testing.assert_close(q.mean(skill), delta, rtol=0.0, atol=0.6)
    assert q.speeds(0.5) == pytest.approx(
        {
            "wanted_forward_mps": 1.8,
            "wanted_backward_mps": 1.2,
            "wanted_sideways_mps": 0.8,
            "wanted_turn_radps": 2.0,
        },
        abs=0.05,
    )


def test_no_axis_dies_and_none_runs_away() -> None:
    """Half a second at top speed is 1, 0.75, 0.5 m and 1.5 rad."""
    q, skill = make_axes(), torch.rand(1000, 3) * 2 - 1
    delta = skill * torch.tensor([9.0, 0.0, 9.0])
    for _ in range(300):
        q.fit(delta, skill)
    bounds = torch.tensor([[1.0, 0.2, 1.5], [0.75, 0.2, 1.5]])
    torch.testing.assert_close(q.reach, bounds, rtol=0.0, atol=1e-3)
    furthest, lagging = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    at_top = torch.tensor([[1.0, 0.0, 0.0]])
    assert q.log_prob(at_top, furthest, 1.5) == pytest.approx(q.log_prob(at_top, furthest).item())
    stretched = torch.tensor([[0.0, 0.3, 0.0]])
    assert q.log_prob(stretched, lagging, 1.5) > q.log_prob(stretched, lagging) + 0.1


def test_how_much_is_achieved_is_that_of_the_axis_that_lags_behind() -> None:
    q, skill = make_axes(), torch.rand(1000, 3) * 2 - 1
    delta = q.mean(skill) * torch.tensor([1.2, 0.9, 0.3])
    assert q.achieved(delta, skill) == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["linear", "axes"])
def test_skills_that_lead_nowhere_achieve_nothing(kind: str) -> None:
    """While robots fall at once, all that is sampled may be of one zero or one short skill."""
    q = make_axes() if kind == "axes" else make(linear=True, warm_start_m=0.3)
    dim = 3 if kind == "axes" else 2
    for skill in (torch.zeros(64, dim), torch.full((64, dim), 0.01)):
        assert abs(q.achieved(0.5 * torch.ones(64, dim), skill)) < 1.0
    skill = torch.rand(1000, dim) * 2 - 1
    assert q.achieved(0.7 * q.mean(skill), skill) == pytest.approx(0.7)
    assert q.achieved(0.7 * q.mean(0.3 * skill), 0.3 * skill) == pytest.approx(0.7)


def test_all_pairs_of_axes_equal_row_by_row() -> None:
    q = make_axes()
    delta, skill = torch.randn(6, 3) * 0.3, torch.rand(4, 3) * 2 - 1
    pairs = q.log_prob_of_all(delta, skill, 1.3)
    for i in range(4):
        assert torch.allclose(pairs[i], q.log_prob(delta, skill[i].expand(6, 3), 1.3), atol=1e-4)


def test_sigma_of_yaw_follows_the_turns() -> None:
    q = make_axes(sigma_ratio=0.5, min_sigma_m=0.1, min_sigma_rad=0.2)
    delta = torch.tensor([1.0, 1.0, 0.8]).expand(100, 3)
    for size, expected in ((1.0, [0.5, 0.5, 0.4]), (0.01, [0.1, 0.1, 0.2])):
        for _ in range(300):
            q.adapt_sigma(size * delta)
        assert torch.allclose(q.sigma, torch.tensor(expected), atol=1e-3)


def test_what_axes_need_is_said() -> None:
    ant = RobotSpec.load("ant")
    with pytest.raises(ConfigError, match="add 'top_speed' to the file of robot 'ant'"):
        AxisDynamics(heading_config(), ant)
    with pytest.raises(ConfigError, match=r"allows \[0\.75, 0\.5, 1\.5\]: lower it"):
        make_axes(warm_start_m=(0.8, 0.2, 0.4))
    for wrong, words in (
        ({"warm_start_m": 0.3}, r"'skill_dynamics\.warm_start_m' above 0 for each entry"),
        ({"warm_start_m": (0.3, 0.0, 0.4)}, "above 0 for each entry"),
        ({"warm_start_m": (0.3, 0.2)}, "has 2 numbers; expected one, or .* for x, y, yaw"),
        ({"dim": 4}, "'skill_prior.dim' of at most 3"),
    ):
        with pytest.raises(ConfigError, match=words):
            heading_config(**wrong)  # type: ignore[arg-type]
