"""dads-ros audit: looks at the recording of a drive for what was wrong in it."""

import argparse

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.findings import check_bundle, read_model, show
from dads_ros.diagnosis.records import Check, PlannerSettings, Verdict
from dads_ros.errors import ConfigError
from dads_ros.files import find_file
from dads_ros.isolation import one_line
from dads_ros.nodes.auditor import COMMANDS, Auditor
from dads_ros.nodes.recording import CDR, Recording
from dads_ros.nodes.settings import SkillPlannerConfig

MAX_TOPICS = 5


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the arguments."""
    defaults = SkillPlannerConfig()
    parser = subparsers.add_parser(
        "audit",
        help="look at a recorded drive for what was wrong in it",
        description="Rebuild observations and commands from a recording (MCAP) with the bundle "
        "that drove, and say where they part, what else is wrong with it, and how well the skill "
        "dynamics predicted. Exit code 1 if anything is wrong.",
    )
    parser.add_argument("recording", help="MCAP file, or the folder of 'ros2 bag record -s mcap'")
    parser.add_argument(
        "--bundle", default=defaults.bundle, help="bundle that drove it: name or folder"
    )
    parser.add_argument("--namespace", metavar="NS", default="", help="of the robot's topics")
    parser.add_argument(
        "--commands",
        metavar="TOPIC",
        default=COMMANDS,
        help="that the planner's joint_commands was remapped to, after the namespace unless it "
        "begins with '/'",
    )
    parser.add_argument("--use-imu", action="store_true", help="the planner had use_imu")
    parser.add_argument(
        "--max-stamp-difference-s",
        metavar="S",
        type=float,
        default=defaults.max_stamp_difference_s,
        help="the planner's; 0 is half a control step",
    )


def run(args: argparse.Namespace) -> int:
    """Read, judge, print. Returns: 1 if anything is wrong, else 0."""
    config = SkillPlannerConfig(
        use_imu=args.use_imu, max_stamp_difference_s=args.max_stamp_difference_s
    )
    recording = Recording(args.recording)
    bundle = SkillBundle(find_file(args.bundle, folder="models"))
    settings = PlannerSettings(
        max_stamp_difference_s=config.max_stamp_difference_s,
        state_timeout_s=config.state_timeout_s,
        use_imu=config.use_imu,
    )
    model = read_model(bundle.robot)
    auditor = Auditor(bundle, settings, args.namespace, model.ranges, model.unknown, args.commands)
    for recorded in recording.read():
        auditor.take(recorded)
    checks = [
        _recording(recording, auditor.seconds),
        check_bundle(bundle.manifest, bundle.robot, model.sha256),
        *auditor.finish(),
    ]
    title = f"robot '{bundle.robot.name}', bundle '{one_line(args.bundle)}'"
    return show(f"{title}, recording '{one_line(recording.path)}'", checks)


def _recording(recording: Recording, seconds: float) -> Check:
    """How much of it could be read. Raises: ConfigError where nothing of ROS 2 could."""
    shown, complaint = one_line(recording.path), recording.complaint
    if not recording.num_messages:
        reason = f"; {complaint}" if complaint else ""
        raise ConfigError(f"'{shown}' holds no message{reason}; record it again")
    if all(topic.encoding != CDR for topic in recording.topics):
        names = sorted(f"{topic.name} ({topic.encoding})" for topic in recording.topics)
        more = " ..." if len(names) > MAX_TOPICS else ""
        raise ConfigError(
            f"'{shown}' holds nothing of ROS 2, but {', '.join(names[:MAX_TOPICS])}{more}; give "
            "what 'ros2 bag record -s mcap' made"
        )
    found = f"{seconds:.1f} s, {recording.num_messages} messages on {len(recording.topics)} topics"
    if not complaint:
        return Check("recording", Verdict.OK, found)
    cure = "what comes after that is not judged; 'mcap recover' may bring it back"
    return Check("recording", Verdict.WARNING, f"{found}; {complaint}", cure)
