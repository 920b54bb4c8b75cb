"""Checks of arguments that several verbs have."""

import argparse

from dads_ros.config import MAX_INT
from dads_ros.errors import ConfigError

MOST = {
    "seed": MAX_INT,
    "goals": 100_000,
    "num_goals": 1000,
    "skills": 100_000,
    "steps": 1_000_000,
    "threads": 1024,
}
"""What still fits into memory and time."""


def check_numbers(args: argparse.Namespace, **lowest: int) -> None:
    """Check those options that were given. Raises: ConfigError."""
    for name, low in lowest.items():
        value, option = getattr(args, name), name.replace("_", "-")
        if value is not None and not low <= value <= MOST[name]:
            bound = f"at least {low}" if value < low else f"at most {MOST[name]}"
            raise ConfigError(f"--{option} is {value}; it must be {bound}")
