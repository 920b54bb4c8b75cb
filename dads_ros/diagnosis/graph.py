"""Checks of the graph: who publishes and who listens, of which type, and what commands say."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from dads_ros.diagnosis.records import Arrival, Check, Command, Endpoint, Heard, Verdict
from dads_ros.planning.guard import IS_GUARD
from dads_ros.robot import RobotSpec

OK, WARNING, WRONG, NOT_SEEN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.NOT_SEEN
TYPES = {
    "joint_states": "sensor_msgs/msg/JointState",
    "odom": "nav_msgs/msg/Odometry",
    "imu": "sensor_msgs/msg/Imu",
}
COMMAND_TYPES = {
    "float64_multi_array": "std_msgs/msg/Float64MultiArray",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
}
"""Of joint_commands, by the planner's parameter ``command_type``."""
ONLY_LOOKS = re.compile(
    r"/(_[^/]*|rosbag2_[^/]*|plotjuggler[^/]*|foxglove_bridge[^/]*|rqt_[^/]*)$"
)
"""Names of nodes that show or record what is sent; ROS hides those with an underscore."""
RECORD_IT = "record all that states and commands are made of: docs/audit.md has the topics"
NUM_REPEATS = 3
"""So many sequence numbers that do not rise are two publishers; one may be a restarted driver."""


def graph_checks(robot: RobotSpec, heard: Heard) -> Iterator[Check]:
    """All of them."""
    if robot.joints:
        spoken = [[m.arrival for m in heard.joints if joint in m.names] for joint in robot.joints]
        arrivals = [message.arrival for message in heard.joints]
        yield _source("joint_states", heard, arrivals, max(map(_repeats, spoken)))
    arrivals = [base.arrival for base in heard.bases]
    yield _source("odom", heard, arrivals, _repeats(arrivals))
    if not heard.is_recorded:
        yield _driver(heard)
        yield _commanders(heard)
    commands = [*heard.commands, *heard.would_be_commands]
    if commands:
        yield _commands(robot, commands)


def _repeats(arrivals: Sequence[Arrival]) -> int:
    numbers = [arrival.sequence for arrival in arrivals if arrival.sequence is not None]
    return int((np.diff(numbers) <= 0).sum()) if len(numbers) > 1 else 0


def _source(topic: str, heard: Heard, arrivals: Sequence[Arrival], repeats: int) -> Check:
    """Of what the planner needs."""
    publishers = heard.publishers.get(topic, ())
    other = _other_type(publishers, [TYPES[topic]])
    if other:
        return Check(topic, WRONG, other, f"publish {TYPES[topic]}, or remap the other one")
    found = f"{len(arrivals)} messages, by {_names(publishers) or 'nobody who is still there'}"
    if repeats >= NUM_REPEATS:
        cure = (
            "end one of them: nobody can tell which is right, and the robot gets its safe command"
        )
        return Check(topic, WRONG, f"two publishers say the same; {found}", cure)
    if arrivals:
        if topic == "odom" and len(publishers) > 1:
            return Check(topic, WARNING, found, "let one publish it, and remap the others")
        return Check(topic, OK, found)
    if publishers:
        cure = (
            "look whether it gets data from its hardware, and whether the network lets it through"
        )
        return Check(topic, WRONG, f"{_names(publishers)} publishes it, but nothing came", cure)
    found = "it was not recorded" if heard.is_recorded else "nobody publishes it"
    elsewhere = heard.elsewhere.get(topic, ())
    if elsewhere:
        cure = "name its namespace by --namespace, or remap it in the driver"
        return Check(topic, WRONG, f"{found}; there is {', '.join(elsewhere)}", cure)
    cure = "start the driver; see that both have the same ROS_DOMAIN_ID and discovery range"
    return Check(topic, WRONG, found, RECORD_IT if heard.is_recorded else cure)


