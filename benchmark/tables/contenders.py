"""Who is measured: planning over skills, shipped or trained for it, and those it is compared with.

Shapes: R robots, T steps, K candidates.
"""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import yaml
from baselines.config import (
    POLICY_FOLDER,
    BaselineConfig,
    CommandsConfig,
    GoalSacConfig,
    MetaConfig,
    PetsConfig,
)
from numpy.typing import ArrayLike

from dads_ros.bundle.manifest import BUNDLE_FOLDER, BundleManifest
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import Config, CostsConfig, PlannerConfig, SkillPriorConfig, read_yaml
from dads_ros.envs.model import RobotModel
from dads_ros.errors import ConfigError
from dads_ros.evaluation.driving import Array, Driver
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.files import atomic_write, find_file, make_output_folder, source_commit
from dads_ros.learning.config import TrainConfig
from dads_ros.planning.costs import Candidates, Cost, distance_from
from dads_ros.planning.tasks import Task
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec, read_robot_file

Values = dict[str, Any]
Command = Callable[[Sequence[str]], None]
"""Runs ``python -m`` with these arguments to its end. Raises: CalledProcessError, with the
last line that it said as ``output``."""
RUNS = Path(__file__).resolve().parents[2] / "runs" / "tables"
"""Training runs, by the hash of what is said about them: what is said otherwise is another run."""
STOPPED_BY_ITSELF = ("skills collapsed", "training diverged")
"""What a run says then, in its last line."""
BEGUN_FILE, SECONDS_FILE = "begun.json", "seconds.txt"
"""In a run folder: commit and settings at its beginning; wall time."""
PACKAGES = ("mujoco", "numpy", "onnxruntime")
"""What figures of a bundle may depend on."""
CONFIGS: dict[str, type[Config]] = {
    "costs": CostsConfig,
    "goal_sac": GoalSacConfig,
    "meta": MetaConfig,
    "pets": PetsConfig,
    "planner": PlannerConfig,
    "prediction": PredictionSpec,
    "robot": RobotSpec,
    "skill_prior": SkillPriorConfig,
    "training": TrainConfig,
}
"""Parts of a contender's settings."""


class Agent(Protocol):
    """Goes to goals, as one training seed has learned it."""

    model: RobotModel

    @property
    def training_commit(self) -> str:
        """Of the code that trained it."""

    def go(
        self, goals: ArrayLike, steps: int, *, seed: int, progress: Callable[[int], None]
    ) -> GoalMetrics:
        """Drive one robot to each goal (R, 2), world frame, m, for T steps from the origin.

        Args:
            goals: R of them.
            steps: T.
            seed: of starts, which are the same for every agent, and of what it draws itself.
            progress: called with the number of steps made.
        """


@runtime_checkable
class LearningAgent(Agent, Protocol):
    """One that has learned the goals that it is measured on."""

    def after(self, samples: int) -> Self:
        """As it was after so many control steps for each goal."""


@runtime_checkable
class OracleAgent(Agent, Protocol):
    """One that may have learned a single goal of the test."""

    own_goal: Array | None
    """World frame, m. Shape (2,); None: it has learned others."""


class Learned(Protocol):
    """What has training seeds."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds."""

    def settings(self) -> Values:
        """What results depend on, as plain data."""

    @property
    def packages(self) -> tuple[str, ...]:
        """What results depend on besides the code."""

    def num_env_steps(self) -> int:
        """Control steps of training and of a refit, of all robots together."""

    def training(self, seed: int) -> str:
        """Name of what is trained first: two of the same name are not trained at a time."""

    def train(self, seed: int, command: Command) -> None:
        """Train, or go on with it; nothing where that was done."""

    def train_s(self, seed: int) -> float | None:
        """Wall time of that; None where it was not done here."""


class Skills(Learned, Protocol):
    """Where a bundle of each training seed comes from."""

    def bundle(self, seed: int) -> Path:
        """Its folder; after training."""


class Contender(Learned, Protocol):
    """Who has a row in a table."""

    def load(self, seed: int) -> Agent:
        """Of a seed that was trained."""


