"""The receding-horizon core that evaluation and planner node share."""

import dataclasses
from pathlib import Path

import numpy as np

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import PlannerConfig
from dads_ros.observation import RobotState, policy_obs_dim
from dads_ros.planning.control_loop import RAMP_S, ControlLoop, plan_start
from dads_ros.planning.costs import GoalCost
from dads_ros.planning.skill_planner import SkillPlanner, robot_rngs
from dads_ros.prediction import BODY


def make_state(num: int = 1, up: float = 1.0) -> RobotState:
    half = np.arccos(up) / 2.0
    return RobotState(
        position=np.zeros((num, 3)),
        orientation=np.tile([np.cos(half), np.sin(half), 0.0, 0.0], (num, 1)),
        linear_velocity=np.zeros((num, 3)),
        angular_velocity=np.zeros((num, 3)),
        joint_positions=np.zeros((num, 0)),
        joint_velocities=np.zeros((num, 0)),
    )


def make_loop(folder: Path, num: int = 1, **changes: object) -> ControlLoop:
    bundle = SkillBundle(folder)
    config = PlannerConfig(skill_duration_steps=4, planning_horizon=2, skill_range=1.0)
    rngs = robot_rngs(0, num)
    planner = SkillPlanner(bundle, config, rngs=rngs)
    return ControlLoop(dataclasses.replace(bundle.robot, **changes), bundle.command, planner)


def test_a_plan_is_due_before_the_first_command_and_after_each_skill(
    point_mass_bundle: Path,
) -> None:
    loop, due = make_loop(point_mass_bundle), []
    for _ in range(10):
        due.append(loop.plan_due)
        loop.command(make_state(), np.zeros((1, 2)))
    assert [step for step, is_due in enumerate(due) if is_due] == [0, 4, 8]


def test_a_plan_starts_from_pose_velocity_and_observation(point_mass_bundle: Path) -> None:
    """Facing along y, and going forward at 1 and at 1000 m/s."""
    robot = SkillBundle(point_mass_bundle).robot
    half = np.sqrt(0.5)
    state = dataclasses.replace(
        make_state(2),
        position=np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]]),
        orientation=np.tile([half, 0.0, 0.0, half], (2, 1)),
        linear_velocity=np.array([[1.0, 0.0, 0.0], [1000.0, 0.0, 0.0]]),
        angular_velocity=np.array([[0.0, 0.0, 0.5], [0.0, 0.0, -1000.0]]),
        joint_positions=np.zeros((2, len(robot.joints))),
        joint_velocities=np.zeros((2, len(robot.joints))),
    )
    start = plan_start(robot, state, np.zeros((2, robot.command_dim)))
    fast, ahead = robot.max_velocity, np.pi / 2.0
    np.testing.assert_allclose(
        start[:, :BODY], [[1, 2, ahead, 0, 1, 0.5], [3, 4, ahead, 0, fast, -fast]], atol=1e-9
    )
    assert start.shape == (2, BODY + policy_obs_dim(robot))


def test_a_request_makes_a_plan_due_at_once(point_mass_bundle: Path) -> None:
    loop = make_loop(point_mass_bundle)
    loop.command(make_state(), np.zeros((1, 2)))
    assert not loop.plan_due
    loop.request_plan()
    assert loop.plan_due


def test_the_plans_skill_is_used_at_the_step_at_which_it_is_made(point_mass_bundle: Path) -> None:
    loop = make_loop(point_mass_bundle)
    loop.plan(make_state(), np.zeros((1, 2)), GoalCost([[20.0, 0.0]]))
    command = loop.command(make_state(), np.zeros((1, 2)))
    np.testing.assert_allclose(command, [[1.0, 0.0]], atol=0.5)
    assert loop.skill is not None and loop.skill[0, 0] > 0.9
    assert loop.asked_skill is not None and loop.asked_skill.tolist() == loop.skill.tolist()


def test_without_a_skill_the_robot_gets_the_standing_command(point_mass_bundle: Path) -> None:
    loop = make_loop(point_mass_bundle, standing_command=(0.25, -0.5))
    command = loop.command(make_state(), np.zeros((1, 2)))
    assert command.tolist() == [[0.25, -0.5]]
    assert loop.asked_skill is None


def test_a_robot_without_a_standing_command_stands_by_its_stillest_skill(
    point_mass_bundle: Path,
) -> None:
    """The point mass's policy brakes for skill 0: command = -2 * velocity."""
    loop = make_loop(point_mass_bundle, standing_command=None)
    state = dataclasses.replace(make_state(), linear_velocity=np.array([[0.2, -0.1, 0.0]]))
    still = loop.command(state, np.zeros((1, 2)))
    np.testing.assert_allclose(still, [[-0.4, 0.2]], atol=1e-5)
    assert loop.asked_skill is not None
    np.testing.assert_allclose(loop.asked_skill, [loop.planner.stillest_skill])
    loop.plan(state, np.zeros((1, 2)), GoalCost([[0.0, 0.0]], radius_m=1.0))
    np.testing.assert_allclose(loop.command(state, np.zeros((1, 2))), still)


def test_without_a_standing_command_skills_go_down_to_the_stillest_one(
    point_mass_bundle: Path,
) -> None:
    loop, dt = make_loop(point_mass_bundle, standing_command=None), 0.1
    assert loop.robot.control_dt == dt
    for by_hand in (np.array([[0.0, -0.9]]), np.array([[0.3, 0.0]])):
        loop.hold_by_hand(by_hand)
        loop.command(make_state(), np.zeros((1, 2)))
        before, num_steps = loop.asked_skill, 0
        loop.skill = None
        while before.any():
            loop.command(make_state(), np.zeros((1, 2)))
            change = loop.asked_skill - before
            assert np.linalg.norm(change) <= dt / RAMP_S + 1e-6
            assert (change @ before.T) < 0.0
            before, num_steps = loop.asked_skill, num_steps + 1
        assert num_steps == np.ceil(np.linalg.norm(by_hand) * RAMP_S / dt - 1e-6)


def test_where_the_plan_is_to_stand_the_robot_gets_the_standing_command(
    point_mass_bundle: Path,
) -> None:
    loop = make_loop(point_mass_bundle, standing_command=(0.25, -0.5))
    loop.plan(make_state(), np.zeros((1, 2)), GoalCost([[0.0, 0.0]], radius_m=1.0))
    assert loop.command(make_state(), np.zeros((1, 2))).tolist() == [[0.25, -0.5]]
    assert loop.skill is not None and loop.asked_skill is None


def test_one_robot_stands_while_another_drives(point_mass_bundle: Path) -> None:
    loop = make_loop(point_mass_bundle, num=2, standing_command=(0.25, -0.5))
    goals = GoalCost([[0.0, 0.0], [20.0, 0.0]], radius_m=1.0)
    loop.plan(make_state(2), np.zeros((2, 2)), goals)
    command = loop.command(make_state(2), np.zeros((2, 2)))
    assert command[0].tolist() == [0.25, -0.5] and command[1, 0] > 0.5


def test_a_fallen_robot_gets_the_safe_command_until_it_is_up_again(
    point_mass_bundle: Path,
) -> None:
    loop = make_loop(point_mass_bundle, safe_command=(0.125, 0.0))
    loop.plan(make_state(), np.zeros((1, 2)), GoalCost([[20.0, 0.0]]))
    assert loop.command(make_state(up=-0.9), np.zeros((1, 2))).tolist() == [[0.125, 0.0]]
    assert loop.command(make_state(), np.zeros((1, 2)))[0, 0] > 0.5
