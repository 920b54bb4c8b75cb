"""A meta-controller that picks a skill every few control steps, by stable-baselines3.

    PYTHONPATH=benchmark python -m baselines.meta --config FILE --seed 0 --out FOLDER

The hierarchies of Sharma et al. 2020, figure 8: SAC over continuous skills, PPO over discrete.
One is trained from scratch for each goal of a test, on that goal alone, one goal after the other,
and its policy is kept at some numbers of samples. A run that was stopped goes on from its last
checkpoint, with other starts than it would have had, and with the same ones whenever it goes on
from there.

Shapes: N robots that learn, R that are measured, T steps, D skill dimensions, A actuators.
"""

import copy
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from baselines.config import POLICY_FOLDER, MetaConfig
from baselines.goal_env import Array, GoalVecEnv, observation_of
from baselines.run import Watch, begin, drive, main, seed_of
from baselines.sb3 import TrainedPolicy, load_agent, new_agent, save_agent, steps_made
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv
from dads_ros.errors import ConfigError
from dads_ros.evaluation.goals import GoalMetrics, sample_goals
from dads_ros.files import find_file
from dads_ros.process import STOP
from dads_ros.skills import SkillSpace

Float32 = NDArray[np.float32]


class SkillVecEnv(GoalVecEnv):
    """N robots with one goal; an action is a skill, which is held for some control steps."""

    def __init__(self, bundle: SkillBundle, config: MetaConfig, goal: Array, *, seed: int) -> None:
        """Start all; ``goal`` is x, y in the world frame, m."""
        self._bundle, self._config, self._goal = bundle, config, goal
        super().__init__(
            RobotModel(bundle.robot),
            config.num_envs,
            seed=seed,
            is_sparse=False,
            episode_steps=config.episode_steps,
            action_steps=config.skill_steps,
        )
        self._skills = bundle.skill_space
        self.action_space = action_space(self._skills, config.skill_range)

    def _command(self) -> Array:
        skills = skills_of(self._skills, self._actions, self._config.skill_range)
        return self._bundle.command(np.nan_to_num(self._env.policy_obs()), skills)

    def _draw(self, num: int) -> Array:
        return np.tile(self._goal, (num, 1))


def action_space(skills: SkillSpace, part: float) -> spaces.Space:
    """What is picked from: numbers of skills, or the box around this part of the prior."""
    if skills.config.kind == "discrete":
        return spaces.Discrete(skills.dim)
    reach = np.diag(skills.clip(1e6 * np.eye(skills.dim), part))
    return spaces.Box(-reach, reach, dtype=np.float32)


def skills_of(skills: SkillSpace, actions: Array, part: float) -> Float32:
    """The skills that are meant; outside this part of the prior the nearest. Shape (N, D)."""
    if skills.config.kind == "discrete":
        return skills.grid(skills.dim)[actions]
    return skills.clip(actions, part)


def load_skills(config: MetaConfig) -> SkillBundle:
    """The bundle. Raises: DadsError."""
    bundle = SkillBundle(find_file(config.bundle, folder="models"))
    if bundle.frame != "world":
        raise ConfigError(
            f"'bundle' is '{config.bundle}', whose skills are seen from the heading, which a "
            "meta-controller does not see; expected one with 'frame: world'"
        )
    return bundle


def goals_of_test(config: MetaConfig, bundle: SkillBundle) -> NDArray[np.float64]:
    """World frame, m. Shape (test_goals, 2)."""
    return sample_goals(bundle.robot, config.test_goals, config.test_range_m, config.test_seed)


def algorithm(skills: SkillSpace) -> type[BaseAlgorithm]:
    """PPO where skills are discrete, which SAC cannot pick."""
    return PPO if skills.config.kind == "discrete" else SAC


