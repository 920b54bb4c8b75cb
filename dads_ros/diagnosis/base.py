"""Checks of odom and imu: frames, the order of quaternions, up, and the frame of the twist."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.spatial.transform import Rotation

from dads_ros.diagnosis.records import Array, Base, Check, Imu, PlannerSettings, Verdict
from dads_ros.observation import MAX_QUATERNION_ERROR, quaternion_to_matrix
from dads_ros.robot import RobotSpec

OK, WARNING, WRONG, NOT_SEEN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.NOT_SEEN
UPRIGHT = 0.8
"""World z of the base's z-axis of a robot that stands, at least: 37 degrees of tilt."""
STANDARD_GRAVITY, GRAVITY_ERROR = 9.81, 2.0
SAME_TILT_RAD = 0.2
MOVED_M, TURNED_RAD, NEAR_PATH = 0.3, 0.5, 0.4
"""So far a robot must move, or turn, to have its twist judged; predicted and measured ways may
part by this part of the way."""
WINDOW_NS = 10_000_000_000
"""Turns are judged where there was most in so long: over minutes a gyroscope's bias adds up."""
MAX_CHANGE = 0.3
"""Angular velocities that change by more from message to message cannot be added up."""
MAX_TURN_RAD_S = 35.0
"""A base that turns faster says degrees."""
IN_XYZW = "if the robot stands, write w, x, y, z into the fields of that name; else stand it up"


def base_checks(robot: RobotSpec, bases: Sequence[Base], prefix: str | None) -> Iterator[Check]:
    """All of them of odom; ``prefix`` is the ``frame_prefix`` of a planner that runs."""
    if not bases:
        return
    yield _frames(bases, prefix)
    numbers = np.array([[*b.position, *b.linear_velocity, *b.angular_velocity] for b in bases])
    if not np.isfinite(numbers).all():
        cure = "publish nothing rather than NaN where the estimate is lost"
        yield Check("odom numbers", WRONG, "pose or twist has numbers that are not finite", cure)
        return
    orientation = _orientation("odom quaternion", [base.orientation for base in bases])
    yield orientation or _upright(robot, bases)
    if orientation is None:
        yield _twist(robot, bases)
        if robot.has_yaw:
            yield _turning("odom turning", bases, bases)


def imu_checks(
    imus: Sequence[Imu], bases: Sequence[Base], planner: PlannerSettings
) -> Iterator[Check]:
    """Of an imu, if there is one; with ``use_imu`` there must be one."""
    if not imus:
        if planner.use_imu:
            cure = "start its driver, or start the planner without use_imu"
            yield Check("imu", WRONG, "nothing came, and the planner has use_imu", cure)
        return
    frame, wanted = imus[-1].frame, f"{planner.frame_prefix or ''}base_link"
    if planner.use_imu and frame not in ("", wanted):
        cure = f"turn its axes into '{wanted}' and name that"
        yield Check("imu frame", WRONG, f"'{frame}'", cure)
    if bases and _orientation("", [base.orientation for base in bases]) is not None:
        bases = ()  # their orientation says nothing
    turns = np.array([imu.angular_velocity for imu in imus])
    if not np.abs(turns).max() <= MAX_TURN_RAD_S:  # nor is NaN
        found = f"angular velocity of up to {np.abs(turns).max():.3g}"
        yield Check("imu turning", WRONG, found, "publish rad/s, finite")
    elif bases:
        yield _turning("imu turning", imus, bases)
    up = np.array([0.0, 0.0, 1.0])
    said = [imu.orientation for imu in imus if imu.orientation is not None]
    if said:
        wrong = _orientation("imu quaternion", said)
        if wrong is not None:
            yield wrong
            return
        up = _median([quaternion_to_matrix(turn)[2] for turn in said])
        if bases:
            yield _same_tilt(up, bases)
    felt = _median([imu.acceleration for imu in imus])
    strength, along = float(np.linalg.norm(felt)), float(felt @ up)
    name, found = "imu gravity", f"{along:.3g} m/s² along its up, {strength:.3g} in all"
    if not abs(strength - STANDARD_GRAVITY) <= GRAVITY_ERROR:  # nor is NaN
        cure = "publish m/s² with gravity in it: a robot at rest feels 9.8 upwards"
        yield Check(name, WRONG, found, cure)
    elif along < UPRIGHT * STANDARD_GRAVITY:
        cure = (
            "turn the imu's axes into base_link: at rest it feels +9.8 along up (z when upright)"
        )
        yield Check(name, WRONG, found, cure)
    else:
        yield Check(name, OK, found)


