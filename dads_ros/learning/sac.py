"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905); losses are pure functions.

Shapes: B batch, F features, A actuators.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dads_ros.learning.config import SacConfig
from dads_ros.learning.networks import Actor, TwinCritic

logger = logging.getLogger(__name__)
Gradients = tuple[tuple[Tensor, ...], Tensor, Tensor]
"""Gradients of a network's parameters, its loss, and a metric."""
GradientFunction = Callable[["SacBatch", Tensor, Tensor], Gradients]
"""(batch, noise (B, A), temperature) -> gradients."""


class SacBatch(NamedTuple):
    """Normalised features, canonical actions and rewards of transitions."""

    features: Tensor
    action: Tensor
    reward: Tensor
    next_features: Tensor
    terminated: Tensor


def critic_target(
    reward: Tensor,
    terminated: Tensor,
    next_q: Tensor,
    next_log_prob: Tensor,
    *,
    temperature: Tensor,
    discount: float,
) -> Tensor:
    """Soft Bellman target (equations 2 and 3). Only ``terminated`` stops bootstrapping.

    Shapes: (B,), (B,), (2, B), (B,) -> (B,).
    """
    soft_value = next_q.min(dim=0).values - temperature * next_log_prob
    # Not a product with 0: the state after a terminal step may be anything, even not finite.
    return reward + torch.where(terminated, 0.0, discount * soft_value)


def actor_loss(q: Tensor, log_prob: Tensor, temperature: Tensor) -> Tensor:
    """Mean of temperature * log pi - min Q (equation 7). Shapes (2, B), (B,)."""
    return (temperature * log_prob - q.min(dim=0).values).mean()


