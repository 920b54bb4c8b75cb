"""How fast training is: the whole loop, and its parts alone.

    python benchmark/training_throughput.py [--config config/train/ant.yaml] [--iterations 60]

With the extra 'benchmark' installed, SAC updates of stable-baselines3 with the same sizes run
beside ours, in turn, on as many threads (one).

Quality: the intrinsic reward of the last iteration and how far skills go after so few of them; the
figures of a whole run are in docs/results.md.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from report import print_report

from dads_ros.envs.vector_env import VectorEnv, available_cores
from dads_ros.files import find_file
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.intrinsic_reward import intrinsic_reward
from dads_ros.learning.networks import one_thread
from dads_ros.learning.sac import SacBatch
from dads_ros.learning.trainer import Trainer

PART_SECONDS = 3.0
SAC_ROUNDS = 5
REWARD_BATCH = 2048


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="ant")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    path = find_file(args.config, folder="config/train", suffix=".yaml")
    config = TrainConfig.from_yaml(path)
    config = dataclasses.replace(config, seed=args.seed, evaluate_every=10**9)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Path(folder))
        report = {
            "config": path.name,
            "seed": args.seed,
            "iterations": args.iterations,
            "whole": time_whole(trainer, args.iterations),
            "parts_alone": {
                "env_steps_per_s": rate(*physics_part(trainer)),
                **sac_rates(trainer),
                "rewards_per_s": rate(*reward_part(trainer)),
            },
        }
        skills = trainer.selection.evaluate(trainer.agent.learned_skills())
        report["mean_displacement_m"] = round(float(skills.distance.mean()), 3)
    print_report("training_throughput", report)


def time_whole(trainer: Trainer, num_iterations: int) -> dict[str, float]:
    """Rates of the loop itself, from the first iteration that learns on."""
    begin, first, values = 0.0, None, {}
    for metrics in trainer.iterations():
        if metrics.num_gradient_steps == 0:
            continue
        if first is None:
            first, begin = metrics, time.perf_counter()
        values = metrics.values
        if metrics.iteration - first.iteration >= num_iterations:
            break
    seconds = time.perf_counter() - begin
    assert first is not None
    updates = metrics.num_gradient_steps - first.num_gradient_steps
    return {
        "env_steps_per_s": round((metrics.num_env_steps - first.num_env_steps) / seconds, 1),
        "sac_updates_per_s": round(updates / seconds, 1),
        "rewards_per_s": round(updates * trainer.config.sac.batch_size / seconds, 1),
        "reward": round(values["reward"], 4),
    }


def physics_part(trainer: Trainer) -> tuple[Callable[[], object], int]:
    """Control steps of all robots under random commands, on all cores."""
    num, rng = trainer.config.collect.num_envs, np.random.default_rng(0)
    env = VectorEnv(trainer.model, num, rng=rng, episode_steps=200, num_threads=available_cores())
    low, high = trainer.robot.command_limits
    return lambda: env.step(rng.uniform(low, high, (num, len(low)))), num


def sac_rates(trainer: Trainer) -> dict[str, float | None]:
    """Ours and theirs, in turn; medians. None where stable-baselines3 is not installed."""
    with one_thread():
        ours, theirs = sac_part(trainer), baselines_part(trainer)
        rounds = [(rate(*ours), rate(*theirs) if theirs else None) for _ in range(SAC_ROUNDS)]
    mine = statistics.median(own for own, _ in rounds)
    if theirs is None:
        return {"sac_updates_per_s": mine, "stable_baselines3_updates_per_s": None}
    other = statistics.median(other or 0.0 for _, other in rounds)
    return {
        "sac_updates_per_s": mine,
        "stable_baselines3_updates_per_s": other,
        "ratio_to_stable_baselines3": round(mine / other, 3),
    }


def baselines_part(trainer: Trainer) -> tuple[Callable[[], object], int] | None:
    """Updates of stable-baselines3's SAC: same networks, batch size and dimensions."""
    try:
        import gymnasium
        from stable_baselines3 import SAC
    except ImportError:
        return None
    config = trainer.config.sac

    class Still(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-10.0, 10.0, (trainer.agent.features.dim,))
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (trainer.robot.command_dim,))

        def reset(
            self, *, seed: int | None = None, options: dict[str, object] | None = None
        ) -> tuple[object, dict[str, object]]:
            return self.observation_space.sample(), {}

        def step(self, action: object) -> tuple[object, float, bool, bool, dict[str, object]]:
            return self.observation_space.sample(), 0.0, False, False, {}

    agent = SAC(
        "MlpPolicy",
        Still(),
        batch_size=config.batch_size,
        policy_kwargs={"net_arch": list(config.hidden)},
        buffer_size=10_000,
        learning_starts=2000,
        gradient_steps=0,
        device=trainer.agent.device,
    )
    agent.learn(2000)
    return lambda: agent.train(16, config.batch_size), 16


def sac_part(trainer: Trainer) -> tuple[Callable[[], object], int]:
    """Updates on one random batch."""
    size, features = trainer.config.sac.batch_size, trainer.agent.features.dim
    action_dim, device = trainer.robot.command_dim, trainer.agent.device
    batch = SacBatch(
        features=torch.randn(size, features, device=device),
        action=torch.rand(size, action_dim, device=device) * 2.0 - 1.0,
        reward=torch.randn(size, device=device),
        next_features=torch.randn(size, features, device=device),
        terminated=torch.zeros(size, dtype=torch.bool, device=device),
    )
    noise = torch.randn(2, size, action_dim, device=device)
    return lambda: trainer.agent.sac.update(batch, noise), 1


def reward_part(trainer: Trainer) -> tuple[Callable[[], object], int]:
    """Intrinsic rewards of a batch, each against all skills of the prior's sample."""
    agent, rng = trainer.agent, np.random.default_rng(0)
    skill = torch.from_numpy(agent.skill_space.sample(REWARD_BATCH, rng)).to(agent.device)
    alt = torch.from_numpy(agent.skill_space.sample(agent.config.reward.num_alt_skills, rng))
    alt = alt.to(agent.device)

    @torch.no_grad()
    def compute() -> None:
        delta = agent.q.mean(skill)
        intrinsic_reward(agent.q.log_prob(delta, skill), agent.q.log_prob_of_all(delta, alt))

    return compute, REWARD_BATCH


def rate(call: Callable[[], object], items: int) -> float:
    """Items per second over a few seconds, after a warm-up."""
    for _ in range(3):
        call()
    begin, calls = time.perf_counter(), 0
    while time.perf_counter() - begin < PART_SECONDS:
        call()
        calls += 1
    return round(calls * items / (time.perf_counter() - begin), 1)


if __name__ == "__main__":
    main()
