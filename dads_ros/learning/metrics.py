"""MetricsWriter: JSON-lines for programs, TensorBoard and a picture for people."""

import json
from pathlib import Path
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from dads_ros.evaluation.pictures import save_fan
from dads_ros.files import atomic_write
from dads_ros.learning.trainer import IterationMetrics
from dads_ros.robot import RobotSpec

JSON_LINES_FILE, PICTURE_FILE = "metrics.jsonl", "skills.png"


class MetricsWriter:
    """Appends to metrics.jsonl and to TensorBoard event files in the run folder.

    skills.png is the newest fan of skills.
    """

    def __init__(self, folder: Path, robot: RobotSpec, *, first_iteration: int) -> None:
        """Open all; lines of a resumed run from ``first_iteration`` on are written anew."""
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
        self._robot, self._picture = robot, folder / PICTURE_FILE
        self._lines = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder), purge_step=first_iteration)

    def write(self, metrics: IterationMetrics) -> None:
        """One line, one TensorBoard point for each number, a picture where skills were seen."""
        iteration, values = metrics.iteration, metrics.to_dict()
        self._lines.write(json.dumps({"iteration": iteration, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, iteration)
        if metrics.skills is not None:
            with atomic_write(self._picture) as temporary:
                save_fan(temporary, self._robot, metrics.skills)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close both."""
        self._lines.close()
        self._board.close()
