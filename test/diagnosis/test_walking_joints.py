"""The doctor's look at velocities on the legs of an Ant that walks in MuJoCo, at many rates."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.config import ControlConfig
from dads_ros.diagnosis.joints import joint_checks
from dads_ros.diagnosis.records import Arrival, Joints, Verdict
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import one_episode_env
from dads_ros.files import share_folder
from dads_ros.planning.controller import Errand, SkillController, make_loop
from dads_ros.planning.tasks import Task

ANT = SkillBundle(share_folder() / "models" / "ant")
STEPS, DT_NS = 120, 2_500_000
FINE = dataclasses.replace(ANT.robot, sim_dt=0.0025, num_substeps=20)
ENCODER_RAD = 2.0 * np.pi / 4096


@pytest.fixture(scope="module")
def walk() -> list[Joints]:
    """6 s to a goal, every 2.5 ms."""
    config = ControlConfig(lock_step=True)
    loop = make_loop(ANT.robot, ANT.command, ANT, config, 0, 1)
    controller = SkillController(loop, lambda: config, seed=0, clock=lambda: 0.0)
    controller.activate()
    controller.turn_to(Errand(Task(goals=np.array([[20.0, 0.0]])), received=0.0))
    rng = np.random.default_rng(1)
    physics = one_episode_env(RobotModel(FINE), 1, STEPS, rng=rng, num_threads=1).physics
    said = []
    for step in range(STEPS):
        answer = controller.step(physics.robot_state(), 20 * step * DT_NS)
        assert answer is not None
        for _ in range(FINE.num_substeps):
            physics.advance(answer.result.command[:, None])
            state, stamp_ns = physics.robot_state()[0], (len(said) + 1) * DT_NS
            arrival = Arrival(stamp_ns, stamp_ns, None, None)
            joints = FINE.joints, state.joint_positions, state.joint_velocities
            said.append(Joints(arrival, *joints))
    return said


def as_measured(positions: np.ndarray) -> np.ndarray:
    return positions


def by_encoder(positions: np.ndarray) -> np.ndarray:
    return np.round(positions / ENCODER_RAD) * ENCODER_RAD


@pytest.mark.parametrize("noise", [as_measured, by_encoder])
@pytest.mark.parametrize("every", [1, 2, 4, 5, 7, 8, 10, 12, 16, 20, 40])
def test_legs_that_walk_are_not_called_wrong(
    every: int, noise: Callable[[Any], Any], walk: list[Joints]
) -> None:
    for begin in range(every):
        said = [one._replace(positions=noise(one.positions)) for one in walk[begin::every]]
        (units,) = (
            check
            for check in joint_checks(ANT.robot, said, None, "")
            if check.name == "joint units"
        )
        allowed = (Verdict.OK,) if every < 4 else (Verdict.OK, Verdict.NOT_SEEN)
        assert units.verdict in allowed, units
