"""dads-ros doctor: looks at a robot's ROS graph before anything moves."""

import argparse

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.cli.findings import check_bundle, read_model, show
from dads_ros.diagnosis.examination import examine
from dads_ros.diagnosis.records import Verdict
from dads_ros.errors import ConfigError
from dads_ros.files import find_file
from dads_ros.nodes.doctor_node import listen
from dads_ros.process import STOP
from dads_ros.robot import RobotSpec

DEFAULT_ROBOT = "ant"
MIN_S, MAX_S = 1.0, 300.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "doctor",
        help="look at a robot's ROS graph for what is wrong",
        description="Listen to a robot's topics and look at its graph, and say what fits the "
        "robot file and what does not, each with a cure. Publishes nothing. Exit code 1 if "
        "anything is wrong. Move the robot by hand meanwhile, and more can be judged.",
    )
    parser.add_argument(
        "--robot", help=f"robot file: name or path; else the bundle's, else {DEFAULT_ROBOT}"
    )
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="look at the robot file and its MJCF instead, in simulation: no ROS, no robot",
    )
    parser.add_argument("--bundle", help="bundle that is to drive it: name or folder")
    parser.add_argument("--namespace", metavar="NS", help="of the robot's topics")
    parser.add_argument("--seconds", type=float, default=5.0, help="so long it listens")


def run(args: argparse.Namespace) -> int:
    """Listen, judge, print. Returns: 1 if anything is wrong, else 0."""
    if not MIN_S <= args.seconds <= MAX_S:
        raise ConfigError(f"--seconds is {args.seconds:g}; it must be {MIN_S:g} to {MAX_S:g}")
    if args.simulate:
        return _simulate(args)
    robot, checks = None, []
    if args.robot is not None or args.bundle is None:
        robot = RobotSpec.load(args.robot or DEFAULT_ROBOT)
    manifest = None
    if args.bundle is not None:
        manifest = BundleManifest.load(find_file(args.bundle, folder="models"))
        robot = robot or manifest.robot
    assert robot is not None  # one of the two gave it
    model = read_model(robot)
    robot = model.robot
    if manifest is not None:
        checks.append(check_bundle(manifest, robot, model.sha256))
        if not robot.is_home_known and checks[0].verdict is not Verdict.WRONG:
            robot = manifest.robot  # which was read beside its MJCF
    STOP.catch_signals(is_command=True)
    heard = listen(args.namespace or "", args.seconds)
    if heard is None:
        return STOP.exit_code
    checks += examine(robot, heard, model.ranges, model.unknown)
    return show(f"robot '{robot.name}', listened for {heard.seconds:g} s", checks)


def _simulate(args: argparse.Namespace) -> int:
    if args.bundle is not None or args.namespace is not None:
        raise ConfigError("--simulate looks at a robot file; leave --bundle and --namespace out")
    from dads_ros.evaluation.robot_examination import examine_robot  # wants MuJoCo

    robot = RobotSpec.load(args.robot or DEFAULT_ROBOT)
    return show(f"robot '{robot.name}', in simulation", list(examine_robot(robot)))
