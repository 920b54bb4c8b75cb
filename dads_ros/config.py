"""Settings as frozen dataclasses: default, unit, range and help stand at the field, once.

YAML holds only what differs. ROS parameters and the tables of settings in the documentation are
made from the same fields.
"""

import dataclasses
import difflib
import math
import re
import reprlib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin

import yaml

from dads_ros.errors import ConfigError

REQUIRED = dataclasses.MISSING
MAX_PREDICTIONS = 1_000_000
"""Of one plan, each of a skill that is held: about a second's work."""
MAX_INT = 2**63 - 1
"""What a ROS parameter, MuJoCo and torch take."""
MAX_ITEMS = 1000
"""Of a list or a mapping of settings."""
MAX_BYTES, MAX_DEPTH = 2**16, 20
"""Of a YAML file; our longest has 7 kB and depth 5."""
MAX_NAME, MAX_SCALAR, MAX_NUMBER = 200, 4096, 40
"""Letters of a key, of a value, and of a number in a YAML file."""


def setting(
    default: Any,  # noqa: ANN401
    *,
    help: str,
    min: float | None = None,
    max: float | None = None,
    read_only: bool = False,
) -> Any:  # noqa: ANN401
    """A dataclass field with a default (or REQUIRED), one line of help and an optional range.

    ``read_only``: as a ROS parameter it cannot be changed while the node runs.
    """
    metadata = {"help": help, "min": min, "max": max, "read_only": read_only}
    if dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Config:
    """Base of every settings dataclass: validation, YAML in, plain dict out."""

    def __post_init__(self) -> None:
        """Check every field's type and range. Raises: ConfigError."""
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            where = f"'{field.name}'"
            value = _convert(getattr(self, field.name), hints[field.name], where)
            low, high = field.metadata.get("min"), field.metadata.get("max")
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, bool) or not isinstance(number, int | float):
                    continue
                if not math.isfinite(number):
                    raise ConfigError(f"{where} is {number}; it must be finite")
                if (low is not None and number < low) or (high is not None and number > high):
                    raise ConfigError(f"{where} is {number}; it must be {_range_text(low, high)}")
            object.__setattr__(self, field.name, value)

    @classmethod
    def from_dict(cls, values: Any, where: str = "") -> Self:  # noqa: ANN401
        """Build from plain data. Raises: ConfigError for unknown keys, with the nearest name."""
        label = where or cls.__name__
        if not isinstance(values, dict):
            raise ConfigError(f"{label}: got {shown(values)}; expected a mapping of settings")
        known = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(shown(key).strip("'"), known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
                raise ConfigError(f"{label}: unknown setting {shown(key)}; {hint}")
        hints = typing.get_type_hints(cls)
        prefix = f"{where}." if where else ""
        try:
            arguments = {k: _convert(v, hints[k], prefix + k) for k, v in values.items()}
            missing = [
                name
                for name, field in known.items()
                if name not in values
                and field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ]
            if missing:
                raise ConfigError(f"missing setting(s) {', '.join(missing)}")
            return cls(**arguments)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}" if where else str(error)) from error

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read a YAML file. Raises: ConfigError that names the file."""
        return cls.from_dict(read_yaml(path), str(path.name))

    def with_settings(self, assignments: Iterable[str]) -> Self:
        """With some settings replaced, each as ``part.name=value``, the value as in YAML.

        Raises: ConfigError that names the one that cannot be taken.
        """
        values = self.to_dict()
        for assignment in assignments:
            name, sign, text = assignment.partition("=")
            if not sign:
                raise ConfigError(
                    f"'{assignment}' sets nothing; expected part.name=value, as sac.batch_size=512"
                )
            *parts, last = name.strip().split(".")
            part: Any = values
            for key in parts:
                part = part.setdefault(key, {})
                if not isinstance(part, dict):
                    raise ConfigError(f"'{assignment}': '{key}' is a setting and has no parts")
            part[last] = _yaml_of(text, f"'{assignment}'")
        return self.from_dict(values)

    def to_yaml(self, path: Path) -> None:
        """Write every field."""
        path.write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Plain data with every field, fit for YAML."""
        return _plain(dataclasses.asdict(self))  # type: ignore[call-overload]


