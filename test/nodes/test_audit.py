"""dads-ros audit on a drive of the Ant that is right, and on ones with a thing that is wrong.

The drive is made by the planner's own classes in MuJoCo, and recorded as real messages.
"""

import copy
import dataclasses
import itertools
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import lz4.frame
import numpy as np
import onnx
import pytest
import yaml
import zstandard
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer
from onnx import numpy_helper
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Imu

from dads_ros.bundle.manifest import MANIFEST_FILE, POLICY_FILE, BundleManifest
from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.findings import read_model
from dads_ros.cli.main import main
from dads_ros.config import ControlConfig
from dads_ros.diagnosis.parts import Parts
from dads_ros.diagnosis.records import Check, PlannerSettings, Verdict
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.files import sha256, share_folder
from dads_ros.nodes.auditor import COMMANDS, Auditor
from dads_ros.nodes.conversions import (
    Frames,
    command_message,
    joint_state_message,
    odometry_message,
    robot_state,
    skill_message,
    to_ns,
    to_stamp,
)
from dads_ros.nodes.recording import Recording
from dads_ros.observation import RobotState, quaternion_to_matrix
from dads_ros.planning.controller import Errand, SkillController, make_loop
from dads_ros.planning.tasks import Task
from dads_ros.robot import CommandFilterSpec
from recordings import Logged, write_mcap
from ros_graph import LINE

OK, WARNING, WRONG, NOT_SEEN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.NOT_SEEN
ANT = SkillBundle(share_folder() / "models" / "ant")
MODEL = read_model(ANT.robot)
STEPS, DT_NS, BEGIN_NS = 240, 50_000_000, 1_800_000_000_000_000_000
MS = 1_000_000
FRAMES = Frames.of("")
Message = Any
Spoil = Callable[[list[Logged]], object]


def drive(
    bundle: SkillBundle = ANT, fails: Sequence[int] = (), guarded: Sequence[int] = ()
) -> list[Logged]:
    """12 s: standing for 2, then to a goal; at some no state can be used, or the guard sends."""
    config, now = ControlConfig(lock_step=True), [0.0]
    loop = make_loop(bundle.robot, bundle.command, bundle, config, 0, 1)
    controller = SkillController(loop, lambda: config, seed=0, clock=lambda: now[0])
    controller.activate()
    env = one_episode_env(
        RobotModel(ANT.robot), 1, STEPS, rng=np.random.default_rng(1), num_threads=1
    )
    logged = []
    for step in range(STEPS):
        if step == 40:
            controller.turn_to(Errand(Task(goals=np.array([[20.0, 10.0]])), received=0.0))
        now[0] += 0.05
        state, stamp_ns = env.state[0], BEGIN_NS + step * DT_NS
        if step in guarded:
            safe = np.array([bundle.robot.safe_command])
            logged.append(Logged("/joint_commands", by_guard(safe[0]), stamp_ns + 5 * MS))
            controller.relieve(safe)
            env.step(safe)
            continue
        if step in fails:
            result = controller.fail("refused")
            assert result is not None
            message = command_message(ANT.robot, result.command[0])
            logged.append(Logged("/joint_commands", message, stamp_ns + 5 * MS))
            env.step(result.command)
            continue
        answer = controller.step(env.state, stamp_ns)
        assert answer is not None
        skill = None if answer.skill is None else answer.skill[0]
        command = answer.result.command
        for delay_ms, topic, message in (
            (1, "/joint_states", joint_state_message(ANT.robot, state, stamp_ns)),
            (2, "/odom", odometry_message(state, stamp_ns, FRAMES)),
            (2, "/imu", imu_of(state.orientation, state.angular_velocity, stamp_ns)),
            (5, "/joint_commands", command_message(ANT.robot, command[0], stamp_ns)),
            (6, "/skill_planner/skill", skill_message(skill, stamp_ns)),
        ):
            logged.append(Logged(topic, message, stamp_ns + delay_ms * MS))
        env.step(command)
    return logged


def by_guard(command: np.ndarray, label: str = "guard") -> Message:
    message = command_message(ANT.robot, command)
    message.layout.dim.append(copy.deepcopy(message.layout.dim[0]))
    message.layout.dim[1].label = label
    return message


