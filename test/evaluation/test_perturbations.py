"""What evaluate says of a body, and of robots that are not quite as in training."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dads_ros.cli.main import main
from dads_ros.config import SkillPriorConfig
from dads_ros.envs.model import RobotModel
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.perturbations import PERTURBATIONS
from dads_ros.planning.tasks import Task
from dads_ros.skills import SkillSpace
from legged import legged_spec
from skill_models import Model, linear_rollout

GOALS = np.array([[1.0, 0.0]])


def driver_of(*, jump: float = 0.0, **changes: object) -> Driver:
    """Of a robot that stands at home, or jumps to and fro by this part of its commands' range."""
    model = RobotModel(legged_spec(**changes))
    home = np.array(model.spec.safe_command)
    low, high = model.spec.command_limits
    sign = [1.0]

    def policy(obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
        sign[0] *= -1.0
        return np.tile(home + 0.5 * sign[0] * jump * (high - low), (len(obs), 1))

    space = SkillSpace(SkillPriorConfig(kind="disc", dim=2))
    skills = Model(linear_rollout, space, control_dt=model.spec.control_dt)
    return Driver(model=model, policy=policy, skills=skills, seed=0, num_threads=1)


def test_a_body_that_keeps_its_limits_is_reported_so() -> None:
    health = driver_of().drive(Task(goals=GOALS), 1, 40).health
    assert set(health) == {
        "fall_fraction",
        "command_rate",
        "exceeded_command_rate_fraction",
        "exceeded_torque_fraction",
        "exceeded_joint_margin_fraction",
        "exceeded_tilt_fraction",
        "exceeded_contacts_fraction",
    }
    for name, values in health.items():
        assert not np.any(values), name


def test_commands_that_jump_are_reported_by_their_part_of_the_range() -> None:
    health = driver_of(jump=0.1).drive(Task(goals=GOALS), 1, 41).health
    assert health["command_rate"] == pytest.approx(0.1, rel=0.02)
    assert health["exceeded_command_rate_fraction"] == pytest.approx(1.0, rel=0.03)


def test_a_filter_bounds_what_leaves() -> None:
    driver = driver_of(jump=1.0, command_filter={"max_rate": [1.0]})
    commands = driver.drive(Task(goals=GOALS), 1, 30).commands[:, 0]
    steps = np.abs(np.diff(commands, axis=0))
    assert steps.max() == pytest.approx(driver.model.spec.control_dt * 1.0)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_each_perturbation_makes_another_drive(name: str) -> None:
    driver = driver_of(jump=0.2)
    still = driver.policy
    driver = dataclasses.replace(driver, policy=lambda o, z: still(o, z) + 0.02 * o[:, :4])
    num, steps = 4, 120
    plain = driver.drive(Task(goals=GOALS.repeat(num, 0)), num, steps)
    perturbed = PERTURBATIONS[name](driver).drive(Task(goals=GOALS.repeat(num, 0)), num, steps)
    assert np.abs(perturbed.tracks - plain.tracks).max() > 1e-6


def test_the_command_measures_tasks_with_each_of_them(
    point_mass_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ["--task", "goal", "--goals", "4", "--steps", "50"]
    evaluate = ["evaluate", str(point_mass_bundle), *task, "--perturb", "gain", "push"]
    assert main([*evaluate, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["perturbed"]) == ["gain", "push"]
    plain = report["goal"]["normalised_distance_200"], report["goal"]["goal_fraction_1m"]
    for found in report["perturbed"].values():
        assert set(found["goal"]) == set(report["goal"])
    assert plain[0] is None  # too short a run
    assert main(evaluate) == 0
    assert "gain" in capsys.readouterr().out


def test_perturbations_without_a_task_and_bumps_on_a_line_are_refused(
    point_mass_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(point_mass_bundle), "--perturb", "mass"]) != 0
    assert "name some of them, such as goal" in capsys.readouterr().err
    driver = ["evaluate", str(point_mass_bundle), "--task", "goal", "--perturb", "ground"]
    assert main(driver) != 0
    assert "needs 'base.kind: free'" in capsys.readouterr().err
