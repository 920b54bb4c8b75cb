"""Checks of joint_states: names, units, ranges, velocities and the pose of a standing robot."""

import difflib
from collections.abc import Iterator, Sequence

import numpy as np

from dads_ros.diagnosis.records import Array, Check, JointRanges, Joints, Verdict
from dads_ros.observation import BEYOND_REASON
from dads_ros.robot import RobotSpec

OK, WARNING, WRONG, NOT_SEEN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.NOT_SEEN
SLACK, SHOCK = 0.1, 0.3
"""Of a range's width: a joint may rest so far beyond it, and be so far beyond it in a shock."""
MOVED_RAD, ALIKE = 0.2, 3.0
"""A joint that moved so far tells by which factor its velocities are off; up to this one it may be
the filter of a driver."""
TOO_FAST = 0.6
"""Change of a joint's steps from time to time, over these steps: at its control step the legs of
the shipped Ant have 0.8 to 1.6 when it walks, and their velocities add up to little. Where legs
have 0.6 to 0.7, every 20 ms, that is a quarter at times; up to 0.6 it is half or more."""
MIN_TIMES = 5
DEGREES_LIKE = (30.0, 110.0)
FAR_FROM_STANDING = 0.6
"""rad; a robot at rest sags."""


class Track:
    """What was said of one joint, each stamp once, by rising stamps."""

    def __init__(self, name: str, messages: Sequence[Joints]) -> None:
        """Of those messages that name it; numbers that a message lacks are NaN."""
        self.name = name
        rows: dict[int, tuple[float, float]] = {}
        for message in messages:
            if name in message.names:
                column = message.names.index(name)
                position, velocity = (
                    _at(message.positions, column),
                    _at(message.velocities, column),
                )
                rows.setdefault(message.arrival.stamp_ns, (position, velocity))
        self.stamps_ns: Array = np.array(sorted(rows), np.int64)
        numbers = np.array([rows[stamp] for stamp in self.stamps_ns.tolist()]).reshape(-1, 2)
        self.positions, self.velocities = numbers.T

    def factor(self, step_s: float) -> float | None:
        """Movement by its velocities over movement by its positions: 1.

        None if it stood, or went back and forth too fast for the rate of the messages. From one
        message to the next of a fast driver noise may be more than movement: looked at are also
        averages over 2, 4, ... messages, up to about ``step_s``.
        """
        measured = self.positions
        if len(measured) < MIN_TIMES or not np.isfinite([measured, self.velocities]).all():
            return None
        periods_s = np.diff(self.stamps_ns) / 1e9
        steps = 0.5 * (self.velocities[1:] + self.velocities[:-1]) * periods_s
        integrated = np.append(0.0, np.cumsum(steps))
        most, size = max(1, round(step_s / float(np.median(periods_s)))), 1
        while size <= most and len(measured) >= MIN_TIMES:
            moved = np.diff(measured)
            if np.abs(np.diff(moved)).sum() <= TOO_FAST * np.abs(moved).sum():
                return factor(integrated, measured)
            integrated, measured, size = _halved(integrated), _halved(measured), 2 * size
        return None


def factor(integrated: Array, measured: Array) -> float | None:
    """Slope of one curve against the other; None where the other is flat. Shapes (T,)."""
    if np.ptp(measured) < MOVED_RAD:
        return None
    measured = measured - measured.mean()
    return float((integrated - integrated.mean()) @ measured / (measured @ measured))


