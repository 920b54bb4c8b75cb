"""Checks of arguments that several verbs have."""

import argparse

from dads_ros.errors import ConfigError


def check_at_least(args: argparse.Namespace, **lowest: int) -> None:
    """Check those options that were given. Raises: ConfigError."""
    for name, low in lowest.items():
        value = getattr(args, name)
        if value is not None and value < low:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} is {value}; it must be at least {low}")