@dataclass(frozen=True)
class Shipped:
    """A bundle of ``models/``: one training seed, nothing to train."""

    name: str
    packages = PACKAGES

    @functools.cached_property
    def _manifest(self) -> BundleManifest:
        return BundleManifest.load(self.bundle(0))

    @functools.cached_property
    def _robot(self) -> Values:
        return _described(self._manifest.robot)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The one in bundle.yaml."""
        return (self._manifest.training_config["seed"],)

    def settings(self) -> Values:
        """Its networks, and what bundle.yaml says about their use."""
        values = self._manifest.to_dict()
        used = ("files", "skill_part", "skill_prior", "prediction")
        return {
            "bundle": f"models/{self.name}",
            **{name: values[name] for name in used},
            "robot": self._robot,
        }

    def num_env_steps(self) -> int:
        """By its training settings."""
        is_refitted = self._manifest.refit_commit is not None
        return _env_steps(self._manifest.training_config, is_refitted)

    def bundle(self, seed: int) -> Path:
        """The folder in models/."""
        return find_file(self.name, folder="models")

    def training(self, seed: int) -> str:
        """The bundle's."""
        return self.name

    def train(self, seed: int, command: Command) -> None:
        """Nothing: it was."""

    def train_s(self, seed: int) -> None:
        """Not done here."""


@dataclass(frozen=True)
class Trained:
    """A run of ``dads-ros train`` for each seed."""

    config: str
    """Name in config/train."""
    seeds: tuple[int, ...]
    changes: Values = field(default_factory=dict)
    """Settings that differ, by part."""
    packages = (*PACKAGES, "torch")

    def settings(self) -> Values:
        """All of training, those that are as by default as well, and the robot."""
        training = TrainConfig.from_dict(self._values(), self.config).to_dict()
        del training["seed"]
        return {"training": training, "robot": _robot(training["robot"])}

    def num_env_steps(self) -> int:
        """By its training settings."""
        training = self.settings()["training"]
        return _env_steps(training, training["skill_dynamics"]["refit"])

    def bundle(self, seed: int) -> Path:
        """In the run folder."""
        return self._run(seed).folder / BUNDLE_FOLDER

    def training(self, seed: int) -> str:
        """Its folder."""
        return str(self._run(seed).folder)

    def train(self, seed: int, command: Command) -> None:
        """Train until the bundle is there; an interrupted run goes on from its checkpoint.

        One that collapses or diverges counts with its best skills of before: rows would look
        better than they are without their worst seeds.
        """
        run = self._run(seed)
        config = run.begin(self.settings(), self._values())
        if self.bundle(seed).exists():
            return
        resume = ["--resume"] if (run.folder / "checkpoint.pt").exists() else []
        chosen = ["--config", config, "--seed", str(seed), "--out", str(run.folder)]
        try:
            run.call(command, ["dads_ros", "train", *chosen, *resume])
        except CalledProcessError as error:
            if not any(words in (error.output or "") for words in STOPPED_BY_ITSELF):
                raise
            bundle = str(self.bundle(seed))
            run.call(command, ["dads_ros", "export", str(run.folder), "--out", bundle])

    def train_s(self, seed: int) -> float | None:
        """By the run."""
        return self._run(seed).seconds

    def _values(self) -> Values:
        """What the YAML file says, with the changes."""
        values = read_yaml(find_file(self.config, folder="config/train", suffix=".yaml"))
        for name, part in self.changes.items():
            is_part = isinstance(part, dict) and name in values
            values[name] = values[name] | part if is_part else part
        return dict(values)

    def _run(self, seed: int) -> "TrainingRun":
        values = self._values()
        return TrainingRun.of(self.config, [values, read_robot_file(values["robot"])[0]], seed)


