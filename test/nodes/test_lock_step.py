"""In lock step over DDS the robot does exactly what evaluate computes without ROS."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.envs.model import RobotModel
from dads_ros.evaluation.driving import Driver
from dads_ros.evaluation.goals import GoalMetrics, evaluate_goals
from dads_ros.nodes.conversions import answered_stamp_ns, to_ns
from ros_graph import LATCHED, ROOT, NodeProcess, Probe

Start = Callable[..., NodeProcess]
SEED = 3


def evaluate(folder: Path, goal: tuple[float, float], steps: int, delay_ms: float) -> GoalMetrics:
    bundle = SkillBundle(folder)
    model = RobotModel(bundle.robot)
    driver = Driver(
        model=model, policy=bundle.command, skills=bundle, seed=SEED, delay_ms=delay_ms
    )
    return evaluate_goals(driver, [goal], steps)


@pytest.mark.parametrize(
    ("robot", "goal", "steps", "delay_ms"),
    [
        ("point_mass", (3.0, -2.0), 60, 0.0),
        ("point_mass", (-1.5, 2.0), 60, 140.0),
        ("ant", (4.0, 5.0), 400, 0.0),
    ],
)
def test_lock_step_equals_evaluate(
    start: Start,
    probe: Probe,
    point_mass_bundle: Path,
    robot: str,
    goal: tuple[float, float],
    steps: int,
    delay_ms: float,
) -> None:
    folder = point_mass_bundle if robot == "point_mass" else ROOT / "models" / robot
    expected = evaluate(folder, goal, steps, delay_ms)
    assert expected.reached(0.5)[0]
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(Odometry, "odom")
    probe.listen(PoseStamped, "skill_planner/goal", LATCHED)
    probe.listen(PathMessage, "skill_planner/plan")
    settings = {"speed": 100.0, "start_paused": True, "command_delay_ms": delay_ms}
    start("simulator", robot=robot, seed=SEED, lock_step=True, **settings)
    start("skill_planner", bundle=folder, seed=SEED, lock_step=True, use_sim_time=True)
    probe.send_goal(*goal)
    probe.wait_for(lambda: probe.messages["skill_planner/goal"])
    probe.wait_for(lambda: probe.is_heard("joint_commands") and probe.is_heard("odom"))
    assert probe.call(SetBool, "simulator/set_pause", data=False).success

    def commands() -> dict[int | None, list[float]]:
        return {answered_stamp_ns(m): list(m.data) for m in probe.messages["joint_commands"]}

    probe.wait_for(
        lambda: min(len(probe.messages[topic]) for topic in ("joint_commands", "odom")) > steps,
        60.0,
    )
    assert len(probe.messages["skill_planner/plan"]) > steps // 20  # shown as beside the steps
    sent = [command for _, command in sorted(commands().items())]
    np.testing.assert_allclose(sent[:steps], expected.commands[:, 0], rtol=0.0, atol=1e-6)
    places = {to_ns(m.header.stamp): m.pose.pose.position for m in probe.messages["odom"]}
    track = [(places[stamp].x, places[stamp].y) for stamp in sorted(places)[: steps + 1]]
    np.testing.assert_allclose(track, expected.tracks[0], rtol=0.0, atol=1e-6)
