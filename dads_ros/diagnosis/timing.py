"""Checks of time: rates and jitter, stamps of both topics, clocks, delays."""

from collections.abc import Iterator, Sequence

import numpy as np

from dads_ros.diagnosis.records import (
    Arrival,
    Check,
    Command,
    Heard,
    Joints,
    PlannerSettings,
    Verdict,
)
from dads_ros.planning.pace import MAX_STEPS
from dads_ros.planning.stamp_order import COMPARABLE_S
from dads_ros.robot import RobotSpec

OK, WARNING, WRONG, NOT_SEEN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.NOT_SEEN
SAME_RATE = 0.15
"""Of the control step."""
JITTER = 2.0
"""Times the median period, the 99th percentile of stamps; arrivals may be a control step later."""
SYNCHRONISED_S = 0.005
FEW = 3


def timing_checks(robot: RobotSpec, heard: Heard) -> Iterator[Check]:
    """All of them."""
    slowest = _slowest(robot, heard.joints)
    bases = [base.arrival for base in heard.bases]
    limit_s = heard.planner.max_stamp_difference_s
    for topic, arrivals in (("joint_states", slowest), ("odom", bases)):
        if len(arrivals) >= FEW:
            yield _order(topic, arrivals) or _rate(robot, topic, arrivals)
    if robot.joints and slowest and bases:
        yield _pairs(robot, "joint_states", slowest, bases, limit_s)
    if heard.planner.use_imu and heard.imus and bases:
        imus = [imu.arrival for imu in heard.imus]
        yield _pairs(robot, "imu", imus, bases, limit_s)
    if bases or slowest:
        yield from _clock(robot, heard, bases or slowest)
    for name, commands in (
        ("command delay", heard.commands),
        ("dry run's delay", heard.would_be_commands),
    ):
        if commands and heard.planner.command_type != "joint_trajectory":  # it names no state
            yield _command_delay(robot, heard.planner, name, commands, bases)


def _slowest(robot: RobotSpec, messages: Sequence[Joints]) -> list[Arrival]:
    """Of the messages that name the joint which is named least often."""
    of_others = [[m.arrival for m in messages if joint in m.names] for joint in robot.joints]
    return min((arrivals for arrivals in of_others if arrivals), key=len, default=[])


def _order(topic: str, arrivals: Sequence[Arrival]) -> Check | None:
    """Stamps that do not rise; None where they do."""
    stamps = np.array([arrival.stamp_ns for arrival in arrivals], np.int64)
    num_back, num_same = int((np.diff(stamps) < 0).sum()), int((np.diff(stamps) == 0).sum())
    name = f"{topic} rate"
    if not stamps.any():
        return Check(name, WRONG, "all stamps are 0", "stamp each message when it is measured")
    if num_same > 0.5 * len(stamps):
        found = f"{num_same} of {len(stamps)} messages have the stamp of the one before"
        return Check(name, WRONG, found, "stamp each message when it is measured")
    if num_back > 0.02 * len(stamps):
        found = f"{num_back} of {len(stamps)} stamps are older than the one before"
        cure = "publish in order, from one publisher: what comes late is not answered"
        return Check(name, WARNING, found, cure)
    return None


def _rate(robot: RobotSpec, topic: str, arrivals: Sequence[Arrival]) -> Check:
    name, wanted = f"{topic} rate", robot.control_dt
    stamps = np.unique(np.array([arrival.stamp_ns for arrival in arrivals], np.int64))
    middle, high = np.percentile(np.diff(stamps) / 1e9, [50, 99])
    times = np.array([arrival.received_ns for arrival in arrivals])
    came_middle, came_high = np.percentile(np.diff(times) / 1e9, [50, 99])
    found = (
        f"every {_ms(middle)} ms (99 %: {_ms(high)}), arrivals {_ms(came_middle)} "
        f"(99 %: {_ms(came_high)}); the control step is {_ms(wanted)}"
    )
    cure = f"publish every {_ms(wanted)} ms: the policy was trained at that"
    if middle > MAX_STEPS * wanted:
        return Check(name, WRONG, found, cure)
    if middle > (1.0 + SAME_RATE) * wanted:
        return Check(name, WARNING, found, cure)
    if high > JITTER * max(middle, wanted):
        cure = "find out where messages are lost: load of the driver, network, queues"
        return Check(name, WARNING, found, cure)
    if came_high > came_middle + wanted:
        cure = "find out what holds messages up: load, network, a process with a low priority"
        return Check(name, WARNING, found, cure)
    if middle < (1.0 - SAME_RATE) * wanted:
        found += ", for which the planner takes one of several"
    return Check(name, OK, found)


