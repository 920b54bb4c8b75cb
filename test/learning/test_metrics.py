"""MetricsWriter: what stands in metrics.jsonl survives whatever else stands there."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dads_ros.errors import StorageError
from dads_ros.evaluation.curves import MAX_LINE, METRICS_FILE
from dads_ros.learning.metrics import MetricsWriter
from dads_ros.learning.trainer import IterationMetrics
from dads_ros.robot import RobotSpec

WRONG = [
    b"[1, 2]",
    b"7",
    b'"iteration"',
    b"null",
    b'{"iteration": [1]}',
    b'{"iteration": NaN}',
    b'{"iteration": true}',
    b'{"iteration": ' + b"9" * 5000 + b"}",
    b"[" * 10_000,
    b"\xff\xfe\x00binary\x00",
    b'{"iteration": 1, "text": "' + b"x" * 2 * MAX_LINE + b'"}',
    b"",
]


def writer(folder: Path, first_iteration: int) -> MetricsWriter:
    return MetricsWriter(folder, RobotSpec.load("point_mass"), first_iteration=first_iteration)


def iterations(folder: Path) -> list[int]:
    lines = (folder / METRICS_FILE).read_text().splitlines()
    return [json.loads(line)["iteration"] for line in lines]


def test_wrong_lines_do_not_end_a_resume_and_the_others_stay(tmp_path: Path) -> None:
    good = [json.dumps({"iteration": i, "reward": 0.5}).encode() for i in range(1, 14)]
    lines = [line for pair in zip(good, [*WRONG, b""], strict=True) for line in pair]
    (tmp_path / METRICS_FILE).write_bytes(b"\n".join(lines) + b"\n" + good[0][:-4])
    with writer(tmp_path, 13) as metrics:
        metrics.write(IterationMetrics(13, 300, 30, {"reward": 1.0}))
    assert iterations(tmp_path) == list(range(1, 14))


def test_tensorboard_shows_the_curves_without_what_a_resumed_run_repeats(tmp_path: Path) -> None:
    for first, last in ((1, 3), (3, 4)):
        with writer(tmp_path, first) as metrics:
            for i in range(first, last + 1):
                metrics.write(IterationMetrics(i, 10 * i, i, {"reward": float(first)}))
    events = EventAccumulator(str(tmp_path)).Reload()
    points = [(point.step, point.value) for point in events.Scalars("reward")]
    assert points == [(1, 1.0), (2, 1.0), (3, 3.0), (4, 3.0)]
    assert [point.value for point in events.Scalars("num_env_steps")] == [10.0, 20.0, 30.0, 40.0]


def test_a_full_disk_is_one_sentence(full_disk: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"metrics\.jsonl' cannot be written \(No space left"),
        writer(full_disk, 1) as metrics,
    ):
        for i in range(1, 10_000):
            metrics.write(IterationMetrics(i, 10 * i, i, {"reward": 0.5}))
    assert iterations_of_whole_lines(full_disk)


def iterations_of_whole_lines(folder: Path) -> list[int]:
    whole = (folder / METRICS_FILE).read_bytes().rsplit(b"\n", 1)[0]
    return [json.loads(line)["iteration"] for line in whole.splitlines()]
