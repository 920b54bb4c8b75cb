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

from dads_ros.errors import ConfigError
from dads_ros.files import atomic_write
from tables.contenders import are_same
from tables.protocols import Figures
from tables.rows import Row, Table

Values = dict[str, Any]
FOLDER = Path(__file__).resolve().parent.parent / "results"
DECIMALS = 6


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
    """Of the code that trained, and refitted."""
    settings: Values
    """Everything that the figures depend on, besides the code."""
    figures: Figures
    measure_s: float
    """Wall time, s."""
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
            result = cls(**json.loads(path.read_text(encoding="utf-8")))
            if not {"protocol", "contender"} <= set(result.settings):
                raise ValueError("its settings lack protocol or contender")
            return result
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
        """The result, if there is one with today's figures, made with today's settings."""
        found, today = self.any_result(), self.settings()
        if (
            found is None
            or found.settings["protocol"] != today["protocol"]
            or not are_same(found.settings["contender"], today["contender"])
            or not self.table.figures <= found.figures.keys()
        ):
            return None
        return found

    def any_result(self) -> Result | None:
        """The result, whatever it was made with. Raises: ConfigError."""
        return Result.load(self.path) if self.path.exists() else None


@functools.cache
def _settings(table: Table, row: Row) -> Values:
    values = {"protocol": table.protocol.settings(), "contender": row.contender.settings()}
    read: Values = json.loads(json.dumps(values))
    return read


def all_runs(tables: Sequence[Table], folder: Path = FOLDER) -> Iterator[Run]:
    """Each seed of each row, the first seeds of all first."""
    rows = [(table, row) for table in tables for row in table.rows]
    for seed in sorted({seed for _, row in rows for seed in row.contender.seeds}):
        for table, row in rows:
            if seed in row.contender.seeds:
                yield Run(table, row, seed, folder)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of Python and of these."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over training seeds, and half of its 95 % interval by Student's t; None of one seed."""
    num, mean = len(values), sum(values) / len(values)
    if num == 1:
        return mean, None
    variance = sum((value - mean) ** 2 for value in values) / (num - 1)
    return mean, float(student_t.ppf(0.975, num - 1)) * math.sqrt(variance / num)