class Training:
    """From goal to goal, and for each from one number of samples to the next."""

    def __init__(self, config: MetaConfig, seed: int) -> None:
        """Begin with the first."""
        self._config, self._seed, self._bundle = config, seed, load_skills(config)
        self._goals = goals_of_test(config, self._bundle)
        self._stages = list(itertools.product(range(config.test_goals), config.samples))
        self.policies: list[TrainedPolicy] = []
        """Of the stages that are over."""
        self._agent = self._new_agent()

    @property
    def is_over(self) -> bool:
        """For all goals."""
        return len(self.policies) == len(self._stages)

    @property
    def num_env_steps(self) -> int:
        """Control steps of all robots together, for all goals."""
        config = self._config
        return self._goal * config.samples[-1] + self._agent.num_timesteps * config.skill_steps

    @property
    def _goal(self) -> int:
        """The one of today's agent."""
        return self._stages[min(len(self.policies), len(self._stages) - 1)][0]

    def learn(self, watch: Watch) -> None:
        """To the end of a stage, where the policy is kept, or until the watch ends it."""
        goal, samples = self._stages[len(self.policies)]
        left = samples // self._config.skill_steps - self._agent.num_timesteps
        if left > 0:
            self._agent.learn(
                left,
                callback=lambda *_: watch.goes_on(self.num_env_steps),
                reset_num_timesteps=False,
            )
        if STOP.is_asked:
            return
        self.policies.append(TrainedPolicy.of(self._agent))
        if self._goal != goal:
            self._agent = self._new_agent()

    def save(self, folder: Path) -> None:
        """Everything that ``restore`` needs."""
        self.keep(folder)
        save_agent(self._agent, folder)

    def keep(self, folder: Path) -> None:
        """The policies alone."""
        for stage, policy in zip(self._stages, self.policies, strict=False):
            policy.save(folder_of(folder, *stage))

    def restore(self, folder: Path) -> None:
        """Go on from what ``save`` left."""
        kind = algorithm(self._bundle.skill_space)
        folders = [folder_of(folder, *stage) for stage in self._stages]
        self.policies = [TrainedPolicy.load(kind, each) for each in folders if each.exists()]
        self._agent = load_agent(kind, folder, self._env(steps_made(folder)))

    def _env(self, steps: int) -> SkillVecEnv:
        """Robots that go to today's goal; not from the starts again that were seen."""
        goal, seed = self._goals[self._goal], seed_of(self._seed, self._goal, 1, steps)
        return SkillVecEnv(self._bundle, self._config, goal, seed=seed)

    def _new_agent(self) -> BaseAlgorithm:
        config, kind = self._config, algorithm(self._bundle.skill_space)
        own = {"n_steps": config.rollout_skills}
        if kind is SAC:
            own = {
                "buffer_size": config.samples[-1] // config.skill_steps,
                "learning_starts": config.learning_starts // config.skill_steps,
                "gradient_steps": -1,  # as many as there are new samples
            }
        env = VecNormalize(self._env(0), norm_obs_keys=["observation"], gamma=config.discount)
        return new_agent(kind, env, config, seed_of(self._seed, self._goal, 0), **own)


def folder_of(folder: Path, goal: int, samples: int) -> Path:
    """Of the policy for a goal after so many samples."""
    return folder / f"goal{goal}" / str(samples)


def train(config: MetaConfig, seed: int, out: Path) -> int:
    """Train to the end or until a signal. Returns: the exit code."""
    training = Training(config, seed)
    watch = begin(training, out, config, seed, f"meta-controllers for {config.test_goals} goals")
    while not (training.is_over or STOP.is_asked):
        training.learn(watch)
    return watch.end(training.keep)


class MetaAgent:
    """Goes to goals that it was trained for, each with a policy of its own; mean action."""

    def __init__(self, config: MetaConfig, folder: Path, training_commit: str) -> None:
        """Load it from the folder of its run, as it was in the end."""
        self._config, self._folder, self.training_commit = config, folder, training_commit
        self._bundle = load_skills(config)
        self.model = RobotModel(self._bundle.robot)
        self._goals = goals_of_test(config, self._bundle)
        self._samples = config.samples[-1]

    def after(self, samples: int) -> "MetaAgent":
        """The same as it was after so many samples for each goal. Raises: ConfigError."""
        if samples not in self._config.samples:
            raise ConfigError(
                f"no policy was kept after {samples} samples; expected one of "
                f"{', '.join(map(str, self._config.samples))}"
            )
        earlier = copy.copy(self)
        earlier._samples = samples
        return earlier

    def go(
        self, goals: ArrayLike, steps: int, *, seed: int, progress: Callable[[int], None]
    ) -> GoalMetrics:
        """Drive one robot to each goal (R, 2), world frame, m, for T steps from the origin.

        Starts are those of ``evaluation.driving.Driver`` with the same seed. Raises: ConfigError
        for a goal that nothing was trained for.
        """
        goals, kind = np.asarray(goals, float), algorithm(self._bundle.skill_space)
        same = (goals[:, None] == self._goals).all(axis=-1)
        if not same.any(axis=1).all():
            raise ConfigError(
                f"no meta-controller was trained for the goal {goals[~same.any(axis=1)][0]}; "
                "expected the goals of the test that it was trained for"
            )
        trained_for, step = same.argmax(axis=1), itertools.count()
        policies = {
            goal: TrainedPolicy.load(
                kind, folder_of(self._folder / POLICY_FOLDER, goal, self._samples)
            )
            for goal in np.unique(trained_for).tolist()
        }
        skills: Float32 = np.zeros((len(goals), self._bundle.skill_space.dim), np.float32)

        def command(env: VectorEnv) -> Array:
            seen = observation_of(env, goals)
            if next(step) % self._config.skill_steps == 0:
                for goal, policy in policies.items():
                    rows = trained_for == goal
                    actions = policy.act({name: part[rows] for name, part in seen.items()})
                    skills[rows] = skills_of(
                        self._bundle.skill_space, actions, self._config.skill_range
                    )
            return self._bundle.command(seen["observation"], skills)

        return drive(self.model, command, goals, steps, seed=seed, progress=progress)


if __name__ == "__main__":
    sys.exit(main(train, MetaConfig))
