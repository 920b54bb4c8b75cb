"""dads-ros simulate | plan | view: the nodes without ros2 run; --ros-args go to them unchanged."""

import argparse
import json
import textwrap

from dads_ros.config import Config
from dads_ros.nodes.parameters import leaves
from dads_ros.nodes.settings import SimulatorConfig, SkillPlannerConfig, ViewConfig

DRY_RUN = "--dry-run"
NODES = {
    "simulate": ("simulator", SimulatorConfig),
    "plan": ("skill_planner", SkillPlannerConfig),
    "view": ("view", ViewConfig),
}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs ``simulate``, ``plan`` and ``view``."""
    for verb, (node, settings) in NODES.items():
        parser = subparsers.add_parser(
            verb,
            usage=f"dads-ros {verb}{f' [{DRY_RUN}]' if verb == 'plan' else ''} "
            "[--ros-args -p NAME:=VALUE ... --params-file FILE]",
            description=f"Start the {node} node. Its parameters:\n\n" + _parameters(settings),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            prefix_chars="+",  # what begins with '-' is for ROS
            add_help=False,
        )
        parser.add_argument("ros_args", nargs="*", help=argparse.SUPPRESS)
        parser.set_defaults(verb=verb, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run the node until a signal, or say what its parameters are."""
    if args.ros_args and args.ros_args[0] in ("-h", "--help"):
        args.parser.print_help()
        return 0
    # Only the one: where the planner runs on a robot, there is no MuJoCo.
    if args.verb == "simulate":
        from dads_ros.nodes.simulator_node import main

        return main(args.ros_args)
    if args.verb == "view":
        from dads_ros.nodes.view_node import main

        return main(args.ros_args)
    from dads_ros.nodes import planner_node

    ros_args = [argument for argument in args.ros_args if argument != DRY_RUN]
    return planner_node.main(ros_args, dry_run=ros_args != args.ros_args)  # no file is stronger


def _parameters(settings: type[Config]) -> str:
    """A line or more for each: name, default and what it does."""
    lines = []
    for name, field, _ in leaves(settings):
        lines.append(f"  {name} ({json.dumps(field.default)})")
        lines += textwrap.wrap(
            field.metadata["help"], 90, initial_indent="      ", subsequent_indent="      "
        )
    return "\n".join(lines)