def _halved(curve: Array) -> Array:
    """The mean of each two. Shape (T,), result (T // 2,)."""
    return 0.5 * (curve[: len(curve) // 2 * 2 : 2] + curve[1::2])


def joint_checks(
    robot: RobotSpec, messages: Sequence[Joints], ranges: JointRanges | None, no_ranges: str
) -> Iterator[Check]:
    """All of them, for a robot with joints.

    Args:
        robot: the robot file.
        messages: what came on joint_states.
        ranges: of the MJCF, where it can be read.
        no_ranges: why not.
    """
    if not messages:
        return
    yield _names(robot, messages)
    said = [Track(name, messages) for name in robot.joints]
    said = [track for track in said if len(track.positions)]
    if not said:
        return
    yield _positions(robot, said, ranges, no_ranges)
    yield _velocities(robot, said)
    yield _units(robot, said, ranges)
    yield _pose(robot, said)


def _names(robot: RobotSpec, messages: Sequence[Joints]) -> Check:
    name, joints = "joint names", robot.joints
    doubled = sorted(
        {joint for m in messages for joint in joints if m.names.count(joint) > 1}, key=joints.index
    )
    if doubled:
        cure = "name each joint once in a message: nobody can tell which of the two is right"
        return Check(name, WRONG, f"twice in one message: {', '.join(doubled)}", cure)
    said = list(dict.fromkeys(joint for message in messages for joint in message.names))
    missing = [joint for joint in joints if joint not in said]
    others = [joint for joint in said if joint not in joints]
    if missing:
        found = f"missing: {', '.join(missing)}"
        if len(missing) == len(joints):
            found = f"none of the {len(joints)} of robot '{robot.name}'"
        if others:
            found += f"; unknown: {', '.join(others)}"
        return Check(name, WRONG, found, _renamed(robot, missing, others))
    found = f"all {len(joints)} of robot '{robot.name}'"
    if [joint for joint in said if joint in joints] != list(joints):
        found += ", in another order (they are taken by name)"
    if others:
        found += f"; ignored: {', '.join(others)}"
    return Check(name, OK, found)


def _renamed(robot: RobotSpec, missing: Sequence[str], others: Sequence[str]) -> str:
    for joint in missing:
        near = [other for other in others if other.endswith(joint)]
        near += difflib.get_close_matches(joint, others, n=1)
        if near:
            return (
                f"'{near[0]}' may be '{joint}': use the robot file's names in the driver, or a "
                "robot file with the driver's names"
            )
    return (
        f"publish them all, if this is robot '{robot.name}'; else name its own by --robot or "
        "--bundle"
    )


def _positions(
    robot: RobotSpec, said: Sequence[Track], ranges: JointRanges | None, no_ranges: str
) -> Check:
    name = "joint positions"
    for track in said:
        if not np.isfinite(track.positions).all():
            cure = "publish a finite position for each joint that a message names"
            return Check(name, WRONG, f"'{track.name}' has none, or no finite one", cure)
    if ranges is None:
        cure = "look where MuJoCo and the MJCF are, to have them compared with its ranges"
        return Check(name, NOT_SEEN, f"finite; ranges are not known: {no_ranges}", cure)
    cure = "compare unit, sign and zero of that joint with the MJCF, moving it by hand"
    shocks = []
    for track in said:
        row = robot.joints.index(track.name)
        low, high = float(ranges.low[row]), float(ranges.high[row])
        found = f"outside the range {low:.3g} .. {high:.3g} of '{track.name}'"
        rest, width = float(np.median(track.positions)), high - low
        if max(low - rest, rest - high) > SLACK * width:
            return Check(name, WRONG, f"mostly {rest:.3g}, {found}", cure)
        furthest = track.positions[int(np.abs(track.positions - rest).argmax())]
        if max(low - furthest, furthest - high) > SHOCK * width:
            shocks.append(f"at times {furthest:.3g}, {found}")
    if shocks:
        return Check(name, WARNING, shocks[0], cure)
    return Check(name, OK, "within the ranges of the MJCF")


def _velocities(robot: RobotSpec, said: Sequence[Track]) -> Check:
    name = "joint velocities"
    lacking = [track.name for track in said if not np.isfinite(track.velocities).all()]
    cure = "publish a finite velocity for each joint, rad/s or m/s"
    if all(np.isnan(track.velocities).all() for track in said):
        found = "none: the planner takes differences of the positions by their stamps"
        return Check(name, WARNING, found, cure)
    if lacking:
        return Check(name, WRONG, f"none, or no finite ones, for {', '.join(lacking)}", cure)
    fastest = max(said, key=lambda track: float(np.abs(track.velocities).max()))
    speed, limit = float(np.abs(fastest.velocities).max()), robot.max_velocity
    if speed > limit:
        verdict = WRONG if speed > BEYOND_REASON * limit else WARNING
        found = f"'{fastest.name}' at {speed:.3g}; the policy knows up to {limit:g}"
        return Check(name, verdict, found, "publish rad/s (or m/s), without jumps of the encoder")
    return Check(name, OK, f"at most {speed:.3g}, of '{fastest.name}'")


def _units(robot: RobotSpec, said: Sequence[Track], ranges: JointRanges | None) -> Check:
    name = "joint units"
    in_rad = "publish rad and rad/s, as sensor_msgs/JointState has them"
    for track in said:
        row = robot.joints.index(track.name)
        if ranges is not None and not ranges.is_hinge[row]:
            continue
        largest = float(np.nanmax(np.abs(np.append(track.positions, 0.0))))
        allowed = np.pi
        is_limited = ranges is None or np.isfinite(ranges.high[row] - ranges.low[row])
        if ranges is not None and is_limited:
            allowed = max(np.pi, abs(float(ranges.low[row])), abs(float(ranges.high[row])))
        if largest > allowed + SLACK:
            verdict = WRONG if is_limited and largest > 2.0 * allowed else WARNING
            found = f"'{track.name}' at {largest:.3g}, more than half a turn: degrees?"
            return Check(name, verdict, found, in_rad)
    factors = {track.name: track.factor(robot.control_dt) for track in said}
    moved = {joint: value for joint, value in factors.items() if value is not None}
    if not moved:
        cure = "move the joints by hand meanwhile, slowly"
        found = "positions look like rad; no joint moved, or all too fast to compare velocities"
        return Check(name, NOT_SEEN, found, cure)
    for joint, value in moved.items():
        if 1.0 / ALIKE <= value <= ALIKE:
            continue
        if value < 0.0 and abs(value) > 1.0 / ALIKE:
            cure = f"turn the sign of the position or of the velocity of '{joint}'"
            return Check(name, WRONG, f"'{joint}' moves against its own velocity", cure)
        found = f"velocities of '{joint}' are {value:.2g} times what its positions say"
        is_degrees = DEGREES_LIKE[0] < value < DEGREES_LIKE[1]
        return Check(name, WRONG, f"{found}{': degrees/s?' if is_degrees else ''}", in_rad)
    return Check(name, OK, f"velocities fit the positions of {len(moved)} joints that moved")


def _pose(robot: RobotSpec, said: Sequence[Track]) -> Check:
    name, start = "standing pose", robot.reset.joint_positions or {}
    apart = {
        track.name: float(np.nanmedian(track.positions)) - start.get(track.name, 0.0)
        for track in said
        if np.isfinite(track.positions).any()
    }
    joint = max(apart, key=lambda joint: abs(apart[joint]), default="")
    if joint and abs(apart[joint]) > FAR_FROM_STANDING + robot.reset.position_noise:
        zero = start.get(joint, 0.0)
        found = f"'{joint}' at {zero + apart[joint]:.3g}; the robot file starts at {zero:.3g}"
        cure = "if the robot stands as in the robot file, correct that joint's zero or sign"
        return Check(name, WARNING, found, cure)
    return Check(name, OK, "near that of the robot file's 'reset'")


def _at(numbers: Array, index: int) -> float:
    return float(numbers[index]) if index < len(numbers) else float("nan")
