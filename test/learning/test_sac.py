import logging
import math
import os
import shutil

import pytest
import torch

from dads_ros.learning.config import SacConfig
from dads_ros.learning.networks import TwinCritic
from dads_ros.learning.sac import Sac, SacBatch, actor_loss, critic_target


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
    loss = TwinCritic(4, (8,)).loss(q[:, :, None], torch.tensor([0.0, 2.0]))
    assert loss.item() == 0.5 * (1.0 + 1.0) / 2 + 0.5 * 4.0 / 2
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


def test_each_loss_reaches_only_its_own_network() -> None:
    """After an update, critic and actor hold the gradients of their own loss and nothing more."""
    sac, twin, data, noise = make(), make(), batch(), torch.randn(2, 32, 2)
    temperature = twin.log_alpha.detach().exp()
    with torch.no_grad():
        action, log_prob = twin.actor.sample(data.next_features, noise[0])
        target = critic_target(
            data.reward,
            data.terminated,
            twin.critic_target(data.next_features, action),
            log_prob,
            temperature=temperature,
            discount=twin.config.discount,
        )
    critic = list(twin.critic.parameters())
    loss = twin.critic.loss(twin.critic.outputs(data.features, data.action), target)
    of_critic = torch.autograd.grad(loss, critic)
    sac.update(data, noise)
    for p, gradient in zip(sac.critic.parameters(), of_critic, strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, gradient)

    actor = list(twin.actor.parameters())
    with torch.no_grad():  # the step of the actor sees the critic after its own
        for p, after in zip(critic, sac.critic.parameters(), strict=True):
            p.copy_(after)
    action, log_prob = twin.actor.sample(data.features, noise[1])
    loss = actor_loss(twin.critic(data.features, action), log_prob, temperature)
    for p, gradient in zip(sac.actor.parameters(), torch.autograd.grad(loss, actor), strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, gradient)
    others = [*sac.critic_target.parameters(), *sac.average_actor.parameters(), sac.log_alpha]
    assert all(p.grad is None for p in others)


def test_what_comes_after_a_terminal_step_does_not_count_even_when_it_is_not_finite() -> None:
    target = critic_target(
        torch.tensor([1.0, 2.0]),
        torch.tensor([True, True]),
        torch.tensor([[math.nan, math.inf], [1.0, math.inf]]),
        torch.tensor([math.nan, 0.0]),
        temperature=torch.tensor(0.5),
        discount=0.9,
    )
    assert target.tolist() == [1.0, 2.0]


def test_temperature_rises_when_entropy_is_below_its_target_and_falls_above() -> None:
    for target, rises in ((0.69, True), (-20.0, False)):
        sac = make(learn_temperature=True, target_entropy_per_action=target)
        before = sac.log_alpha.item()
        for _ in range(5):
            sac.update(batch(), torch.randn(2, 32, 2))
        assert (sac.log_alpha.item() > before) == rises


def test_the_exported_actor_is_the_running_average_of_the_trained_ones() -> None:
    sac = make(policy_average=0.7)
    average = [p.clone() for p in sac.actor.parameters()]
    for step in range(40):
        sac.update(batch(), torch.randn(2, 32, 2))
        kept = min(0.7, (1.0 + step) / (10.0 + step))
        pairs = zip(average, sac.actor.parameters(), strict=True)
        average = [kept * a + (1.0 - kept) * p for a, p in pairs]
    exported = list(sac.export_actor.parameters())
    assert all(torch.allclose(a, p, atol=1e-6) for a, p in zip(average, exported, strict=True))
    assert not any(map(torch.equal, exported, sac.actor.parameters()))
    plain = make()
    assert plain.export_actor is plain.actor


def test_bins_give_the_mean_and_cost_least_for_a_gaussian_about_the_target() -> None:
    """The wanted share of each bin is that of a Gaussian; beyond the bounds there is nothing."""
    critic = TwinCritic(4, (8,), bins=40, bounds=(-10.0, 10.0))
    target = torch.tensor([-3.21, 0.0, 5.5, 9.9, 40.0, -40.0])
    edges = torch.linspace(-10.0, 10.0, 41)
    inside = target.clamp(-10.0, 10.0)
    gaussian = torch.distributions.Normal(inside[:, None], 0.75 * 20.0 / 40)
    share = gaussian.cdf(edges).diff(dim=1)
    best = (share / share.sum(1, keepdim=True)).log().clamp_min(-80.0).expand(2, -1, -1)
    assert critic.outputs(torch.zeros(6, 3), torch.zeros(6, 1)).shape == (2, 6, 40)
    # Within a bin: at the bounds half of the Gaussian lies outside.
    assert (critic.value(best) - inside).abs().max() < 0.5
    assert (critic.value(best)[:, :3] - inside[:3]).abs().max() < 1e-3
    entropy = -(best.exp() * best).sum(2).mean(1).sum()
    assert torch.allclose(critic.loss(best, target), entropy, atol=1e-4)
    assert critic.loss(best.roll(1, dims=2), target) > entropy + 0.1


