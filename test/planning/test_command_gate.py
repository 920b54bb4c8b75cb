"""The gate: nothing but a sound, fresh, wanted command leaves."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from dads_ros.planning.command_gate import CommandGate
from dads_ros.robot import CommandFilterSpec, RobotSpec

ROBOT = RobotSpec(
    name="test",
    mjcf="none.xml",
    actuators=("left", "right"),
    observation=("height",),
    command_low=(-1.0, -2.0),
    command_high=(1.0, 2.0),
    safe_command=(0.0, 0.5),
)
SOUND: dict[str, Any] = {
    "last_command": np.zeros((1, 2)),
    "state_age_s": 0.01,
    "state_timeout_s": 0.5,
    "is_active": True,
}
COMMAND = np.array([[0.3, -1.9]], np.float32)


def test_a_sound_command_passes_unchanged() -> None:
    result = CommandGate(ROBOT).check(COMMAND, **SOUND)
    assert not result.is_safe_stop.any() and result.reason == ""
    np.testing.assert_array_equal(result.command, COMMAND.astype(np.float64))


def test_rounding_beyond_a_limit_is_clipped() -> None:
    result = CommandGate(ROBOT).check(np.array([[1.0 + 1e-6, 0.0]]), **SOUND)
    assert not result.is_safe_stop.any() and result.command[0, 0] == 1.0


@pytest.mark.parametrize(
    ("command", "changes", "reason"),
    [
        (COMMAND, {"is_active": False}, "not active"),
        (COMMAND, {"state_age_s": 0.51}, "no state for 0.51 s"),
        (COMMAND, {"state_age_s": float("nan")}, "no state"),
        (COMMAND, {"state_age_s": float("inf")}, "no state"),
        (COMMAND, {"is_state_finite": False}, "state is not finite"),
        (COMMAND, {"has_fallen": True}, "fallen"),
        (COMMAND, {"error": "the plan failed"}, "the plan failed"),
        (None, {}, "no command"),
        (np.array([[0.1, np.nan]]), {}, "not finite"),
        (np.array([[np.inf, 0.0]]), {}, "not finite"),
        (np.array([[0.0, 2.1]]), {}, "'right' is outside -2 .. 2"),
        (np.array([[-1.5, 0.0]]), {}, "'left' is outside -1 .. 1"),
        (np.zeros((1, 3)), {}, "shape"),
    ],
)
def test_everything_else_becomes_the_safe_command_with_the_reason(
    command: Any,  # noqa: ANN401
    changes: dict[str, Any],
    reason: str,
) -> None:
    result = CommandGate(ROBOT).check(command, **SOUND | changes)
    assert result.is_safe_stop.all() and reason in result.reason
    assert result.command.tolist() == [[0.0, 0.5]]


def test_the_safe_command_cannot_be_spoiled_by_who_gets_it() -> None:
    gate = CommandGate(ROBOT)
    gate.check(None, **SOUND).command[:] = 9.0
    assert gate.check(None, **SOUND).command.tolist() == [[0.0, 0.5]]


def test_one_robot_is_stopped_and_the_others_go_on() -> None:
    gate = CommandGate(ROBOT, num_robots=4)
    command = np.array([[0.1, 0.2], [0.3, np.nan], [0.5, 0.6], [0.7, 0.8]])
    result = gate.check(
        command,
        **SOUND,
        has_fallen=np.array([False, False, True, False]),
        is_state_finite=np.array([True, True, True, False]),
    )
    assert result.is_safe_stop.tolist() == [False, True, True, True]
    assert result.command.tolist() == [[0.1, 0.2], [0.0, 0.5], [0.0, 0.5], [0.0, 0.5]]
    assert result.reason == "the command is not finite"


def test_what_passes_is_filtered_and_the_safe_command_is_not() -> None:
    robot = dataclasses.replace(ROBOT, command_filter=CommandFilterSpec(max_rate=(2.0,)))
    gate, last = CommandGate(robot), np.array([[0.5, -2.0]])
    sound = SOUND | {"last_command": last}
    assert gate.check(COMMAND, **sound).command.tolist() == [[0.4, -1.9]]
    assert gate.check(None, **sound).command.tolist() == [[0.0, 0.5]]
    fallen = gate.check(COMMAND, **sound, has_fallen=np.array([True]))
    assert fallen.command.tolist() == [[0.0, 0.5]] and fallen.is_safe_stop.all()
