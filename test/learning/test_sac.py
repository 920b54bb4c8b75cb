import math

import torch

from dads_ros.learning.config import SacConfig
from dads_ros.learning.sac import Sac, SacBatch, actor_loss, critic_loss, critic_target


def batch(num: int = 32) -> SacBatch:
    generator = torch.Generator().manual_seed(0)
    return SacBatch(
        features=torch.randn(num, 4, generator=generator),
        action=torch.rand(num, 2, generator=generator) * 2 - 1,
        reward=torch.randn(num, generator=generator),
        next_features=torch.randn(num, 4, generator=generator),
        terminated=torch.zeros(num, dtype=torch.bool),
    )


def make(**settings: object) -> Sac:
    torch.manual_seed(0)
    config = SacConfig(hidden=(16, 16), **settings)  # type: ignore[arg-type]
    return Sac(4, 2, config, torch.device("cpu"))


def test_target_equals_hand_worked_numbers_and_only_termination_stops_bootstrapping() -> None:
    target = critic_target(
        torch.tensor([1.0, 1.0]),
        torch.tensor([False, True]),
        torch.tensor([[4.0, 4.0], [3.0, 9.0]]),
        torch.tensor([2.0, 2.0]),
        temperature=torch.tensor(0.5),
        discount=0.9,
    )
    assert torch.allclose(target, torch.tensor([1.0 + 0.9 * (3.0 - 1.0), 1.0]))


def test_losses_equal_hand_worked_numbers() -> None:
    q = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    assert critic_loss(q, torch.tensor([0.0, 2.0])).item() == 0.5 * (1.0 + 1.0) / 2 + 0.5 * 4.0 / 2
    assert actor_loss(q, torch.tensor([1.0, 1.0]), torch.tensor(0.5)).item() == 0.5 - 1.5


def test_gradients_reach_only_the_intended_networks() -> None:
    sac = make(policy_average=0.9)
    noise = torch.randn(2, 32, 2)
    before = {
        name: [p.clone() for p in getattr(sac, name).parameters()]
        for name in ("actor", "critic", "critic_target")
    }
    sac.update(batch(), noise)
    moved = {
        name: max(
            (a - b).abs().max().item()
            for a, b in zip(before[name], getattr(sac, name).parameters(), strict=True)
        )
        for name in before
    }
    assert moved["actor"] > 1e-5
    assert moved["critic"] > 1e-5
    assert 0.0 < moved["critic_target"] < 0.02 * moved["critic"]


def test_the_step_of_the_actor_leaves_no_gradient_in_the_critic() -> None:
    sac = make()
    sac.update(batch(), torch.randn(2, 32, 2))
    after_critic = [p.grad.clone() for p in sac.critic.parameters() if p.grad is not None]
    sac.critic.requires_grad_(False)
    action, log_prob = sac.actor.sample(batch().features, torch.randn(32, 2))
    actor_loss(sac.critic(batch().features, action), log_prob, torch.tensor(0.1)).backward()
    sac.critic.requires_grad_(True)
    assert len(after_critic) == len(list(sac.critic.parameters()))
    for gradient, p in zip(after_critic, sac.critic.parameters(), strict=True):
        assert p.grad is not None
        assert torch.equal(gradient, p.grad)


def test_temperature_rises_when_entropy_is_below_its_target_and_falls_above() -> None:
    for target, rises in ((5.0, True), (-20.0, False)):
        sac = make(learn_temperature=True, target_entropy_per_action=target)
        before = sac.log_alpha.item()
        for _ in range(5):
            sac.update(batch(), torch.randn(2, 32, 2))
        assert (sac.log_alpha.item() > before) == rises


def test_the_policy_learns_the_best_action_of_a_one_step_task() -> None:
    sac = make(learning_rate=3e-3, temperature=0.01, discount=0.0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(600):
        data = batch(128)._replace(action=torch.rand(128, 2, generator=generator) * 2 - 1)
        reward = -(data.action - torch.tensor([0.5, -0.3])).square().sum(1)
        sac.update(data._replace(reward=reward), torch.randn(2, 128, 2, generator=generator))
    mean = torch.tanh(sac.actor(batch().features)[0])
    assert (mean - torch.tensor([0.5, -0.3])).abs().mean() < 0.1


def test_step_size_and_wanted_entropy_follow_the_progress_of_the_run() -> None:
    sac = make(
        learning_rate=1e-3,
        final_learning_rate_factor=0.2,
        target_entropy_per_action=-0.5,
        final_target_entropy_per_action=-1.5,
    )
    expected = {0.0: (1e-3, -1.0), 0.5: (1e-3, -2.0), 0.75: (0.6e-3, -2.5), 1.0: (0.2e-3, -3.0)}
    for progress, (rate, entropy) in expected.items():
        sac.set_progress(progress)
        assert math.isclose(sac.optimizers["actor"].param_groups[0]["lr"], rate)
        assert math.isclose(sac.target_entropy, entropy)
