"""Results: a JSON file for each row and training seed, and what they come to."""

import dataclasses
import functools
import json
import math
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t

from dads_ros.config import CostsConfig, PlannerConfig
from dads_ros.errors import ConfigError
from dads_ros.files import atomic_write
from dads_ros.learning.config import TrainConfig
from tables.protocols import Figures
from tables.rows import Row, Table

Values = dict[str, Any]
FOLDER = Path(__file__).resolve().parent.parent / "results"
DECIMALS = 6
PACKAGES = ("mujoco", "numpy", "onnxruntime")
"""What figures of a bundle may depend on."""


@dataclass(frozen=True)
class Result:
    """One training seed of a row, measured."""

    table: str
    row: str
    seed: int
    """Of training."""
    commit: str
    """Of the code that measured."""
    training_commit: str
    """Of the code that trained."""
    settings: Values
    """Everything that the figures depend on, besides the code."""
    figures: Figures
    measure_s: float
    """Wall time, s, on a machine that may have had other work."""
    train_s: float | None
    """The same of training; None where it was not trained here."""
    versions: dict[str, str]

    def save(self, path: Path) -> None:
        """Write it atomically. Raises: StorageError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            text = json.dumps(dataclasses.asdict(self), indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Result":
        """Read it. Raises: ConfigError for a file that is none."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise ConfigError(
                f"'{path}' is no result ({error}); delete it, and run again"
            ) from error


@dataclass(frozen=True)
class Run:
    """A training seed of a row: what is done once."""

    table: Table
    row: Row
    seed: int
    folder: Path = FOLDER

    def __str__(self) -> str:
        """Table, row and seed, for people."""
        return f"{self.table.name}: {self.row.name}, seed {self.seed}"

    @property
    def path(self) -> Path:
        """Of its result."""
        name = re.sub(r"[^a-z0-9]+", "-", self.row.name.lower()).strip("-")
        return self.folder / self.table.name / f"{name}-seed{self.seed}.json"

    def settings(self) -> Values:
        """What its result must have been made with, as it is read from JSON."""
        return _settings(self.table, self.row)

    def result(self) -> Result | None:
        """The result, if there is one that was made with today's settings."""
        found = self.any_result()
        if found is None or _with_defaults(found.settings) != self.settings():
            return None
        return found

    def any_result(self) -> Result | None:
        """The result, whatever it was made with. Raises: ConfigError."""
        return Result.load(self.path) if self.path.exists() else None


@functools.cache
def _text_of_settings(table: Table, row: Row) -> str:
    return json.dumps(
        {"protocol": table.protocol.settings(), "contender": row.contender.settings()}
    )


def _settings(table: Table, row: Row) -> Values:
    values: Values = json.loads(_text_of_settings(table, row))
    return values


def _with_defaults(settings: Values) -> Values:
    """Settings that are newer than a result stand at their defaults, as it was without them."""
    contender = settings["contender"]
    defaults = {"planner": PlannerConfig().to_dict(), "costs": CostsConfig().to_dict()}
    if "training" in contender:
        defaults["training"] = TrainConfig(robot=contender["training"]["robot"]).to_dict()
        del defaults["training"]["seed"]
    known = {name: part for name, part in defaults.items() if name in contender}
    merged: Values = json.loads(json.dumps(_merged(known, contender)))
    return settings | {"contender": merged}


def _merged(defaults: Values, values: Values) -> Values:
    """Values, and defaults for what they lack, part by part."""
    merged = defaults | values
    for name, part in values.items():
        if isinstance(part, dict) and isinstance(defaults.get(name), dict):
            merged[name] = _merged(defaults[name], part)
    return merged


def all_runs(tables: Sequence[Table], folder: Path = FOLDER) -> Iterator[Run]:
    """Each seed of each row, the first seeds of all first."""
    rows = [(table, row) for table in tables for row in table.rows]
    for seed in sorted({seed for _, row in rows for seed in row.contender.seeds}):
        for table, row in rows:
            if seed in row.contender.seeds:
                yield Run(table, row, seed, folder)


def versions() -> dict[str, str]:
    """Of Python and the packages that figures may depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over training seeds, and half of its 95 % interval by Student's t; None of one seed."""
    num, mean = len(values), sum(values) / len(values)
    if num == 1:
        return mean, None
    variance = sum((value - mean) ** 2 for value in values) / (num - 1)
    return mean, float(student_t.ppf(0.975, num - 1)) * math.sqrt(variance / num)