class Sac:
    """Actor, twin critic, its target and the temperature, with their optimisers."""

    def __init__(
        self, feature_dim: int, action_dim: int, config: SacConfig, device: torch.device
    ) -> None:
        """Make the networks; they draw their weights from torch's global generator."""
        self.config = config
        self.actor = Actor(feature_dim, action_dim, config.hidden).to(device)
        self.critic, self.critic_target = (
            TwinCritic(
                feature_dim + action_dim,
                config.hidden,
                layer_norm=config.critic_layer_norm,
                bins=config.critic_bins,
                bounds=config.critic_bounds,
            ).to(device)
            for _ in range(2)
        )
        self.critic_target.load_state_dict(self.critic.state_dict())
        self.critic_target.requires_grad_(False)
        self.average_actor = Actor(feature_dim, action_dim, config.hidden).to(device)
        self.average_actor.load_state_dict(self.actor.state_dict())
        self.average_actor.requires_grad_(False)
        self.num_updates = 0
        self.log_alpha = (
            torch.tensor(config.temperature, device=device, dtype=torch.float32)
            .log()
            .requires_grad_()
        )
        self.optimizers = {
            name: torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
            for name, parameters in (
                ("actor", list(self.actor.parameters())),
                ("critic", list(self.critic.parameters())),
                ("temperature", [self.log_alpha]),
            )
        }
        self._target_pairs = (
            list(self.critic_target.parameters()),
            list(self.critic.parameters()),
        )
        self._average_pairs = (
            list(self.average_actor.parameters()),
            list(self.actor.parameters()),
        )
        self._action_dim = action_dim
        self.set_target_entropy(config.target_entropy_per_action)
        self._gradients: dict[str, GradientFunction] = {
            "critic": self._critic_gradients,
            "actor": self._actor_gradients,
        }
        if config.compile:
            self._gradients = {k: Compiled(f, k) for k, f in self._gradients.items()}

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the step size of all optimisers."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate

    def set_target_entropy(self, per_action: float) -> None:
        """Set the entropy that a learned temperature holds, nats per actuator."""
        self.target_entropy = per_action * self._action_dim

    def update(self, batch: SacBatch, noise: Tensor) -> dict[str, Tensor]:
        """One gradient step of the critic and, every ``actor_period``, of actor and temperature.

        Args:
            batch: B transitions.
            noise: standard normal, for next and for current actions. Shape (2, B, A).
        Returns: metrics of what was updated, each a scalar.
        """
        temperature = self.log_alpha.detach().exp()
        metrics = {}
        metrics["critic_loss"], metrics["q"] = self._step("critic", batch, noise[0], temperature)
        if self.num_updates % self.config.actor_period == 0:
            loss_of_actor, entropy = self._step("actor", batch, noise[1], temperature)
            metrics |= {"actor_loss": loss_of_actor, "entropy": entropy}
            if self.config.learn_temperature:
                # Differs from the paper of SAC: the gradient on log alpha is clamped to +-1, so
                # that an actor far from the wanted entropy does not throw the temperature off.
                self.log_alpha.grad = (entropy - self.target_entropy).clamp(-1.0, 1.0)
                self.optimizers["temperature"].step()
        with torch.no_grad():
            torch._foreach_lerp_(*self._target_pairs, self.config.tau)
            if self.config.policy_average > 0.0:
                # At first over a tenth of the updates so far, else the average lags behind.
                young = (1.0 + self.num_updates) / (10.0 + self.num_updates)
                factor = min(self.config.policy_average, young)
                torch._foreach_lerp_(*self._average_pairs, 1.0 - factor)
        self.num_updates += 1
        return metrics

    @property
    def export_actor(self) -> Actor:
        """The actor to evaluate and export."""
        return self.average_actor if self.config.policy_average > 0.0 else self.actor

    def checkpoint(self) -> dict[str, Any]:
        """Everything that ``restore`` needs."""
        return {
            "actor": self.actor.state_dict(),
            "average_actor": self.average_actor.state_dict(),
            "critic": self.critic.state_dict(),
            "critic_target": self.critic_target.state_dict(),
            "log_alpha": self.log_alpha.detach(),
            "num_updates": self.num_updates,
            "optimizers": {k: o.state_dict() for k, o in self.optimizers.items()},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from ``checkpoint``."""
        for name in ("actor", "average_actor", "critic", "critic_target"):
            getattr(self, name).load_state_dict(saved[name])
        with torch.no_grad():
            self.log_alpha.copy_(saved["log_alpha"])
        self.num_updates = int(saved["num_updates"])
        for name, state in saved["optimizers"].items():
            self.optimizers[name].load_state_dict(state)

    def _critic_gradients(self, batch: SacBatch, noise: Tensor, temperature: Tensor) -> Gradients:
        """With the loss and the mean value of the critics."""
        with torch.no_grad():
            next_action, next_log_prob = self.actor.sample(batch.next_features, noise)
            target = critic_target(
                batch.reward,
                batch.terminated,
                self.critic_target(batch.next_features, next_action),
                next_log_prob,
                temperature=temperature,
                discount=self.config.discount,
            )
        outputs = self.critic.outputs(batch.features, batch.action)
        loss = self.critic.loss(outputs, target)
        gradients = torch.autograd.grad(loss, list(self.critic.parameters()))
        return gradients, loss.detach(), self.critic.value(outputs.detach()).mean()

    def _actor_gradients(self, batch: SacBatch, noise: Tensor, temperature: Tensor) -> Gradients:
        """With the loss and the entropy."""
        action, log_prob = self.actor.sample(batch.features, noise)
        loss = actor_loss(self.critic(batch.features, action), log_prob, temperature)
        gradients = torch.autograd.grad(loss, list(self.actor.parameters()))
        return gradients, loss.detach(), -log_prob.detach().mean()

    def _step(
        self, name: str, batch: SacBatch, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        gradients, loss, metric = self._gradients[name](batch, noise, temperature)
        optimizer = self.optimizers[name]
        parameters = optimizer.param_groups[0]["params"]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss, metric


class Compiled:
    """A gradient function through torch.compile; as it is where compiling fails."""

    def __init__(self, function: GradientFunction, name: str) -> None:
        """Compiling comes with the first call; the name is for people."""
        # Forward and backward become one graph, instead of a break at torch.autograd.grad
        # (measured: x 1.25 updates per second).
        if hasattr(torch._dynamo.config, "trace_autograd_ops"):
            torch._dynamo.config.trace_autograd_ops = True
        self._eager, self._name, self._is_new = function, name, True
        self._compiled: GradientFunction = torch.compile(function, dynamic=False)
        self.is_used = True
        """False after compiling failed."""

    def __call__(self, batch: SacBatch, noise: Tensor, temperature: Tensor) -> Gradients:
        """What the function returns."""
        if self.is_used:
            try:
                if self._is_new:
                    return self._compile(batch, noise, temperature)
                return self._compiled(batch, noise, temperature)
            except RuntimeError as error:  # torch's own, from a missing compiler on
                self.is_used = False
                reason = str(error).strip().splitlines()[0]
                logger.warning("training goes on without torch.compile: %s", reason)
        return self._eager(batch, noise, temperature)

    def _compile(self, *inputs: Any) -> Gradients:  # noqa: ANN401
        """The first call, which takes long."""
        logger.info("compiling the update of the %s", self._name)
        begin, self._is_new = time.monotonic(), False
        gradients = self._compiled(*inputs)
        logger.info("compiled it in %.0f s", time.monotonic() - begin)
        return gradients
