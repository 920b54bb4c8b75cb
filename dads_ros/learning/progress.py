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
    """What begins, or that nothing does."""
    done, num = trainer.iteration, trainer.config.num_iterations
    if done >= num:
        return (
            f"{done} of {num} iterations are done already: no more training; raise "
            "num_iterations (--iterations) to go on"
        )
    text = (
        f"training '{trainer.robot.name}' in '{trainer.out}', iteration {done + 1} of {num}, "
        f"on {trainer.agent.device}"
    )
    if trainer.config.sac.compile:
        text += "; its updates are compiled first, once, for about a minute"
    return text


class Progress:
    """How far a run is, as one that is told of each iteration."""

    def __init__(self, iteration: int, num_iterations: int) -> None:
        """Count from now on, when so many are done of all."""
        self._num = num_iterations
        # Replaced as a whole: another thread may be reading it.
        self._now: tuple[int, dict[str, str]] = iteration, {}
        self._said, self._said_s = iteration, time.monotonic()

    @property
    def values(self) -> dict[str, str]:
        """What is shown, as text."""
        return self._now[1]

    @property
    def has_news(self) -> bool:
        """An iteration was done since the last line."""
        return self._now[0] > self._said

    def take(self, metrics: IterationMetrics) -> None:
        """An iteration is done."""
        new = {
            label: f"{metrics.values[name]:.3g}"
            for name, label in SHOWN.items()
            if name in metrics.values
        }
        self._now = metrics.iteration, self.values | new

    def line(self) -> str:
        """How far it is, with the rate since the last time; empty once all are done and told."""
        (iteration, values), now = self._now, time.monotonic()
        if iteration == self._said:
            if iteration >= self._num:
                return ""
            return f"iteration {iteration + 1} of {self._num} is under way"
        rate = (iteration - self._said) / (now - self._said_s)
        self._said, self._said_s = iteration, now
        left_s = (self._num - iteration) / rate
        left = f"{left_s:.0f} s" if left_s < 100.0 else f"{left_s / 60.0:.0f} min"
        shown = "".join(f", {label} {value}" for label, value in values.items())
        return f"iteration {iteration} of {self._num}, {rate:.3g} it/s, {left} left{shown}"


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
