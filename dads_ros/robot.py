"""RobotSpec: what is known about a robot, read from its robot file and from nowhere else."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import MAX_NAME, REQUIRED, Config, read_yaml, setting, shown
from dads_ros.errors import ConfigError
from dads_ros.files import find_file, resolve_package_uri, share_folder

ObservationField = Literal[
    "height",
    "orientation",
    "projected_gravity",
    "linear_velocity",
    "angular_velocity",
    "joint_positions",
    "joint_velocities",
    "last_command",
]


@dataclass(frozen=True, kw_only=True)
class BaseSpec(Config):
    """How the robot's base is attached to the world."""

    kind: Literal["free", "planar"] = setting(
        "free", help="free: a free joint; planar: slides and at most one hinge."
    )
    body: str = setting("torso", help="MJCF body whose pose is the robot's pose (base_link).")
    joints: dict[str, str] | None = setting(
        None, help="planar only: axis (x, y, z, roll, pitch, yaw) -> MJCF joint."
    )


@dataclass(frozen=True, kw_only=True)
class ServoSpec(Config):
    """Position servos in place of the MJCF's actuators: kp (command - position) - kd velocity.

    What an actuator can do at most there stays its limit.
    """

    kp: tuple[float, ...] = setting(
        REQUIRED, min=0.0, max=1e6, help="Stiffness, N m / rad or N / m; one value or one each."
    )
    kd: tuple[float, ...] = setting(
        REQUIRED, min=0.0, max=1e6, help="Damping, N m s / rad or N s / m; one value or one each."
    )


@dataclass(frozen=True, kw_only=True)
class CommandFilterSpec(Config):
    """What a command may differ from the one before it; training, gate and evaluation keep to it.

    In each control step: last + clip(low_pass * (wanted - last), +-max_rate * control step).
    """

    low_pass: float = setting(
        1.0, min=0.01, max=1.0, help="Part of the way to the wanted command; 1 is all of it."
    )
    max_rate: tuple[float, ...] | None = setting(
        None, min=1e-6, max=1e9, help="Largest change per second; one value or one each."
    )


@dataclass(frozen=True, kw_only=True)
class BodyLimitsSpec(Config):
    """How a body may move, whatever the task: what is beyond costs in training.

    Each counts by how far it is exceeded, in parts of the limit (root mean square over the
    joints), and is a metric of training and evaluation.
    """

    command_rate: float | None = setting(
        0.06, min=0.0, max=1.0, help="Change of a command per control step, part of its range."
    )
    torque: float | None = setting(
        0.8, min=0.0, max=1.0, help="Part of what a servo can do at most; needs 'servos'."
    )
    joint_speed: tuple[float, ...] | None = setting(
        None, min=0.0, max=1e4, help="rad/s or m/s; one value or one for each of 'joints'."
    )
    joint_margin: float | None = setting(
        0.05, min=0.0, max=10.0, help="Distance to keep from a joint's limits, rad or m."
    )
    height_m: tuple[float, float] | None = setting(
        None, min=-1e3, max=1e3, help="Lowest and highest position of the base."
    )
    tilt_deg: float | None = setting(
        12.0, min=0.0, max=180.0, help="Angle between the base's z-axis and the world's."
    )
    contacts: bool = setting(
        True, help="The ground is touched by 'feet' only; without 'feet' this does not count."
    )


@dataclass(frozen=True, kw_only=True)
class RelabelSpec(Config):
    """Which joint takes the place of which in a body that looks the same after some change.

    Checked against MuJoCo when the model is loaded.
    """

    key: ClassVar[str]
    """Where it stands in the robot file."""

    joints: dict[str, str] = setting(
        REQUIRED, help="Joint -> the joint that it takes the place of; '-name' for opposite sign."
    )
    tolerance: float = setting(
        1e-3,
        min=0.0,
        max=0.1,
        help="The robot and its relabelled twin may differ by this after 5 simulation steps "
        "from the same state (rad, m). Real robots are never quite symmetric.",
    )


