"""What doctor and audit share: the table, and what a bundle is compared with."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.diagnosis.records import Check, JointRanges, Verdict
from dads_ros.errors import BundleMismatchError, ConfigError
from dads_ros.isolation import one_line
from dads_ros.robot import RobotSpec


def show(title: str, checks: Sequence[Check]) -> int:
    """Print a line for each check, and one for its cure.

    Returns: 1 if anything is wrong, else 0.
    """
    lines = [title, ""]
    for check in checks:
        lines.append(f"{check.verdict:<9} {check.name:<20} {one_line(check.found)}")
        if check.cure:
            lines.append(f"{'':<9} {'':<20} -> {one_line(check.cure)}")
    counts = Counter(check.verdict for check in checks)
    said = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    print("\n".join([*lines, "", ", ".join(said)]), flush=True)
    return int(counts[Verdict.WRONG] > 0)


class Model(NamedTuple):
    """What the MJCF says of a robot."""

    robot: RobotSpec
    """The robot file, with what its keyframe says where the MJCF is there."""
    ranges: JointRanges | None = None
    sha256: str = ""
    unknown: str = ""
    """Why the rest is not known."""


def read_model(robot: RobotSpec) -> Model:
    """Whatever can be known here.

    A robot has neither MuJoCo nor, mostly, the MJCF.
    """
    try:
        from dads_ros.envs.model import RobotModel

        model = RobotModel(robot)
    except ModuleNotFoundError as error:
        return Model(robot, unknown=f"'{error.name}' is not installed")
    except ConfigError as error:
        return Model(robot, unknown=str(error))
    return Model(model.spec, JointRanges(*model.joint_ranges()), model.sha256())


def check_bundle(manifest: BundleManifest, robot: RobotSpec, model_sha256: str) -> Check:
    """Whether it was made for this robot and, where that is known, this MJCF."""
    try:
        manifest.check_robot(robot)
    except BundleMismatchError as error:
        found, _, cure = str(error).rpartition("; ")
        return Check("bundle", Verdict.WRONG, found, cure)
    if model_sha256 and model_sha256 != manifest.model_sha256:
        found = "made for this robot, but with another MJCF or another version of MuJoCo"
        cure = "measure it by 'dads-ros evaluate' on this MJCF before it drives"
        return Check("bundle", Verdict.WARNING, found, cure)
    return Check("bundle", Verdict.OK, f"made for robot '{robot.name}'")