@dataclass(frozen=True)
class TrainingRun:
    """A folder below RUNS, for these settings and no others."""

    folder: Path

    @classmethod
    def of(cls, name: str, said: Any, seed: int) -> "TrainingRun":  # noqa: ANN401
        """The same for the same that is said, whatever defaults there are."""
        text = json.dumps(said, sort_keys=True)
        number = hashlib.sha256(text.encode()).hexdigest()[:8]
        return cls(RUNS / f"{name}-{number}" / f"seed{seed}")

    @property
    def commit(self) -> str:
        """Of the code that began it."""
        return str(self._begun()["commit"])

    @property
    def seconds(self) -> float | None:
        """Wall time, without what was killed together with this process."""
        path = self.folder / SECONDS_FILE
        return float(path.read_text(encoding="utf-8")) if path.exists() else None

    def begin(self, settings: Values, said: Values) -> str:
        """Make the folder, or check that it is of these settings, with the defaults of today.

        Returns: the path of a YAML file of what is said. Raises: DadsError.
        """
        path = make_output_folder(self.folder) / BEGUN_FILE
        if not path.exists():
            with atomic_write(path) as temporary:
                text = json.dumps({"commit": source_commit(), "settings": settings})
                temporary.write_text(text, encoding="utf-8")
        elif not are_same(self._begun()["settings"], settings):
            raise ConfigError(
                f"'{self.folder}' was begun with other defaults, skills or another model of the "
                "robot than today's; remove it to train anew"
            )
        config = self.folder.parent / "settings.yaml"
        with atomic_write(config) as temporary:
            temporary.write_text(yaml.safe_dump(said), encoding="utf-8")
        return str(config)

    def _begun(self) -> Values:
        values: Values = json.loads((self.folder / BEGUN_FILE).read_text(encoding="utf-8"))
        return values

    def train_baseline(
        self, command: Command, name: str, config: BaselineConfig, settings: Values, seed: int
    ) -> None:
        """Train by a module of ``baselines`` until the policy is there.

        An interrupted run goes on from its checkpoint. Raises: DadsError, CalledProcessError.
        """
        path = self.begin(settings, said(config))
        if (self.folder / POLICY_FOLDER).exists():
            return
        chosen = ["--config", path, "--seed", str(seed), "--out", str(self.folder)]
        self.call(command, [f"baselines.{name}", *chosen])

    def call(self, command: Command, arguments: Sequence[str]) -> None:
        """Run a command, and count its time. Raises: CalledProcessError."""
        begin = time.monotonic()
        try:
            command(arguments)
        finally:
            seconds = (self.seconds or 0.0) + time.monotonic() - begin
            with atomic_write(self.folder / SECONDS_FILE) as temporary:
                temporary.write_text(f"{seconds:.1f}\n", encoding="utf-8")


def said(config: Config) -> Values:
    """Settings that are not at their default."""
    defaults = {each.name: each.default for each in dataclasses.fields(config)}  # type: ignore[arg-type]
    values = config.to_dict()
    return {k: v for k, v in values.items() if getattr(config, k) != defaults[k]}


@functools.cache
def _robot(name: str) -> Values:
    return _described(RobotSpec.load(name))


def _described(spec: RobotSpec) -> Values:
    """A robot file, with the SHA-256 of the compiled model instead of its path."""
    return spec.to_dict() | {"mjcf": RobotModel(spec).sha256()}


def are_same(settings: Values, today: Values) -> bool:
    """Whether a contender's settings are today's.

    Those that are newer stand at their defaults, as it was without them.
    """
    try:
        return _completed(settings) == _completed(today)
    except ConfigError:  # one that is no more
        return False


def _completed(settings: Values) -> Values:
    known = {name: CONFIGS[name].from_dict(settings[name]) for name in CONFIGS.keys() & settings}
    return settings | {name: config.to_dict() for name, config in known.items()}


def _env_steps(training: Values, is_refitted: bool) -> int:
    collect = training["collect"]
    steps = training["num_iterations"] * collect["num_envs"] * collect["steps_per_iteration"]
    if is_refitted:
        from dads_ros.learning import refit  # takes seconds: torch

        steps += refit.NUM_ROBOTS * refit.NUM_PERIODS * refit.HELD_STEPS
    return int(steps)