@dataclass(frozen=True, kw_only=True)
class MirrorSpec(RelabelSpec):
    """Relabelling of a body that looks the same in a mirror, its own x-z-plane.

    With joint ``a`` moved like the mirror image of ``joints[a]``, the robot occupies the space of
    its image.
    """

    key: ClassVar[str] = "mirror"


@dataclass(frozen=True, kw_only=True)
class SymmetrySpec(RelabelSpec):
    """Relabelling of a body that looks the same after a turn about its own z-axis.

    With the base turned by ``+turn_deg`` and joint ``a`` moved like ``joints[a]`` was, the robot
    occupies the same space.
    """

    key: ClassVar[str] = "symmetry"

    turn_deg: float = setting(
        90.0, min=1.0, max=180.0, help="Turn about the base z-axis, degrees."
    )

    @property
    def order(self) -> int:
        """Number of turns until the body is back where it was."""
        return round(360.0 / self.turn_deg)


@dataclass(frozen=True, kw_only=True)
class FallenSpec(Config):
    """When the robot counts as fallen."""

    min_up_z: float = setting(
        0.0, min=-1.0, max=1.0, help="Fallen when the world z of the base z-axis is below this."
    )
    min_height_m: float = setting(
        -1.0, min=-1e3, max=1e3, help="Fallen when the base is lower than this."
    )
    contacts: tuple[str, ...] = setting(
        (), help="Fallen when one of these bodies touches the ground; simulation only."
    )
    ends_episode: bool = setting(False, help="A fall ends the training episode (terminated).")


@dataclass(frozen=True, kw_only=True)
class TopSpeedSpec(Config):
    """The largest speeds that skills are to reach, each along one axis of the heading alone."""

    forward_mps: float = setting(REQUIRED, min=1e-3, max=100.0, help="Ahead, m/s.")
    backward_mps: float = setting(REQUIRED, min=1e-3, max=100.0, help="Back, m/s.")
    sideways_mps: float = setting(
        REQUIRED, min=1e-3, max=100.0, help="To the left and to the right, m/s."
    )
    turn_radps: float = setting(REQUIRED, min=1e-3, max=100.0, help="Both ways, rad/s.")


@dataclass(frozen=True, kw_only=True)
class ResetSpec(Config):
    """Where an episode starts: x = y = 0, uniformly random yaw."""

    keyframe: str = setting(
        "",
        help="Keyframe of the MJCF: gives the positions of joints, and the height, not set here.",
    )
    height_m: float = setting(
        0.0, min=-1e3, max=1e3, help="Height of the base above its frame's origin."
    )
    joint_positions: dict[str, float] | None = setting(
        None, help="Joint -> position (rad or m); else that of the keyframe, or zero."
    )
    position_noise: float = setting(
        0.0, min=0.0, max=10.0, help="Half width of uniform joint noise (rad)."
    )
    velocity_noise: float = setting(
        0.0, min=0.0, max=100.0, help="Standard deviation of all velocities."
    )


