"""Every error raised on purpose; a message says what came, what was expected, the cure.

DadsError
├── ConfigError            a setting, a robot file, a model or a command-line value is wrong
├── CheckpointError        a training checkpoint is missing, damaged or of another run
├── TrainingError          training diverged
├── BundleError            a skill bundle is missing or damaged
│   └── BundleMismatchError   a sound bundle, but for another robot or schema
└── PlanningError          the planner was asked for what it cannot do
"""


class DadsError(Exception):
    """Base of all errors; the command line prints its message and exits with code 2."""


class ConfigError(DadsError):
    """A setting, a robot file, a model or a command-line value is wrong."""


class CheckpointError(DadsError):
    """A training checkpoint is missing, damaged or belongs to another run."""


class TrainingError(DadsError):
    """Training diverged: a loss or a weight is not finite."""


class BundleError(DadsError):
    """A skill bundle is missing or damaged."""


class BundleMismatchError(BundleError):
    """A sound skill bundle that was made for another robot or by another schema."""


class PlanningError(DadsError):
    """The planner was asked for something that its bundle cannot do."""