def read_yaml(path: Path) -> Any:  # noqa: ANN401
    """The content of a YAML file of names, numbers, text, lists and mappings.

    Raises: ConfigError when it is missing, no YAML, or beyond the bounds of a file of settings.
    """
    try:
        if not path.is_file():  # a pipe or a device may never end
            raise ConfigError(f"'{path}' cannot be read (it is no file); check the path")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(
                f"'{path}' is no file of settings: it has more than {MAX_BYTES} bytes"
            )
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror}); check the path") from error
    return _yaml_of(content, f"'{path}'")


def _yaml_of(content: bytes | str, what: str) -> Any:  # noqa: ANN401
    """Raises: ConfigError."""
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # of no date, or no UTF-8
        raise ConfigError(f"{what} is not valid YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """yaml.SafeLoader for files of settings.

    Aliases, tags, keys that are no text and keys that come twice are refused, and what is beyond
    the bounds, each before anything is made of it.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        event = self.peek_event()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _refusal(event, f"lists and mappings in each other deeper than {MAX_DEPTH}")
        if getattr(event, "anchor", None) is not None:
            raise _refusal(event, "an anchor or alias, '&' or '*'; write it out")
        if getattr(event, "tag", None) is not None:
            raise _refusal(event, "a tag, '!'; leave it out")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        is_number = node.tag.endswith((":int", ":float"))
        limit = MAX_NUMBER if is_number else MAX_SCALAR
        if len(node.value) > limit:
            kind = "a number" if is_number else "a text"
            raise _refusal(node, f"{kind} of more than {limit} letters")
        if "\0" in node.value:
            raise _refusal(node, "a text with a NUL")
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if not key.tag.endswith(":str"):
                raise _refusal(key, "a key that is no text; put it in quotes")
            if len(key.value) > MAX_NAME:
                raise _refusal(key, f"a key of more than {MAX_NAME} letters")
            if key.value in names:
                raise _refusal(key, f"the key '{key.value}' twice")
            names.add(key.value)
        return node


# YAML 1.1 takes 1e-3 for text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _refusal(place: yaml.Event | yaml.Node, text: str) -> yaml.YAMLError:
    line = place.start_mark.line + 1 if place.start_mark else 0
    return yaml.YAMLError(f"line {line} has {text}")


class _ShortRepr(reprlib.Repr):
    """repr() that takes no time, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 80, 80

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if abs(x) <= MAX_INT else "a huge integer"


_SHORT = _ShortRepr()


def shown(value: object) -> str:
    """A value that came from outside, as it may stand in a message: at most 200 letters."""
    text = _SHORT.repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _range_text(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _convert(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401
    """The value as the annotated type. Raises: ConfigError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        hints = [a for a in arguments if a is not type(None)]
        is_list = isinstance(value, list | tuple)  # a number, or a list of numbers
        fitting = [a for a in hints if (get_origin(a) is tuple) == is_list]
        return _convert(value, (fitting or hints)[0], where)
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(
            f"{where}: got {shown(value)}; expected one of {', '.join(map(str, arguments))}"
        )
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: got {shown(value)}; expected a list")
        if len(value) > MAX_ITEMS:
            raise ConfigError(f"{where}: got {len(value)} values; expected at most {MAX_ITEMS}")
        if arguments[-1] is Ellipsis:
            return tuple(_convert(v, arguments[0], f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(arguments):
            raise ConfigError(f"{where}: got {len(value)} values; expected {len(arguments)}")
        return tuple(
            _convert(v, a, f"{where}[{i}]")
            for i, (v, a) in enumerate(zip(value, arguments, strict=True))
        )
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ConfigError(f"{where}: got {shown(value)}; expected a mapping of names")
        if len(value) > MAX_ITEMS:
            raise ConfigError(f"{where}: got {len(value)} entries; expected at most {MAX_ITEMS}")
        return {k: _convert(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        return hint.from_dict(value, where)  # type: ignore[attr-defined]
    if isinstance(value, int) and abs(value) > MAX_INT:
        raise ConfigError(f"{where}: got {shown(value)}; expected one within +-{MAX_INT}")
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is Any or (isinstance(value, hint) and not (hint is int and isinstance(value, bool))):
        return value
    raise ConfigError(f"{where}: got {shown(value)}; expected {hint.__name__}")


@dataclass(frozen=True, kw_only=True)
class SkillPriorConfig(Config):
    """The skill prior p(z)."""

    kind: Literal["box", "disc", "discrete"] = setting(
        "box",
        help="box: uniform in [-1, 1]^D (the paper); disc: uniform in the unit ball; discrete: D "
        "skills, one-hot (the paper).",
    )
    dim: int = setting(
        2, min=1, max=64, help="Number of skill dimensions D; of skills, when discrete."
    )

    def __post_init__(self) -> None:
        """Check what spans both. Raises: ConfigError."""
        super().__post_init__()
        if self.kind == "discrete" and self.dim < 2:
            raise ConfigError(f"'dim' is {self.dim}; a discrete prior needs at least 2 skills")


@dataclass(frozen=True, kw_only=True)
class DomainRandomization(Config):
    """Ranges, each uniform; every robot keeps what it draws. Nothing varies by default."""

    friction: tuple[float, float] | None = setting(
        None, min=0.0, max=10.0, help="Sliding friction of all geoms; null: that of the MJCF."
    )
    mass: tuple[float, float] = setting(
        (1.0, 1.0), min=0.1, max=10.0, help="Factor on all masses and inertias."
    )
    gain: tuple[float, float] = setting(
        (1.0, 1.0),
        min=0.1,
        max=10.0,
        help="Factor on the strength of actuators: of servos on their gains, else on the force.",
    )
    sensor_noise: float = setting(
        0.0, min=0.0, max=10.0, help="Noise of the state; 1 is that of usual sensors."
    )
    ground_m: float = setting(
        0.0, min=0.0, max=1.0, help="Uneven ground: bumps of up to plus and minus this."
    )

    def __post_init__(self) -> None:
        """Check the ranges. Raises: ConfigError."""
        super().__post_init__()
        for name in ("friction", "mass", "gain"):
            values = getattr(self, name)
            if values is not None and values[0] > values[1]:
                raise ConfigError(f"'{name}' is {list(values)}; expected the smaller one first")


@dataclass(frozen=True, kw_only=True)
class PlannerConfig(Config):
    """MPPI over skills (Sharma et al. 2020, Algorithm 2)."""

    num_samples: int = setting(
        64, min=4, max=20000, help="Skill sequences per refinement (K), three of them not sampled."
    )
    planning_horizon: int = setting(4, min=1, max=20, help="Skills in one sequence (H_P).")
    skill_duration_steps: int = setting(
        5, min=1, max=1000, help="Control steps that each skill is held (H_Z)."
    )
    num_refine_steps: int = setting(5, min=1, max=100, help="Refinements of one plan (R).")
    temperature: float = setting(
        0.05,
        min=1e-6,
        max=1e3,
        help="Weights are softmax(-cost / temperature), the cost a mean over the plan; the "
        "paper's gamma, on the sum over its steps, is 1 / (temperature * H_P * H_Z).",
    )
    noise_std: float = setting(
        0.5,
        min=1e-3,
        max=10.0,
        help="Standard deviation of sampled skills at the first refinement.",
    )
    noise_decay: float = setting(
        0.6, min=0.01, max=1.0, help="Factor on noise_std at each further refinement."
    )
    smoothing: float = setting(
        0.8,
        min=0.0,
        max=0.999,
        help="beta: correlation of the noise of successive skills; skills that change "
        "less from one to the next walk better; the paper has 0.9 for sparse costs.",
    )
    warm_start: bool = setting(True, help="Start from the last plan instead of from zero.")
    skill_range: float = setting(
        0.85,
        min=0.01,
        max=1.0,
        help="Part of the skill prior that is planned over: below 1 the longest skills, which are "
        "the fastest and fall most, are left out; 1 is the paper.",
    )
    standing_radius_m: float = setting(
        0.25,
        min=0.0,
        max=100.0,
        help="Nearer to the goal than this, and half of goal_tolerance_m, all places are equally "
        "good, and the robot stands instead of dancing around it; 0 is the paper.",
    )
    kick_distance_m: float = setting(
        0.0,
        min=0.0,
        max=10.0,
        help="A robot that moved less than this under a skill that was to carry it three times as "
        "far gets one random skill; 0 is off, the paper.",
    )

    def __post_init__(self) -> None:
        """Check what spans several fields. Raises: ConfigError."""
        super().__post_init__()
        work = self.num_samples * self.planning_horizon * self.num_refine_steps
        if work > MAX_PREDICTIONS:
            raise ConfigError(
                f"'num_samples' {self.num_samples} x 'planning_horizon' {self.planning_horizon} x "
                f"'num_refine_steps' {self.num_refine_steps} is {work} predictions for one plan; "
                f"at most {MAX_PREDICTIONS} are allowed: lower one of them"
            )


@dataclass(frozen=True, kw_only=True)
class CostsConfig(Config):
    """Weights of the costs that add up to a task; 0 leaves one out."""

    goal: float = setting(
        1.0,
        min=0.0,
        max=1e3,
        help="Mean distance from the goal, m; with a map the length of the way around obstacles.",
    )
    heading: float = setting(
        1.0,
        min=0.0,
        max=1e3,
        help="Mean angle to the goal's heading, or to that of cmd_vel's turn, rad, for bundles "
        "that predict yaw.",
    )
    heading_near_m: float = setting(
        1.0,
        min=0.0,
        max=1e3,
        help="The heading costs once the robot is nearer to its goal than this.",
    )
    path: float = setting(
        1.0, min=0.0, max=1e3, help="Mean of the way left along the path and distance from it, m."
    )
    cross_track: float = setting(
        3.0, min=0.0, max=1e3, help="Way along the path that one metre of distance is worth, m."
    )
    velocity: float = setting(
        1.0,
        min=0.0,
        max=1e3,
        help="Mean distance from where the wanted velocity would have led, m.",
    )
    obstacles: float = setting(
        1.0,
        min=0.0,
        max=1e3,
        help="Nearness of obstacles, 0 to 1; touching one is forbidden unless this is 0.",
    )
    margin_m: float = setting(
        1.2,
        min=1e-3,
        max=100.0,
        help="Obstacles nearer to the robot's edge than this cost, and ways past them are longer.",
    )
    bounds: float = setting(
        1.0, min=0.0, max=1e3, help="Leaving bounds_m is forbidden unless this is 0."
    )
    bounds_m: tuple[float, float, float, float] = setting(
        (-1e6, -1e6, 1e6, 1e6), help="x_min, y_min, x_max, y_max of where to stay, odom, m."
    )
    fall: float = setting(
        4.0,
        min=0.0,
        max=1e6,
        help="Probability that the plan leads to a fall, for bundles that predict it: metres that "
        "a sure fall is worth.",
    )
    skill_change: float = setting(
        0.2,
        min=0.0,
        max=1e3,
        help="Mean change from one skill to the next: steadier skills walk better and fall less.",
    )
    custom: str = setting(
        "",
        help="A cost of your own: package.module:Class, installed, made without arguments.",
        read_only=True,
    )
    custom_weight: float = setting(1.0, min=0.0, max=1e3, help="Weight of that cost.")


@dataclass(frozen=True, kw_only=True)
class ControlConfig(Config):
    """What a SkillController decides by."""

    lock_step: bool = setting(
        False,
        help="Plan before the command of the same state, not beside it; the simulator waits.",
        read_only=True,
    )
    state_timeout_s: float = setting(
        0.5,
        min=0.01,
        max=60.0,
        help="Without a state for this long (wall clock), or where the newest one is older, the "
        "safe command is sent; a robot that has been down for longer loses its task.",
    )
    skill_timeout_s: float = setting(
        1.0,
        min=0.01,
        max=600.0,
        help="A late plan: after this long (robot's time) the standing command is sent.",
    )
    start_ramp_s: float = setting(
        1.0,
        min=0.0,
        max=60.0,
        help="So long a robot whose commands are positions (command_scale) is led from the pose "
        "that it is in to standing, once it is activated; then its task begins. It comes to its "
        "safe command in this time as well, or at once with 0.",
    )
    goal_tolerance_m: float = setting(
        0.5, min=0.001, max=100.0, help="The goal is reached within this distance."
    )
    goal_tolerance_rad: float = setting(
        0.35,
        min=0.001,
        max=3.1416,
        help="And within this angle of the goal's heading, for bundles that predict yaw.",
    )
    goal_hold_s: float = setting(
        1.0, min=0.0, max=600.0, help="And after this long in it without a break (robot's time)."
    )
    cmd_vel_timeout_s: float = setting(
        0.5,
        min=0.01,
        max=60.0,
        help="So long after the last cmd_vel or ~/skill_by_hand (wall clock) it stands.",
    )
    planner: PlannerConfig = setting(PlannerConfig(), help="MPPI over skills.")
    costs: CostsConfig = setting(CostsConfig(), help="Weights of the costs of a task.")