def _pairs(
    robot: RobotSpec,
    topic: str,
    others: Sequence[Arrival],
    bases: Sequence[Arrival],
    limit_s: float,
) -> Check:
    """Whether for each odom there is a message of another topic that makes a state with it."""
    name, limit_s = f"{topic} stamps", limit_s or 0.5 * robot.control_dt
    of_others = np.unique([arrival.stamp_ns for arrival in others])
    of_bases = np.unique([arrival.stamp_ns for arrival in bases])
    inner = of_bases[(of_bases >= of_others[0]) & (of_bases <= of_others[-1])]
    of_bases = inner if len(inner) else of_bases  # the last one may come a moment later
    after = np.clip(np.searchsorted(of_others, of_bases), 1, max(1, len(of_others) - 1))
    near = of_others[np.stack([after - 1, np.minimum(after, len(of_others) - 1)])]
    apart_s = np.abs(near - of_bases).min(axis=0) / 1e9
    share, middle = float((apart_s <= limit_s).mean()), float(np.median(apart_s))
    found = f"{_ms(middle)} ms from odom's; {share:.0%} within {_ms(limit_s)} ms"
    if share >= 0.9:
        return Check(name, OK, found)
    cure = f"stamp {topic} and odom by one clock when they are measured"
    if middle <= robot.control_dt:
        cure += ", or raise max_stamp_difference_s"
    return Check(name, WARNING if share > 0.5 else WRONG, found, cure)


def _clock(robot: RobotSpec, heard: Heard, arrivals: Sequence[Arrival]) -> Iterator[Check]:
    """By which clock the states are stamped, and how old they are when they come."""
    name, planner = "clock", heard.planner
    publishers = heard.publishers.get("/clock", ())
    if len(publishers) > 1:
        found = f"/clock comes from {', '.join(sorted(end.node for end in publishers))}"
        yield Check(
            name, WRONG, found, "let one publish /clock (publish_clock: false), end others"
        )
        return
    whose, ages_s, _ = _ages_s(arrivals)
    wall_s = float(np.median(ages_s))
    if whose == "/clock":
        yield _simulated(planner)
        yield _age(robot, planner, ages_s)
    elif whose:
        yield _real(heard, wall_s)
        yield _age(robot, planner, ages_s)
    else:
        cure = (
            "stamp by the wall clock, or by /clock in a simulation: else nobody can tell their age"
        )
        found = f"stamps are {abs(wall_s):.4g} s off the wall clock"
        found += " and not of /clock" if heard.num_clocks else ", and there is no /clock"
        yield Check(name, WARNING, found, cure)


def _ages_s(arrivals: Sequence[Arrival]) -> tuple[str, np.ndarray, list[int]]:
    """How old states were when they came, by which clock, and their stamps, ns.

    By the wall clock and "" where nobody knows; by /clock only those that came after one.
    """
    on_wall = [(a.stamp_ns, a.received_ns) for a in arrivals]
    on_clock = [(a.stamp_ns, a.clock_ns) for a in arrivals if a.clock_ns is not None]
    ages = [np.array([came - stamp for stamp, came in by]) / 1e9 for by in (on_wall, on_clock)]
    wall_s, clock_s = (abs(float(np.median(age))) if len(age) else np.inf for age in ages)
    if clock_s < min(wall_s, COMPARABLE_S):
        return "/clock", ages[1], [stamp for stamp, _ in on_clock]
    return "wall" if wall_s < COMPARABLE_S else "", ages[0], [stamp for stamp, _ in on_wall]


