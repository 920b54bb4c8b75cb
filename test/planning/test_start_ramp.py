"""Robots that are commanded by positions: to standing and to the safe pose without a jump."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import ControlConfig, PlannerConfig, SkillPriorConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import Physics, one_episode_env
from dads_ros.evaluation.driving import Driver
from dads_ros.observation import RobotState
from dads_ros.planning.controller import (
    ERROR,
    OK,
    STARTING,
    WAITING,
    Errand,
    SkillController,
    Step,
    make_loop,
)
from dads_ros.planning.tasks import Task
from dads_ros.robot import CommandFilterSpec, RobotSpec
from dads_ros.skills import SkillSpace
from legged import JOINTS, legged_spec
from skill_models import Model, linear_rollout

Array = np.ndarray
HOME = np.array([0.2, -0.4, 0.2, -0.4])
LYING = np.array([0.9, -1.8, 0.9, -1.8])
"""Far beyond home +- command_scale."""
RANGE, WAY = np.array([0.6, 0.2, 0.6, 0.2]), np.abs(HOME - LYING)
WALKING = HOME + np.array([0.25, 0.05, -0.25, 0.05])
"""What the policy says for every skill but the stillest."""
DT, STEP_NS = 0.02, 20_000_000
ON_ITS_BACK = (0.0, 1.0, 0.0, 0.0)
PLANNER = PlannerConfig(planning_horizon=2, num_samples=8, skill_duration_steps=10)
GOAL = np.array([9.0, 0.0])


def positional(**changes: object) -> RobotSpec:
    home = {"joint_positions": dict(zip(JOINTS, HOME.tolist(), strict=True))}
    return legged_spec(**{"reset": home} | changes)


class Bench:
    """A controller of robots whose joints are where they are sent to, or told to be."""

    def __init__(
        self,
        robot: RobotSpec,
        num: int = 1,
        joints: Array = LYING,
        custom: Callable[..., Any] | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        self.robot, self.num, self.now, self.stamp_ns = robot, num, 100.0, 0
        self.config = ControlConfig(planner=PLANNER, lock_step=True)
        self.config = dataclasses.replace(self.config, **settings)
        space = SkillSpace(SkillPriorConfig(kind="disc", dim=2))
        self.walking = WALKING
        loop = make_loop(
            robot,
            self.policy,
            Model(linear_rollout, space, control_dt=robot.control_dt),
            self.config,
            0,
            num,
        )
        self.control = SkillController(
            loop,
            lambda: self.config,
            seed=0,
            custom=custom,
            clock=lambda: self.now,
            say=print,
            tell=print,
        )
        self.control.activate()
        self.sent = [np.tile(joints, (num, 1))]

    def policy(self, obs: Array, skill: Array) -> Array:
        moves = np.linalg.norm(skill, axis=1, keepdims=True) > 1e-3
        return np.where(moves, self.walking, HOME)

    def state(self, joints: Array | None = None, orientation: object = None) -> RobotState:
        num = self.num
        upright = np.tile([1.0, 0.0, 0.0, 0.0], (num, 1))
        turned = upright if orientation is None else np.array(orientation).reshape(-1, 4)
        return RobotState(
            position=np.tile([0.0, 0.0, 0.3], (num, 1)),
            orientation=turned,
            linear_velocity=np.zeros((num, 3)),
            angular_velocity=np.zeros((num, 3)),
            joint_positions=self.sent[-1].copy() if joints is None else np.tile(joints, (num, 1)),
            joint_velocities=np.zeros((num, 4)),
        )

    def step(self, state: RobotState, age_s: float = 0.0) -> Step | None:
        self.now += DT
        self.stamp_ns += STEP_NS
        return self.control.step(state, self.stamp_ns, self.now - age_s)

    def tick(self, joints: Array | None = None, orientation: object = None) -> Step:
        """The next state, and what is sent."""
        step = self.step(self.state(joints, orientation))
        assert step is not None
        self.sent.append(step.result.command)
        return step

    def ticks(self, num: int, **state: Any) -> list[Step]:  # noqa: ANN401
        return [self.tick(**state) for _ in range(num)]

    def go(self) -> None:
        self.control.turn_to(Errand(Task(goals=np.tile(GOAL, (self.num, 1))), received=self.now))

    def rates(self) -> Array:
        """Of all that was sent, per control step. (T, A)."""
        return np.abs(np.diff(np.array(self.sent)[:, 0], axis=0))


MOST = np.maximum(WAY, RANGE) * DT + 1e-9
"""That a command may change in a control step with a ramp of 1 s."""


@pytest.mark.parametrize("standing", [None, (0.0,)])
@pytest.mark.parametrize("filtering", [{}, {"low_pass": 0.6}, {"max_rate": [10.0]}])
def test_a_robot_that_lies_is_led_evenly_to_standing_and_then_does_its_task(
    filtering: dict[str, Any], standing: object
) -> None:
    robot = positional(command_filter=filtering, standing_command=standing)
    bench = Bench(robot, start_ramp_s=1.0)
    bench.go()
    steps = bench.ticks(50)
    np.testing.assert_array_equal(bench.sent[1][0], LYING)
    assert bench.control.status()[:2] == (OK, STARTING)
    assert all(step.skill is None and step.result.reason == "" for step in steps)
    steps = bench.ticks(10)
    assert all(step.skill is not None for step in steps)
    assert bench.control.status()[:2] == (OK, "on the way")
    np.testing.assert_allclose(bench.sent[-1][0], WALKING, atol=1e-3)
    rates = bench.rates()[:50]
    assert (rates <= MOST).all()
    np.testing.assert_allclose(rates[8:], np.tile(WAY * DT, (42, 1)), rtol=0.01)


@pytest.mark.parametrize("ramp_s", [1.0, 0.96, 0.01])
def test_planning_goes_on_so_that_the_first_plan_is_there_when_the_ramp_ends(
    ramp_s: float,
) -> None:
    for late in (0, 3):  # the goal comes with the start, and a moment later
        bench = Bench(positional(), start_ramp_s=ramp_s)
        bench.ticks(late)
        bench.go()
        num = int(np.ceil(ramp_s / DT - 1e-9))
        steps = bench.ticks(num + 1 - late)
        is_driven = [step.skill is not None for step in steps]
        assert is_driven == [n >= num for n in range(late, num + 1)]


def test_a_ramp_that_is_shortened_meanwhile_makes_no_jump() -> None:
    bench = Bench(positional(), start_ramp_s=60.0)
    bench.ticks(25)
    bench.config = dataclasses.replace(bench.config, start_ramp_s=1.0)
    bench.ticks(60)
    assert (bench.rates() <= MOST).all()
    np.testing.assert_allclose(bench.sent[-1][0], HOME)


def test_without_a_ramp_the_filter_bounds_the_first_command() -> None:
    robot = positional(command_filter={"max_rate": [10.0]})
    bench = Bench(robot, start_ramp_s=0.0)
    bench.ticks(2)
    np.testing.assert_allclose(bench.rates().max(axis=1), [0.2, 0.2], rtol=1e-6)
    bench.tick(orientation=ON_ITS_BACK)
    np.testing.assert_array_equal(bench.sent[-1][0], HOME)  # at once


def test_states_that_come_late_or_from_the_past_make_no_jump() -> None:
    bench = Bench(positional(), start_ramp_s=1.0)
    bench.ticks(10)
    bench.stamp_ns += 3_000_000_000
    bench.ticks(10)
    bench.stamp_ns -= 60_000_000_000
    steps = bench.ticks(30)
    assert all(step.skill is None for step in steps) and (bench.rates() <= MOST).all()
    bench.tick()
    assert bench.control.status()[1] != STARTING
    np.testing.assert_allclose(bench.sent[-1][0], HOME)


def test_a_safe_command_on_the_way_makes_no_jump() -> None:
    bench = Bench(positional(), start_ramp_s=1.0)
    bench.ticks(20)
    bench.ticks(15, orientation=ON_ITS_BACK)
    bench.ticks(10)
    assert bench.control.status()[1] == STARTING
    for _ in range(15):
        bench.now += DT
        result = bench.control.fail("no state can be used")
        assert result is not None
        bench.sent.append(result.command)
    bench.ticks(60)
    assert bench.control.status()[1] != STARTING
    assert (bench.rates() <= MOST).all()
    np.testing.assert_allclose(bench.sent[-1][0], HOME)


def test_a_policy_far_outside_is_refused_at_the_beginning_as_well() -> None:
    bench = Bench(positional(standing_command=None), start_ramp_s=1.0)
    bench.tick()
    bench.control.loop._policy = lambda obs, skill: HOME[None] + [0.0, 0.0, 0.0, 9.0]
    assert "'right_knee' is outside" in bench.tick().result.reason
    assert (bench.rates() <= MOST).all()


@pytest.mark.parametrize("after", [0, 80])
def test_a_robot_that_has_fallen_gets_to_its_safe_pose_and_stays(after: int) -> None:
    """From the start, where it lies, and while it walks; whatever its joints do meanwhile."""
    bench = Bench(positional(command_filter={"low_pass": 0.3}), start_ramp_s=1.0)
    bench.go()
    bench.ticks(after)
    for _ in range(52):
        step = bench.tick(joints=LYING, orientation=ON_ITS_BACK)
        assert step.result.reason == "the robot has fallen"
    np.testing.assert_array_equal(bench.sent[-1][0], HOME)
    assert (bench.rates()[after:] <= MOST).all()
    bench.ticks(10, joints=LYING, orientation=ON_ITS_BACK)
    np.testing.assert_array_equal(bench.sent[-1][0], HOME)
    assert bench.rates().max() > 0.0


def test_a_robot_that_is_stood_up_is_led_to_standing_anew() -> None:
    bench = Bench(positional(), start_ramp_s=1.0)
    bench.go()
    bench.ticks(60)
    np.testing.assert_array_equal(bench.sent[-1][0], WALKING)
    bench.ticks(60, joints=LYING, orientation=ON_ITS_BACK)
    for step in bench.ticks(49, joints=LYING):
        assert step.skill is None and not step.result.reason
    np.testing.assert_array_equal(bench.sent[-1][0], HOME)
    bench.ticks(2)
    np.testing.assert_array_equal(bench.sent[-1][0], WALKING)


def test_one_state_that_says_it_is_down_does_not_freeze_a_robot_that_walks() -> None:
    bench = Bench(positional(), start_ramp_s=1.0)
    bench.go()
    bench.ticks(60)
    assert bench.tick(orientation=ON_ITS_BACK).result.reason == "the robot has fallen"
    assert bench.tick().skill is not None
    np.testing.assert_array_equal(bench.sent[-1][0], WALKING)


def test_a_robot_that_was_stopped_while_it_walked_goes_on_without_a_ramp() -> None:
    bench = Bench(positional(), start_ramp_s=1.0)
    bench.go()
    bench.ticks(60)
    bench.control.object("rivals", "another one drives")
    before = bench.sent[-1]
    assert (before == WALKING).all()
    step = bench.tick(joints=HOME)  # the joints are not where they were sent to
    assert step.result.reason == "another one drives"
    assert (np.abs(step.result.command - before) <= MOST).all()
    bench.control.object("rivals", "")
    assert bench.tick(joints=HOME).skill is not None
    np.testing.assert_array_equal(bench.sent[-1][0], WALKING)


@pytest.mark.parametrize("when", [0, 60])
def test_while_plans_fail_a_robot_stands_as_it_does_without_a_task(when: int) -> None:
    fails = [when == 0]

    def custom(plans: Any) -> Array:  # noqa: ANN401
        if fails[0]:
            raise RuntimeError("lost")
        return np.zeros(plans.skills.shape[:2])

    bench = Bench(positional(standing_command=None), custom=custom, start_ramp_s=0.5)
    bench.go()
    bench.ticks(when)
    fails[0] = True
    steps = bench.ticks(30)
    assert not any(step.result.reason for step in steps)
    level, text, _ = bench.control.status()
    assert level == ERROR and "lost" in text
    np.testing.assert_allclose(bench.sent[-1][0], HOME, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(steps[-1].skill), 0.0, atol=1e-3)
    fails[0] = False
    steps = bench.ticks(60)
    np.testing.assert_array_equal(bench.sent[-1][0], WALKING)
    assert bench.control.status()[:2] == (OK, "on the way")


def test_nothing_is_sent_before_the_joints_are_known() -> None:
    bench = Bench(positional(), lock_step=False)
    control = bench.control
    assert control.is_waiting and control.status()[1] == f"{WAITING}: no state yet"
    bench.now += 10.0
    assert control.check_age() is None
    assert control.fail("joint_states names 'hip' twice") is None
    control.object("rivals", "/teleop publishes too")
    assert control.check_age() is None
    control.object("rivals", "")
    assert bench.step(bench.state(joints=LYING * np.nan)) is None
    assert bench.step(bench.state(), age_s=5.0) is None
    level, text, _ = control.status()
    assert level == ERROR and text.startswith(f"{WAITING}: the state is 5.00 s old")
    assert bench.step(bench.state(joints=np.degrees(LYING))) is None
    assert control.status()[1].startswith(f"{WAITING}: joint 'left_knee' is said to be at -103,")
    assert control.deactivate() is None
    control.activate()
    np.testing.assert_array_equal(bench.tick().result.command, LYING[None])
    assert not control.is_waiting and control.fail("oops") is not None
    control.activate()
    assert control.is_waiting and control.check_age() is None


def test_in_silence_it_goes_on_to_its_safe_pose_no_faster_than_else() -> None:
    bench = Bench(positional(), lock_step=False, start_ramp_s=1.0)
    bench.ticks(10)
    bench.now += 1.0
    for _ in range(60):
        bench.now += 0.0625
        result = bench.control.check_age()
        assert result is not None
        bench.sent.append(result.command)
    assert (bench.rates() <= MOST).all()
    np.testing.assert_array_equal(bench.sent[-1][0], HOME)
    bench = Bench(positional(), lock_step=False, start_ramp_s=1.0)
    bench.tick()
    for _ in range(100):  # of a driver that says nonsense 1000 times a second
        bench.now += 0.001
        result = bench.control.fail("nonsense")
        assert result is not None
    np.testing.assert_allclose(np.abs(result.command[0] - LYING), 5.0 * WAY * DT)


def test_a_robot_that_is_to_hold_keeps_what_was_sent_last() -> None:
    bench = Bench(positional(safe_mode="hold"), start_ramp_s=1.0, lock_step=False)
    bench.go()
    bench.ticks(20)  # on its way
    held = bench.sent[-1]
    bench.ticks(5, joints=LYING, orientation=ON_ITS_BACK)
    bench.now += 1.0
    silent, left = bench.control.check_age(), bench.control.deactivate()
    assert silent is not None and left is not None
    for command in (*bench.sent[-5:], silent.command, left.command):
        np.testing.assert_array_equal(command, held)
    assert not bench.control.blind_rates.any()


def test_a_robot_that_is_to_damp_follows_its_joints_by_the_ramp() -> None:
    """And holds where no state that is fresh, finite and trusted says where they are."""
    bench = Bench(positional(safe_mode="damp"), start_ramp_s=1.0, lock_step=False, joints=HOME)
    bench.ticks(60)
    most = RANGE * DT
    for _ in range(30):
        before = bench.sent[-1]
        assert bench.tick(joints=LYING, orientation=ON_ITS_BACK).result.is_safe_stop.all()
        np.testing.assert_allclose(bench.sent[-1], before + np.sign(LYING - before) * most)
    followed = bench.sent[-1]
    assert (np.abs(followed - HOME) > RANGE / 2.0).any()  # beyond its limits
    bench.tick(joints=followed[0] + 0.3 * most, orientation=ON_ITS_BACK)
    np.testing.assert_allclose(bench.sent[-1], followed + 0.3 * most)

    held = bench.sent[-1]
    bench.tick(joints=LYING * np.nan)
    bench.tick(joints=LYING, orientation=np.full(4, np.nan))
    bench.control.object("state", "two publishers say the same")
    bench.tick(joints=LYING)
    bench.control.object("state", "")
    old = bench.step(bench.state(joints=LYING), age_s=5.0)
    assert old is not None and not old.is_answer
    bench.now += 1.0
    silent = bench.control.check_age()
    assert silent is not None and not bench.control.blind_rates.any()
    for command in (*bench.sent[-3:], old.result.command, silent.command):
        np.testing.assert_array_equal(command, held)

    bench.ticks(20)  # all is well again
    assert bench.control.status()[:2] == (OK, STARTING)  # back to within its limits
    bench.ticks(60)
    assert (bench.rates() <= most + 1e-9).all()
    np.testing.assert_array_equal(bench.sent[-1][0], HOME)


def test_a_robot_that_has_sunk_within_its_limits_is_led_back() -> None:
    bench = Bench(positional(safe_mode="damp"), start_ramp_s=1.0, joints=HOME)
    bench.go()
    bench.ticks(60)
    sunk = HOME - 0.45 * RANGE
    bench.ticks(60, joints=sunk, orientation=ON_ITS_BACK)
    np.testing.assert_allclose(bench.sent[-1][0], sunk)
    bench.ticks(10)
    assert bench.control.status()[:2] == (OK, STARTING)
    bench.ticks(40)
    assert (bench.rates()[60:] <= RANGE * DT + 1e-9).all()
    assert bench.tick().skill is not None


def test_a_robot_whose_policy_fails_sinks_as_well() -> None:
    bench = Bench(positional(safe_mode="damp"), start_ramp_s=1.0, joints=HOME)
    bench.go()
    bench.ticks(60)

    def fails(obs: Array, skill: Array) -> Array:
        raise RuntimeError("lost")

    bench.control.loop._policy = fails
    assert "lost" in bench.tick(joints=LYING).result.reason
    sunk = WALKING + np.sign(LYING - WALKING) * RANGE * DT
    np.testing.assert_allclose(bench.sent[-1][0], sunk)
    bench.control.object("state", "two publishers say the same")
    bench.tick(joints=LYING)
    np.testing.assert_array_equal(bench.sent[-1], bench.sent[-2])


@pytest.mark.parametrize("ramp_s", [0.0, 1.0])
def test_damping_follows_no_joint_to_where_none_can_be(ramp_s: float) -> None:
    """And without a ramp no faster than joints can be."""
    robot = positional(safe_mode="damp")
    bench = Bench(robot, start_ramp_s=ramp_s, joints=HOME)
    bench.ticks(60)
    held = bench.sent[-1]
    for joints in (HOME + 1e6, HOME + np.array([0.0, -4.0, 0.0, 0.0])):
        bench.ticks(5, joints=joints, orientation=ON_ITS_BACK)
        np.testing.assert_array_equal(bench.sent[-1], held)
    bench.tick(joints=LYING, orientation=ON_ITS_BACK)
    most = robot.max_velocity * DT * np.ones(4) if ramp_s == 0.0 else RANGE * DT
    np.testing.assert_allclose(bench.rates()[-1], most)


@pytest.mark.parametrize("mode", ["damp", "hold"])
def test_a_loaded_robot_sinks_softly_where_it_damps_and_stands_where_it_holds(mode: str) -> None:
    """In MuJoCo. Its servos alone would let it down at 3 rad/s."""
    gains = {"kp": [60.0], "kd": [0.5]}
    model = RobotModel(legged_spec(servos=gains, safe_mode=mode))
    physics = Physics(model, model.still_state(1))
    for _ in range(100):
        physics.advance(np.tile(HOME, (1, model.spec.num_substeps, 1)))
    bench = Bench(model.spec, start_ramp_s=1.0, joints=HOME)
    bench.walking = HOME + np.array([0.1, -0.1, 0.1, -0.1])
    bench.go()

    def drive(num: int) -> Array:
        """Height after each step, m, and the greatest speed of a joint, rad/s. (num, 2)."""
        seen = []
        for _ in range(num):
            answer = bench.step(physics.robot_state())
            assert answer is not None
            command = answer.result.command
            bench.sent.append(command)
            physics.advance(np.repeat(command[:, None], model.spec.num_substeps, axis=1))
            state = physics.robot_state()
            seen.append([state.position[0, 2], np.abs(state.joint_velocities).max()])
        return np.array(seen)

    height = drive(150)[-1, 0]
    np.testing.assert_array_equal(bench.sent[-1][0], bench.walking)
    bench.control.object("rivals", "another one drives")
    heights, speeds = drive(400).T
    assert (bench.rates()[150:] <= RANGE * DT + 1e-9).all()
    if mode == "hold":
        assert np.abs(heights - height).max() < 1e-3 and speeds.max() < 0.01
        np.testing.assert_array_equal(bench.sent[-1][0], bench.walking)
    else:
        assert heights[-1] < height - 0.1 and speeds.max() < RANGE.max()


def test_where_somebody_else_sent_safe_commands_meanwhile_it_goes_on_from_there() -> None:
    bench = Bench(positional(), start_ramp_s=1.0)
    bench.ticks(10)
    far = bench.sent[-1] + 0.5 * (HOME - bench.sent[-1])  # as a guard may have led it
    bench.control.relieve(far)
    bench.sent = [far]
    bench.ticks(60, joints=LYING)
    assert (bench.rates() <= MOST).all()
    np.testing.assert_allclose(bench.sent[-1][0], HOME)
    np.testing.assert_allclose(bench.control.blind_rates[0], np.maximum(WAY, RANGE))
    bench.config = dataclasses.replace(bench.config, start_ramp_s=0.0)
    assert np.isinf(bench.control.blind_rates).all()


def test_deactivated_it_is_left_where_it_is_and_driven_on_from_there() -> None:
    bench = Bench(positional(), start_ramp_s=1.0)
    bench.walking = HOME + np.array([0.3, 0.1, 0.3, 0.1])
    bench.go()
    bench.ticks(60)
    walking = bench.sent[-1]
    left = bench.control.deactivate()
    assert left is not None and (np.abs(left.command - walking) <= MOST).all()
    bench.control.activate()
    first = bench.tick(joints=left.command[0] + [0.2, -0.25, 0.2, 0.1])  # under load
    np.testing.assert_array_equal(first.result.command, left.command)
    assert bench.control.status()[1] == STARTING


def test_of_many_robots_one_that_falls_does_not_stop_the_others() -> None:
    bench = Bench(positional(), num=2, start_ramp_s=0.2)
    bench.ticks(5)
    bench.ticks(2, orientation=[ON_ITS_BACK, (1.0, 0.0, 0.0, 0.0)])
    bench.ticks(4)
    np.testing.assert_allclose(bench.sent[-1][1], HOME)
    assert np.abs(bench.sent[-1][0] - HOME).max() > 0.1  # it is led anew
    bench.ticks(10)
    np.testing.assert_allclose(bench.sent[-1][0], HOME)
    assert bench.control.status()[1] != STARTING


def test_robots_that_are_not_commanded_by_positions_get_their_safe_command_at_once(
    point_mass_bundle: Path,
) -> None:
    bundle = SkillBundle(point_mass_bundle)
    robot = dataclasses.replace(
        bundle.robot, safe_command=(0.5, 0.0), command_filter=CommandFilterSpec(low_pass=0.1)
    )
    config = ControlConfig(lock_step=True)
    loop = make_loop(robot, bundle.command, bundle, config, 0, 1)
    control = SkillController(loop, lambda: config, seed=0, clock=lambda: 0.0)
    control.activate()
    assert not control.is_waiting and control.status()[1] == "safe command: no state yet"
    assert control.fail("oops").command.tolist() == [[0.5, 0.0]]  # type: ignore[union-attr]
    num = len(robot.joints)
    state = RobotState(
        np.zeros((1, 3)),
        np.array([[1.0, 0.0, 0.0, 0.0]]),
        *np.zeros((2, 1, 3)),
        *np.zeros((2, 1, num)),
    )
    control.turn_to(Errand(Task(goals=np.array([[-9.0, 0.0]])), received=0.0))
    step = control.step(state, 0)
    assert step is not None and step.skill is not None  # no ramp; the filter is of the policy's
    assert 0.3 < step.result.command[0, 0] < 0.45
    assert control.status()[1] == "on the way"
    assert control.deactivate().command.tolist() == [[0.5, 0.0]]  # type: ignore[union-attr]


def test_an_evaluation_drives_from_its_first_step_on() -> None:
    driver = Driver(
        model=RobotModel(legged_spec()),
        policy=lambda obs, skill: np.tile(WALKING, (len(obs), 1)),
        skills=Model(linear_rollout, SkillSpace(SkillPriorConfig(kind="disc", dim=2))),
        planner=PLANNER,
        seed=0,
        num_threads=1,
    )
    commands = driver.drive(Task(goals=GOAL[None]), 1, 2).commands
    np.testing.assert_allclose(commands[:, 0], [WALKING, WALKING])


@pytest.mark.parametrize("flickers", [False, True])
def test_a_robot_that_stands_under_its_load_does_not_dip(flickers: bool) -> None:
    """At the activation, nor when every fourth command is the safe one; in MuJoCo."""
    model = RobotModel(legged_spec(servos={"kp": [10.0], "kd": [2.0]}))
    env = one_episode_env(model, 1, 10_000, rng=np.random.default_rng(0), num_threads=1)
    for _ in range(200):
        env.step(HOME[None])
    height = env.state.position[0, 2]
    assert np.abs(env.state.joint_positions - HOME).max() > 0.1  # so far it sags
    bench = Bench(model.spec, start_ramp_s=1.0)
    for step in range(150):
        bench.control.object("rivals", "another one drives" if flickers and step % 4 == 0 else "")
        answer = bench.step(env.state)
        assert answer is not None and bool(answer.result.reason) == (flickers and step % 4 == 0)
        env.step(answer.result.command)
        assert env.state.position[0, 2] > height - 1e-3
