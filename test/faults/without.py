"""The protections of the planner, each as a function that takes it out of this process.

``python -m faults --without`` runs each row without what protects from its fault: then it must
fail, else it would prove nothing.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.nodes import (
    conversions,
    lookout,
    parameters,
    planner_node,
    state_assembler,
    state_input,
    task_inbox,
)
from dads_ros.nodes.bundle_loader import BundleLoader
from dads_ros.nodes.state_age import StateAge
from dads_ros.nodes.state_assembler import StateAssembler
from dads_ros.observation import RobotState
from dads_ros.planning import (
    command_gate,
    controller,
    guard,
    joint_velocities,
    pace,
    stamp_order,
)


def stand_in() -> None:
    """The guard never steps in."""
    guard.Guard.promise = lambda self, seconds: None


def watch_over_the_guard() -> None:
    guard.Guard.complaint = lambda self: ""


def last_command() -> None:
    """Whoever ends or is deactivated leaves the last command as it was, at once."""

    def deactivate(self: controller.SkillController) -> Any:  # noqa: ANN401
        self.is_active = False
        return self._last_result

    controller.SkillController.deactivate = deactivate
    planner_node.SkillPlannerNode.rest = lambda self: True


def watchdog() -> None:
    controller.SkillController.check_age = lambda self: None
    stand_in()


def age() -> None:
    StateAge.of = lambda *_: 0.0
    state_input.StateInput._drain = lambda *_: None


def age_of_velocities() -> None:
    task_inbox.under_way_s = lambda info: 0.0


def order_of_stamps() -> None:
    stamp_order.StampOrder.judge = lambda *_: "new"


def jump_of_stamps() -> None:
    """Every state from before the newest one came late."""
    controller.JUMP_STATES = 10**9


def refusals() -> None:
    """What cannot be used is taken for nothing."""
    controller.SkillController.fail = lambda self, error: self._last_result
    conversions.MAX_QUATERNION_ERROR = conversions.BEYOND_REASON = float("inf")
    state_assembler.check_odometry = lambda *_: None


def differences() -> None:
    """No velocity is told from positions."""
    joint_velocities.JointVelocities.of = lambda *_: None


def rates() -> None:
    """No rate of states is too slow."""
    pace.MAX_STEPS = float("inf")


def finiteness() -> None:
    """Of states, and the gate's."""
    RobotState.is_finite = lambda self: np.ones(len(self.position), bool)
    check = command_gate.CommandGate.check

    def lets_pass(self: Any, command: Any, **reasons: Any) -> Any:  # noqa: ANN401
        result = check(self, command, **reasons)
        if command is None:
            return result
        return command_gate.GateResult(command, np.zeros(len(command), bool), "")

    command_gate.CommandGate.check = lets_pass


def falls() -> None:
    RobotState.has_fallen = lambda self, robot: np.zeros(len(self.position), bool)


def voices() -> None:
    state_input.StateInput.second_voice = lambda self: ""


def strangers() -> None:
    """Joints of others are looked for in vain."""
    add = StateAssembler.add_joints

    def add_joints(self: Any, message: Any, *rest: Any) -> None:  # noqa: ANN401
        if not set(message.name) & set(self._robot.joints):
            raise conversions.MessageError(f"joint_states has {', '.join(message.name)}")
        add(self, message, *rest)

    StateAssembler.add_joints = add_joints


def rivals() -> None:
    lookout.Lookout.rivals = lambda self: ""
    lookout.Lookout.check_alone = lookout.Lookout.wait_until_alone = lambda self: None


def late_plans() -> None:
    follow = controller.SkillController._follow

    def never_late(self: Any, *arguments: Any) -> Any:  # noqa: ANN401
        self._due_ns = None
        return follow(self, *arguments)

    controller.SkillController._follow = never_late


def failed_plans() -> None:
    """Nobody hears of them."""
    plan = controller.SkillController.plan

    def forgets(self: Any, request: Any) -> Any:  # noqa: ANN401
        made = plan(self, request)
        self._plan_error = ""
        return made

    controller.SkillController.plan = forgets
    late_plans()


