"""States from joint_states of one or several drivers and odom, in whatever order they come."""

import re

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, JointState

from dads_ros.nodes.conversions import Frames, MessageError, to_stamp
from dads_ros.nodes.state_assembler import MAX_WAITING, NUM_REPEATS, StateAssembler
from dads_ros.robot import RobotSpec

ANT = RobotSpec.load("ant")
LEGS = {"a": ANT.joints[:4], "b": ANT.joints[4:], "j": ANT.joints, "g": ("left_finger",)}
MS = 1_000_000


def joints(names: tuple[str, ...], stamp_ns: int) -> JointState:
    """Each joint's position is its place in the robot file, its velocity the stamp in ms."""
    places = [float(ANT.joints.index(n)) if n in ANT.joints else 99.0 for n in names]
    message = JointState(name=list(names), position=places)
    message.velocity = [stamp_ns / MS] * len(names)
    message.header.stamp = to_stamp(stamp_ns)
    return message


def odometry(stamp_ns: int, **frames: str) -> Odometry:
    message = Odometry(child_frame_id=frames.get("child", "base_link"))
    message.header.frame_id = frames.get("frame", "odom")
    message.header.stamp = to_stamp(stamp_ns)
    message.pose.pose.orientation.w = 1.0
    return message


def imu(stamp_ns: int, frame: str = "base_link") -> Imu:
    """Its turn rate is the stamp in ms."""
    message = Imu()
    message.header.frame_id, message.header.stamp = frame, to_stamp(stamp_ns)
    message.orientation.w, message.angular_velocity.z = 1.0, stamp_ns / MS
    return message


def make(use_imu: bool = False) -> StateAssembler:
    return StateAssembler(ANT, Frames.of(""), 25 * MS, use_imu=use_imu)


def states_of(arrivals: str) -> list[str]:
    """Stamps in ms of the states that arrivals such as 'j50 o50' complete, in order."""
    assembler, found = make(), []
    for number, word in enumerate(arrivals.split()):
        stamp_ns = int(word[1:]) * MS
        if word[0] == "o":
            assembler.add_odometry(odometry(stamp_ns), number, 0.0)
        else:
            assembler.add_joints(joints(LEGS[word[0]], stamp_ns), number, 0.0)
        complete = assembler.take()
        if complete is not None:
            state, stamp_ns = complete
            np.testing.assert_array_equal(state.joint_positions, np.arange(8.0))
            found.append(str(stamp_ns // MS))
    return found


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ("j50 o50 o100 j100", ["50", "100"]),
        ("j50 j100 o50 o100", ["50", "100"]),  # odom comes a step behind
        ("j50 j100 o100 o50", ["100"]),  # the older state is dropped
        ("j800 j900 j50 o50 o900", ["50"]),  # the stamps start anew
        ("j50 o100 j150 o200", []),
        ("j53 o50 j103 o100", ["50", "100"]),  # 3 ms off, as drivers are
        ("j50 o50 j55 j60 j95 o100 j105", ["50", "100"]),  # the newest of faster ones
        ("o50 o55 o60 j61 o65 o70", ["60"]),
        ("a50 o50 b50 b100 a100 o100", ["50", "100"]),  # two drivers with half the joints each
        ("a50 b58 o50 a100 b108 o100", ["50", "100"]),
        ("a50 b90 o50", []),
        ("g50 j50 g50 o50 g100 o100 g100 j100", ["50", "100"]),  # a gripper's driver
    ],
)
def test_states_are_given_out_once_and_in_order(arrivals: str, expected: list[str]) -> None:
    assert states_of(arrivals) == expected


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ("i50 j50 o50 o100 i98 j100", ["50 50", "100 98"]),
        ("j50 o50 i40 j100 i90 i105 o100", ["50 40", "100 105"]),  # the newest of faster ones
        ("j50 o50", []),
        ("i10 j50 o50 i90", []),
        ("j50 o50 i50 j60 o60", ["50 50"]),  # none is used twice
    ],
)
def test_with_use_imu_no_state_is_whole_without_one(arrivals: str, expected: list[str]) -> None:
    assembler, found = make(use_imu=True), []
    for number, word in enumerate(arrivals.split()):
        stamp_ns = int(word[1:]) * MS
        if word[0] == "i":
            assembler.add_imu(imu(stamp_ns), number, 0.0)
        elif word[0] == "o":
            assembler.add_odometry(odometry(stamp_ns), number, 0.0)
        else:
            assembler.add_joints(joints(ANT.joints, stamp_ns), number, 0.0)
        complete = assembler.take()
        if complete is not None:
            found.append(f"{complete[1] // MS} {complete[0].angular_velocity[2]:g}")
    assert found == expected
    assert bool(expected) or "imu" in assembler.complaint()


