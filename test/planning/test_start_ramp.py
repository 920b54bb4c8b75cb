"""From whatever pose a robot is in to standing, and then to its task: never a jump."""

from pathlib import Path

import numpy as np
import pytest

from dads_ros.config import ControlConfig, SkillPriorConfig
from dads_ros.observation import RobotState
from dads_ros.planning.controller import OK, STARTING, Errand, SkillController, Step, make_loop
from dads_ros.planning.tasks import Task
from dads_ros.robot import RobotSpec
from dads_ros.skills import SkillSpace
from legged import JOINTS, legged_spec
from skill_models import Model, linear_rollout

HOME = np.array([0.2, -0.4, 0.2, -0.4])
LYING = np.array([[0.9, -1.8, 0.9, -1.8]])
"""Far beyond home +- command_scale."""
STEP_NS = 20_000_000


class Bench:
    """A robot that lies, and does nothing by itself."""

    def __init__(self, folder: Path, num: int = 1, **settings: object) -> None:
        self.robot: RobotSpec = legged_spec(
            folder,
            reset={"joint_positions": dict(zip(JOINTS, HOME.tolist(), strict=True))},
            command_filter={"max_rate": [10.0]},
        )
        config = ControlConfig(lock_step=True, **settings)  # type: ignore[arg-type]
        space = SkillSpace(SkillPriorConfig(kind="disc", dim=2))
        model = Model(linear_rollout, space, control_dt=self.robot.control_dt)

        def policy(obs: np.ndarray, skill: np.ndarray) -> np.ndarray:
            return np.tile(HOME + 0.05, (len(obs), 1))

        loop = make_loop(self.robot, policy, model, config, 0, num)
        self.control = SkillController(
            loop, lambda: config, seed=0, clock=lambda: 0.0, say=print, tell=print
        )
        self.control.activate()
        self.stamp_ns, self.num = 0, num
        self.sent = LYING.repeat(num, axis=0)

    def tick(self, joints: np.ndarray | None = None, height: float = 0.3, **base: object) -> Step:
        """The next state, with the joints where they were sent to."""
        self.stamp_ns += STEP_NS
        joints = self.sent if joints is None else joints
        upright = np.tile([1.0, 0.0, 0.0, 0.0], (self.num, 1))
        state = RobotState(
            position=np.tile([0.0, 0.0, height], (self.num, 1)),
            orientation=np.array(base.get("orientation", upright), float),
            linear_velocity=np.zeros((self.num, 3)),
            angular_velocity=np.zeros((self.num, 3)),
            joint_positions=np.array(joints),
            joint_velocities=np.zeros((self.num, 4)),
        )
        step = self.control.step(state, self.stamp_ns)
        assert step is not None
        self.sent = step.result.command
        return step


def test_a_robot_that_lies_stands_up_slowly_and_then_does_its_task(tmp_path: Path) -> None:
    bench = Bench(tmp_path, start_ramp_s=1.0)
    bench.control.turn_to(Errand(Task(goals=np.array([[9.0, 0.0]])), received=0.0))
    sent, steps = [LYING[0]], []
    for _ in range(60):
        steps.append(bench.tick())
        sent.append(bench.sent[0])
        assert steps[-1].result.reason == ""
        if len(steps) == 25:
            assert bench.control.status()[:2] == (OK, STARTING)
    rates = np.abs(np.diff(sent, axis=0)).max(axis=1) / 0.02
    way = np.abs(HOME - LYING[0]).max()
    assert rates[:50].max() == pytest.approx(way, rel=0.02)  # in one second, evenly
    assert rates[0] == 0.0
    np.testing.assert_allclose(sent[50], HOME, atol=0.03 * way)
    planned = [step.plan is not None for step in steps]
    assert not any(planned[:50]) and planned[50]
    np.testing.assert_allclose(sent[-1], HOME + 0.05)


def test_after_a_safe_command_it_is_led_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, start_ramp_s=0.5)
    for _ in range(40):
        bench.tick()
    np.testing.assert_allclose(bench.sent[0], HOME)
    assert bench.control.status()[1] != STARTING
    on_its_back = np.array([[0.0, 1.0, 0.0, 0.0]])
    assert bench.tick(orientation=on_its_back).result.reason == "the robot has fallen"
    stood_up = HOME[None] + [0.3, -0.3, 0.3, -0.3]  # by somebody
    assert bench.tick(stood_up).result.reason == ""
    np.testing.assert_allclose(bench.sent, stood_up)
    assert bench.control.status()[:2] == (OK, STARTING)


def test_without_a_ramp_the_filter_still_bounds_the_first_command(tmp_path: Path) -> None:
    bench = Bench(tmp_path, start_ramp_s=0.0)
    first, second = bench.tick().result.command, bench.tick().result.command
    np.testing.assert_array_equal(first, LYING)
    np.testing.assert_allclose(np.abs(second - first).max(), 10.0 * 0.02, rtol=1e-6)


def test_of_many_robots_one_that_falls_does_not_stop_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, num=2, start_ramp_s=0.2)
    for _ in range(20):
        bench.tick()
    upside_down = np.array([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    bench.tick(orientation=upside_down)
    bench.tick()
    assert bench.control.status()[1] != STARTING
