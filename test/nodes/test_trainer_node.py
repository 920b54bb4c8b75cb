"""A training run over DDS."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.bundle.runtime import SkillBundle
from ros_graph import LATCHED, NodeProcess, Probe

Start = Callable[..., NodeProcess]
SHORT_RUN = """
robot: point_mass
evaluate_every: 5
prediction: {steps: 5}
skill_dynamics: {hidden: [16, 16], gradient_steps: 2}
sac: {hidden: [16, 16], gradient_steps: 2}
collect: {num_envs: 16, steps_per_iteration: 20, warmup_steps: 600, episode_steps: 50}
"""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    """Parameters of a run that takes next to nothing."""
    (tmp_path / "short.yaml").write_text(SHORT_RUN)
    return {"config_file": tmp_path / "short.yaml", "out": tmp_path / "run"}


@pytest.mark.slow
def test_run_reports_pauses_exports_stops_and_resumes(
    start: Start, probe: Probe, settings: dict[str, object], tmp_path: Path
) -> None:
    probe.listen(Float64MultiArray, "skill_trainer/metrics")
    probe.listen(MarkerArray, "skill_trainer/skill_fan", LATCHED)
    trainer = start("skill_trainer", **settings)
    probe.wait_for(lambda: probe.messages["skill_trainer/skill_fan"], 60.0)
    assert len(probe.messages["skill_trainer/skill_fan"][-1].markers[-1].points) > 100
    assert probe.call(SetBool, "skill_trainer/set_pause", data=True).success
    response = probe.call(Trigger, "skill_trainer/export")
    assert response.success, response.message
    assert SkillBundle(tmp_path / "run" / "bundle").robot.name == "point_mass"
    assert probe.call(SetBool, "skill_trainer/set_pause", data=False).success
    newest = probe.wait_for_next("skill_trainer/metrics", 3)
    names = newest.layout.dim[0].label.split(",")
    metrics = dict(zip(names, newest.data, strict=True))
    assert metrics["num_env_steps"] == metrics["iteration"] * 320
    assert probe.call(Trigger, "skill_trainer/stop").success
    assert trainer.process.wait(20) == 0
    probe.messages["skill_trainer/metrics"].clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        resumed = start("skill_trainer", resume=True, **settings)
        first = probe.wait_for_next("skill_trainer/metrics", timeout_s=60.0)
        assert first.data[0] > metrics["iteration"]
        assert resumed.end(number) == 0
        assert "Traceback" not in resumed.said()


def test_folder_of_another_run_is_one_sentence_and_exit_code_two(
    start: Start, settings: dict[str, object], tmp_path: Path
) -> None:
    trainer = start("skill_trainer", resume=True, config_file="ant", out=tmp_path)
    assert trainer.process.wait(60) == 2
    assert "Traceback" not in trainer.said()
