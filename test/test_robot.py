"""RobotSpec: robot files and what is refused in them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dads_ros.errors import ConfigError
from dads_ros.robot import RobotSpec

VALUES: dict[str, Any] = {
    "name": "test",
    "mjcf": "test.xml",
    "joints": ["hip", "knee"],
    "actuators": ["hip", "knee"],
    "observation": ["joint_positions"],
}


@pytest.mark.parametrize("name", ["ant", "go2", "half_cheetah", "humanoid", "point_mass"])
def test_shipped_robot_files_load_and_survive_a_round_trip(name: str) -> None:
    spec = RobotSpec.load(name)
    assert spec.name == name
    assert RobotSpec.from_dict(spec.to_dict()) == spec
    low, high = spec.command_limits
    assert (low < high).all() and low.shape == (spec.command_dim,)


def test_the_control_step_is_made_of_simulation_steps() -> None:
    assert RobotSpec.load("ant").control_dt == pytest.approx(0.05)


def test_one_limit_stands_for_every_actuator() -> None:
    spec = RobotSpec.from_dict(VALUES | {"command_low": [-2.0], "command_high": [1.0, 3.0]})
    np.testing.assert_array_equal(spec.command_limits, [[-2.0, -2.0], [1.0, 3.0]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command_low": [-1.0, -1.0, -1.0]}, "'command_low' has 3 values; expected 1 or 2"),
        ({"command_low": [1.0]}, "'command_low' must be below 'command_high'"),
        ({"safe_command": [2.0]}, "'safe_command' is outside"),
        ({"standing_command": [0.0, -1.5]}, "'standing_command' is outside"),
        ({"joints": ["hip", "hip"]}, "'joints' names something twice"),
        ({"actuators": ["hip", "hip"]}, "'actuators' names something twice"),
        ({"base": {"kind": "planar"}}, "'base.joints' is missing"),
        ({"base": {"kind": "fixed"}}, "base.kind: got 'fixed'; expected one of free, planar"),
        ({"observation": []}, "'observation' [] holds no number"),
        ({"joints": [], "observation": ["joint_velocities"]}, "holds no number"),
        ({"actuators": []}, "'actuators' is empty"),
        ({"observation": ["colour"]}, "got 'colour'; expected one of height"),
        ({"reset": {"joint_positions": {"elbow": 1.0}}}, "names 'elbow'"),
        ({"symmetry": {"joints": {"hip": "knee"}}}, "'symmetry.joints' must map every one"),
        ({"symmetry": {"joints": {"hip": "hip", "knee": "hip"}}}, "'symmetry.joints' must map"),
        (
            {"symmetry": {"turn_deg": 70.0, "joints": {"hip": "knee", "knee": "hip"}}},
            "does not divide 360",
        ),
        ({"safe_mode": "hold"}, "'safe_mode' is hold, which takes commands that are positions"),
        ({"safe_mode": "limp"}, "expected one of pose, hold, damp"),
        ({"sim_dt": 0.0}, "sim_dt"),
        ({"num_substeps": 0}, "num_substeps"),
        ({"integrator": "euler"}, "expected one of Euler"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RobotSpec.from_dict(VALUES | changes)
    assert words in str(caught.value)


def test_a_relative_mjcf_lies_beside_the_users_robot_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, mjcf: sub/mine.xml, actuators: [a], observation: [height]}"
    )
    spec = RobotSpec.load(str(tmp_path / "mine.yaml"))
    assert spec.mjcf == str(tmp_path / "sub" / "mine.xml")
    assert dataclasses.replace(spec, mjcf="sub/mine.xml").name == "mine"


def test_a_file_that_is_like_another_one_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(
        "{like: ant, mjcf: new.xml, sim_dt: 0.002, symmetry: {tolerance: 0.01}}"
    )
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, mjcf: sub/mine.xml, actuators: [a], observation: [height]}"
    )
    (tmp_path / "twin.yaml").write_text("{like: mine.yaml, name: twin}")
    ant, new = RobotSpec.load("ant"), RobotSpec.load(str(tmp_path / "new.yaml"))
    assert ant.symmetry is not None
    assert new == dataclasses.replace(
        ant,
        mjcf=str(tmp_path / "new.xml"),
        sim_dt=0.002,
        symmetry=dataclasses.replace(ant.symmetry, tolerance=0.01),
    )
    assert RobotSpec.load(str(tmp_path / "twin.yaml")).mjcf == str(tmp_path / "sub" / "mine.xml")
    (tmp_path / "new.yaml").write_text(
        "{like: ant, joints: [a], actuators: [a], symmetry: null, mirror: {joints: {a: -a}}, "
        "reset: {joint_positions: {a: 1.0}}}"
    )
    other = RobotSpec.load(str(tmp_path / "new.yaml"))
    assert other.mirror is not None and other.mirror.joints == {"a": "-a"}  # not the Ant's as well


@pytest.mark.parametrize(
    ("like", "words"),
    [
        ("3", "odd.yaml: 'like' is 3; expected a robot file"),
        ("null", "odd.yaml: 'like' is None; expected a robot file"),
        ("odd.yaml", "odd.yaml, like odd.yaml: expected there a robot file that has no 'like'"),
        ("emu", "'emu' was not found"),
        ("./emu.yaml", "emu.yaml' was not found"),
        ("list.yaml", "odd.yaml, like list.yaml: expected there a robot file"),
        ("bad.yaml", "odd.yaml, like bad.yaml: unknown setting 'colour'"),
    ],
)
def test_a_file_like_none_that_there_is_is_refused(tmp_path: Path, like: str, words: str) -> None:
    (tmp_path / "odd.yaml").write_text(f"{{like: {like}, name: odd}}")
    (tmp_path / "list.yaml").write_text("[ant]")
    (tmp_path / "bad.yaml").write_text("{colour: red, mjcf: a.xml, actuators: [a]}")
    with pytest.raises(ConfigError) as caught:
        RobotSpec.load(str(tmp_path / "odd.yaml"))
    assert words in str(caught.value)


def test_an_unknown_robot_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(
        ConfigError,
        match=r"'and_roid' was not found.*ant, ant_paper, go2, half_cheetah, humanoid, point_mass",
    ):
        RobotSpec.load("and_roid")


def test_the_ground_axes_are_those_that_the_base_can_move_along() -> None:
    assert RobotSpec.load("ant").ground_axes.tolist() == [True, True]
    assert RobotSpec.load("half_cheetah").ground_axes.tolist() == [True, False]
    assert RobotSpec.load("point_mass").ground_axes.tolist() == [True, True]