@dataclass(frozen=True, kw_only=True)
class Dads:
    """Planning over skills, as ``dads-ros evaluate`` and the planner node do it."""

    skills: Skills
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    costs: CostsConfig = field(default_factory=CostsConfig)
    sparse_radius_m: float | None = None
    """What is planned for is time within so many metres of it; None: the distance from it."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds."""
        return self.skills.seeds

    @property
    def packages(self) -> tuple[str, ...]:
        """Those of the skills."""
        return self.skills.packages

    def settings(self) -> Values:
        """What results depend on, as plain data."""
        plans = {"planner": self.planner.to_dict(), "sparse_radius_m": self.sparse_radius_m}
        return {**self.skills.settings(), **plans, "costs": self.costs.to_dict()}

    def num_env_steps(self) -> int:
        """Of the skills."""
        return self.skills.num_env_steps()

    def training(self, seed: int) -> str:
        """That of the skills."""
        return self.skills.training(seed)

    def train(self, seed: int, command: Command) -> None:
        """Train the skills; planning needs none."""
        self.skills.train(seed, command)

    def train_s(self, seed: int) -> float | None:
        """Of the skills."""
        return self.skills.train_s(seed)

    def load(self, seed: int) -> "DadsAgent":
        """Of a seed that was trained."""
        return DadsAgent(self, SkillBundle(self.skills.bundle(seed)))


class DadsAgent:
    """Goes to goals with a bundle."""

    def __init__(self, contender: Dads, bundle: SkillBundle) -> None:
        """Take a loaded bundle.

        A fall ends the way of a robot of ``model``, whether or not it ended episodes of training.
        """
        self.contender, self.bundle = contender, bundle
        ends = dataclasses.replace(bundle.robot.fallen, ends_episode=True)
        self.model = RobotModel(dataclasses.replace(bundle.robot, fallen=ends))

    @property
    def training_commit(self) -> str:
        """By its manifest, with that of a later refit."""
        return commit_of(self.bundle.manifest)

    def go(
        self, goals: ArrayLike, steps: int, *, seed: int, progress: Callable[[int], None]
    ) -> GoalMetrics:
        """As ``Agent.go``."""
        contender, goals = self.contender, np.asarray(goals, float)
        driver = Driver(
            model=self.model,
            policy=self.bundle.command,
            skills=self.bundle,
            planner=contender.planner,
            costs=contender.costs,
            seed=seed,
            progress=progress,
        )
        task = Task(goals=goals)
        if contender.sparse_radius_m is not None:
            task = SparseTask(goals=goals, radius_m=contender.sparse_radius_m)
        return GoalMetrics(goals=goals, **vars(driver.drive(task, len(goals), steps)))


def commit_of(manifest: BundleManifest) -> str:
    """Of the code that trained a bundle, with that of a later refit."""
    later = {manifest.refit_commit} - {manifest.commit, None}
    return manifest.commit + "".join(f" (refitted at {commit})" for commit in later)


@dataclass
class SparseTask(Task):
    """A goal that is worth something only within a radius of it."""

    radius_m: float = dataclasses.field(kw_only=True)

    def _goal_cost(self, robot_radius_m: float, standing_radius_m: float, margin_m: float) -> Cost:
        assert self.goals is not None
        goals, radius_m = np.asarray(self.goals, np.float32), self.radius_m

        def time_outside(plans: Candidates) -> Array:
            """Part of the plan's time that is spent outside. Shape (R, K)."""
            return (distance_from(goals, plans.positions) >= radius_m).mean(axis=-1)

        return time_outside


