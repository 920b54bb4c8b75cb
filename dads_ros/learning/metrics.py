"""MetricsWriter: JSON-lines for programs, TensorBoard for people."""

import json
from pathlib import Path
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from dads_ros.files import atomic_write

JSON_LINES_FILE = "metrics.jsonl"


class MetricsWriter:
    """Appends to metrics.jsonl and to TensorBoard event files in the run folder."""

    def __init__(self, folder: Path, *, first_iteration: int) -> None:
        """Open both; lines of a resumed run from ``first_iteration`` on are written anew."""
        path = folder / JSON_LINES_FILE
        kept = []
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["iteration"] < first_iteration:
                        kept.append(line + "\n")
                except (json.JSONDecodeError, KeyError):  # a line cut short by a kill
                    continue
        with atomic_write(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._lines = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder), purge_step=first_iteration)

    def write(self, iteration: int, metrics: dict[str, Any]) -> None:
        """One line, and one TensorBoard point for each number in it."""
        self._lines.write(json.dumps({"iteration": iteration, **metrics}) + "\n")
        self._lines.flush()
        for name, value in metrics.items():
            if isinstance(value, int | float):
                self._board.add_scalar(name, value, iteration)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close both."""
        self._lines.close()
        self._board.close()
