"""The rows: what is done to a robot that drives, and what must be seen then.

Every row demands besides that no command is ever non-finite, out of limits, of wrong length, or
drives in answer to a state older than ``state_timeout_s``. A row that repairs nothing has done
nothing that lasts. ``says`` is looked for in every status of /diagnostics.
"""

import contextlib
import enum
import itertools
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import yaml
from geometry_msgs.msg import Twist, Vector3, Wrench
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Odometry
from onnx import TensorProto, helper
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from benchmark.maps import warehouse
from bundles import write_bundle
from dads_ros.files import sha256
from faults.stage import FAR, Messages, Setup, Stage, Twin, goal, grid, path
from ros_graph import STATE_TIMEOUT_S

Action = Callable[[Stage], object]
POINT_MASS = Setup()
STOP_WITHIN_S = STATE_TIMEOUT_S + 0.1
LATE_PLAN_WITHIN_S = 1.0 + 0.5 + STOP_WITHIN_S  # skill_timeout_s, and until a plan is due
END_WITHIN_S = 5.0
GUARD_WITHIN_S = 2.1  # it counts as stopped after 1 s, which is looked at once a second


class Must(enum.Enum):
    """What must be seen from the fault until it is repaired."""

    STOP = "safe command, again and again"
    STAND = "standing command, again and again"
    REST = "safe command, then nothing that drives"
    END = "safe command last, exit code 0"
    DRIVE = "drives on at the control rate"
    ANSWER = "answers at the control rate"
    COMMAND = "a command all the time, safe or fresh"


def nothing(stage: Stage) -> None:
    """Nothing has to be done."""


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    fault: Action
    must: Must
    says: str = ""
    """Regular expression."""
    before: Action = nothing
    """What the fault needs, so that it is done at once: a client learns late of its service."""
    repair: Action = nothing
    setup: Setup = POINT_MASS
    within_s: float = STOP_WITHIN_S
    """Until the safe command, or until the process has ended."""
    lasts_s: float = 1.0
    """How long is looked on before the repair."""
    max_age_s: float = STATE_TIMEOUT_S
    """Of a state that a driving command answers."""
    fast: bool = False
    """Also in ``make test``."""


# --- to processes ------------------------------------------------------------------------------


def send(number: int, node: str = "planner") -> Action:
    return lambda stage: stage.signal(number, node)


def new_planner(stage: Stage) -> None:
    stage.trigger.unlink(missing_ok=True)
    stage.withdraw("map")
    with contextlib.suppress(subprocess.TimeoutExpired):
        stage.planner.end(signal.SIGTERM)
    stage.planner.kill()
    stage.start_planner()
    stage.drive()


def new_simulator(stage: Stage) -> None:
    """The goal is not sent again."""
    stage.simulator.kill()
    stage.start_simulator()


def starve_of_memory(stage: Stage) -> None:
    stage.limit_memory()
    stage.publish(grid(np.zeros((2000, 2000), bool), 0.05, (-50.0, -50.0)))


def refuse_second_planner(stage: Stage) -> None:
    """It takes a while until it is refused: the robot must not arrive meanwhile."""
    stage.publish(goal(stage.observer.place[0] + FAR[0], 0.0))
    second = stage.start_second_planner()
    try:
        code = stage.exit_code(second, 45.0)
        assert code not in (0, None), f"the second planner drives as well: {code}"
    finally:
        second.kill()


def send_old_commands(stage: Stage) -> None:
    """To the simulator, of whose states the newest are then answered as well."""
    observer = stage.observer
    assert stage.change(Transition.TRANSITION_DEACTIVATE)
    observer.wait_for(lambda: observer.speed_m_s < 0.02)
    for age_s, moves in ((2.0, False), (0.0, True)):
        for _ in range(20):
            stage.intrude(observer.newest_stamp_ns - round(age_s * 1e9))
            observer.spin_for(0.05)
        assert (observer.speed_m_s > 0.1) == moves, (
            f"answers to states {age_s:g} s old move it at {observer.speed_m_s:.2f} m/s"
        )
    stage.withdraw("joint_commands")


