"""Goal-conditioned SAC, with and without HER, by stable-baselines3 on our robots.

    PYTHONPATH=benchmark python -m baselines.goal_sac --config FILE --seed 0 --out FOLDER

A run that was stopped goes on from its last checkpoint, with other goals than it would have had,
and with the same ones whenever it goes on from there.
The policy sees what those of skills see and where its goal lies from it, along the axes of the
world. Shapes: R robots, T steps.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.sac.policies import MultiInputPolicy

from baselines.config import POLICY_FOLDER, GoalSacConfig
from baselines.goal_env import Array, GoalFromHere, GoalVecEnv, observation_of
from baselines.run import Watch, checkpoint_of, drive, main
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.robot import RobotSpec

NORMALIZER_FILE, POLICY_FILE = "normalizer.pkl", "policy.pt"
AGENT_FILE, REPLAY_FILE = "agent.zip", "replay.pkl"  # of a checkpoint


def train(config: GoalSacConfig, seed: int, out: Path) -> int:
    """Train to the end or until a signal. Returns: the exit code."""
    checkpoint, model = checkpoint_of(out, config, seed), RobotModel(RobotSpec.load(config.robot))
    steps = 0
    if checkpoint is not None:
        steps = load_from_zip_file(checkpoint / AGENT_FILE)[0]["num_timesteps"]
    env = GoalVecEnv(
        model,
        config.num_envs,
        # Not from the start again: the goals there were seen.
        seed=int(np.random.SeedSequence([seed, steps]).generate_state(1)[0]),
        is_sparse=config.sparse,
        range_m=config.goal_range_m,
        episode_steps=config.episode_steps,
    )
    if checkpoint is not None:
        normalized = VecNormalize.load(str(checkpoint / NORMALIZER_FILE), env)
        agent = SAC.load(checkpoint / AGENT_FILE, env=normalized)
        agent.load_replay_buffer(checkpoint / REPLAY_FILE)
    else:
        normalized = VecNormalize(env, norm_reward=False, norm_obs_keys=["observation"])
        agent = SAC(
            "MultiInputPolicy",
            normalized,
            replay_buffer_class=HerReplayBuffer if config.her else None,
            learning_rate=config.learning_rate,
            buffer_size=config.replay_capacity,
            learning_starts=config.learning_starts,
            batch_size=config.batch_size,
            gamma=config.discount,
            gradient_steps=config.updates_per_vector_step,
            policy_kwargs={
                "features_extractor_class": GoalFromHere,
                "net_arch": list(config.hidden),
            },
            seed=seed,
        )

    def save(folder: Path) -> None:
        agent.save(folder / AGENT_FILE)
        normalized.save(str(folder / NORMALIZER_FILE))
        agent.save_replay_buffer(folder / REPLAY_FILE)

    def keep(folder: Path) -> None:
        agent.policy.save(folder / POLICY_FILE)
        normalized.save(str(folder / NORMALIZER_FILE))

    watch = Watch(
        out,
        config,
        seed,
        what="goal-conditioned SAC",
        step=agent.num_timesteps,
        num_steps=config.num_env_steps,
        save=save,
    )
    left = config.num_env_steps - agent.num_timesteps
    if left > 0:
        agent.learn(left, callback=_Callback(watch), reset_num_timesteps=False)
    return watch.end(keep)


class _Callback(BaseCallback):
    """Asks the watch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def _on_step(self) -> bool:
        return self._watch.goes_on(self.num_timesteps)


class GoalSacAgent:
    """Goes to goals with a policy that was trained; mean action."""

    def __init__(self, robot: str, folder: Path, training_commit: str) -> None:
        """Load it from the folder of its run."""
        policy = folder / POLICY_FOLDER
        self.model = RobotModel(RobotSpec.load(robot))
        env = GoalVecEnv(self.model, 1, seed=0, is_sparse=False)
        self._normalizer = VecNormalize.load(str(policy / NORMALIZER_FILE), env)
        self._policy = MultiInputPolicy.load(policy / POLICY_FILE)
        self.training_commit = training_commit

    def go(
        self, goals: ArrayLike, steps: int, *, seed: int, progress: Callable[[int], None]
    ) -> GoalMetrics:
        """Drive one robot to each goal (R, 2), world frame, m, for T steps from the origin.

        Starts are those of ``evaluation.driving.Driver`` with the same seed.
        """
        goals = np.asarray(goals, float)

        def command(env: VectorEnv) -> Array:
            seen = {k: np.nan_to_num(v) for k, v in observation_of(env, goals).items()}
            normalized = self._normalizer.normalize_obs(seen)
            wanted, _ = self._policy.predict(normalized, deterministic=True)
            return np.asarray(wanted)

        return drive(self.model, command, goals, steps, seed=seed, progress=progress)


if __name__ == "__main__":
    sys.exit(main(train, GoalSacConfig))
