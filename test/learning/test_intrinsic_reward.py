import math

import torch

from dads_ros.learning.intrinsic_reward import intrinsic_reward


def test_reward_equals_a_hand_worked_number() -> None:
    # q = 0.8 for the skill itself, 0.2 and 0.2 for two others: log(0.8 / ((0.8+0.2+0.2) / 3))
    log_prob = torch.tensor([0.8]).log()
    alt = torch.tensor([[0.2], [0.2]]).log()
    assert intrinsic_reward(log_prob, alt).item() == torch.tensor(math.log(2.0)).item()


def test_reward_is_zero_when_skills_are_indistinguishable() -> None:
    log_prob = torch.randn(7)
    reward = intrinsic_reward(log_prob, log_prob.expand(100, 7))
    assert torch.allclose(reward, torch.zeros(7), atol=1e-5)


def test_reward_is_capped_at_log_of_all_skills_and_finite_for_hopeless_fits() -> None:
    best = intrinsic_reward(torch.zeros(1), torch.full((100, 1), -1e4))
    worst = intrinsic_reward(torch.full((1,), -1e4), torch.zeros(100, 1))
    assert math.isclose(best.item(), math.log(101), rel_tol=1e-6)
    assert math.isclose(worst.item(), -1e4 + math.log(101 / 100), rel_tol=1e-6)


def test_with_all_discrete_skills_the_mean_is_exact() -> None:
    # q = 0.9 for the skill itself, 0.1 and 0.2 for the other two: log(0.9 / ((0.9+0.1+0.2) / 3))
    every = torch.tensor([[0.9], [0.1], [0.2]]).log()
    reward = intrinsic_reward(every[0], every, are_all=True)
    assert math.isclose(reward.item(), math.log(0.9 / 0.4), rel_tol=1e-6)
    alone = intrinsic_reward(torch.zeros(1), torch.tensor([[0.0], [-1e4], [-1e4]]), are_all=True)
    assert math.isclose(alone.item(), math.log(3.0), rel_tol=1e-6)
