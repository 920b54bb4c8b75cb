"""Searches: two settings of a rival, of which all pairs are tried before its rows are trained.

Each pair has one training run of a seed that no row has, with as many control steps as a row, and
is measured on goals or skills of a seed that no table has.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from tables.contenders import Values

TRAINING_SEED, TEST_SEED = 100, 11


@dataclass(frozen=True)
class Search:
    """Of one rival."""

    values: Mapping[str, tuple[float, ...]]
    """Of two settings."""
    best: Values | None = None
    """The pair that its rows have, once all were measured; until then they have the defaults."""

    @property
    def pairs(self) -> list[Values]:
        """All that are tried."""
        return [
            dict(zip(self.values, pair, strict=True))
            for pair in itertools.product(*self.values.values())
        ]

    @property
    def note(self) -> str:
        """Of its rows."""
        if self.best is None:
            return "settings not searched"
        return (
            f"{' and '.join(self.values)} are the best of {len(self.pairs)} pairs for the Ant "
            "([searches](#ant-searches))"
        )


def as_text(values: Values) -> str:
    """A pair, for people."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


_GOAL_SAC = {"learning_rate": (3e-4, 1e-3), "discount": (0.99, 0.97)}
_PETS = {"noise_std": (0.25, 0.5), "temperature_m": (0.02, 0.1)}
SEARCHES: Mapping[str, Search] = {
    "Goal-conditioned SAC, dense": Search(_GOAL_SAC),
    "Goal-conditioned SAC, dense, HER": Search(_GOAL_SAC),
    "Goal-conditioned SAC, sparse": Search(_GOAL_SAC),
    "Goal-conditioned SAC, sparse, HER": Search(_GOAL_SAC),
    "PETS, random": Search(_PETS),
    "PETS, weak oracle": Search(_PETS),
}
"""By the name of their row. Of skills none is searched yet."""
