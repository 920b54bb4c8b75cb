"""Costs of a user's own that are harmless until the file named by MISBEHAVE exists."""

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

TRIGGER = Path(os.environ["MISBEHAVE"])


class Harmless:
    """Costs nothing."""

    def __call__(self, plans: Any) -> Any:  # noqa: ANN401
        free = np.zeros(plans.predictions.shape[:2])
        return self.misbehave(free) if TRIGGER.exists() else free

    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        return free


class Loops(Harmless):
    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        while TRIGGER.exists():
            pass
        return free


class HoldsInterpreter(Harmless):
    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        re.match("(a+)+$", "a" * 27 + "b")  # some seconds during which no other thread runs
        return free


class Sleeps(Harmless):
    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        while TRIGGER.exists():
            time.sleep(0.01)
        return free


class Raises(Harmless):
    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        raise RuntimeError("a bug of the user's own")


class SaysNothingFinite(Harmless):
    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        return free * np.nan


class HasWrongShape(Harmless):
    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        return np.zeros(3)


class Exits(Harmless):
    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        sys.exit(1)


class ExitsAtOnce(Harmless):
    def misbehave(self, free: Any) -> Any:  # noqa: ANN401
        os._exit(1)
