"""A training run over DDS."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.evaluation.curves import METRICS_FILE, lines_of
from dads_ros.files import only_trainer
from dads_ros.learning.config import TrainConfig
from ros_graph import LATCHED, SHORT_RUN, NodeProcess, Probe

Start = Callable[..., NodeProcess]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    """Parameters of a run that takes next to nothing."""
    (tmp_path / "short.yaml").write_text(SHORT_RUN)
    return {"config_file": tmp_path / "short.yaml", "out": tmp_path / "run"}


def test_a_folder_in_which_another_process_trains_is_refused(
    start: Start, settings: dict[str, object], tmp_path: Path
) -> None:
    with only_trainer(tmp_path / "run"):
        trainer = start("skill_trainer", **settings)
        assert trainer.process.wait(60) == 2
        assert f"is being trained by process {os.getpid()} on" in trainer.said()


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
    run = tmp_path / "run"
    assert (run / "skills.png").read_bytes().startswith(b"\x89PNG")
    resumed = start("skill_trainer", resume=True, **settings)
    wait_for_iteration(probe, iterations_in(run)[-1] + 1)
    assert resumed.end(signal.SIGINT) == 0
    assert "Traceback" not in resumed.said()
    assert f"training 'point_mass' in '{run}', iteration" in resumed.said()
    assert iterations_in(run) == list(range(1, len(iterations_in(run)) + 1))
    assert len(iterations_in(run)) > metrics["iteration"]
    assert list(run.glob("events.*"))
    assert TrainConfig.from_yaml(run / "config.yaml").evaluate_every == 5

    (tmp_path / "short.yaml").write_text(SHORT_RUN + "num_iterations: 1\n")
    probe.listen(DiagnosticArray, "/diagnostics")
    finished = start("skill_trainer", resume=True, export_folder=tmp_path / "mine", **settings)
    probe.wait_for(lambda: health(probe)[1].startswith("finished; exported to"), 60.0)
    assert SkillBundle(tmp_path / "mine").robot.name == "point_mass"
    assert finished.end(signal.SIGTERM) == 0
    assert "Traceback" not in finished.said()
    assert f"{len(iterations_in(run))} of 1 iterations are done already" in finished.said()
    assert "under way" not in finished.said()
    assert "]: finished; exported to" in finished.said()


def test_unexpected_error_is_reported_and_services_still_answer(
    start: Start, probe: Probe, settings: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "run" / "metrics.jsonl").mkdir(parents=True)
    probe.listen(DiagnosticArray, "/diagnostics")
    trainer = start("skill_trainer", **settings)
    probe.wait_for(lambda: health(probe)[0] == 2, 60.0)
    assert "metrics.jsonl' cannot be written (Is a directory)" in health(probe)[1]
    answer = probe.call(SetBool, "skill_trainer/set_pause", data=True)
    assert not answer.success and "cannot be written" in answer.message
    assert "train first" in probe.call(Trigger, "skill_trainer/export").message
    assert not probe.call(Trigger, "skill_trainer/stop").success
    assert trainer.process.wait(20) == 0


STUCK_EXPORT = """
import sys, threading
from dads_ros.nodes import trainer_node

def export_bundle(trainer, folder):
    threading.Event().wait()

trainer_node.export_bundle = export_bundle
from dads_ros.nodes.start import skill_trainer
sys.exit(skill_trainer())
"""


@pytest.mark.slow
def test_a_signal_during_the_final_export_ends_it_and_the_checkpoint_stands(
    start: Start, probe: Probe, settings: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "short.yaml").write_text(SHORT_RUN + "num_iterations: 2\n")
    probe.listen(DiagnosticArray, "/diagnostics")
    trainer = start("skill_trainer", script=STUCK_EXPORT, **settings)
    probe.wait_for(lambda: health(probe)[1].startswith("trained; exporting"), 60.0)
    stop = probe.node.create_client(Trigger, "skill_trainer/stop")
    probe.wait_for(stop.service_is_ready)
    answer = stop.call_async(Trigger.Request())
    probe.wait_for_next("/diagnostics", 2)  # it reports while a service waits for the export
    assert not answer.done()
    assert trainer.end(signal.SIGTERM) == 0
    assert "Traceback" not in trainer.said()
    finished = start("skill_trainer", resume=True, **settings)
    probe.wait_for(lambda: health(probe)[1].startswith("finished; exported to"), 60.0)
    assert finished.end() == 0


def test_folders_cannot_be_changed_over_the_network(
    start: Start, probe: Probe, settings: dict[str, object], tmp_path: Path
) -> None:
    start("skill_trainer", **settings)
    for name in ("export_folder", "out", "config_file"):
        parameter = Parameter(name, value=str(tmp_path / "elsewhere")).to_parameter_msg()
        answer = probe.call(SetParameters, "skill_trainer/set_parameters", parameters=[parameter])
        assert not answer.results[0].successful, name
    assert not (tmp_path / "elsewhere").exists()


def iterations_in(run: Path) -> list[int]:
    """Iterations in metrics.jsonl; a kill can cut the last line short."""
    return [values["iteration"] for _, values in lines_of(run / METRICS_FILE)]


def wait_for_iteration(probe: Probe, iteration: int) -> None:
    """Until metrics of this or a later iteration have come."""
    messages = probe.messages["skill_trainer/metrics"]
    probe.wait_for(lambda: messages[-1].data[0] >= iteration, 60.0)


def health(probe: Probe) -> tuple[int, str]:
    """Level and message of the newest report."""
    if not probe.messages["/diagnostics"]:
        return -1, ""
    status = probe.messages["/diagnostics"][-1].status[0]
    return status.level[0], status.message


def test_folder_of_another_run_is_one_sentence_and_exit_code_two(
    start: Start, settings: dict[str, object], tmp_path: Path
) -> None:
    trainer = start("skill_trainer", resume=True, config_file="ant", out=tmp_path)
    assert trainer.process.wait(60) == 2
    assert "Traceback" not in trainer.said()
