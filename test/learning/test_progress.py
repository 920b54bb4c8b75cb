"""What a run says while it goes on, however long an iteration takes."""

import re
import threading
from pathlib import Path

from dads_ros.config import read_yaml
from dads_ros.files import share_folder
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.progress import Progress, begin_line, every
from dads_ros.learning.trainer import IterationMetrics, Trainer


def test_the_line_says_where_it_is_and_how_fast_since_the_last_one() -> None:
    progress = Progress(10, 100)
    assert progress.line() == "iteration 11 of 100 is under way"
    values = {"reward": 1.234, "mean_displacement_m": 8.0, "falls": 3.0}
    for iteration in (11, 12):
        progress.take(IterationMetrics(iteration, 0, 0, values))
    assert progress.has_news
    line = progress.line()
    assert re.fullmatch(r"iteration 12 of 100, \S+ it/s, .* left, reward 1\.23, m 8", line)
    assert not progress.has_news
    assert progress.line() == "iteration 13 of 100 is under way"


def test_nothing_is_said_of_a_run_that_is_done() -> None:
    progress = Progress(59, 60)
    progress.take(IterationMetrics(60, 0, 0, {}))
    assert progress.line().startswith("iteration 60 of 60, ")
    assert progress.line() == ""  # during its last checkpoint
    assert Progress(61, 60).line() == ""


def test_what_begins_is_said_and_of_a_run_that_is_done_that_nothing_does(tmp_path: Path) -> None:
    values = read_yaml(share_folder() / "config" / "train" / "point_mass.yaml")
    values["sac"] |= {"compile": True}
    trainer = Trainer(TrainConfig.from_dict(values | {"num_iterations": 2}), tmp_path)
    line = begin_line(trainer)
    assert line.startswith(f"training 'point_mass' in '{tmp_path}', iteration 1 of 2, on ")
    assert "compiled" in line
    trainer.iteration = 2
    assert begin_line(trainer).startswith("2 of 2 iterations are done already: no more training")


def test_what_is_shown_may_be_read_while_an_iteration_ends() -> None:
    progress = Progress(0, 10)
    progress.take(IterationMetrics(1, 0, 0, {"reward": 1.0}))
    reading = iter(progress.values.items())
    assert next(reading) == ("reward", "1")
    progress.take(IterationMetrics(2, 0, 0, {"reward": 2.0, "sectors_3m": 8.0}))
    assert list(reading) == []
    assert progress.values == {"reward": "2", "sectors": "8"}


def test_it_is_said_again_and_again_until_what_is_done_is_over() -> None:
    third, said = threading.Event(), []

    def say() -> None:
        said.append("still at it")
        if len(said) == 3:
            third.set()

    with every(0.001, say):
        assert third.wait(30.0)
    count = len(said)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert len(said) == count
