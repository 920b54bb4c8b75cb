"""Every error raised on purpose; a message says what came, what was expected, the cure.

DadsError
├── ConfigError            a setting, a robot file, a model or a command-line value is wrong
├── CheckpointError        a training checkpoint is missing, damaged or of another run
├── StorageError           a file cannot be written: the disk is full, a folder read-only
├── TrainingError          training diverged
├── BundleError            a skill bundle is missing or damaged
│   └── BundleMismatchError   a sound bundle, but for another robot or schema
└── PlanningError          the planner was asked for what it cannot do
"""

import importlib.util

MAX_TEXT = 900
"""Letters of a message; of longer ones the middle is left out."""


class DadsError(Exception):
    """Base of all errors; the command line prints its message and exits with code 2."""

    def __init__(self, text: str = "") -> None:
        """Keep the text to one line that can be read, whatever values from outside are in it."""
        line = " ".join(text.split())
        text = "".join(letter if letter.isprintable() else "?" for letter in line)
        if len(text) > MAX_TEXT:
            half = MAX_TEXT // 2
            text = f"{text[:half]} ... {text[-half:]}"
        super().__init__(text)


class ConfigError(DadsError):
    """A setting, a robot file, a model or a command-line value is wrong."""


class CheckpointError(DadsError):
    """A training checkpoint is missing, damaged or belongs to another run."""


class StorageError(DadsError):
    """A file cannot be written: the disk or a quota is full, or the folder is read-only."""


class TrainingError(DadsError):
    """Training diverged: a loss or a weight is not finite."""


class BundleError(DadsError):
    """A skill bundle is missing or damaged."""


class BundleMismatchError(BundleError):
    """A sound skill bundle that was made for another robot or by another schema."""


class PlanningError(DadsError):
    """The planner was asked for something that its bundle cannot do."""


def how_to_install(extra: str) -> str:
    """What brings the packages of an extra, without a second copy of this one or of ROS."""
    if importlib.util.find_spec("rclpy"):
        extra = extra.removeprefix("ros,")
    return f"in the clone: pip install -c constraints.txt -e '.[{extra}]'"
