"""What was heard of a robot, now or in a recording, as plain records, and what is said of it.

Stamps are in ns of whatever clock the sender has; quaternions (w, x, y, z). Letters: J joints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Verdict(StrEnum):
    """Of a check; the exit code is 1 if one is WRONG."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    NOT_SEEN = "not seen"
    """Nothing came by which it could be judged."""


class Check(NamedTuple):
    """One line of the table."""

    name: str
    verdict: Verdict
    found: str
    cure: str = ""
    """One sentence; empty where all is well."""


class Arrival(NamedTuple):
    """When a message was made and when it came."""

    stamp_ns: int
    received_ns: int
    """Wall clock."""
    clock_ns: int | None = None
    """The newest /clock at that moment; None where there is none."""
    sequence: int | None = None
    """Its number among those of its publisher; None where DDS does not say."""


class Joints(NamedTuple):
    """A joint_states."""

    arrival: Arrival
    names: tuple[str, ...]
    positions: Array
    velocities: Array
    """As long as the message had them, as positions are."""


class Base(NamedTuple):
    """An odom."""

    arrival: Arrival
    frame: str
    child_frame: str
    position: Array
    orientation: Array
    linear_velocity: Array
    angular_velocity: Array


class Imu(NamedTuple):
    """An imu."""

    arrival: Arrival
    frame: str
    orientation: Array | None
    """None where the message says that it has none."""
    angular_velocity: Array
    acceleration: Array
    """m/s²; what it feels, so that a robot at rest has 9.8 upwards."""


class Command(NamedTuple):
    """A command, on joint_commands or on a dry run's topic."""

    received_ns: int
    """Wall clock."""
    numbers: Array
    actuators: tuple[str, ...]
    """As it names them; empty where it does not."""
    answered_ns: int | None
    """Stamp of the state that it answers; None where it does not say (no trajectory does)."""
    is_guards: bool = False
    """The guard sent it, as the planner had fallen silent."""
    is_trajectory: bool = False


class Endpoint(NamedTuple):
    """A publisher or a subscription."""

    node: str
    """Full name."""
    type: str


class JointRanges(NamedTuple):
    """Of the MJCF, in the robot file's order; unlimited joints go from -inf to inf."""

    low: Array
    """rad or m. Shape (J,)."""
    high: Array
    is_hinge: NDArray[np.bool_]


class PlannerSettings(NamedTuple):
    """Parameters of a running planner, or what they are by default."""

    node: str = ""
    """Full name; empty where none runs."""
    use_sim_time: bool | None = None
    frame_prefix: str | None = None
    max_stamp_difference_s: float = 0.0
    state_timeout_s: float = 0.5
    command_type: str = ""
    """Empty where no planner says."""
    use_imu: bool = False


@dataclass(frozen=True, kw_only=True)
class Heard:
    """All that came within some seconds, and the graph at their end; topics by relative name."""

    seconds: float
    is_recorded: bool = False
    """Then nobody knows the graph; publishers are the topics that were recorded."""
    joints: Sequence[Joints] = ()
    bases: Sequence[Base] = ()
    imus: Sequence[Imu] = ()
    commands: Sequence[Command] = ()
    would_be_commands: Sequence[Command] = ()
    num_clocks: int = 0
    publishers: Mapping[str, Sequence[Endpoint]] = field(default_factory=dict)
    subscriptions: Mapping[str, Sequence[Endpoint]] = field(default_factory=dict)
    """Without the doctor's own."""
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Published topics of the same last name and type in other namespaces, in full."""
    planner: PlannerSettings = field(default_factory=PlannerSettings)
