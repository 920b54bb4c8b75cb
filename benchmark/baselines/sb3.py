"""What trainings by stable-baselines3 leave: a checkpoint, a policy."""

import functools
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecNormalize

from baselines.config import GoalSacConfig, MetaConfig
from baselines.goal_env import Array, GoalFromHere, GoalVecEnv, Observation

POLICY = "MultiInputPolicy"
NORMALIZER_FILE, POLICY_FILE = "normalizer.pkl", "policy.pt"
DEVICE = "cpu"
"""What is learned and measured does not depend on there being a GPU."""
AGENT_FILE, REPLAY_FILE = "agent.zip", "replay.pkl"  # of a checkpoint


def new_agent(
    kind: type[BaseAlgorithm],
    env: VecNormalize,
    config: GoalSacConfig | MetaConfig,
    seed: int,
    **own: Any,  # noqa: ANN401
) -> BaseAlgorithm:
    """An agent that sees its goal from where it is; ``own``: settings of its algorithm."""
    return kind(
        POLICY,
        env,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        gamma=config.discount,
        policy_kwargs={
            "features_extractor_class": GoalFromHere,
            "net_arch": list(config.hidden),
        },
        seed=seed,
        device=DEVICE,
        **own,
    )


def save_agent(agent: BaseAlgorithm, folder: Path) -> None:
    """Everything that ``load_agent`` needs, but for the robots: their episodes begin anew."""
    agent.save(folder / AGENT_FILE)
    agent.get_vec_normalize_env().save(str(folder / NORMALIZER_FILE))
    if isinstance(agent, OffPolicyAlgorithm):
        agent.save_replay_buffer(folder / REPLAY_FILE)


def steps_made(folder: Path) -> int:
    """By the agent of a checkpoint: steps of the environment, of all robots together."""
    return int(load_from_zip_file(folder / AGENT_FILE)[0]["num_timesteps"])


def load_agent(kind: type[BaseAlgorithm], folder: Path, env: GoalVecEnv) -> BaseAlgorithm:
    """The agent of a checkpoint, on other robots.

    Steps since the last update of PPO were not learned from, and are made again.
    """
    normalized = VecNormalize.load(str(folder / NORMALIZER_FILE), env)
    agent = kind.load(folder / AGENT_FILE, env=normalized, device=DEVICE)
    if isinstance(agent, OnPolicyAlgorithm):
        num_rollouts = agent._n_updates // agent.n_epochs
        agent.num_timesteps = num_rollouts * agent.n_steps * agent.n_envs
    if isinstance(agent, OffPolicyAlgorithm):
        agent.load_replay_buffer(folder / REPLAY_FILE)
    return agent


@dataclass(frozen=True)
class TrainedPolicy:
    """A policy, with the normaliser of what it sees, as the library writes them."""

    kind: type[BasePolicy]
    policy: bytes
    normalizer: bytes

    @classmethod
    def of(cls, agent: BaseAlgorithm) -> Self:
        """The agent's, as it is now."""
        stream = io.BytesIO()
        agent.policy.save(stream)
        normalizer = pickle.dumps(agent.get_vec_normalize_env())
        return cls(type(agent.policy), stream.getvalue(), normalizer)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / POLICY_FILE).write_bytes(self.policy)
        (folder / NORMALIZER_FILE).write_bytes(self.normalizer)

    @classmethod
    def load(cls, kind: type[BaseAlgorithm], folder: Path) -> Self:
        """Read what ``save`` wrote, of an agent of this kind."""
        files = [(folder / name).read_bytes() for name in (POLICY_FILE, NORMALIZER_FILE)]
        return cls(kind.policy_aliases[POLICY], *files)

    def act(self, seen: Observation) -> Array:
        """Mean actions, or the likeliest ones. Shape (N, ...)."""
        policy, normalizer = self._ready
        return np.asarray(policy.predict(normalizer.normalize_obs(seen), deterministic=True)[0])

    @functools.cached_property
    def _ready(self) -> tuple[BasePolicy, VecNormalize]:
        return self.kind.load(io.BytesIO(self.policy), DEVICE), pickle.loads(self.normalizer)
