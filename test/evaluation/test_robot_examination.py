"""dads-ros doctor --simulate: what is wrong with a robot file is named, each with a cure."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dads_ros.cli.main import main
from dads_ros.diagnosis.records import Check, Verdict
from dads_ros.evaluation.robot_examination import examine_robot
from dads_ros.robot import RobotSpec
from legged import LEGGED, legged_spec


def examined(spec: RobotSpec) -> dict[str, Check]:
    return {check.name: check for check in examine_robot(spec)}


def test_a_robot_file_that_is_right_is_called_so() -> None:
    checks = examined(legged_spec(max_delay_ms=30.0))
    names = ["model", "command range", "drop", "stands", "stands, 30 ms late", "servos", "mirror"]
    assert list(checks) == names
    assert {check.verdict for check in checks.values()} == {Verdict.OK}
    assert "shoulder held" in checks["model"].found
    assert checks["mirror"].found == "exact"


@pytest.mark.parametrize(
    ("name", "changes", "verdict", "words"),
    [
        ("model", {"reset": {"keyframe": "sit"}}, Verdict.WRONG, "the MJCF has stand"),
        ("command range", {"command_scale": [0.3, 0.5, 0.3, 0.5]}, Verdict.WARNING, "_knee'"),
        ("drop", {"reset": {"keyframe": "stand", "height_m": 0.6}}, Verdict.WARNING, "0.28"),
        ("stands", {"servos": {"kp": [2.0], "kd": [0.1]}}, Verdict.WRONG, "are up after 5 s"),
        ("servos", {"servos": {"kp": [200.0], "kd": [200.0]}}, Verdict.WRONG, "of a step far"),
        ("servos", {"servos": {"kp": [60.0], "kd": [20.0]}}, Verdict.WARNING, "63 % of a step"),
        ("servos", {"servos": {"kp": [60.0], "kd": [0.02]}}, Verdict.WARNING, "overshoot"),
        ("servos", {"integrator": "Euler"}, Verdict.WRONG, "still moves"),
        ("drop", {"sim_dt": 0.05, "integrator": "Euler"}, Verdict.WRONG, "diverged"),
        ("servos", {"command_scale": None}, Verdict.NOT_SEEN, "no positions"),
        ("stands", {"standing_command": None}, Verdict.NOT_SEEN, "by a skill"),
    ],
)
def test_what_is_wrong_is_named(
    name: str, changes: dict[str, Any], verdict: Verdict, words: str
) -> None:
    if changes.get("command_scale", 0) is None:
        home = [0.2, -0.4, 0.2, -0.4]
        changes |= {"command_low": [-2.0], "safe_command": home, "standing_command": home}
    check = examined(legged_spec(**changes))[name]
    assert check.verdict == verdict and words in f"{check.found} {check.cure}"
    assert bool(check.cure) == (verdict in (Verdict.WRONG, Verdict.WARNING))


def test_a_robot_that_sinks_or_lies_does_not_stand() -> None:
    soft = examined(legged_spec(servos={"kp": [1.0], "kd": [2.0]}, fallen={}))["stands"]
    assert soft.verdict == Verdict.WARNING and "sag 0." in soft.found
    fallen = {"min_up_z": 0.1, "contacts": ["left_foot"], "ends_episode": False}
    lies = examined(legged_spec(fallen=fallen))["stands"]
    assert lies.verdict == Verdict.WRONG and "0 of 32 are up" in lies.found


def test_a_joint_at_its_stop_is_pulled_the_other_way() -> None:
    straight = LEGGED.replace('range="-2 -0.2"', 'range="-2 -0.38"')
    check = examined(legged_spec(straight))["servos"]
    assert check.verdict == Verdict.OK


def test_a_mirror_that_nearly_holds_is_said_to() -> None:
    heavier = LEGGED.replace('name="left_thigh" type', 'name="left_thigh" mass="0.2225" type')
    check = examined(legged_spec(heavier))["mirror"]
    assert check.verdict == Verdict.OK and "holds to" in check.found


def test_the_command_prints_it_and_says_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "legged.yaml"
    for reset, code in (({"keyframe": "stand"}, 0), ({"keyframe": "sit"}, 1)):
        spec = legged_spec(reset=reset)
        file.write_text(yaml.safe_dump(spec.to_dict()))
        assert main(["doctor", "--simulate", "--robot", str(file)]) == code
        out = capsys.readouterr().out
        assert "robot 'legged', in simulation" in out
        assert ("servos" in out) == (code == 0)
    assert main(["doctor", "--simulate", "--bundle", "ant"]) == 2
    assert "leave --bundle and --namespace out" in capsys.readouterr().err