def _simulated(planner: PlannerSettings) -> Check:
    found = "stamps are of /clock: a simulation"
    if planner.use_sim_time is False:
        cure = f"start {planner.node} with use_sim_time:=true"
        return Check("clock", WRONG, f"{found}, but {planner.node} has the wall clock", cure)
    told = (
        ", and so has the planner" if planner.use_sim_time else "; give the planner use_sim_time"
    )
    return Check("clock", OK, f"{found}{told}")


def _real(heard: Heard, wall_s: float) -> Check:
    name, planner = "clock", heard.planner
    if planner.use_sim_time:
        cure = f"start {planner.node} with use_sim_time:=false"
        found = f"stamps are of the wall clock, but {planner.node} has use_sim_time"
        return Check(name, WRONG, found, cure)
    if wall_s < -planner.state_timeout_s:
        found = f"stamps are {-wall_s:.3g} s in the future: the planner refuses them"
        return Check(name, WRONG, found, "synchronise the clocks of both machines (chrony, PTP)")
    if wall_s < -SYNCHRONISED_S:
        found = f"stamps are {_ms(-wall_s)} ms in the future"
        return Check(name, WARNING, found, "synchronise the clocks of both machines (chrony, PTP)")
    if heard.num_clocks:
        cure = "end who publishes /clock, or at least never set use_sim_time"
        found = "stamps are of the wall clock, but somebody publishes another /clock"
        return Check(name, WARNING, found, cure)
    return Check(name, OK, "stamps are of the wall clock; use_sim_time must be false")


def _age(robot: RobotSpec, planner: PlannerSettings, ages_s: np.ndarray) -> Check:
    name = "state delay"
    middle, high = np.percentile(ages_s, [50, 99])
    found = f"{_ms(middle)} ms from stamp to arrival (99 %: {_ms(high)})"
    cure = "stamp when it is measured, and look for what holds states up: load, network, filters"
    if middle > planner.state_timeout_s:
        return Check(name, WRONG, f"{found}; the planner answers none so old", cure)
    if high > robot.control_dt:
        return Check(name, WARNING, f"{found}; the control step is {_ms(robot.control_dt)}", cure)
    return Check(name, OK, found)


def _command_delay(
    robot: RobotSpec,
    planner: PlannerSettings,
    name: str,
    commands: Sequence[Command],
    bases: Sequence[Arrival],
) -> Check:
    """From the arrival of a state to that of the command which answers it, both as heard here.

    Training knows one delay, which begins when the state is measured.
    """
    came = {arrival.stamp_ns: arrival.received_ns for arrival in bases}
    delays = [
        (command.answered_ns, (command.received_ns - came[command.answered_ns]) / 1e9)
        for command in commands
        if command.answered_ns in came
    ]
    if not delays:
        cure = "see /diagnostics of the planner, which says why it sends the safe command"
        return Check(name, NOT_SEEN, f"{len(commands)} commands, none answers a state", cure)
    limit_s = max(robot.max_delay_ms / 1e3, 0.5 * robot.control_dt)
    middle, high = np.percentile([delay for _, delay in delays], [50, 99])
    found = f"{_ms(middle)} ms from state to command (99 %: {_ms(high)})"
    whose, ages_s, stamps = _ages_s(bases)
    ages = dict(zip(stamps, ages_s.tolist(), strict=True))
    whole = [ages[stamp] + delay for stamp, delay in delays if stamp in ages]
    # States that are older are refused: then it is the clocks that differ.
    if whose and whole and abs(float(np.median(ages_s))) <= planner.state_timeout_s:
        middle, high = np.percentile(whole, [50, 99])
        found += f", {_ms(middle)} since it was measured (99 %: {_ms(high)})"
    if high > limit_s:
        cure = "look for what holds states up, give planner and guard cores of their own, or "
        cure += "train with a wider collect.delay_ms"
        return Check(name, WARNING, f"{found}; expected are {_ms(limit_s)}", cure)
    return Check(name, OK, found)


def _ms(seconds: float) -> str:
    return f"{1e3 * float(seconds):.3g}"
