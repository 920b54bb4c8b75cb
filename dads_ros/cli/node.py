"""dads-ros simulate | plan: the nodes without ros2 run; --ros-args go to them unchanged."""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs ``simulate`` and ``plan``."""
    for verb, node in (("simulate", "simulator"), ("plan", "skill_planner")):
        parser = subparsers.add_parser(
            verb,
            help=f"start the {node} node",
            usage=f"dads-ros {verb} [--ros-args -p NAME:=VALUE ...]",
            prefix_chars="+",  # what begins with '-' is for ROS
            add_help=False,
        )
        parser.add_argument("ros_args", nargs="*")
        parser.set_defaults(verb=verb)


def run(args: argparse.Namespace) -> int:
    """Run the node until a signal."""
    if args.verb == "simulate":
        from dads_ros.nodes.simulator_node import main
    else:
        from dads_ros.nodes.planner_node import main
    return main(args.ros_args)