def imu_of(orientation: np.ndarray, turning: np.ndarray, stamp_ns: int) -> Imu:
    message = Imu()
    message.header.frame_id, message.header.stamp = "base_link", to_stamp(stamp_ns)
    turn, up = message.orientation, np.array([0.0, 0.0, 9.81])
    turn.w, turn.x, turn.y, turn.z = orientation.tolist()
    rates = message.angular_velocity
    rates.x, rates.y, rates.z = turning.tolist()
    felt = up @ quaternion_to_matrix(orientation)
    acceleration = message.linear_acceleration
    acceleration.x, acceleration.y, acceleration.z = felt.tolist()
    return message


@pytest.fixture(scope="module")
def whole() -> list[Logged]:
    return drive()


@pytest.fixture
def logged(whole: list[Logged]) -> list[Logged]:
    """The drive, to be spoiled."""
    return copy.deepcopy(whole)


def audit(
    path: Path,
    bundle: SkillBundle = ANT,
    namespace: str = "",
    commands: str = COMMANDS,
    **settings: object,
) -> dict[str, Check]:
    auditor = Auditor(
        bundle, PlannerSettings(**settings), namespace, MODEL.ranges, MODEL.unknown, commands
    )
    for recorded in Recording(str(path)).read():
        auditor.take(recorded)
    checks = auditor.finish()
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def of(logged: Sequence[Logged], topic: str) -> list[Any]:
    return [one.message for one in logged if one.topic == topic]


def keep(logged: list[Logged], wanted: Callable[[Logged], bool]) -> None:
    logged[:] = [one for one in logged if wanted(one)]


def at_s(one: Logged) -> float:
    return (one.log_ns - BEGIN_NS) / 1e9


# --- a drive that is right


def test_a_drive_that_is_right_is_found_right(
    whole: list[Logged], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["audit", str(write_mcap(tmp_path / "x.mcap", whole)), "--bundle", "ant"])
    said = capsys.readouterr().out
    checks = {name: (verdict, found) for verdict, name, found in LINE.findall(said)}
    assert code == 0, said
    assert {verdict for verdict, _ in checks.values()} <= {"ok", "not seen"}, said
    # Legs that walk are too fast for the doctor's look at velocities.
    not_ok = {name for name, (verdict, _) in checks.items() if verdict != "ok"}
    assert not_ok <= {"joint units", "odom turning", "imu turning"}
    assert checks["recording"][1] == "12.0 s, 1200 messages on 5 topics"
    assert checks["states"][1].startswith("239 complete")
    assert checks["policy"][1] == "239 commands are this bundle's, 39 of them standing"
    assert "5 ms from state to command" not in said  # it is 3, from odom's arrival
    assert "3 ms from state to command" in checks["command delay"][1]
    assert ANT.manifest.evaluation is not None
    off = f"in the bundle's evaluation {ANT.manifest.evaluation['prediction_error']:.0%}"
    assert off in checks["prediction"][1]


def each(topic: str, change: Callable[[Any], object]) -> Spoil:
    return lambda logged: [change(message) for message in of(logged, f"/{topic}")]


def in_a_namespace(logged: list[Logged]) -> None:
    logged[:] = [one._replace(topic=f"/robot1{one.topic}") for one in logged]
    for odometry in of(logged, "/robot1/odom"):
        odometry.header.frame_id, odometry.child_frame_id = Frames.of("robot1/")
    for imu in of(logged, "/robot1/imu"):
        imu.header.frame_id = "robot1/base_link"


def by_trajectories(logged: list[Logged]) -> None:
    for index, one in enumerate(logged):
        if one.topic == "/joint_commands":
            numbers = np.array(one.message.data)
            message = command_message(ANT.robot, numbers, command_type="joint_trajectory")
            logged[index] = one._replace(message=message)


def remap(logged: list[Logged], old: str, new: str) -> None:
    logged[:] = [one._replace(topic=new if one.topic == old else one.topic) for one in logged]


def remapped(logged: list[Logged]) -> None:
    remap(logged, "/joint_commands", "/legs_controller/commands")


def remapped_beside_a_namespace(logged: list[Logged]) -> None:
    in_a_namespace(logged)
    remap(logged, "/robot1/joint_commands", "/legs_controller/commands")


def in_a_dry_run(logged: list[Logged]) -> None:
    for index, one in enumerate(logged):
        if one.topic == "/joint_commands":
            logged[index] = one._replace(topic="/skill_planner/would_be_commands")


