"""MetricsWriter: JSON-lines for programs, TensorBoard and a picture for people."""

import json
import secrets
import time
from pathlib import Path
from typing import Self

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from dads_ros.evaluation.curves import METRICS_FILE, lines_of
from dads_ros.evaluation.pictures import fan_figure, save
from dads_ros.files import atomic_write, writing
from dads_ros.learning.trainer import IterationMetrics
from dads_ros.robot import RobotSpec

PICTURE_FILE = "skills.png"


def evaluation_line(metrics: IterationMetrics, robot: RobotSpec) -> str:
    """What an evaluation found, for people."""
    values = metrics.values
    reach = f"{values['sectors_3m']} of 12 sectors"
    if not robot.ground_axes.all():
        reach = f"x from {values['min_x_m']:.1f} to {values['max_x_m']:.1f} m"
    return (
        f"iteration {metrics.iteration} ({metrics.num_gradient_steps // 1000}k updates): "
        f"{reach}, moved {values['mean_displacement_m']:.2f} m, "
        f"falls {values['skill_fall_fraction']:.1%}, "
        f"prediction error {values['prediction_error']:.2f}"
    )


class MetricsWriter:
    """Appends to metrics.jsonl and to TensorBoard event files in the run folder.

    skills.png is the newest fan of skills.
    """

    def __init__(self, folder: Path, robot: RobotSpec, *, first_iteration: int) -> None:
        """Open all; lines of a resumed run from ``first_iteration`` on are written anew.

        Lines that are none of ours, such as one cut short by a kill, are left out. Raises:
            StorageError.
        """
        path = folder / METRICS_FILE
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            stream.writelines(
                line for line, old in lines_of(path) if old["iteration"] < first_iteration
            )
        self._robot, self._picture = robot, folder / PICTURE_FILE
        with writing(path):
            self._lines = path.open("a", encoding="utf-8")
            self._board = _TensorBoard(folder, first_iteration)

    def write(self, metrics: IterationMetrics) -> None:
        """One line, one TensorBoard point for each number, a picture where skills were seen.

        Raises: StorageError.
        """
        iteration, values = metrics.iteration, metrics.to_dict()
        with writing(Path(self._lines.name)):
            self._lines.write(json.dumps({"iteration": iteration, **values}) + "\n")
            self._lines.flush()
            self._board.write(iteration, values)
        if metrics.skills is not None:
            save(fan_figure(self._robot, metrics.skills), self._picture)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close both. Raises: StorageError."""
        with writing(Path(self._lines.name)):
            try:
                self._lines.close()
            finally:
                self._board.close()


class _TensorBoard:
    """An event file. Unlike SummaryWriter's it is written at once, and errors come here."""

    def __init__(self, folder: Path, first_iteration: int) -> None:
        """Begin one; of those before, what is from ``first_iteration`` on counts no more."""
        # TensorBoard reads them in the order of their names.
        path = folder / f"events.out.tfevents.{time.time_ns()}.{secrets.token_hex(4)}"
        self._stream = path.open("xb")
        self._events = RecordWriter(self._stream)
        self._write(file_version="brain.Event:2")
        self._write(step=first_iteration, session_log=SessionLog(status=SessionLog.START))

    def write(self, iteration: int, values: dict[str, float]) -> None:
        """One point of each curve."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=iteration, summary=Summary(value=points))

    def close(self) -> None:
        """No more points."""
        self._stream.close()

    def _write(self, **content: object) -> None:
        self._events.write(Event(wall_time=time.time(), **content).SerializeToString())
        self._stream.flush()