@dataclass(frozen=True, kw_only=True)
class RobotSpec(Config):
    """The robot file."""

    name: str = setting(REQUIRED, help="Short name; bundles and topics of diagnostics carry it.")
    mjcf: str = setting(REQUIRED, help="MJCF file: package://<python package>/<file>, or a path.")
    integrator: Literal["Euler", "implicitfast", "implicit", "RK4"] | None = setting(
        None, help="Replaces the MJCF's integrator."
    )
    sim_dt: float = setting(0.01, min=1e-5, max=1.0, help="Simulation step, seconds.")
    num_substeps: int = setting(5, min=1, max=1000, help="Simulation steps per control step.")
    base: BaseSpec = setting(BaseSpec(), help="How the base is attached.")
    joints: tuple[str, ...] = setting((), help="Order of joint positions and velocities.")
    wheels: tuple[str, ...] = setting(
        (),
        help="Those of 'joints' that turn without end, as wheels do: the policy sees their "
        "positions within -pi .. pi.",
    )
    actuators: tuple[str, ...] = setting(
        REQUIRED, help="Order of commands: names of actuators, or of the joints that they drive."
    )
    servos: ServoSpec | None = setting(
        None, help="Position servos in place of the MJCF's actuators."
    )
    command_unit: str = setting("", help="What one unit of command is, for people.")
    command_low: tuple[float, ...] = setting((-1.0,), help="Lower limit; one value or one each.")
    command_high: tuple[float, ...] = setting((1.0,), help="Upper limit; one value or one each.")
    command_scale: tuple[float, ...] | None = setting(
        None,
        min=1e-6,
        max=1e6,
        help="Commands are positions: those of 'reset' plus and minus this, instead of "
        "'command_low' and 'command_high', and safe and standing command are those of 'reset'. "
        "One value or one each.",
    )
    command_filter: CommandFilterSpec = setting(
        CommandFilterSpec(), help="What a command may differ from the one before it."
    )
    safe_command: tuple[float, ...] = setting((0.0,), help="Sent when anything is wrong.")
    safe_mode: Literal["pose", "hold", "damp"] = setting(
        "pose",
        help="With 'command_scale', what is sent when anything is wrong. pose: 'safe_command', by "
        "a ramp. hold: what was sent last. damp: where the joints are, by a ramp, so that the "
        "servos damp and the robot sinks; where no state says so, it holds.",
    )
    standing_command: tuple[float, ...] | None = setting(
        (0.0,),
        help="Holds the robot where it is; null for a robot that no constant command holds up: it "
        "stands by the skill that moves it least.",
    )
    max_delay_ms: float = setting(
        0.0, min=0.0, max=1000.0, help="Longest delay from state to command to expect."
    )
    observation: tuple[ObservationField, ...] = setting(
        REQUIRED, help="Fields of policy_obs in order."
    )
    max_velocity: float = setting(
        20.0, min=0.1, max=1e4, help="Velocities in policy_obs are clipped to +-."
    )
    symmetry: SymmetrySpec | None = setting(None, help="Turn symmetry of the body.")
    mirror: MirrorSpec | None = setting(None, help="Mirror symmetry of the body, left to right.")
    feet: tuple[str, ...] = setting(
        (), help="Geoms or bodies of the MJCF that are meant to touch the ground."
    )
    body_limits: BodyLimitsSpec | None = setting(
        None, help="How the body may move; by default what every robot with 'servos' is held to."
    )
    fallen: FallenSpec = setting(FallenSpec(), help="When the robot counts as fallen.")
    reset: ResetSpec = setting(ResetSpec(), help="Where episodes start.")
    radius_m: float = setting(0.5, min=0.0, max=100.0, help="Radius of the robot's footprint.")
    top_speed: TopSpeedSpec | None = setting(
        None,
        help="The largest speeds that skills are to reach; training with 'skill_dynamics.linear' "
        "in the heading frame needs it.",
    )

    def __post_init__(self) -> None:
        """Check what spans several fields. Raises: ConfigError."""
        super().__post_init__()
        if len(self.name) > MAX_NAME:
            raise ConfigError(f"'name' has {len(self.name)} letters; expected at most {MAX_NAME}")
        commands = "command_low", "command_high", "command_scale", "safe_command"
        for field in (*commands, "standing_command"):
            self._set(field, self._each(field, getattr(self, field), self.actuators))
        if self.servos is not None:
            gains = {
                name: self._each(f"servos.{name}", getattr(self.servos, name), self.actuators)
                for name in ("kp", "kd")
            }
            self._set("servos", dataclasses.replace(self.servos, **gains))
            if self.body_limits is None:
                self._set("body_limits", BodyLimitsSpec())
        if self.body_limits is not None:
            speed = self._each(
                "body_limits.joint_speed", self.body_limits.joint_speed, self.joints
            )
            self._set("body_limits", dataclasses.replace(self.body_limits, joint_speed=speed))
            if self.body_limits.torque is not None and self.servos is None:
                self._set("body_limits", dataclasses.replace(self.body_limits, torque=None))
        if self.safe_mode != "pose" and self.command_scale is None:
            raise ConfigError(
                f"'safe_mode' is {self.safe_mode}, which takes commands that are positions around "
                "'reset'; set 'command_scale', or leave it at pose: 'safe_command' is then sent"
            )
        rate = self._each("command_filter.max_rate", self.command_filter.max_rate, self.actuators)
        self._set("command_filter", dataclasses.replace(self.command_filter, max_rate=rate))
        for field, named in (
            ("reset.joint_positions", self.reset.joint_positions or {}),
            ("wheels", self.wheels),
        ):
            for joint in set(named) - set(self.joints):
                raise ConfigError(f"'{field}' names '{joint}', not one of 'joints'")
        if self.command_scale is not None and self.is_home_known:
            self._set_commands_around_home(self.command_scale)
        if not all(a < b for a, b in zip(self.command_low, self.command_high, strict=True)):
            raise ConfigError("'command_low' must be below 'command_high' for every actuator")
        for field in ("safe_command", "standing_command"):
            values = getattr(self, field)
            if values is None or (self.command_scale is not None and not self.is_home_known):
                continue
            limits = zip(self.command_low, values, self.command_high, strict=True)
            if not all(low <= value <= high for low, value, high in limits):
                raise ConfigError(f"'{field}' is outside command_low .. command_high")
        for group in ("joints", "wheels", "actuators", "observation"):
            values = getattr(self, group)
            if len(set(values)) != len(values):
                raise ConfigError(f"'{group}' names something twice")
        if not self.actuators:
            raise ConfigError("'actuators' is empty; name what the commands drive")
        of_joints = {"joint_positions", "joint_velocities"}
        if not set(self.observation) - (set() if self.joints else of_joints):
            raise ConfigError(
                f"'observation' {list(self.observation)} holds no number with "
                f"{len(self.joints)} 'joints'; name what the policy sees"
            )
        if self.base.kind == "planar" and not self.base.joints:
            raise ConfigError("'base.joints' is missing; a planar base names its joints by axis")
        turn = self.symmetry
        if turn is not None and abs(turn.order * turn.turn_deg - 360.0) > 1e-6:
            raise ConfigError(f"'symmetry.turn_deg' {turn.turn_deg} does not divide 360")
        for relabelling in (self.symmetry, self.mirror):
            if relabelling is not None:
                self._check_joint_map(relabelling)

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)

    @staticmethod
    def _each(field: str, values: tuple[float, ...] | None, names: tuple[str, ...]) -> Any:  # noqa: ANN401
        """One value for each name; None stays. Raises: ConfigError."""
        if values is None or len(values) == len(names):
            return values
        if len(values) != 1:
            raise ConfigError(f"'{field}' has {len(values)} values; expected 1 or {len(names)}")
        return values * len(names)

    def _set_commands_around_home(self, scale: tuple[float, ...]) -> None:
        """Raises: ConfigError where an actuator is not named as the joint that it drives."""
        home = [self.home[joint] for joint in self.actuated_joints]
        self._set("command_low", tuple(h - s for h, s in zip(home, scale, strict=True)))
        self._set("command_high", tuple(h + s for h, s in zip(home, scale, strict=True)))
        for field in ("safe_command", "standing_command"):
            if getattr(self, field) is not None and not any(getattr(self, field)):
                self._set(field, tuple(home))

    def _check_joint_map(self, relabelling: RelabelSpec) -> None:
        sources = sorted(relabelling.joints)
        targets = sorted(name.removeprefix("-") for name in relabelling.joints.values())
        if sources != sorted(self.joints) or targets != sources:
            odd = sorted({*sources, *targets} ^ set(self.joints)) or ["one of them twice"]
            raise ConfigError(
                f"'{relabelling.key}.joints' must map every one of 'joints' onto another; only in "
                f"one of them: {', '.join(odd)}"
            )

    @classmethod
    def load(cls, name: str) -> "RobotSpec":
        """Read a robot file, as ``read_robot_file`` finds it. Raises: ConfigError."""
        return cls.from_dict(*read_robot_file(name))

    @property
    def is_home_known(self) -> bool:
        """Where the robot starts is known without its MJCF."""
        named = self.reset.joint_positions or {}
        return not self.reset.keyframe or set(named) == set(self.joints)

    @property
    def home(self) -> dict[str, float]:
        """Joint -> position that episodes start in, rad or m."""
        return dict.fromkeys(self.joints, 0.0) | (self.reset.joint_positions or {})

    def filtered(
        self, wanted: NDArray[np.float64], last: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The commands that ``command_filter`` makes of wanted ones. Shapes (..., A)."""
        spec = self.command_filter
        change = wanted - last if spec.low_pass == 1.0 else spec.low_pass * (wanted - last)
        if spec.max_rate is not None:
            most = self.control_dt * np.array(spec.max_rate)
            change = np.minimum(np.maximum(change, -most), most)
        elif spec.low_pass == 1.0:
            return wanted
        return last + change

    @property
    def control_dt(self) -> float:
        """Control step, seconds."""
        return self.sim_dt * self.num_substeps

    @property
    def has_yaw(self) -> bool:
        """The base can turn about the world's z."""
        return self.base.kind == "free" or "yaw" in (self.base.joints or {})

    @property
    def ground_axes(self) -> NDArray[np.bool_]:
        """Whether the base can move along the world's x and y. Shape (2,)."""
        if self.base.kind == "free":
            return np.array([True, True])
        return np.array([axis in (self.base.joints or {}) for axis in "xy"])

    @property
    def command_dim(self) -> int:
        """A: number of actuators."""
        return len(self.actuators)

    @property
    def actuated_joints(self) -> tuple[str, ...]:
        """The joints that commands go to, in their order: actuators that are named as joints.

        Raises: ConfigError where one is not.
        """
        others = [name for name in self.actuators if name not in self.joints]
        if others:
            raise ConfigError(
                f"robot '{self.name}' has actuators that are not named as one of its 'joints': "
                f"{', '.join(others)}; commands by joint need that: give each actuator the name "
                "of the joint that it drives, or set command_type to float64_multi_array"
            )
        return self.actuators

    @property
    def actuated_columns(self) -> list[int]:
        """Where ``actuated_joints`` stand in ``joints``. Raises: ConfigError, as that does."""
        return [self.joints.index(name) for name in self.actuated_joints]

    @functools.cached_property
    def command_limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper limit of each actuator. Two arrays of shape (A,)."""
        return np.array(self.command_low), np.array(self.command_high)


def read_robot_file(name: str) -> tuple[Any, str]:
    """What a robot file says, by path or by the name of a shipped robot, and how messages call it.

    A relative ``mjcf`` is taken from the folder of the file that has it. A file with ``like``,
    another robot file by name or as it lies from this one, says only what is different there:
    keys, or keys of a key. Raises: ConfigError.
    """
    path = _robot_file(name)
    values, source = _read_one(path), path.name
    if isinstance(values, dict) and "like" in values:
        other = _other_file(values.pop("like"), path)
        source = f"{path.name}, like {other.name}"
        common = _read_one(other)
        if not isinstance(common, dict) or "like" in common:
            raise ConfigError(
                f"{source}: expected there a robot file that has no 'like' of its own"
            )
        for key, value in values.items():
            both = isinstance(value, dict) and isinstance(common.get(key), dict)
            common[key] = common[key] | value if both else value
        values = common
    return values, source


def _robot_file(name: str) -> Path:
    return find_file(name, folder="config/robots", suffix=".yaml")


def _read_one(path: Path) -> Any:  # noqa: ANN401
    """Its content, with a relative ``mjcf`` taken from its folder unless it is a shipped one."""
    values = read_yaml(path)
    shipped = path.parent == share_folder() / "config" / "robots"
    mjcf = values.get("mjcf") if isinstance(values, dict) else None
    if isinstance(mjcf, str) and not shipped and not mjcf.startswith("package://"):
        values["mjcf"] = str(resolve_package_uri(mjcf, path.parent))
    return values


def _other_file(like: object, path: Path) -> Path:
    """The robot file that the one at ``path`` is like. Raises: ConfigError."""
    if not isinstance(like, str):
        raise ConfigError(f"{path.name}: 'like' is {shown(like)}; expected a robot file")
    is_path = "/" in like or like.endswith(".yaml")
    return _robot_file(str(path.parent / like) if is_path else like)