def by_two_drivers(logged: list[Logged]) -> None:
    for one in list(logged):
        if one.topic == "/joint_states":
            half = copy.deepcopy(one.message)
            for part, which in ((one.message, slice(3)), (half, slice(3, None))):
                part.name = part.name[which]
                part.position, part.velocity = part.position[which], part.velocity[which]
            logged.insert(logged.index(one), one._replace(message=half))


def faster_joints(logged: list[Logged]) -> None:
    """Twice in a step, 20 ms apart; the recorder got the second one before odom."""
    for one in list(logged):
        if one.topic == "/joint_states":
            later = copy.deepcopy(one.message)
            later.header.stamp = to_stamp(to_ns(later.header.stamp) + 20 * MS)
            later.position[0] += 0.02
            logged.insert(logged.index(one) + 1, one._replace(message=later))


def planner_ends_first(logged: list[Logged]) -> None:
    """Faster joints as well; the states go on for 4 s."""
    faster_joints(logged)
    by_planner = ("/joint_commands", "/skill_planner/skill")
    keep(logged, lambda one: at_s(one) < 8.0 or one.topic not in by_planner)


def at_1_khz(logged: list[Logged]) -> None:
    """5 s, with all that states are made of between the control steps as well."""
    keep(logged, lambda one: at_s(one) < 5.0)
    states = [
        robot_state(ANT.robot, [joints], odometry)
        for joints, odometry in zip(of(logged, "/joint_states"), of(logged, "/odom"), strict=True)
    ]
    for step, (last, following) in enumerate(itertools.pairwise(states)):
        for ms in range(1, 50):
            state = RobotState(
                *(
                    getattr(last, name) * (1 - ms / 50) + getattr(following, name) * ms / 50
                    for name in RobotState.__dataclass_fields__
                )
            )
            turn = state.orientation / np.linalg.norm(state.orientation)
            stamp_ns = BEGIN_NS + step * DT_NS + ms * MS
            for delay_ms, topic, message in (
                (1, "/joint_states", joint_state_message(ANT.robot, state, stamp_ns)),
                (2, "/odom", odometry_message(state, stamp_ns, FRAMES)),
                (2, "/imu", imu_of(turn, state.angular_velocity, stamp_ns)),
            ):
                logged.append(Logged(topic, message, stamp_ns + delay_ms * MS))
    logged.sort(key=lambda one: (one.log_ns, one.topic != "/joint_states"))
    keep(logged, lambda one: at_s(one) < 4.95)


def states_recorded_late(logged: list[Logged]) -> None:
    """After the commands that answer them."""
    states = ("/joint_states", "/odom", "/imu")
    logged[:] = [
        one._replace(log_ns=one.log_ns + 30 * MS) if one.topic in states else one for one in logged
    ]
    logged.sort(key=lambda one: one.log_ns)


WAYS: dict[str, tuple[Spoil, dict[str, Any]]] = {
    "namespace": (in_a_namespace, {"namespace": "robot1"}),
    "imu": (lambda logged: None, {"use_imu": True}),
    "trajectory": (by_trajectories, {}),
    "remapped": (remapped, {"commands": "legs_controller/commands"}),
    "remapped beside a namespace": (
        remapped_beside_a_namespace,
        {"namespace": "robot1", "commands": "/legs_controller/commands"},
    ),
    "dry run": (in_a_dry_run, {}),
    "two drivers": (by_two_drivers, {}),
    "states recorded late": (states_recorded_late, {}),
    "faster joints": (faster_joints, {}),
    "faster joints and imu": (faster_joints, {"use_imu": True}),
    "planner ends first": (planner_ends_first, {}),
    "1 kHz": (at_1_khz, {}),
    "1 kHz with imu": (at_1_khz, {"use_imu": True}),
}


@pytest.mark.parametrize("way", WAYS)
def test_other_ways_to_drive_are_right_as_well(
    way: str, logged: list[Logged], tmp_path: Path
) -> None:
    change, settings = WAYS[way]
    change(logged)
    checks = audit(write_mcap(tmp_path / "x.mcap", logged), **settings)
    not_ok = {name for name, check in checks.items() if check.verdict != OK}
    assert not_ok <= {"joint units", "odom turning", "imu turning"} and checks[
        "joint units"
    ].verdict in (OK, NOT_SEEN)
    num = sum(one.topic.endswith("commands") for one in logged) - 1
    assert checks["policy"].found == f"{num} commands are this bundle's, 39 of them standing"


