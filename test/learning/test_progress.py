"""What a run says while it goes on, however long an iteration takes."""

import re
import threading

from dads_ros.learning.progress import Progress, every
from dads_ros.learning.trainer import IterationMetrics


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