@dataclass(frozen=True)
class Baseline:
    """A run of a module of ``baselines`` for each seed, with settings of ``baselines.config``."""

    config: CommandsConfig
    seeds: tuple[int, ...]
    name: ClassVar[str]
    """Of its module, and of its settings."""

    def tried(self, values: Values, seed: int) -> Self:
        """The same with other values of some settings, and one training seed."""
        return dataclasses.replace(
            self, config=dataclasses.replace(self.config, **values), seeds=(seed,)
        )

    def settings(self) -> Values:
        """All of training, and the robot."""
        return {self.name: self.config.to_dict(), "robot": _robot(self.config.robot)}

    def num_env_steps(self) -> int:
        """As set; at most."""
        return self.config.num_env_steps

    def training(self, seed: int) -> str:
        """Its folder."""
        return str(self._run(seed).folder)

    def train(self, seed: int, command: Command) -> None:
        """Train until the policy is there; an interrupted run goes on from its checkpoint."""
        run = self._run(seed)
        run.train_baseline(command, self.name, self.config, self.settings(), seed)

    def train_s(self, seed: int) -> float | None:
        """By the run."""
        return self._run(seed).seconds

    def _run(self, seed: int) -> TrainingRun:
        robot = self.config.robot
        settings = [said(self.config), read_robot_file(robot)[0]]
        return TrainingRun.of(f"{self.name}-{robot}", settings, seed)


@dataclass(frozen=True)
class GoalSac(Baseline):
    """Goal-conditioned SAC of stable-baselines3."""

    config: GoalSacConfig
    name = "goal_sac"
    packages = ("mujoco", "numpy", "torch", "stable-baselines3")

    def load(self, seed: int) -> Agent:
        """Of a seed that was trained; the library is needed only here and in training."""
        from baselines.goal_sac import GoalSacAgent

        run = self._run(seed)
        return GoalSacAgent(self.config.robot, run.folder, run.commit)


@dataclass(frozen=True)
class Pets(Baseline):
    """Planning of commands with a learned model of the whole state."""

    config: PetsConfig
    name = "pets"
    packages = ("mujoco", "numpy", "torch")

    def load(self, seed: int) -> Agent:
        """Of a seed that was trained."""
        from baselines.pets import PetsAgent  # takes seconds: torch

        run = self._run(seed)
        return PetsAgent(self.config, seed, run.folder, run.commit)


@dataclass(frozen=True)
class Meta:
    """Meta-controllers over skills, one for each goal of a test; the skills are trained first."""

    skills: Skills
    changes: Values = field(default_factory=dict)
    """Settings that differ."""
    packages = (*PACKAGES, "torch", "stable-baselines3")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the skills; meta-controllers have the same."""
        return self.skills.seeds

    def settings(self) -> Values:
        """Of the skills, and of what picks them."""
        return {**self.skills.settings(), "meta": self._config().to_dict()}

    def num_env_steps(self) -> int:
        """Of the skills and of all goals."""
        return self.skills.num_env_steps() + self._config().num_env_steps

    def training(self, seed: int) -> str:
        """That of the skills, which are not trained twice at a time."""
        return self.skills.training(seed)

    def train(self, seed: int, command: Command) -> None:
        """Train the skills, then the meta-controllers."""
        self.skills.train(seed, command)
        run, config = self._run(seed), self._config_of(seed)
        skills = BundleManifest.load(self.skills.bundle(seed)).files  # they may be trained anew
        settings = {**self.settings(), "skills": skills}
        run.train_baseline(command, "meta", config, settings, seed)

    def train_s(self, seed: int) -> float | None:
        """Without the skills."""
        return self._run(seed).seconds

    def load(self, seed: int) -> Agent:
        """Of a seed that was trained; the library is needed only here and in training."""
        from baselines.meta import MetaAgent

        run, manifest = self._run(seed), BundleManifest.load(self.skills.bundle(seed))
        commit = f"{run.commit} over skills of {commit_of(manifest)}"
        return MetaAgent(self._config_of(seed), run.folder, commit)

    def _config(self, bundle: str = "that of the skills") -> MetaConfig:
        return MetaConfig(bundle=bundle, **self.changes)

    def _config_of(self, seed: int) -> MetaConfig:
        return self._config(str(self.skills.bundle(seed)))

    def _run(self, seed: int) -> TrainingRun:
        return TrainingRun.of("meta", said(self._config_of(seed)), seed)
