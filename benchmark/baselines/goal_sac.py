"""Goal-conditioned SAC, with and without HER, by stable-baselines3 on our robots.

    PYTHONPATH=benchmark python -m baselines.goal_sac --config FILE --seed 0 --out FOLDER

A run that was stopped goes on from its last checkpoint, with other goals than it would have had,
and with the same ones whenever it goes on from there.
The policy sees what those of skills see and where its goal lies, both from its heading: as with
DADS' yaw symmetry the flat ground is the same at any yaw. Shapes: R robots, T steps.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from baselines.config import POLICY_FOLDER, GoalSacConfig
from baselines.goal_env import Array, GoalVecEnv, observation_of
from baselines.run import Watch, checkpoint_of, drive, main, seed_of
from baselines.sb3 import TrainedPolicy, load_agent, new_agent, save_agent, steps_made
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.robot import RobotSpec


def train(config: GoalSacConfig, seed: int, out: Path) -> int:
    """Train to the end or until a signal. Returns: the exit code."""
    checkpoint, model = checkpoint_of(out, config, seed), RobotModel(RobotSpec.load(config.robot))
    steps = 0 if checkpoint is None else steps_made(checkpoint)
    env = GoalVecEnv(
        model,
        config.num_envs,
        # Not from the start again: the goals there were seen.
        seed=seed_of(seed, steps),
        is_sparse=config.sparse,
        range_m=config.goal_range_m,
        episode_steps=config.episode_steps,
        from_heading=True,
    )
    if checkpoint is not None:
        agent = load_agent(SAC, checkpoint, env)
    else:
        agent = new_agent(
            SAC,
            VecNormalize(env, norm_reward=False, norm_obs_keys=["observation"]),
            config,
            seed,
            replay_buffer_class=HerReplayBuffer if config.her else None,
            buffer_size=config.replay_capacity,
            learning_starts=config.learning_starts,
            gradient_steps=config.updates_per_vector_step,
        )

    watch = Watch(
        out,
        config,
        seed,
        what="goal-conditioned SAC",
        step=agent.num_timesteps,
        save=lambda folder: save_agent(agent, folder),
    )
    left = config.num_env_steps - agent.num_timesteps
    if left > 0:
        agent.learn(
            left,
            callback=lambda *_: watch.goes_on(agent.num_timesteps),
            reset_num_timesteps=False,
        )
    return watch.end(TrainedPolicy.of(agent).save)


class GoalSacAgent:
    """Goes to goals with a policy that was trained; mean action."""

    def __init__(self, robot: str, folder: Path, training_commit: str) -> None:
        """Load it from the folder of its run."""
        self.model = RobotModel(RobotSpec.load(robot))
        self._policy = TrainedPolicy.load(SAC, folder / POLICY_FOLDER)
        self.training_commit = training_commit

    def go(
        self, goals: ArrayLike, steps: int, *, seed: int, progress: Callable[[int], None]
    ) -> GoalMetrics:
        """Drive one robot to each goal (R, 2), world frame, m, for T steps from the origin.

        Starts are those of ``evaluation.driving.Driver`` with the same seed.
        """
        goals = np.asarray(goals, float)

        def command(env: VectorEnv) -> Array:
            return self._policy.act(observation_of(env, goals, from_heading=True))

        return drive(self.model, command, goals, steps, seed=seed, progress=progress)


if __name__ == "__main__":
    sys.exit(main(train, GoalSacConfig))
