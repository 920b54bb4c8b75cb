"""What a training run says to people: what begins, and how far it is."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dads_ros.learning.trainer import IterationMetrics, Trainer

LINE_S = 10.0
"""Of the lines that say how far it is, where there is no terminal with a bar."""
SHOWN = {"reward": "reward", "mean_displacement_m": "m", "sectors_3m": "sectors"}
"""Metrics that are shown with it, by the names that they have there."""


def begin_line(trainer: Trainer) -> str:
    """What begins."""
    text = (
        f"training '{trainer.robot.name}' in '{trainer.out}', iteration {trainer.iteration + 1} "
        f"of {trainer.config.num_iterations}, on {trainer.device}"
    )
    if trainer.config.sac.compile:
        text += "; its updates are compiled first, once, for about a minute"
    return text


class Progress:
    """How far a run is, as one that is told of each iteration."""

    def __init__(self, iteration: int, num_iterations: int) -> None:
        """Count from now on, when so many are done of all."""
        self._iteration, self._num = iteration, num_iterations
        self.values: dict[str, str] = {}
        """What is shown, as text."""
        self._said, self._said_s = self._iteration, time.monotonic()

    @property
    def has_news(self) -> bool:
        """An iteration was done since the last line."""
        return self._iteration > self._said

    def take(self, metrics: IterationMetrics) -> None:
        """An iteration is done."""
        self._iteration = metrics.iteration
        self.values |= {
            label: f"{metrics.values[name]:.3g}"
            for name, label in SHOWN.items()
            if name in metrics.values
        }

    def line(self) -> str:
        """How far it is, with the rate since the last time."""
        iteration, now = self._iteration, time.monotonic()
        if iteration == self._said:
            return f"iteration {iteration + 1} of {self._num} is under way"
        rate = (iteration - self._said) / (now - self._said_s)
        self._said, self._said_s = iteration, now
        left_s = (self._num - iteration) / rate
        left = f"{left_s:.0f} s" if left_s < 100.0 else f"{left_s / 60.0:.0f} min"
        values = "".join(f", {label} {value}" for label, value in self.values.items())
        return f"iteration {iteration} of {self._num}, {rate:.3g} it/s, {left} left{values}"


@contextmanager
def every(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Do something again and again meanwhile, in a thread of its own."""
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.wait(seconds):
            action()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