@pytest.mark.parametrize("bins", [0, 51])
def test_the_policy_learns_the_best_action_of_a_one_step_task(bins: int) -> None:
    bounds = (-3.0, 1.0) if bins else (-150.0, 150.0)
    sac = make(
        learning_rate=3e-3,
        temperature=0.01,
        discount=0.0,
        critic_bins=bins,
        critic_bounds=bounds,
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(900):
        data = batch(128)._replace(action=torch.rand(128, 2, generator=generator) * 2 - 1)
        reward = -(data.action - torch.tensor([0.5, -0.3])).square().sum(1)
        sac.update(data._replace(reward=reward), torch.randn(2, 128, 2, generator=generator))
    mean = torch.tanh(sac.actor(batch().features)[0])
    assert (mean - torch.tensor([0.5, -0.3])).abs().mean() < 0.1


def test_the_set_learning_rate_reaches_every_step() -> None:
    sac = make(learn_temperature=True)
    sac.set_learning_rate(0.0)
    before = [p.clone() for p in [*sac.actor.parameters(), *sac.critic.parameters()]]
    log_alpha = sac.log_alpha.item()
    sac.update(batch(), torch.randn(2, 32, 2))
    after = [*sac.actor.parameters(), *sac.critic.parameters()]
    assert all(map(torch.equal, before, after))
    assert sac.log_alpha.item() == log_alpha


def test_layer_norm_bounds_the_critics_where_there_is_no_data() -> None:
    torch.manual_seed(0)
    far, action = torch.randn(64, 3) * 1e4, torch.zeros(64, 2)
    spread = {}
    for layer_norm in (False, True):
        critic = TwinCritic(5, (32, 32), layer_norm=layer_norm)
        spread[layer_norm] = float(critic(far, action).detach().abs().max())
    assert spread[True] < 5.0 < 100.0 < spread[False]


@pytest.mark.parametrize("bins", [0, 51])
def test_a_compiled_update_equals_an_eager_one(
    bins: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings: dict[str, object] = {"critic_layer_norm": True, "learn_temperature": True}
    settings |= {"policy_average": 0.9, "critic_bins": bins}
    eager, compiled = make(**settings), make(**settings, compile=True)
    data, noise = batch(), torch.randn(2, 32, 2)
    metrics = [sac.update(data, noise) for sac in (eager, compiled)]
    for name in ("critic", "actor"):
        assert f"compiling the update of the {name}" in caplog.text
    can_compile = shutil.which(os.environ.get("CXX", "g++")) is not None
    assert compiled._gradients["critic"].is_used == can_compile
    assert compiled._gradients["actor"].is_used == can_compile
    for name, value in metrics[0].items():
        assert torch.allclose(metrics[1][name], value, rtol=1e-4), name
    for net in ("critic", "actor"):
        pairs = zip(
            getattr(eager, net).parameters(), getattr(compiled, net).parameters(), strict=True
        )
        for mine, theirs in pairs:
            assert torch.allclose(theirs.grad, mine.grad, rtol=1e-4, atol=1e-7), net


def test_without_a_compiler_it_warns_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    eager, compiled = make(), make(compile=True)
    data, noise = batch(), torch.randn(2, 32, 2)
    torch.compiler.reset()
    missing = {"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}
    with torch._inductor.config.patch(missing):
        compiled.update(data, noise)
        compiled.update(data, noise)
    assert not compiled._gradients["critic"].is_used
    assert [r.message for r in caplog.records if "without torch.compile" in r.message]
    eager.update(data, noise)
    eager.update(data, noise)
    for mine, theirs in zip(eager.actor.parameters(), compiled.actor.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_actor_waits_for_its_period() -> None:
    sac, moved = make(actor_period=3), []
    for _ in range(6):
        before = [p.clone() for p in sac.actor.parameters()]
        metrics = sac.update(batch(), torch.randn(2, 32, 2))
        pairs = zip(before, sac.actor.parameters(), strict=True)
        moved.append(not all(torch.equal(a, b) for a, b in pairs))
        assert ("entropy" in metrics) == moved[-1]
        assert "critic_loss" in metrics
    assert moved == [True, False, False, True, False, False]
