"""Who is measured: planning over skills of a shipped bundle, or of training runs made for it.

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
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import ArrayLike

from dads_ros.bundle.manifest import BUNDLE_FOLDER, BundleManifest
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import CostsConfig, PlannerConfig, read_yaml
from dads_ros.envs.model import RobotModel
from dads_ros.evaluation.driving import Array, Driver
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.files import atomic_write, find_file
from dads_ros.learning.config import TrainConfig
from dads_ros.planning.costs import Candidates, Cost, distance_from
from dads_ros.planning.tasks import Task

Values = dict[str, Any]
Command = Callable[[Sequence[str]], None]
"""Runs ``python -m`` with these arguments to its end. Raises: CalledProcessError."""
RUNS = Path("runs/tables")
"""Training runs, by the hash of their settings: other settings never go on with an old run."""
SECONDS_FILE = "seconds.txt"
"""In a run folder: wall time."""


class Skills(Protocol):
    """Where a bundle of each training seed comes from."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds."""

    def settings(self) -> Values:
        """What results depend on, as plain data."""

    def num_env_steps(self) -> int:
        """Control steps of training, of all robots together."""

    def bundle(self, seed: int) -> Path:
        """Its folder; after training."""

    def train(self, seed: int, command: Command) -> None:
        """Train, or go on with it; nothing where that was done."""

    def train_s(self, seed: int) -> float | None:
        """Wall time of that; None where it was not done here."""


@dataclass(frozen=True)
class Shipped:
    """A bundle of ``models/``: one training seed, nothing to train."""

    name: str

    @functools.cached_property
    def _manifest(self) -> BundleManifest:
        return BundleManifest.load(self.bundle(0))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The one in bundle.yaml."""
        return (self._manifest.training_config["seed"],)

    def settings(self) -> Values:
        """Its networks; bundle.yaml has the settings that it was trained with."""
        return {"bundle": f"models/{self.name}", "files": self._manifest.files}

    def num_env_steps(self) -> int:
        """By its training settings."""
        return _env_steps(self._manifest.training_config)

    def bundle(self, seed: int) -> Path:
        """The folder in models/."""
        return find_file(self.name, folder="models")

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

    def settings(self) -> Values:
        """All training settings, those that are as by default as well."""
        known = TrainConfig.from_dict(self._values(), self.config).to_dict()
        return {"training": {name: value for name, value in known.items() if name != "seed"}}

    def num_env_steps(self) -> int:
        """By its training settings."""
        return _env_steps(self.settings()["training"])

    def bundle(self, seed: int) -> Path:
        """In the run folder."""
        return self._folder(seed) / BUNDLE_FOLDER

    def train(self, seed: int, command: Command) -> None:
        """Train until the bundle is there; an interrupted run goes on from its checkpoint."""
        folder = self._folder(seed)
        if self.bundle(seed).exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        config = folder.parent / "settings.yaml"
        with atomic_write(config) as temporary:
            temporary.write_text(yaml.safe_dump(self._values()), encoding="utf-8")
        resume = ["--resume"] if (folder / "checkpoint.pt").exists() else []
        chosen = ["--config", str(config), "--seed", str(seed), "--out", str(folder)]
        begin = time.monotonic()
        try:
            command(["dads_ros", "train", *chosen, *resume])
        finally:
            seconds = (self.train_s(seed) or 0.0) + time.monotonic() - begin
            with atomic_write(folder / SECONDS_FILE) as temporary:
                temporary.write_text(f"{seconds:.1f}\n", encoding="utf-8")

    def train_s(self, seed: int) -> float | None:
        """Of all sessions, but one that was killed together with what counted it."""
        path = self._folder(seed) / SECONDS_FILE
        return float(path.read_text(encoding="utf-8")) if path.exists() else None

    def _values(self) -> Values:
        """What the YAML file says, with the changes."""
        values = read_yaml(find_file(self.config, folder="config/train", suffix=".yaml"))
        for name, part in self.changes.items():
            is_part = isinstance(part, dict) and name in values
            values[name] = values[name] | part if is_part else part
        return dict(values)

    def _folder(self, seed: int) -> Path:
        text = json.dumps(self.settings(), sort_keys=True)
        number = hashlib.sha256(text.encode()).hexdigest()[:8]
        return RUNS / f"{self.config}-{number}" / f"seed{seed}"


def _env_steps(training: Values) -> int:
    config = TrainConfig.from_dict({"robot": training["robot"], "collect": _known(training)})
    collect = config.collect
    return int(training["num_iterations"] * collect.num_envs * collect.steps_per_iteration)


def _known(training: Values) -> Values:
    """The two settings of collecting that count, whatever else the commit of a bundle had."""
    names = ("num_envs", "steps_per_iteration")
    return {name: value for name, value in training["collect"].items() if name in names}


@dataclass(frozen=True, kw_only=True)
class Dads:
    """Planning over skills, as ``dads-ros evaluate`` and the planner node do it."""

    skills: Skills
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    sparse_radius_m: float | None = None
    """What is planned for is time within so many metres of the goal, and nothing else; None:
    the distance from it."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds."""
        return self.skills.seeds

    def settings(self) -> Values:
        """What results depend on, as plain data."""
        plans = {"planner": self.planner.to_dict(), "sparse_radius_m": self.sparse_radius_m}
        return {**self.skills.settings(), **plans, "costs": self._costs().to_dict()}

    def load(self, seed: int) -> "DadsAgent":
        """Of a seed that was trained."""
        return DadsAgent(self, SkillBundle(self.skills.bundle(seed)))

    def _costs(self) -> CostsConfig:
        # A cost in metres beside one that is at most 1 would decide alone.
        is_sparse = self.sparse_radius_m is not None
        return CostsConfig(skill_change=0.0) if is_sparse else CostsConfig()


class DadsAgent:
    """Goes to goals with a bundle."""

    def __init__(self, contender: Dads, bundle: SkillBundle) -> None:
        """Take a loaded bundle."""
        self.contender, self.bundle = contender, bundle
        self.model = RobotModel(bundle.robot)

    def go(
        self, goals: ArrayLike, steps: int, *, seed: int, progress: Callable[[int], None]
    ) -> GoalMetrics:
        """Drive one robot to each goal (R, 2), world frame, m, for T steps from the origin.

        Args:
            goals: R of them.
            steps: T.
            seed: of starts and planner.
            progress: called with the number of steps made.
        """
        contender, goals = self.contender, np.asarray(goals, float)
        driver = Driver(
            model=self.model,
            policy=self.bundle.command,
            skills=self.bundle,
            planner=contender.planner,
            costs=contender._costs(),
            seed=seed,
            progress=progress,
        )
        task = Task(goals=goals)
        if contender.sparse_radius_m is not None:
            task = SparseTask(goals=goals, radius_m=contender.sparse_radius_m)
        return GoalMetrics(goals=goals, **vars(driver.drive(task, len(goals), steps)))


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