def test_an_imu_in_another_frame_or_without_a_gyroscope_is_refused() -> None:
    with pytest.raises(MessageError, match="imu has frame_id 'imu_link'; expected 'base_link'"):
        make(use_imu=True).add_imu(imu(0, "imu_link"), 0, 0.0)
    message = imu(0)
    message.angular_velocity_covariance[0] = -1.0
    with pytest.raises(MessageError, match="it has no angular velocity"):
        make(use_imu=True).add_imu(message, 0, 0.0)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_velocities_that_are_not_sent_are_differences_and_that_is_said_once(
    missing: float | None,
) -> None:
    said: list[str] = []
    assembler = StateAssembler(ANT, Frames.of(""), 25 * MS, say=said.append)
    found = {}
    # A pause, a message that comes twice, one that comes late; 125 ms are too many.
    for number, ms in enumerate((0, 50, 200, 250, 250, 300, 290, 350)):
        message = joints((*reversed(ANT.joints), "finger"), ms * MS)
        message.position = [0.003 * ms * (i + 1) for i in range(9)]
        message.velocity = [] if missing is None else [missing] * 8 + [1.0]
        assembler.add_joints(message, number, 0.0)
        assembler.add_odometry(odometry(ms * MS), number, 0.0)
        complete = assembler.take()
        if complete is not None:
            np.testing.assert_allclose(
                complete[0].joint_velocities, 3.0 * np.arange(8, 0, -1), rtol=1e-9
            )
            found[ms] = complete[1] // MS
    assert list(found) == [50, 250, 300, 290, 350]
    assert len(said) == 1 and "no velocities" in said[0]


def test_positions_too_rare_to_tell_velocities_are_complained_of() -> None:
    assembler = make()
    for number in range(3):
        message = joints(ANT.joints, 200 * number * MS)
        message.velocity = []
        assembler.add_joints(message, number, 0.0)
        assembler.add_odometry(odometry(200 * number * MS), number, 0.0)
        assert assembler.take() is None
    assert "has no velocities, and does not come within 0.125 s" in assembler.complaint()


def test_one_velocity_that_is_no_number_is_taken_as_it_is() -> None:
    assembler = make()
    for number in range(2):
        message = joints(ANT.joints, 50 * number * MS)
        message.velocity[3] = np.nan
        assembler.add_joints(message, number, 0.0)
        assembler.add_odometry(odometry(50 * number * MS), number, 0.0)
        complete = assembler.take()
        assert complete is not None and not complete[0].is_finite()