def pace_of_steps() -> None:
    """Every tenth control step takes long."""
    step, count = controller.SkillController.step, iter(range(10**9))

    def slow(self: Any, *arguments: Any) -> Any:  # noqa: ANN401
        if next(count) % 10 == 9:
            time.sleep(0.7)
        return step(self, *arguments)

    controller.SkillController.step = slow


def pace_and_stand_in() -> None:
    pace_of_steps()
    stand_in()


def read_only() -> None:
    """Every parameter can be set."""
    describe = parameters._descriptor

    def open_to_all(*arguments: Any) -> Any:  # noqa: ANN401
        descriptor = describe(*arguments)
        descriptor.read_only = False
        return descriptor

    parameters._descriptor = open_to_all


def folders() -> None:
    make = BundleLoader.__init__

    def anywhere(self: Any, *arguments: Any) -> None:  # noqa: ANN401
        make(self, *arguments)
        self._folders = (Path("/"),)

    BundleLoader.__init__ = anywhere


def robot_of_bundles() -> None:
    BundleManifest.check_robot = lambda self, spec: None


def obstacles() -> None:
    """No map is looked at."""
    task_inbox.TaskInbox._read_map = lambda self: None


def closed_files() -> None:
    """Each bundle that is loaded leaves one open."""
    check, left = BundleManifest.check_robot, []

    def forgets_a_file(self: BundleManifest, spec: Any) -> None:  # noqa: ANN401
        left.append(Path(__file__).open())  # noqa: SIM115
        check(self, spec)

    BundleManifest.check_robot = forgets_a_file


OF_ROWS: dict[Callable[[], None], tuple[str, ...]] = {
    stand_in: (
        "planner killed",
        "planner stopped",
        "planner: SIGSEGV",
        "planner: SIGABRT",
        "Ant: planner killed",
        "trajectories:",
        "all cores busy: planner killed",
        "cost of the user's own holds",
        "cost of the user's own ends",
        "planner's terminal",
    ),
    watch_over_the_guard: ("guard",),
    last_command: (
        "planner deactivated",
        "planner: SIGINT",
        "planner: SIGTERM",
        "planner: SIGHUP",
    ),
    watchdog: (
        "simulator killed",
        "simulator stopped",
        "simulator paused",
        "Ant: simulator",
        "all cores busy: simulator",
        "no states",
        "joint_states without",
        "odom without",
        "joints of another",
        "a joint is missing",
    ),
    age: ("states stamped",),
    age_of_velocities: ("velocities are sent",),
    obstacles: ("a new map",),
    closed_files: ("20 bundles",),
    order_of_stamps: ("one state in ten", "two states in ten"),
    jump_of_stamps: ("stamps jump",),
    refusals: (
        "too few",
        "quaternion",
        "a joint is named",
        "odom in frame",
        "odom of another",
        "joint velocity",
        "base velocity",
    ),
    differences: ("no velocities",),
    rates: ("states at a quarter",),
    finiteness: ("NaN",),
    falls: ("the robot lies",),
    voices: ("a second publisher",),
    strangers: ("a gripper",),
    rivals: ("another publisher", "a second planner"),
    late_plans: (
        "cost of the user's own loops",
        "cost of the user's own sleeps",
        "cost of the user's own calls",
    ),
    failed_plans: (
        "cost of the user's own raises",
        "cost of the user's own gives",
    ),
    pace_of_steps: (
        "world reset",
        "robot pushed",
        "path of",
        "5,000",
        "map of",
        "plans of",
        "bundle is loaded",
        "bundle.yaml",
        "policy with",
        "every illegal",
        "plans beyond",
    ),
    pace_and_stand_in: ("planner gets no", "all cores busy: drives"),
    read_only: ("costs.custom",),
    folders: ("bundle outside",),
    robot_of_bundles: ("bundle of another", "bundle with other"),
}


def protection_from(row: str) -> str:
    """Name of the function that takes out what protects from a row's fault; empty: none here."""
    return next(
        (take_out.__name__ for take_out, rows in OF_ROWS.items() if row.startswith(rows)), ""
    )