# --- to states that are made here --------------------------------------------------------------


def states(change: Callable[[JointState, Odometry], object]) -> Action:
    """Change every state before it is sent; what is returned is sent instead, if anything."""

    def tamper(joints: JointState, odometry: Odometry) -> Messages:
        both = change(joints, odometry)
        return (joints, odometry) if both is None else both

    def fault(stage: Stage) -> None:
        stage.states.tamper = tamper

    return fault


def clean_states(stage: Stage) -> None:
    stage.states.tamper, stage.states.late_ns = lambda *both: both, 0


def stand_up(stage: Stage) -> None:
    """And send the goal again, which a robot that is down loses."""
    clean_states(stage)
    stage.drive()


def late(seconds: float) -> Action:
    def fault(stage: Stage) -> None:
        stage.states.late_ns = round(seconds * 1e9)

    return fault


def each_field_not_finite() -> Callable[[JointState, Odometry], None]:
    """A state after the other has one number that is none."""
    joints = [("position", i) for i in range(8)] + [("velocity", i) for i in range(8)]
    places = [("pose.pose.position", axis) for axis in "xyz"]
    places += [("pose.pose.orientation", axis) for axis in "xyzw"]
    places += [(f"twist.twist.{kind}", axis) for kind in ("linear", "angular") for axis in "xyz"]
    numbers = (np.nan, np.inf, -np.inf)
    cycle = itertools.cycle(itertools.product(numbers, joints + places))

    def change(joint_state: JointState, odometry: Odometry) -> None:
        number, (where, which) = next(cycle)
        if isinstance(which, int):
            getattr(joint_state, where)[which] = number
        else:
            part = odometry
            for name in where.split("."):
                part = getattr(part, name)
            setattr(part, which, number)

    return change


def stale_now_and_then(swapped: bool) -> Callable[[JointState, Odometry], Messages]:
    """Every tenth state comes three states late, or, swapped, after the next one."""
    kept: list[Messages] = []
    count = itertools.count()

    def change(*both: JointState | Odometry) -> Messages:
        number = next(count)
        if number % 10 == 0:
            kept.append(both)
            return ()
        if kept and number % 10 == (1 if swapped else 3):
            return (*both, *kept.pop())
        return both

    return change


def every(num: int) -> Callable[[JointState, Odometry], Messages]:
    """One state in so many."""
    count = itertools.count()
    return lambda *both: both if next(count) % num == 0 else ()


def gripper(joints: JointState, odometry: Odometry) -> Messages:
    fingers = JointState(header=joints.header, name=["left", "right"])
    fingers.position = fingers.velocity = [0.01, 0.01]
    return joints, fingers, odometry


def second_driver(joints: JointState, odometry: Odometry) -> Messages:
    other = JointState(header=joints.header, name=joints.name)
    other.position, other.velocity = [0.5] * 8, joints.velocity
    return joints, Twin(other), odometry


def joint_twice(joints: JointState, _: Odometry) -> None:
    for numbers in (joints.position, joints.velocity):
        numbers.append(0.3)
    joints.name.append(joints.name[0])


def fields(where: str, **values: object) -> Callable[[JointState, Odometry], None]:
    """Set fields of a part of joints or odometry, such as ``odometry.header``."""

    def change(joints: JointState, odometry: Odometry) -> None:
        names = where.split(".")
        part = {"joints": joints, "odometry": odometry}[names[0]]
        for name in names[1:]:
            part = getattr(part, name)
        for name, value in values.items():
            setattr(part, name, value)

    return change


# --- to what is asked for ----------------------------------------------------------------------


def publish(make: Callable[[], object]) -> Action:
    return lambda stage: stage.publish(make())


def map_and_goal(
    cells: np.ndarray, resolution_m: float, corner: tuple[float, float], x: float, y: float
) -> Action:
    def fault(stage: Stage) -> None:
        stage.publish(grid(cells, resolution_m, corner))
        stage.publish(goal(x, y))

    return fault


def warehouse_and_goal(stage: Stage) -> None:
    stage.publish(grid(warehouse(), 0.03, (-15.0, -25.0)))
    stage.publish(goal(20.0, 6.0))