def test_odom_that_an_estimator_sends_late_meets_its_joints() -> None:
    """Joints of 1 kHz, odom of 50 Hz that comes 70 ms later than what it was measured from."""
    assembler, found = make(), []
    for now in range(200):
        assembler.add_joints(joints(ANT.joints, now * MS), now, 0.0)
        assert assembler.take() is None
        if now >= 80 and now % 20 == 0:
            assembler.add_odometry(odometry((now - 70) * MS), now, 0.0)
            complete = assembler.take()
            assert complete is not None and complete[0].joint_velocities[0] == now - 70 + 25
            found.append(complete[1] // MS + 70)
    assert found == list(range(80, 200, 20))


def test_what_waits_is_bounded_and_complained_of() -> None:
    assembler = make()
    assert assembler.complaint() == ""
    for number in range(3 * MAX_WAITING):
        assembler.add_joints(joints(LEGS["a"], number * MS), number, 0.0)
    assert "lacks " + ", ".join(LEGS["b"]) in assembler.complaint()
    assembler.add_joints(joints(LEGS["j"], 1200 * MS), 100, 0.0)
    assert assembler.complaint() == "joint_states comes without odom"
    assembler.add_odometry(odometry(10 * MS), 0, 0.0)  # its other half is no longer kept
    assert assembler.take() is None
    assert assembler.complaint().endswith(
        "never within 0.025 s of the same stamp: the last one of odom is 0.010, of joint_states "
        "1.200"
    )
    assembler = make()
    assembler.add_odometry(odometry(0), 0, 0.0)
    assert "odom comes without joint_states of hip_1" in assembler.complaint()


def test_a_joint_that_is_named_twice_is_refused() -> None:
    with pytest.raises(MessageError, match="names 'hip_2' twice"):
        make().add_joints(joints((*ANT.joints, "hip_2"), 0), 0, 0.0)
    make().add_joints(joints((*ANT.joints, "finger", "finger"), 0), 0, 0.0)  # not ours


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ({"frame": "map"}, "frame_id 'map'; expected 'odom'"),
        ({"child": "camera"}, "child_frame_id 'camera'; expected 'base_link'"),
    ],
)
def test_odom_in_other_frames_is_refused(frames: dict[str, str], reason: str) -> None:
    with pytest.raises(MessageError, match=re.escape(reason)):
        make().add_odometry(odometry(0, **frames), 0, 0.0)
    make().add_odometry(odometry(0, frame="", child=""), 0, 0.0)  # unsaid


def test_velocities_beyond_reason_are_named() -> None:
    assembler, wild = make(), joints(ANT.joints, 0)
    wild.velocity[2] = -1e6
    assembler.add_joints(wild, 0, 0.0)
    assembler.add_odometry(odometry(0), 0, 0.0)
    with pytest.raises(MessageError, match="joint 'hip_2' is -1e\\+06; more than 200"):
        assembler.take()


def test_two_publishers_of_one_thing_are_heard_and_a_restarted_one_is_not() -> None:
    assembler = make()
    for number in range(100, 110):  # one alone, two drivers of other joints, and a restart
        for names, sequence in (("a", number), ("b", number - 90)):
            assembler.add_joints(joints(LEGS[names], 0), sequence, number / 10)
    assembler.add_joints(joints(LEGS["a"], 0), 1, 11.0)
    assert assembler.second_voice(11.0) == ""
    for number in range(NUM_REPEATS):
        for sequence in (number, 1000 + number):
            assembler.add_joints(joints(LEGS["a"], 0), sequence, 11.5)
    assert assembler.second_voice(11.5) == "joint_states"
    assert assembler.second_voice(20.0) == ""
    for number in range(NUM_REPEATS + 1):  # started together, they count alike
        for _ in range(2):
            assembler.add_odometry(odometry(0), number, 30.0)
    assert assembler.second_voice(30.0) == "odom"


def test_a_robot_without_joints_needs_odom_alone() -> None:
    assembler = StateAssembler(RobotSpec.load("point_mass"), Frames.of(""), 25 * MS)
    assembler.add_odometry(odometry(7), 0, 0.0)
    complete = assembler.take()
    assert complete is not None and complete[1] == 7


def test_a_robot_without_joints_is_told_when_its_imu_never_fits() -> None:
    robot = RobotSpec.load("point_mass")
    assembler = StateAssembler(robot, Frames.of(""), 25 * MS, use_imu=True)
    assembler.add_odometry(odometry(7 * MS), 0, 0.0)
    assembler.add_imu(imu(90 * MS), 0, 0.0)
    assert assembler.take() is None
    assert assembler.complaint().endswith("the last one of odom is 0.007, of imu 0.090")