def _driver(heard: Heard) -> Check:
    name, listeners = "driver", heard.subscriptions.get("joint_commands", ())
    looking = [end for end in listeners if ONLY_LOOKS.search(end.node)]
    listeners = [e for e in listeners if e not in looking and not IS_GUARD.search(e.node)]
    asked = heard.planner.command_type
    types = [COMMAND_TYPES[asked]] if asked in COMMAND_TYPES else [*COMMAND_TYPES.values()]
    other = _other_type(listeners, types)
    if other:
        cure = (
            f"let the driver take {' or '.join(types)}, or start the planner with the "
            "command_type that the driver takes"
        )
        return Check(name, WRONG, other, cure)
    if not listeners:
        cure = "start the driver, or remap its topic of commands to joint_commands"
        found = f"nobody{' but ' if looking else ''}{_names(looking)} listens to joint_commands"
        return Check(name, WARNING, found, cure)
    kinds = {end.type for end in listeners}
    if len(kinds) > 1:
        found = f"joint_commands goes to {_names(listeners)} as {' and as '.join(sorted(kinds))}"
        return Check(name, WRONG, found, "remap one of them: DDS delivers to one type only")
    kind = ", as joint_trajectory" if COMMAND_TYPES["joint_trajectory"] in kinds else ""
    return Check(name, OK, f"joint_commands goes to {_names(listeners)}{kind}")


def _commanders(heard: Heard) -> Check:
    """One planner with its guard, or nobody."""
    name, publishers = "who commands", heard.publishers.get("joint_commands", ())
    guards = [end.node for end in publishers if IS_GUARD.search(end.node)]
    others = sorted(end.node for end in publishers if not IS_GUARD.search(end.node))
    guarded = {IS_GUARD.sub("", guard) for guard in guards}
    strangers = [node for node in others if node not in guarded]
    if strangers:
        cure = "end it, or remap it: while another one commands, the planner does not drive"
        return Check(name, WRONG, f"{', '.join(strangers)} publishes on joint_commands", cure)
    if len(others) > 1:
        cure = "end all but one: one robot is driven by one planner"
        return Check(name, WRONG, f"{', '.join(others)} are planners of one robot", cure)
    orphans = sorted(guard for guard in guards if IS_GUARD.sub("", guard) not in others)
    if orphans:
        found = f"{', '.join(orphans)} guards without its planner"
        cure = "start a planner, which relieves it, or send it SIGTERM"
        return Check(name, WARNING, found, cure)
    found = f"{others[0]}, with its guard" if others else "nobody yet"
    return Check(name, OK, found)


def _commands(robot: RobotSpec, commands: Sequence[Command]) -> Check:
    name, (low, high) = "commands", robot.command_limits
    by_position = robot.command_scale is not None
    for command in commands:
        if len(command.numbers) != robot.command_dim:
            found = f"{len(command.numbers)} numbers; the robot file has {robot.command_dim}"
            return Check(name, WRONG, found, "start the planner with this robot's bundle")
        if command.actuators and command.actuators != robot.actuators:
            found = f"they are for {', '.join(command.actuators)}"
            return Check(name, WRONG, found, "start the planner with this robot's bundle")
        if by_position and not robot.is_home_known:
            continue
        inside = (command.numbers >= low) & (command.numbers <= high)  # nor is NaN
        if not inside.all():
            worst = int(np.argmin(inside))
            actuator, value = robot.actuators[worst], float(command.numbers[worst])
            found = f"'{actuator}' gets {value:.3g}, outside {low[worst]:g} .. {high[worst]:g}"
            if by_position and np.isfinite(command.numbers).all():
                cure = "right while the planner leads the robot to standing; else end who sends it"
                return Check(name, WARNING, found, cure)
            return Check(name, WRONG, found, "end who sends it; the planner sends none such")
    if by_position and not robot.is_home_known:
        found = f"{len(commands)}, in the robot file's order; its limits are not known"
        cure = f"they are around keyframe '{robot.reset.keyframe}' of the MJCF: give --bundle"
        return Check(name, NOT_SEEN, found, cure)
    return Check(name, OK, f"{len(commands)}, in the robot file's order and limits")


def _other_type(ends: Sequence[Endpoint], types: Sequence[str]) -> str:
    """Who has another type than these; empty where nobody has."""
    others = [end for end in ends if end.type not in types]
    return ", ".join(f"{end.node} has it as {end.type}" for end in others)


def _names(ends: Sequence[Endpoint]) -> str:
    return ", ".join(sorted({end.node for end in ends}))