# --- one thing that is wrong


def swap_joints(message: Message) -> None:
    message.name = [*message.name[2:], *message.name[:2]]


def in_degrees(message: Message) -> None:
    message.position = np.degrees(message.position).tolist()
    message.velocity = np.degrees(message.velocity).tolist()


def without_velocities(message: Message) -> None:
    message.velocity = []


def stamp_later(message: Message) -> None:
    message.header.stamp = to_stamp(to_ns(message.header.stamp) + 30 * MS)


def wxyz_as_xyzw(message: Message) -> None:
    turn = message.pose.pose.orientation
    turn.x, turn.y, turn.z, turn.w = turn.w, turn.x, turn.y, turn.z


def in_world(message: Message) -> None:
    message.header.frame_id = "world"


def three_times_as_far(message: Message) -> None:
    place = message.pose.pose.position
    place.x, place.y = 3.0 * place.x, 3.0 * place.y


def change_one(logged: list[Logged]) -> None:
    of(logged, "/joint_commands")[200].data[2] += 0.25


def turn_all_signs(message: Message) -> None:
    message.data = [-value for value in message.data]


def exceed(logged: list[Logged]) -> None:
    of(logged, "/joint_commands")[200].data[2] = 1.5


def interrupt(logged: list[Logged]) -> None:
    keep(logged, lambda one: not 8.0 < at_s(one) < 9.5)


def lose_some(logged: list[Logged]) -> None:
    keep(logged, lambda one: one.topic != "/odom" or round(at_s(one) / 0.05) % 10 != 0)


def forget_skill(logged: list[Logged]) -> None:
    keep(logged, lambda one: one.topic != "/skill_planner/skill")


def insert_command(logged: list[Logged], label: str, value: float) -> None:
    index = next(i for i, one in enumerate(logged) if at_s(one) > 9.01)
    message = by_guard(np.full(8, value), label)
    logged.insert(index, Logged("/joint_commands", message, logged[index].log_ns))


def answer_late(logged: list[Logged]) -> None:
    late = ("/joint_commands", "/skill_planner/skill")
    logged[:] = [
        one._replace(log_ns=one.log_ns + 60 * MS) if one.topic in late else one for one in logged
    ]
    logged.sort(key=lambda one: one.log_ns)


def fall(logged: list[Logged]) -> None:
    for odometry in of(logged, "/odom")[-20:]:
        turn = odometry.pose.pose.orientation
        turn.x, turn.y, turn.z, turn.w = 1.0, 0.0, 0.0, 0.0


