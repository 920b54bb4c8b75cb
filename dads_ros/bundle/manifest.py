"""BundleManifest: bundle.yaml, all that is known about a skill bundle."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dads_ros.bundle.onnx_format import MAX_ONNX_BYTES
from dads_ros.config import REQUIRED, Config, SkillPriorConfig, read_yaml, setting
from dads_ros.errors import BundleError, BundleMismatchError, ConfigError
from dads_ros.files import atomic_write
from dads_ros.isolation import one_line
from dads_ros.prediction import PredictionSpec
from dads_ros.robot import RobotSpec

SCHEMA_VERSION = 1
BUNDLE_FOLDER = "bundle"  # of a training run, where it leaves its skills
MANIFEST_FILE = "bundle.yaml"
POLICY_FILE = "policy.onnx"
DYNAMICS_FILE = "skill_dynamics.onnx"
NOT_OF_POLICY = (
    "mjcf",
    "integrator",
    "sim_dt",
    "num_substeps",
    "base",
    "servos",
    "feet",
    "body_limits",
    "symmetry",
    "mirror",
    "reset",
    "radius_m",
    "command_unit",
    "safe_mode",
    "top_speed",
)
"""Keys of the robot file that may differ from the one of the bundle."""
NETWORK_FILES = (POLICY_FILE, DYNAMICS_FILE)


@dataclass(frozen=True, kw_only=True)
class BundleManifest(Config):
    """The content of bundle.yaml."""

    schema_version: int = setting(SCHEMA_VERSION, help="Format of the bundle.")
    robot: RobotSpec = setting(REQUIRED, help="The robot file that the skills were learned with.")
    model_sha256: str = setting("", help="SHA-256 of the compiled MuJoCo model.")
    skill_prior: SkillPriorConfig = setting(SkillPriorConfig(), help="The skill prior p(z).")
    prediction: PredictionSpec = setting(
        PredictionSpec(), help="What the skill dynamics predicts."
    )
    skill_part: float = setting(
        1.0,
        min=0.01,
        max=1.0,
        help="Part of the skill prior, around 0, that is planned over at most: the longest skills "
        "of a robot may fall too often. The planner's 'skill_range' is a part of this.",
    )
    files: dict[str, str] = setting(REQUIRED, help="File -> SHA-256.")
    training_config: dict[str, Any] = setting(
        REQUIRED, help="Resolved settings of the training run."
    )
    training_metrics: dict[str, Any] | None = setting(None, help="Metrics when it was exported.")
    evaluation: dict[str, Any] | None = setting(None, help="Results of dads-ros evaluate.")
    commit: str = setting("unknown", help="Commit of the code that trained it.")
    refit_commit: str | None = setting(
        None, help="Commit of the code that refitted the skill dynamics, with momentum."
    )
    versions: dict[str, str] = setting(REQUIRED, help="Versions of the tools that made it.")

    def save(self, folder: Path) -> None:
        """Write bundle.yaml atomically."""
        with atomic_write(folder / MANIFEST_FILE) as temporary:
            temporary.write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "BundleManifest":
        """Read and check bundle.yaml and the files that it names.

        Raises: BundleError when something is missing or damaged; BundleMismatchError when the
            bundle has another schema.
        """
        path, shown = folder / MANIFEST_FILE, one_line(folder)
        if not os.path.isfile(path):
            inner = folder / BUNDLE_FOLDER
            hint = (
                f"give the one in it, {one_line(inner)}"
                if os.path.isfile(inner / MANIFEST_FILE)
                else "give one made by 'dads-ros export', such as models/ant"
            )
            raise BundleError(
                f"'{shown}' is not a skill bundle: {MANIFEST_FILE} is missing; {hint}"
            )
        try:
            values = read_yaml(path)
            version = values.get("schema_version") if isinstance(values, dict) else None
            if version != SCHEMA_VERSION:
                is_number = isinstance(version, int) and abs(version) < 1_000_000
                got = version if is_number or version is None else "no number"
                raise BundleMismatchError(
                    f"bundle '{shown}' has schema {got}; {SCHEMA_VERSION} is expected; "
                    "export it again"
                )
            manifest = cls.from_dict(values, MANIFEST_FILE)
            manifest.prediction.dim(manifest.robot)
        except ConfigError as error:
            raise BundleError(
                f"bundle '{shown}' is damaged: {one_line(error)}; export it again"
            ) from error
        if set(manifest.files) != set(NETWORK_FILES):
            raise BundleError(
                f"bundle '{shown}' is damaged: 'files' of {MANIFEST_FILE} names "
                f"{one_line(list(manifest.files))}, and not the SHA-256 of "
                f"{' and '.join(NETWORK_FILES)}; export or download it again"
            )
        for name in NETWORK_FILES:
            manifest.read(folder, name)
        return manifest

    def read(self, folder: Path, name: str) -> bytes:
        """The content of a network's file, which is the one that bundle.yaml means.

        A link is followed, as a folder that was installed may have them.

        Raises: BundleError.
        """
        shown = one_line(folder)
        try:
            # A device or a pipe must neither be waited for nor read without end.
            opened = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(opened, "rb") as stream:
                if not stat.S_ISREG(os.fstat(opened).st_mode):
                    raise BundleError(f"'{shown}/{name}' is no file; export or download it again")
                content = stream.read(MAX_ONNX_BYTES + 1)
        except FileNotFoundError:
            raise BundleError(
                f"bundle '{shown}' lacks {name}; export or download it again"
            ) from None
        except OSError as error:
            raise BundleError(
                f"'{shown}/{name}' cannot be read ({error.strerror}); export or download it again"
            ) from error
        if len(content) > MAX_ONNX_BYTES:
            raise BundleError(
                f"'{shown}/{name}' has more than {MAX_ONNX_BYTES >> 20} MB; train a "
                "smaller network"
            )
        if hashlib.sha256(content).hexdigest() != self.files.get(name):
            raise BundleError(
                f"bundle '{shown}' is damaged: {name} does not have the SHA-256 that "
                f"{MANIFEST_FILE} names; export or download it again"
            )
        return content

    def check_robot(self, spec: RobotSpec) -> None:
        """Raises: BundleMismatchError unless the bundle was made for this robot.

        Where the MJCF lies, how the robot is reset, how wide it is, what its commands are called,
        how it is stopped, which symmetries and top speeds were declared and whether falls ended
        training episodes does not change what it does. Another model of the same robot may also
        have other servos, feet and simulation steps.
        """
        mine, theirs = _that_matters(self.robot), _that_matters(spec)
        if spec.command_scale is not None and not spec.is_home_known:
            # What is around 'reset' the MJCF says, which may not be here.
            del theirs["command_low"], theirs["command_high"]
            for name in ("safe_command", "standing_command"):
                if theirs[name] is not None and not any(theirs[name]):
                    del theirs[name]
        different = [key for key in theirs if mine[key] != theirs[key]]
        if different:
            raise BundleMismatchError(
                f"this bundle is for robot '{self.robot.name}', not '{spec.name}': they differ in "
                f"{', '.join(different)}; use a bundle of '{spec.name}' or train one"
            )


def _that_matters(robot: RobotSpec) -> dict[str, Any]:
    """What a policy was trained with and cannot do without."""
    values = robot.to_dict()
    for name in NOT_OF_POLICY:
        del values[name]
    del values["fallen"]["ends_episode"], values["fallen"]["contacts"]
    return values | {"base": robot.base.kind, "control_dt": round(robot.control_dt, 9)}