def _same_tilt(up: Array, bases: Sequence[Base]) -> Check:
    other = _median([quaternion_to_matrix(base.orientation)[2] for base in bases])
    apart = float(np.arccos(np.clip(up @ other, -1.0, 1.0)))
    found = f"{np.degrees(apart):.0f} degrees from that of odom"
    if apart <= SAME_TILT_RAD:
        return Check("imu tilt", OK, found)
    cure = "turn the imu's axes into base_link, or correct odom: both say how the base stands"
    return Check("imu tilt", WRONG, found, cure)


def _frames(bases: Sequence[Base], prefix: str | None) -> Check:
    name, wanted = "odom frames", prefix or ""
    pairs = sorted({(base.frame, base.child_frame) for base in bases})
    found = ", ".join(f"'{frame}' to '{child}'" for frame, child in pairs)
    if len(pairs) > 1:
        return Check(name, WRONG, found, "one odometry at a time: end the others, or remap them")
    frame, child = pairs[0]
    if frame in ("", f"{wanted}odom") and child in ("", f"{wanted}base_link"):
        return Check(name, OK, found)
    own = frame.removesuffix("odom")
    if frame == f"{own}odom" and child == f"{own}base_link":
        # Whoever looks before a planner runs has nothing to correct yet.
        verdict = WARNING if prefix is None else WRONG
        return Check(name, verdict, found, f"start the planner with frame_prefix:='{own}'")
    cure = f"publish it from '{wanted}odom' to '{wanted}base_link', or set frame_prefix"
    return Check(name, WRONG, found, cure)


def _orientation(name: str, turns: Sequence[Array]) -> Check | None:
    """What is wrong with quaternions; None where nothing is. Shape (4,) each."""
    lengths = np.linalg.norm(turns, axis=1)
    worst = float(lengths[int(np.argmax(np.abs(lengths - 1.0)))])
    if not abs(worst - 1.0) <= MAX_QUATERNION_ERROR:
        found = f"length {worst:.3g}"
        return Check(
            name,
            WRONG,
            found,
            "publish unit quaternions; an imu without one sets orientation_covariance[0] to -1",
        )
    # A driver that wrote w, x, y, z in the order x, y, z, w: what we read as w is its z.
    swapped = [turn[[1, 2, 3, 0]] for turn in turns]
    if _up_z(turns) < UPRIGHT < _up_z(swapped):
        found = "the base lies, but stands if w, x, y, z were written as x, y, z, w"
        return Check(name, WRONG, found, IN_XYZW)
    return None


def _upright(robot: RobotSpec, bases: Sequence[Base]) -> Check:
    up_z = _up_z([base.orientation for base in bases])
    height_m = float(np.median([base.position[2] for base in bases]))
    found, name = f"up is {up_z:.2f} of 1, height {height_m:.2f} m", "upright"
    fallen = robot.fallen
    if up_z < fallen.min_up_z or height_m < fallen.min_height_m:
        cure = (
            "stand the robot up; if it stands, turn odom's axes (z up, x forward) or measure "
            "height from the ground: this counts as fallen, and gets the safe command"
        )
        return Check(name, WRONG, found, cure)
    if up_z < UPRIGHT:
        cure = "if the robot stands, turn odom's axes: the base's z-axis is to read upright"
        return Check(name, WARNING, found, cure)
    return Check(name, OK, found)