FAULTS: dict[str, tuple[Spoil, list[tuple[str, Verdict, str]]]] = {
    "joint order": (
        each("joint_states", swap_joints),
        [("policy", WRONG, "compare order"), ("joint positions", WRONG, "outside the range")],
    ),
    "degrees": (
        each("joint_states", in_degrees),
        [
            ("joint units", WRONG, "degrees?"),
            ("states", WRONG, "refused, first at "),
            ("policy", WRONG, "compare order, signs and units"),
        ],
    ),
    "no velocities": (
        each("joint_states", without_velocities),
        [("joint velocities", WARNING, "differences"), ("policy", WRONG, "compare order")],
    ),
    "stamps": (
        each("odom", stamp_later),
        [("joint_states stamps", OK, "20 ms from odom's"), ("policy", WARNING, "no state")],
    ),
    "wxyz": (each("odom", wxyz_as_xyzw), [("odom quaternion", WRONG, "w, x, y, z")]),
    "frames": (
        each("odom", in_world),
        [
            ("states", WRONG, "odom has frame_id 'world'"),
            ("odom frames", WRONG, "'world' to 'base_link'"),
        ],
    ),
    "metres": (
        each("odom", three_times_as_far),
        [
            ("odom twist", WRONG, "beside where the base went"),
            ("prediction", WARNING, "off by "),
        ],
    ),
    "one command": (
        change_one,
        [
            ("policy", WRONG, "1 of 239 differ from the policy's, in hip_1: first at "),
            ("policy", WRONG, " at 10.00 s ('hip_1' "),
        ],
    ),
    "signs": (each("joint_commands", turn_all_signs), [("policy", WRONG, "--bundle")]),
    "limits": (exceed, [("commands", WRONG, "'hip_1' gets 1.5, outside -0.5 .. 0.5")]),
    "gap": (interrupt, [("states", WARNING, "a gap of 1.55 s at 7.95 s")]),
    "lost messages": (lose_some, [("policy", WARNING, "23 answer no state")]),
    "no skill": (
        forget_skill,
        [
            ("policy", WARNING, "of 239 no skill was recorded"),
            ("prediction", NOT_SEEN, "no skill"),
        ],
    ),
    "stranger": (
        lambda logged: insert_command(logged, "", 0.9),
        [
            ("other commands", WRONG, "1 answer no state, first at 9.0"),
            ("command jumps", WARNING, "the policy did not ask for"),
            ("policy", OK, "239 commands"),
        ],
    ),
    "guard": (
        lambda logged: insert_command(logged, "guard", 0.0),
        [("safe commands", WARNING, "1 of the guard, first at 9.0")],
    ),
    "delay": (answer_late, [("command delay", WARNING, "63 ms from state to command")]),
    "fall": (fall, [("fallen", WARNING, "in 20 states, first at 11.0")]),
    "remapped": (remapped, [("policy", WARNING, "--commands")]),
    "no odom": (
        lambda logged: keep(logged, lambda one: one.topic != "/odom"),
        [("odom", WRONG, "it was not recorded"), ("states", WRONG, "none is complete")],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_named(fault: str, logged: list[Logged], tmp_path: Path) -> None:
    spoil, expected = FAULTS[fault]
    spoil(logged)
    checks = audit(write_mcap(tmp_path / "x.mcap", logged))
    for name, verdict, words in expected:
        assert checks[name].verdict == verdict, checks[name]
        assert words in f"{checks[name].found} -> {checks[name].cure}"


@pytest.mark.parametrize("is_changed", [False, True])
def test_the_way_to_standing_and_to_the_safe_pose_is_no_strangers(
    is_changed: bool, tmp_path: Path
) -> None:
    """Of an Ant whose commands count as positions: it is led for 1 s, and stopped once."""
    bundle = SkillBundle(ANT.folder)
    bundle.robot = dataclasses.replace(
        ANT.robot, command_scale=(3.0,) * 8, standing_command=None, safe_command=(0.0,)
    )
    logged = drive(bundle, fails=range(100, 104))
    if is_changed:
        for number in (101, 200):
            message = of(logged, "/joint_commands")[number]
            message.data[0] += 0.5
    checks = audit(write_mcap(tmp_path / "x.mcap", logged), bundle)
    assert checks["safe commands"].verdict == WARNING
    if is_changed:
        assert "3 of the planner" in checks["safe commands"].found
        assert "1 answer no state" in checks["other commands"].found
        assert checks["policy"].verdict == WRONG
        assert "1 of 216 differ from the policy's, in hip_4" in checks["policy"].found
    else:
        assert "4 of the planner" in checks["safe commands"].found
        assert "other commands" not in checks
        assert checks["policy"].verdict == OK, checks["policy"]
        found = "216 commands are this bundle's; 19 were made for no skill"
        assert checks["policy"].found == found
        assert checks["commands"].verdict == OK


def test_the_planner_goes_on_from_what_its_guard_sent(tmp_path: Path) -> None:
    """Its filter does, so that another last command makes another command."""
    bundle = SkillBundle(ANT.folder)
    bundle.robot = dataclasses.replace(ANT.robot, command_filter=CommandFilterSpec(low_pass=0.3))
    logged = drive(bundle, guarded=range(100, 104))
    checks = audit(write_mcap(tmp_path / "x.mcap", logged), bundle)
    assert "4 of the guard" in checks["safe commands"].found
    assert checks["policy"].verdict == OK, checks["policy"]
    assert "235 commands are this bundle's" in checks["policy"].found


def test_another_bundle_of_the_same_robot_is_found_out(
    whole: list[Logged], tmp_path: Path
) -> None:
    """Its policy's last layer is a tenth weaker."""
    folder = tmp_path / "other"
    shutil.copytree(ANT.folder, folder)
    model = onnx.load(folder / POLICY_FILE)
    weights = max(model.graph.initializer, key=lambda one: np.prod(one.dims))
    weights.CopyFrom(numpy_helper.from_array(0.9 * numpy_helper.to_array(weights), weights.name))
    onnx.save(model, folder / POLICY_FILE)
    manifest = BundleManifest.from_dict(yaml_of(folder))
    files = manifest.files | {POLICY_FILE: sha256(folder / POLICY_FILE)}
    dataclasses.replace(manifest, files=files).save(folder)
    check = audit(write_mcap(tmp_path / "x.mcap", whole), SkillBundle(folder))["policy"]
    assert check.verdict == WRONG
    assert "of 239 differ from the policy's, in hip_4, ankle_4" in check.found
    assert "--bundle" in check.cure


def test_predictions_worse_than_standing_still_are_never_ok(
    logged: list[Logged], tmp_path: Path
) -> None:
    """However bad the bundle's evaluation was; the robot goes the other way."""
    for odometry in of(logged, "/odom"):
        place = odometry.pose.pose.position
        place.x, place.y = -place.x, -place.y
    folder = tmp_path / "other"
    shutil.copytree(ANT.folder, folder)
    manifest = BundleManifest.from_dict(yaml_of(folder))
    evaluation = (manifest.evaluation or {}) | {"prediction_error": 0.9}
    dataclasses.replace(manifest, evaluation=evaluation).save(folder)
    check = audit(write_mcap(tmp_path / "x.mcap", logged), SkillBundle(folder))["prediction"]
    assert check.verdict == WARNING, check
    assert "in the bundle's evaluation 90%" in check.found


def yaml_of(folder: Path) -> Any:  # noqa: ANN401
    return yaml.safe_load((folder / MANIFEST_FILE).read_text(encoding="utf-8"))


def test_another_robots_bundle_is_found_out(
    whole: list[Logged], point_mass_bundle: Path, tmp_path: Path
) -> None:
    checks = audit(write_mcap(tmp_path / "x.mcap", whole), SkillBundle(point_mass_bundle))
    assert checks["commands"].verdict == WRONG
    assert "8 numbers; the robot file has 2" in checks["commands"].found


def test_the_worst_of_all_parts_is_told_with_its_time() -> None:
    parts = Parts()
    parts.add([Check("a", OK, "fine"), Check("b", NOT_SEEN, "still", "move")], 0.0)
    parts.add([Check("a", WRONG, "bad", "mend"), Check("b", OK, "moved")], 10.0)
    parts.add([Check("a", WRONG, "worse", "mend"), Check("c", WARNING, "late")], 20.0)
    assert parts.checks() == [
        Check("a", WRONG, "bad; in 2 of 3 parts, first at 10 s", "mend"),
        Check("b", OK, "moved"),
        Check("c", WARNING, "late; in 1 of 3 parts, first at 20 s"),
    ]


def test_the_topic_of_commands_is_an_option(
    logged: list[Logged], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remapped(logged)
    path = str(write_mcap(tmp_path / "x.mcap", logged))
    assert main(["audit", path, "--bundle", "ant", "--commands", "/legs_controller/commands"]) == 0
    assert "239 commands are this bundle's" in capsys.readouterr().out


# --- files


@pytest.mark.parametrize("compression", list(CompressionType))
def test_each_compression_is_read(
    compression: CompressionType, whole: list[Logged], tmp_path: Path
) -> None:
    some = whole[:500]
    messages = read(write_mcap(tmp_path / "x.mcap", some, compression))
    found = [
        deserialize_message(m.content, type(one.message))
        for m, one in zip(messages, some, strict=True)
    ]
    assert found == [one.message for one in some]
    assert messages[1].topic == ("/odom", "nav_msgs/msg/Odometry", "cdr")
    loose = write_mcap(tmp_path / "y.mcap", some, use_chunking=False)
    assert [one[:-1] for one in read(loose)] == [one[:-1] for one in messages]


def read(path: Path) -> list[Any]:
    return list(Recording(str(path)).read())


def test_a_rosbag2_folder_is_read_in_the_order_of_its_files(
    whole: list[Logged], tmp_path: Path
) -> None:
    for number in range(11):
        write_mcap(tmp_path / f"run_{number}.mcap", whole[20 * number : 20 * number + 20])
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: 9}\n")
    assert [one.log_ns for one in read(tmp_path)] == [one.log_ns for one in whole[:220]]


@pytest.mark.parametrize("part", [0.3, 0.97])
def test_a_recording_that_was_cut_off_is_judged_as_far_as_it_goes(
    part: float, whole: list[Logged], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_mcap(tmp_path / "x.mcap", whole)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert main(["audit", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (said,) = (line for line in lines if " recording " in line and line.startswith("warning"))
    assert "'x.mcap' ends in the middle: its recorder was killed" in said


def foreign(path: Path) -> None:
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        channel = writer.register_channel("/pose", "json", 0)
        writer.add_message(channel, 1, b"{}", 1)
        writer.finish()


def huge(path: Path, whole: list[Logged]) -> None:
    """It says that its chunk holds 2^40 bytes."""
    write_mcap(path, whole[:5])
    content = path.read_bytes()
    header = 8 + 9 + int.from_bytes(content[9:17], "little")
    sizes = header + 9 + 16
    path.write_bytes(content[:sizes] + (1 << 40).to_bytes(8, "little") + content[sizes + 8 :])


def of_zeros(path: Path) -> None:
    """A chunk of 100 kB whose content is 256 times what it says."""
    content = lz4.frame.compress(bytes(1 << 24))
    record = struct.pack("<QQQII", 0, 0, 1 << 16, 0, 3) + b"lz4"
    record += struct.pack("<Q", len(content)) + content
    magic = b"\x89MCAP0\r\n"
    path.write_bytes(magic + struct.pack("<BQ", 6, len(record)) + record)


UNREADABLE: dict[str, tuple[Callable[[Path, list[Logged]], object], str]] = {
    "no.mcap": (lambda path, whole: None, "is not there"),
    "empty.mcap": (lambda path, whole: path.touch(), "ends in the middle"),
    "text.mcap": (lambda path, whole: path.write_text("no recording " * 9), "no MCAP file"),
    "nothing.mcap": (lambda path, whole: write_mcap(path, []), "holds no message; record"),
    "json.mcap": (lambda path, whole: foreign(path), "nothing of ROS 2, but /pose (json)"),
    "huge.mcap": (huge, "chunk of 1048576 MB; at most 256 MB"),
    "zeros.mcap": (lambda path, whole: of_zeros(path), "checksum"),
    "run.db3": (lambda path, whole: path.touch(), "ros2 bag convert"),
    "run.mcap.zstd": (lambda path, whole: path.touch(), "--storage-preset-profile"),
    "folder": (lambda path, whole: path.mkdir(), "ros2 bag record -s mcap"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_one_sentence(
    name: str, whole: list[Logged], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = UNREADABLE[name]
    make(tmp_path / name, whole)
    assert main(["audit", str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dads-ros: error: ")
    assert words in line


def test_messages_that_rosbag2_compressed_are_one_sentence(
    whole: list[Logged], tmp_path: Path
) -> None:
    path = tmp_path / "x.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema("nav_msgs/msg/Odometry", "ros2msg", b"")
        channel = writer.register_channel("/odom", "cdr", schema)
        writer.add_message(channel, 1, zstandard.compress(serialize_message(whole[1].message)), 1)
        writer.finish()
    recording = Recording(str(path))
    assert list(recording.read()) == []
    assert "ros2 bag convert" in recording.complaint


def test_what_is_no_ros_2_message_may_look_compressed(tmp_path: Path) -> None:
    content = zstandard.compress(b"a picture")
    path = tmp_path / "x.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        writer.add_message(writer.register_channel("/camera", "protobuf", 0), 1, content, 1)
        writer.finish()
    recording = Recording(str(path))
    assert [one.content for one in recording.read()] == [content]
    assert recording.complaint == ""


@pytest.fixture(scope="module")
def small(whole: list[Logged], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "x.mcap"
    return write_mcap(path, whole[200:260], CompressionType.NONE, enable_crcs=False)


@hypothesis.given(st.data())
def test_damage_is_never_a_traceback(small: Path, data: st.DataObject) -> None:
    content = bytearray(small.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.mcap"
        path.write_bytes(content)
        audit(path)


def test_without_its_package_the_audit_names_the_extra() -> None:
    script = (
        "import sys; sys.modules['mcap'] = None; from dads_ros.cli.main import main; "
        "sys.exit(main(['audit', 'x.mcap']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "-e '.[audit]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
