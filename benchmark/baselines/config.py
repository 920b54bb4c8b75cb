"""Settings of the baselines; they import nothing that those need."""

import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal

from dads_ros.config import REQUIRED, Config, PlannerConfig, setting
from dads_ros.errors import ConfigError

PetsKind = Literal["random", "weak_oracle", "strong_oracle"]
POLICY_FOLDER = "policy"
"""Of a run, where it leaves its policy, or what plans for it."""


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(Config):
    """One training run of any baseline."""

    may_change: ClassVar[tuple[str, ...]] = ()
    """Settings that a run which goes on need not have been begun with: what ends it."""
    num_envs: int = setting(32, min=1, help="Robots.")
    episode_steps: int = setting(200, min=1, help="Control steps to a goal.")
    learning_starts: int = setting(10_000, min=0, help="Control steps with random actions.")
    batch_size: int = setting(256, min=1, help="Transitions of an update.")

    @property
    def num_env_steps(self) -> int:
        """Control steps of all robots together that end it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class CommandsConfig(BaselineConfig):
    """Of a baseline that learns which commands to send."""

    may_change: ClassVar[tuple[str, ...]] = ("num_env_steps",)
    robot: str = setting(REQUIRED, help="Robot file: the name of a shipped one.")
    num_env_steps: int = setting(
        2_457_600,
        min=1,
        help="Control steps of all robots together: those of the Ant's skills, with their refit.",
    )


@dataclass(frozen=True, kw_only=True)
class TestedConfig(Config):
    """Of a baseline that learns with goals of the test."""

    test_seed: int = setting(2020, min=0, help="Of the test's goals.")
    test_goals: int = setting(256, min=1, help="Their number.")
    test_range_m: float = setting(15.0, min=0.1, help="They lie in a square of twice this side.")


@dataclass(frozen=True, kw_only=True)
class GoalSacConfig(CommandsConfig):
    """Goal-conditioned SAC."""

    sparse: bool = setting(REQUIRED, help="Reward -1 but near the goal; else minus the distance.")
    her: bool = setting(REQUIRED, help="Four in five goals of a batch are places reached later.")
    goal_range_m: float = setting(10.0, min=0.1, help="Goals lie in a square of twice this side.")
    updates_per_vector_step: int = setting(2, min=1, help="Updates after a step of all robots.")
    replay_capacity: int = setting(500_000, min=1, help="Control steps.")
    hidden: tuple[int, ...] = setting((256, 256), min=1, help="Hidden layers of all networks.")
    learning_rate: float = setting(3e-4, min=0.0, help="Of Adam.")
    discount: float = setting(0.99, min=0.0, max=1.0, help="Of rewards.")

    def __post_init__(self) -> None:
        """Check what spans several fields. Raises: ConfigError."""
        super().__post_init__()
        whole = self.num_envs * self.episode_steps
        if self.her and self.learning_starts < whole:
            raise ConfigError(
                f"'learning_starts' is {self.learning_starts}; 'her' learns from whole episodes, "
                f"and the first end after 'num_envs' {self.num_envs} x 'episode_steps' "
                f"{self.episode_steps}: expected at least {whole}"
            )


@dataclass(frozen=True, kw_only=True)
class PetsConfig(CommandsConfig, TestedConfig):
    """PETS: a model of the whole state, and plans of commands."""

    may_change: ClassVar[tuple[str, ...]] = ("num_env_steps", "max_minutes")
    kind: PetsKind = setting(
        REQUIRED,
        help="Learns from random commands, or from its own plans: to goals drawn as the test's "
        "for each episode, or to one of the test's goals.",
    )
    max_minutes: float | None = setting(
        None,
        min=0.0,
        help="Processor time after which training ends; null: by control steps alone.",
    )
    updates_per_vector_step: int = setting(2, min=1, help="Updates after a step of all robots.")
    replay_capacity: int = setting(1_000_000, min=1, help="Control steps; the newest are kept.")
    num_networks: int = setting(3, min=1, help="Of the ensemble.")
    hidden: tuple[int, ...] = setting((400, 400), min=1, help="Hidden layers of all networks.")
    learning_rate: float = setting(1e-3, min=0.0, help="Of Adam.")
    planning_horizon: int = setting(20, min=1, help="Control steps of a plan.")
    num_samples: int = setting(24, min=2, help="Plans that are weighed in each control step.")
    noise_std: float = setting(0.25, min=0.0, help="Of sampled commands; half their range is 1.")
    smoothing: float = setting(0.8, min=0.0, max=0.99, help="Correlation with the step before.")
    temperature_m: float = setting(
        0.02, min=1e-6, help="A plan weighs exp(-cost / this); the cost is a mean distance."
    )


@dataclass(frozen=True, kw_only=True)
class MetaConfig(BaselineConfig, TestedConfig):
    """A meta-controller over skills for each goal of the test: SAC, or PPO over discrete ones."""

    bundle: str = setting(
        REQUIRED, help="Skills: the folder of a bundle, or a shipped one's name."
    )
    test_goals: int = setting(16, min=1, help="Their number.")
    samples: tuple[int, ...] = setting(
        (25_000, 50_000, 100_000, 200_000),
        min=1,
        help="Control steps for a goal after which its policy is kept; the last ends it.",
    )
    skill_steps: int = setting(10, min=1, help="Control steps that a skill is held.")
    skill_range: float = setting(
        PlannerConfig().skill_range,
        min=0.01,
        max=1.0,
        help="Part of a continuous prior that is picked from; by default as planners do.",
    )
    num_envs: int = setting(10, min=1, help="Robots.")
    learning_starts: int = setting(2000, min=0, help="SAC: control steps with random skills.")
    rollout_skills: int = setting(25, min=2, help="PPO: skills of each robot between updates.")
    batch_size: int = setting(125, min=2, help="Transitions of an update.")
    hidden: tuple[int, ...] = setting((128, 128), min=1, help="Hidden layers; the paper's.")
    learning_rate: float = setting(3e-4, min=0.0, help="Of Adam.")
    discount: float = setting(0.95, min=0.0, max=1.0, help="Of rewards, for each skill.")

    def __post_init__(self) -> None:
        """Check what spans several. Raises: ConfigError."""
        super().__post_init__()
        if self.episode_steps % self.skill_steps:
            raise ConfigError(
                f"'episode_steps' is {self.episode_steps}; it must be a multiple of "
                f"'skill_steps', {self.skill_steps}"
            )
        rollout = self.num_envs * self.rollout_skills * self.skill_steps
        pairs = itertools.pairwise((0, *self.samples))
        if not self.samples or any(b <= a or b % rollout for a, b in pairs):
            raise ConfigError(
                f"'samples' is {list(self.samples)}; expected growing multiples of {rollout}, "
                "which is num_envs x rollout_skills x skill_steps: PPO's policy changes only then"
            )

    @property
    def num_env_steps(self) -> int:
        """Control steps for all goals."""
        return self.test_goals * self.samples[-1]
