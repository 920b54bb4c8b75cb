"""A dry run over DDS: what the planner would send, and nothing to the robot."""

from collections.abc import Callable
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from ros_graph import NodeProcess, Probe, doctor, health

DRY_RUN = (
    "import sys; from dads_ros.cli.main import main; "
    "sys.exit(main(['plan', '--dry-run', *sys.argv[1:]]))"
)


def test_a_dry_run_commands_nobody_and_says_so(
    probe: Probe, start: Callable[..., NodeProcess], point_mass_bundle: Path, tmp_path: Path
) -> None:
    topic = "skill_planner/would_be_commands"
    probe.listen(Float64MultiArray, "joint_commands")
    probe.listen(Float64MultiArray, topic)
    probe.listen(DiagnosticArray, "/diagnostics")
    start("simulator", robot="point_mass")
    # As ros2 param dump writes it; a node's own section beats what comes after on a command line.
    dumped = tmp_path / "dumped.yaml"
    dumped.write_text("/skill_planner: {ros__parameters: {dry_run: false}}")
    planner = start(
        "skill_planner",
        script=DRY_RUN,
        params_file=dumped,
        bundle=point_mass_bundle,
        use_sim_time=True,
        dry_run=False,  # the option is stronger than all of them
    )
    probe.wait_for_next(topic, 2, 60.0)
    probe.send_goal(50.0, 0.0)
    probe.wait_for(lambda: any(abs(value) > 0.1 for value in probe.messages[topic][-1].data))
    said = "dry run, nothing goes to the robot: on the way"
    probe.wait_for(lambda: health(probe)[1].startswith(said))
    _, checks = doctor(probe, "--robot", "point_mass")
    assert checks["who commands"] == ("ok", "nobody yet")
    assert checks["commands"][0] == "ok"
    assert "ms from state to command" in checks["dry run's delay"][1]
    assert probe.call(Trigger, "skill_planner/cancel").success
    probe.wait_for(lambda: list(probe.messages[topic][-1].data) == [0.0, 0.0])
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in planner.children()]
    assert not any(b"guard_node.py" in command for command in commands)
    assert not probe.is_heard("joint_commands")
    assert planner.end() == 0
    assert probe.messages["joint_commands"] == []