def walls(size: int) -> np.ndarray:
    cells = np.zeros((size, size), bool)
    cells[size // 4, : size // 2] = True
    return cells


def wall_in(stage: Stage) -> None:
    """Walls all around the robot, 2 to 3 m away, where it would be long before the end.

    Its skill dynamics knows nothing of momentum, so that it may brush them.
    """
    observer, cells = stage.observer, np.zeros((60, 60), bool)
    cells[:10] = cells[-10:] = cells[:, :10] = cells[:, -10:] = True
    x, y = observer.place
    stage.publish(grid(cells, 0.1, (x - 3.0, y - 3.0)))
    observer.spin_for(6.0)
    went_m = observer.place[0] - x
    assert went_m < 2.5, f"it went {went_m:.2f} m, through a wall"


def no_walls(stage: Stage) -> None:
    stage.publish(grid(np.zeros((2, 2), bool), 0.1, (0.0, 0.0)))


def hold_terminal(stage: Stage) -> None:
    """And let it say much."""
    stage.hold_terminal()
    for _ in range(50):
        stage.publish(goal(*FAR, frame="nowhere"))


def velocities_of_a_stall(stage: Stage) -> None:
    """Of those that were sent while the planner was stopped none may be followed."""
    observer = stage.observer
    twist = Twist(linear=Vector3(x=1.0))
    assert stage.set(cmd_vel_timeout_s=2.0)
    for seconds, number in ((1.0, 0), (1.0, signal.SIGSTOP)):
        if number:
            stage.signal(number)
        for _ in range(round(10 * seconds)):
            stage.publish(twist)
            observer.spin_for(0.1)
    observer.spin_for(2.5)
    stage.signal(signal.SIGCONT)


def refuse_bundles(stage: Stage) -> None:
    """Nothing that was opened for them stays open."""
    bundle = stage.changed_bundle("limits", manifest(command_high=[2.0]))
    assert not stage.load(bundle)
    before = stage.num_open_files()
    for _ in range(20):
        assert not stage.load(bundle)
    after = stage.num_open_files()
    assert after <= before, f"open files went from {before} to {after}"


def flood_of_goals(stage: Stage) -> None:
    for i in range(5000):
        stage.publish(goal(FAR[0], 0.001 * (i % 2)))
    stage.publish(goal(*FAR))


# --- to settings and bundles -------------------------------------------------------------------


def refused(*choices: dict[str, object]) -> Action:
    """Parameters that must not be taken, set together."""

    def fault(stage: Stage) -> None:
        for values in choices:
            assert not stage.set(**values), f"these were set: {values}"

    return fault


def size(samples: int, horizon: int, refinements: int) -> dict[str, object]:
    """Of a plan, as parameters."""
    return {
        "planner.num_samples": samples,
        "planner.planning_horizon": horizon,
        "planner.num_refine_steps": refinements,
    }


def plan_of_largest_size(stage: Stage) -> None:
    """Whatever is still taken."""
    for refinements, horizon, samples in itertools.product(
        (100, 30, 10, 5), (20, 10, 4), (20000, 5000, 1000, 300)
    ):
        if stage.set(**size(samples, horizon, refinements)):
            return
    raise AssertionError("no size was taken")


def begin_to_load(stage: Stage) -> None:
    stage.begin("skill_planner/load_bundle")


def bundle_refused(make: Callable[[Stage], Path]) -> Action:
    def fault(stage: Stage) -> None:
        folder = make(stage)
        assert not stage.load(folder), f"bundle '{folder.name}' was taken"

    return fault


def bundle_refused_at_configure(make: Callable[[Stage], Path]) -> Action:
    def fault(stage: Stage) -> None:
        folder = make(stage)
        assert stage.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
        taken = stage.set(bundle=str(folder)) and stage.change(Transition.TRANSITION_CONFIGURE)
        assert not taken, f"bundle '{folder.name}' was taken"

    return fault


def configure_and_drive(stage: Stage) -> None:
    stage.set(bundle=str(stage.bundle))
    stage.change(Transition.TRANSITION_CLEANUP)
    assert stage.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    stage.drive()


def deactivate_and_drive(stage: Stage) -> None:
    assert stage.change(Transition.TRANSITION_DEACTIVATE)
    activate_and_drive(stage)


def activate_and_drive(stage: Stage) -> None:
    assert stage.change(Transition.TRANSITION_ACTIVATE)
    stage.drive()


def manifest(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "bundle.yaml"
        values = yaml.safe_load(file.read_text())
        values["robot"] |= changes
        file.write_text(yaml.safe_dump(values))

    return change


def other(name: str, change: Callable[[Path], object]) -> Callable[[Stage], Path]:
    return lambda stage: stage.changed_bundle(name, change)


def aliases(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(9):
        lines.append(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]")
    file = folder / "bundle.yaml"
    file.write_text("\n".join(lines) + "\n" + file.read_text() + "training_metrics: {a: *a9}\n")


def endless_policy(folder: Path) -> None:
    """An ONNX graph that counts to 2**62 before it answers."""
    step = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes_on"]),
            helper.make_node("Identity", ["carried"], ["next"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    file = folder / "policy.onnx"
    model = onnx.load(file)
    graph, command = model.graph, model.graph.output[0].name
    for node in graph.node:
        node.output[:] = ["before" if name == command else name for name in node.output]
    graph.initializer.extend(
        [
            helper.make_tensor("count", TensorProto.INT64, [], [2**62]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        ]
    )
    graph.node.append(helper.make_node("Loop", ["count", "yes", "before"], [command], body=step))
    onnx.save(model, file)
    manifest_file = folder / "bundle.yaml"
    values = yaml.safe_load(manifest_file.read_text())
    values["files"][file.name] = sha256(file)
    manifest_file.write_text(yaml.safe_dump(values))


def every_illegal_transition(stage: Stage) -> None:
    for number in (
        Transition.TRANSITION_CREATE,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
        Transition.TRANSITION_INACTIVE_SHUTDOWN,
        Transition.TRANSITION_DESTROY,
        10,
        99,
        255,
    ):
        assert not stage.change(number), f"transition {number} was taken"


def pause(on: bool) -> Action:
    return lambda stage: stage.observer.call(SetBool, "simulator/set_pause", data=on)


def wait(stage: Stage) -> None:
    """Until what was begun is under way."""
    stage.observer.spin_for(0.7)


def then(*actions: Action) -> Action:
    def act(stage: Stage) -> None:
        for action in actions:
            action(stage)

    return act


# --- the table ---------------------------------------------------------------------------------

MADE = Setup(robot="ant", is_simulated=False)
OWN_TIME = replace(MADE, has_wall_time=False)
TRAJECTORIES = replace(MADE, command_type="joint_trajectory")
ANT = Setup(robot="ant")
BUSY = Setup(burns=True)
STOP, STAND, REST, END, DRIVE, ANSWER, COMMAND = Must


def cost(name: str) -> Setup:
    return Setup(cost=name)


def fast(*rows: Row) -> list[Row]:
    return [replace(row, fast=True) for row in rows]


PROCESSES = [
    *fast(
        Row("planner killed (SIGKILL)", send(signal.SIGKILL), STOP, repair=new_planner),
        Row("planner stopped (SIGSTOP)", send(signal.SIGSTOP), STOP, repair=send(signal.SIGCONT)),
    ),
    Row("planner: SIGSEGV", send(signal.SIGSEGV), STOP, repair=new_planner),
    Row("planner: SIGABRT", send(signal.SIGABRT), STOP, repair=new_planner),
    Row(
        "planner stopped for 2 s, then continued",
        send(signal.SIGSTOP),
        STOP,
        repair=send(signal.SIGCONT),
        setup=ANT,
        lasts_s=2.0,
        max_age_s=0.15,
    ),
    Row(
        "planner's terminal is held (Ctrl-S)",
        hold_terminal,
        COMMAND,
        repair=lambda stage: stage.hold_terminal(False),
        setup=Setup(has_terminal=True),
    ),
    Row(
        "velocities are sent to a planner that is stopped",
        velocities_of_a_stall,
        REST,
        repair=Stage.drive,
        within_s=1.2 + STOP_WITHIN_S,  # it is stopped after 1 s
        lasts_s=6.0,
    ),
    Row("planner gets no more memory", starve_of_memory, COMMAND, repair=new_planner),
    *fast(
        Row(
            "guard killed",
            send(signal.SIGKILL, "guard"),
            STAND,
            says="guard",
            within_s=GUARD_WITHIN_S,
            repair=deactivate_and_drive,
        ),
        Row(
            "guard stopped",
            send(signal.SIGSTOP, "guard"),
            STAND,
            says="guard",
            within_s=GUARD_WITHIN_S,
            repair=send(signal.SIGCONT, "guard"),
        ),
        Row(
            "planner deactivated on purpose",
            lambda stage: stage.change(Transition.TRANSITION_DEACTIVATE),
            REST,
            says="not active",
            repair=activate_and_drive,
        ),
        Row(
            "simulator killed, started anew: the goal is kept",
            send(signal.SIGKILL, "simulator"),
            STOP,
            says="no state for",
            repair=new_simulator,
        ),
        Row(
            "simulator stopped (SIGSTOP), continued",
            send(signal.SIGSTOP, "simulator"),
            STOP,
            says="no state for",
            repair=send(signal.SIGCONT, "simulator"),
        ),
        Row(
            "simulator paused",
            pause(True),
            STOP,
            says="no state for",
            before=pause(False),
            repair=pause(False),
        ),
    ),
    Row("world reset", lambda stage: stage.call("simulator/reset_world"), DRIVE),
    Row("robot pushed", publish(lambda: Wrench(force=Vector3(y=3.0))), DRIVE),
    Row("Ant: planner killed", send(signal.SIGKILL), STOP, repair=new_planner, setup=ANT),
    Row(
        "Ant: simulator killed, started anew",
        send(signal.SIGKILL, "simulator"),
        STOP,
        repair=new_simulator,
        setup=ANT,
    ),
    Row(
        "trajectories: planner killed",
        send(signal.SIGKILL),
        STOP,
        repair=new_planner,
        setup=TRAJECTORIES,
    ),
    Row(
        "trajectories: planner stopped",
        send(signal.SIGSTOP),
        STOP,
        repair=send(signal.SIGCONT),
        setup=TRAJECTORIES,
    ),
    Row("all cores busy: drives", nothing, COMMAND, setup=BUSY, lasts_s=4.0),
    Row(
        "all cores busy: planner killed",
        send(signal.SIGKILL),
        STOP,
        repair=new_planner,
        setup=BUSY,
    ),
    Row(
        "all cores busy: simulator killed",
        send(signal.SIGKILL, "simulator"),
        STOP,
        repair=new_simulator,
        setup=BUSY,
    ),
]

MISBEHAVES = [
    Row(
        f"cost of the user's own {what}",
        Stage.misbehave,
        STOP if needs_new or not says else STAND,
        says=says,
        setup=cost(name),
        within_s=within_s,
        repair=new_planner if needs_new else lambda stage: stage.misbehave(False),
    )
    for what, name, says, within_s, needs_new in (
        ("loops for ever", "Loops", "late|custom|misbehaves", LATE_PLAN_WITHIN_S, False),
        ("holds the interpreter", "HoldsInterpreter", "", LATE_PLAN_WITHIN_S, False),
        ("sleeps", "Sleeps", "late|custom|misbehaves", LATE_PLAN_WITHIN_S, False),
        ("raises", "Raises", "custom|misbehaves|user's own", LATE_PLAN_WITHIN_S, False),
        ("gives NaN", "SaysNothingFinite", "custom|misbehaves|finite", LATE_PLAN_WITHIN_S, False),
        (
            "gives a wrong shape",
            "HasWrongShape",
            "custom|misbehaves|shape",
            LATE_PLAN_WITHIN_S,
            False,
        ),
        ("calls sys.exit", "Exits", "", LATE_PLAN_WITHIN_S, True),
        ("ends the process", "ExitsAtOnce", "", LATE_PLAN_WITHIN_S, True),
    )
]

ENDINGS = [
    Row(
        f"planner: {number.name}{when}",
        then(before, wait, send(number)),
        END,
        repair=new_planner,
        setup=setup,
        fast=before is nothing and number != signal.SIGINT,
    )
    for number, when, before, setup in (
        (signal.SIGINT, "", nothing, POINT_MASS),
        (signal.SIGTERM, "", nothing, POINT_MASS),
        (signal.SIGHUP, "", nothing, POINT_MASS),
        (signal.SIGTERM, " while the largest plan is made", plan_of_largest_size, POINT_MASS),
        (signal.SIGTERM, " while a bundle loads", begin_to_load, ANT),
        (signal.SIGTERM, " while a map is searched", warehouse_and_goal, POINT_MASS),
    )
]

AGES = [
    *(
        Row(
            name,
            fault,
            STOP,
            says=says,
            repair=clean_states,
            setup=MADE,
            fast=True,
        )
        for name, fault, says in (
            ("states stamped 5 s ago", late(5.0), "old|age|stamp"),
            ("states stamped 0.7 s ago", late(0.7), "old|age|stamp"),
            ("no states", states(lambda j, o: ()), "no state for"),
            ("joint_states without odom", states(lambda j, o: (j,)), "without odom"),
            ("odom without joint_states", states(lambda j, o: (o,)), "without joint_states"),
        )
    ),
    *(
        Row(
            name,
            states(stale_now_and_then(swapped)),
            DRIVE,
            says="late states dropped=[1-9]",
            repair=clean_states,
            setup=MADE,
            fast=True,
        )
        for name, swapped in (
            ("one state in ten comes late", False),
            ("two states in ten are swapped", True),
        )
    ),
    Row(
        "stamps jump back by 5 s: starts anew once",
        late(5.0),
        COMMAND,
        setup=OWN_TIME,
        says="control (OK|WARN) on the way",
        repair=clean_states,
    ),
]

STATES = [
    replace(
        row, fast=True, setup=MADE, repair=clean_states if row.repair is nothing else row.repair
    )
    for row in (
        Row(
            "NaN and infinity in each field of a state",
            states(each_field_not_finite()),
            STOP,
            lasts_s=4.5,
        ),
        Row(
            "too few positions",
            states(fields("joints", position=[0.0] * 7)),
            STOP,
            says="positions",
        ),
        Row("no velocities", states(fields("joints", velocity=[])), DRIVE),
        Row(
            "states at a quarter of the control rate",
            states(every(4)),
            STOP,
            says="states come at 5 Hz, the policy needs 20 Hz",
            within_s=2.0,
            lasts_s=2.0,
        ),
        Row(
            "quaternion of length 0",
            states(fields("odometry.pose.pose.orientation", w=0.0)),
            STOP,
            says="quaternion",
        ),
        Row(
            "joints of another robot",
            states(fields("joints", name=list("abcdefgh"))),
            STOP,
            says="joint_states",
        ),
        Row(
            "a joint is missing",
            states(fields("joints", name=["hip_1", *"bcdefgh"])),
            STOP,
            says="ankle_1",
        ),
        Row("a joint is named twice", states(joint_twice), STOP, says="twice"),
        Row("a gripper on joint_states", states(gripper), DRIVE),
        Row(
            "a second publisher of the same joints",
            states(second_driver),
            STOP,
            says="joint_states",
        ),
        Row(
            "odom in frame map",
            states(fields("odometry.header", frame_id="map")),
            STOP,
            says="map",
        ),
        Row(
            "odom of another body",
            states(fields("odometry", child_frame_id="wheel")),
            STOP,
            says="wheel",
        ),
        Row(
            "joint velocity of 1e6",
            states(fields("joints", velocity=[1e6] * 8)),
            STOP,
            says="velocit",
        ),
        Row(
            "base velocity of 1e6",
            states(fields("odometry.twist.twist.linear", x=1e6)),
            STOP,
            says="velocit",
        ),
        Row(
            "the robot lies on its back",
            states(fields("odometry.pose.pose.orientation", w=0.0, x=1.0)),
            STOP,
            says="fallen",
            repair=stand_up,
        ),
    )
]

VOICES = [
    Row(
        "another publisher on joint_commands",
        Stage.intrude,
        STOP,
        says="probe publishes on",
        within_s=1.5,
        repair=lambda stage: stage.withdraw("joint_commands"),
        fast=True,
    ),
    Row("a second planner for the same robot", refuse_second_planner, DRIVE),
    Row(
        "simulator is sent commands for old states",
        send_old_commands,
        REST,
        repair=activate_and_drive,
        within_s=8.0,
    ),
]

BUDGETS = [
    Row(
        "path of 100,000 poses",
        publish(lambda: path(np.arange(2e5).reshape(-1, 2) * 1e-3)),
        DRIVE,
        repair=Stage.drive,
        lasts_s=3.0,
    ),
    Row(
        "path of absurd length",
        publish(lambda: path(np.array([[1e5, 1e5], [-1e5, -1e5]] * 500))),
        DRIVE,
        repair=Stage.drive,
        lasts_s=3.0,
    ),
    Row("5,000 goals at once", flood_of_goals, ANSWER, lasts_s=3.0),
    Row("a new map has walls all around", wall_in, ANSWER, repair=no_walls),
    Row(
        "map of 4000 x 4000 cells",
        map_and_goal(walls(4000), 0.05, (-100.0, -100.0), *FAR),
        ANSWER,
        repair=new_planner,
        lasts_s=8.0,
    ),
    Row(
        "map of a warehouse, 1700 x 1900 cells",
        warehouse_and_goal,
        ANSWER,
        repair=new_planner,
        lasts_s=8.0,
    ),
    Row(
        "map of 5 m, goal 40 m outside",
        map_and_goal(walls(100), 0.05, (-2.5, -2.5), 40.0, 0.0),
        ANSWER,
        repair=new_planner,
        lasts_s=4.0,
    ),
    Row(
        "plans of the largest size", plan_of_largest_size, ANSWER, repair=new_planner, lasts_s=4.0
    ),
    Row(
        "plans beyond every budget",
        refused(size(20000, 20, 100)),
        DRIVE,
        repair=new_planner,
    ),
]

DATA = [
    *fast(
        Row(
            "costs.custom set over the network",
            refused(
                *(
                    {"costs.custom": name}
                    for name in ("sys:exit", "http.server:test", "setup:setup")
                )
            ),
            DRIVE,
        ),
        Row(
            "bundle outside of the folder",
            bundle_refused(lambda stage: write_bundle(stage.folder / "elsewhere")),
            DRIVE,
        ),
        Row(
            "bundle of another robot",
            bundle_refused(lambda stage: stage.shipped_bundle("ant")),
            DRIVE,
        ),
        Row(
            "bundle with other limits",
            bundle_refused(other("limits", manifest(command_high=[2.0]))),
            DRIVE,
        ),
        Row(
            "bundle with other limits, by cleanup and configure",
            bundle_refused_at_configure(other("limits", manifest(command_high=[2.0]))),
            REST,
            repair=configure_and_drive,
        ),
        Row("every illegal lifecycle transition", every_illegal_transition, DRIVE),
    ),
    Row(
        "bundle of another robot, by cleanup and configure",
        bundle_refused_at_configure(lambda stage: stage.shipped_bundle("ant")),
        REST,
        repair=configure_and_drive,
    ),
    Row(
        "bundle.yaml with an alias bomb",
        bundle_refused(other("bomb", aliases)),
        DRIVE,
        lasts_s=3.0,
    ),
    Row(
        "policy with an endless loop",
        bundle_refused(other("loop", endless_policy)),
        DRIVE,
        repair=new_planner,
    ),
    Row("20 bundles are refused: no file stays open", refuse_bundles, DRIVE),
    Row("bundle is loaded again", lambda stage: stage.load(stage.bundle), DRIVE),
]

ROWS = [*PROCESSES, *MISBEHAVES, *ENDINGS, *AGES, *STATES, *VOICES, *BUDGETS, *DATA]
