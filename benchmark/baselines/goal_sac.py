"""Goal-conditioned SAC, with and without HER, by stable-baselines3 on our robots.

    PYTHONPATH=benchmark python -m baselines.goal_sac --config FILE --seed 0 --out FOLDER

A run that was stopped goes on from its last checkpoint, with other goals than it would have had,
and with the same ones whenever it goes on from there.
The policy sees what those of skills see and where its goal lies from it, along the axes of the
world. Shapes: R robots, T steps.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.sac.policies import MultiInputPolicy

from baselines.config import POLICY_FOLDER, GoalSacConfig
from baselines.goal_env import Array, GoalFromHere, GoalVecEnv, observation_of
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv, one_episode_env
from dads_ros.errors import DadsError
from dads_ros.evaluation.driving import follow
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.files import atomic_folder, only_trainer
from dads_ros.process import STOP
from dads_ros.robot import RobotSpec

CHECKPOINT_FOLDER = "checkpoint"
NORMALIZER_FILE, POLICY_FILE = "normalizer.pkl", "policy.pt"
AGENT_FILE, REPLAY_FILE = "agent.zip", "replay.pkl"  # of a checkpoint
LINE_S, CHECKPOINT_S = 10.0, 300.0


def train(config: GoalSacConfig, seed: int, out: Path) -> int:
    """Train to the end or until a signal. Returns: the exit code."""
    checkpoint, model = out / CHECKPOINT_FOLDER, RobotModel(RobotSpec.load(config.robot))
    is_resumed, steps = checkpoint.exists(), 0
    if is_resumed:
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
    if is_resumed:
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
    left = config.num_env_steps - agent.num_timesteps
    _say(f"training goal-conditioned SAC in '{out}', {left} of {config.num_env_steps} steps left")
    if left > 0:
        watch = _Watch(config.num_env_steps, lambda: _save_checkpoint(agent, checkpoint))
        agent.learn(left, callback=watch, reset_num_timesteps=False)
    if STOP.is_asked:
        _save_checkpoint(agent, checkpoint)
        _say(f"stopped at step {agent.num_timesteps}; the same command goes on")
        return STOP.exit_code
    with atomic_folder(out / POLICY_FOLDER) as temporary:
        agent.policy.save(temporary / POLICY_FILE)
        normalized.save(str(temporary / NORMALIZER_FILE))
    shutil.rmtree(checkpoint, ignore_errors=True)
    return 0


class _Watch(BaseCallback):
    """Says how far it is, saves now and then, stops at a signal."""

    def __init__(self, num_steps: int, save: Callable[[], None]) -> None:
        super().__init__()
        self._num_steps, self._save = num_steps, save
        self._said = self._saved = time.monotonic()

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now - self._said > LINE_S:
            _say(f"step {self.num_timesteps} of {self._num_steps}")
            self._said = now
        if now - self._saved > CHECKPOINT_S:
            self._save()
            self._saved = time.monotonic()
        return not STOP.is_asked


def _save_checkpoint(agent: SAC, folder: Path) -> None:
    """Write a folder that is whole or not there."""
    with atomic_folder(folder) as temporary:
        agent.save(temporary / AGENT_FILE)
        agent.get_vec_normalize_env().save(str(temporary / NORMALIZER_FILE))
        agent.save_replay_buffer(temporary / REPLAY_FILE)


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


def drive(
    model: RobotModel,
    command: Callable[[VectorEnv], Array],
    goals: NDArray[np.float64],
    steps: int,
    *,
    seed: int,
    progress: Callable[[int], None],
) -> GoalMetrics:
    """As ``evaluation.driving.Driver``, without a planner.

    Args:
        model: the robot.
        command: wanted in each control step. Shape (R, A).
        goals: world frame, m. Shape (R, 2).
        steps: T.
        seed: of the starts.
        progress: called with the number of steps made.
    """
    env = one_episode_env(model, len(goals), steps, rng=np.random.default_rng(seed))
    driven = follow(env, steps, lambda _: env.filtered(command(env)), progress=progress)
    return GoalMetrics(goals=goals, **vars(driven))


def main() -> int:
    """Train. Returns: the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    STOP.catch_signals(is_command=True)
    try:
        config = GoalSacConfig.from_yaml(args.config)
        with only_trainer(args.out):
            return train(config, args.seed, args.out)
    except DadsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