def _twist(robot: RobotSpec, bases: Sequence[Base]) -> Check:
    """Whether the linear velocity, turned from base_link into odom, leads where the base went."""
    name, rows = "odom twist", {base.arrival.stamp_ns: base for base in bases}
    stamps = np.array(sorted(rows), np.int64)
    sorted_bases = [rows[stamp] for stamp in stamps.tolist()]
    way = np.array([base.position for base in sorted_bases])
    extent = float(np.ptp(way, axis=0).max())
    if len(way) < 5 or extent < MOVED_M:
        cure = f"push the robot by {MOVED_M:g} m or more meanwhile"
        return Check(name, NOT_SEEN, "the base stood", cure)
    said = np.array([base.linear_velocity for base in sorted_bases])
    turns = quaternion_to_matrix(np.array([base.orientation for base in sorted_bases]))
    errors = []
    for velocity in (np.einsum("tij,tj->ti", turns, said), said):
        apart = _integral(velocity, stamps) - (way - way[0])
        errors.append(float(np.abs(apart).max()) / extent)
    in_base_link, in_odom = errors
    if max(errors) <= NEAR_PATH and robot.has_yaw:
        cure = "turn the robot by 90 degrees, and push it again"
        return Check(name, NOT_SEEN, "the base faced along odom's x: both frames fit", cure)
    if in_base_link <= NEAR_PATH:
        return Check(name, OK, "in base_link, it leads where the base went")
    if in_odom <= NEAR_PATH:
        cure = "turn the linear velocity into base_link (the child frame), as Odometry has it"
        return Check(name, WRONG, "its linear velocity is in odom", cure)
    found = f"it leads {in_base_link:.1f} times the way beside where the base went"
    return Check(name, WRONG, found, "publish m/s in base_link, of the same estimate as the pose")


def _turning(name: str, turners: Sequence[Base] | Sequence[Imu], bases: Sequence[Base]) -> Check:
    """Whether angular velocities, about axes of the base, lead where odom's orientation went."""
    rows = {base.arrival.stamp_ns: base.orientation for base in bases}
    stamps = np.array(sorted(rows), np.int64)
    rotations = Rotation.from_quat([rows[s] for s in stamps.tolist()], scalar_first=True)
    velocities = {one.arrival.stamp_ns: one.angular_velocity for one in turners}
    times = np.array([s for s in sorted(velocities) if stamps[0] <= s <= stamps[-1]], np.int64)
    cure = f"turn the robot by {np.degrees(TURNED_RAD):.0f} degrees or more meanwhile"
    if len(stamps) < 5 or len(times) < 5:
        return Check(name, NOT_SEEN, "too little came", cure)
    changes = (rotations[1:] * rotations[:-1].inv()).as_rotvec()  # world axes
    turned = np.vstack([np.zeros(3), np.cumsum(changes, axis=0)])
    way = np.stack([np.interp(times, stamps, column) for column in turned.T], axis=1)
    said = rotations[np.searchsorted(stamps, times)].apply([velocities[s] for s in times.tolist()])
    change, size = (np.linalg.norm(part, axis=1).mean() for part in (np.diff(said, axis=0), said))
    if change > MAX_CHANGE * size:
        cure = "turn the robot slowly, while it does not walk"
        return Check(name, NOT_SEEN, "it changes too fast between messages", cure)
    windows = np.unique((times - times[0]) // WINDOW_NS, return_index=True)[1][1:]
    ways, led = np.split(way, windows), np.split(_integral(said, times), windows)
    extents = [float(np.ptp(part, axis=0).max()) for part in ways]
    most = int(np.argmax(extents))
    if extents[most] < TURNED_RAD:
        return Check(name, NOT_SEEN, "the base did not turn", cure)
    apart = (led[most] - led[most][0]) - (ways[most] - ways[most][0])
    error = float(np.abs(apart).max()) / extents[most]
    if error <= NEAR_PATH:
        return Check(name, OK, "its angular velocity leads where the orientation went")
    found = f"its angular velocity leads {error:.1f} times the turn beside where it went"
    return Check(name, WRONG, found, "publish rad/s about x, y, z of base_link, with their signs")


def _integral(velocities: Array, stamps: NDArray[np.int64]) -> Array:
    """From the first stamp, ns, to each. Shapes (T, 3), (T,) -> (T, 3)."""
    times_s = (stamps - stamps[0]) / 1e9
    integral: Array = cumulative_trapezoid(velocities, times_s, axis=0, initial=0.0)
    return integral


def _up_z(turns: Sequence[Array]) -> float:
    return float(np.median(quaternion_to_matrix(np.asarray(turns))[:, 2, 2]))


def _median(rows: Sequence[Array]) -> Array:
    middle: Array = np.median(np.asarray(rows), axis=0)
    return middle
