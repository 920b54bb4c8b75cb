"""Whatever is sent to a planner over DDS: it lives, and its commands are finite and in limits.

Where a state is wrong, the command that answers it is the safe one. ``make fuzz`` does it with
many more messages.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, Twist
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import OccupancyGrid, Odometry
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import ListParameters, SetParameters
from sensor_msgs.msg import JointState

from dads_ros.nodes.conversions import to_ns
from faults.rows import MADE
from faults.stage import Stage

ANSWER_WITHIN_S = 10.0
"""No message may stop the commands, safe or not, for longer: the machine may be busy."""

FLOATS = st.floats(allow_subnormal=False) | st.sampled_from(
    [0.0, 1.0, -1.0, 1e5, 1e300, np.nan, np.inf]
)
SMALL = st.integers(-3, 300)
NAMES = st.sampled_from(["odom", "base_link", "map", "", "hip_1", "ankle_4"]) | st.text(max_size=9)
CELLS = st.integers(-128, 127)
UNSHRUNK = settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""A planner that has ended makes every smaller input fail as well."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), MADE) as stage:
        yield stage


def stays_alive(stage: Stage, since: float) -> None:
    """It answers the states that came since, and no command was ever wrong."""
    observer = stage.observer
    answered = lambda: observer.commands and observer.commands[-1].sent > since  # noqa: E731
    observer.wait_for(answered, ANSWER_WITHIN_S)
    assert stage.planner.process.poll() is None, stage.planner.said()[-2000:]
    assert not list(observer.wrong_commands(since, ANSWER_WITHIN_S))
    assert "Traceback" not in stage.planner.said()
    observer.forget()


def filled(message: Any, draw: Callable[[Any], Any], depth: int = 0) -> Any:  # noqa: ANN401
    """The same message with some of its fields drawn anew, inner messages as well."""
    for name, kind in message.get_fields_and_field_types().items():
        if "/" in kind and "sequence" not in kind and "[" not in kind:
            filled(getattr(message, name), draw, depth + 1)
        elif draw(st.booleans()) and (strategy := _strategy(kind)) is not None:
            setattr(message, name, draw(strategy))
    return message


def _strategy(kind: str) -> st.SearchStrategy[Any] | None:
    """Of the values of a plain field."""
    if kind in ("double", "float"):
        return FLOATS if kind == "double" else st.floats(width=32, allow_subnormal=False)
    if kind in ("uint32", "int32"):
        return st.integers(0, 300) if kind == "uint32" else SMALL
    return {
        "string": NAMES,
        "sequence<double>": st.lists(FLOATS, max_size=12),
        "sequence<string>": st.lists(NAMES, max_size=12),
        "sequence<int8>": st.lists(CELLS, max_size=40),
    }.get(kind)


@st.composite
def messages(draw: Any) -> Any:  # noqa: ANN401
    """Of any kind that asks for something."""
    kind = draw(st.sampled_from([PoseStamped, PathMessage, Twist, OccupancyGrid]))
    message = kind()
    if hasattr(message, "header"):
        message.header.frame_id = "odom"
    if kind is PathMessage:
        message.poses = [
            filled(PoseStamped(header=message.header), draw)
            for _ in range(draw(st.integers(0, 4)))
        ]
    if kind is OccupancyGrid and draw(st.booleans()):  # one that is whole
        message.info.height, message.info.width = draw(st.integers(0, 20)), draw(st.integers(0, 9))
        message.info.resolution = draw(st.floats(width=32, allow_subnormal=False))
        message.data = [draw(CELLS)] * (message.info.height * message.info.width)
        return message
    return filled(message, draw)


@UNSHRUNK
@given(st.lists(messages(), min_size=1, max_size=20))
def test_whatever_is_asked_for_it_lives_and_commands_stay_in_limits(
    stage: Stage, asked: list[Any]
) -> None:
    since = time.time()
    for message in asked:
        stage.publish(message)
    stays_alive(stage, since)


@UNSHRUNK
@given(st.data())
def test_a_state_that_is_not_finite_or_not_whole_gets_the_safe_command(
    stage: Stage, data: st.DataObject
) -> None:
    whole = stage.states.state(0)
    joints, odometry = (filled(message, data.draw) for message in whole)
    sent: list[int] = []

    def tamper(*both: JointState | Odometry) -> tuple[JointState | Odometry, ...]:
        if sent:
            return both
        joints.header.stamp = odometry.header.stamp = both[0].header.stamp
        sent.append(to_ns(both[0].header.stamp))
        return joints, odometry

    observer, since = stage.observer, time.time()
    stage.states.tamper = tamper
    observer.wait_for(
        lambda: sent and any((c.stamp_ns or 0) > sent[0] for c in observer.commands),
        ANSWER_WITHIN_S,
    )
    driving = [c.stamp_ns for c in observer.commands if observer.is_driving(c)]
    assert not _is_wrong(joints, odometry) or sent[0] not in driving
    stays_alive(stage, since)


def _is_wrong(joints: JointState, odometry: Odometry) -> bool:
    """What nobody may drive on, whatever else is right."""
    pose, twist = odometry.pose.pose, odometry.twist.twist
    velocities = [] if np.isnan(joints.velocity).all() else joints.velocity  # they need not come
    numbers = [
        *(
            getattr(part, axis)
            for part in (pose.position, twist.linear, twist.angular)
            for axis in "xyz"
        ),
        *(getattr(pose.orientation, axis) for axis in "xyzw"),
        *joints.position,
        *velocities,
    ]
    sizes = {len(joints.name), len(joints.position), len(velocities) or len(joints.name)}
    return not np.isfinite(numbers).all() or len(sizes) > 1 or len(set(joints.name)) < 8


@UNSHRUNK
@given(st.data())
def test_whatever_parameters_are_set_it_lives(stage: Stage, data: st.DataObject) -> None:
    since = time.time()
    names = stage.observer.call(ListParameters, "skill_planner/list_parameters").result.names
    values = {
        1: ("bool_value", st.booleans()),
        2: ("integer_value", st.integers(-(2**63), 2**63 - 1)),
        3: ("double_value", FLOATS),
        4: ("string_value", st.text(max_size=50)),
        8: ("double_array_value", st.lists(FLOATS, max_size=6)),
        9: ("string_array_value", st.lists(st.text(max_size=5), max_size=6)),
    }
    parameters = []
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=10)):
        kind = data.draw(st.sampled_from(list(values)))
        field, strategy = values[kind]
        value = ParameterValue(type=kind, **{field: data.draw(strategy)})
        parameters.append(ParameterMessage(name=name, value=value))
    stage.observer.call(SetParameters, "skill_planner/set_parameters", parameters=parameters)
    stays_alive(stage, since)


@UNSHRUNK
@given(st.lists(st.integers(0, 99), min_size=1, max_size=6))
def test_whatever_transitions_are_asked_for_it_lives(stage: Stage, numbers: list[int]) -> None:
    call, since = stage.observer.call, time.time()
    for number in numbers:
        if number not in range(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, 9):
            call(ChangeState, "skill_planner/change_state", transition=Transition(id=number))
    state = call(GetState, "skill_planner/get_state").current_state.id
    if state == State.PRIMARY_STATE_UNCONFIGURED:
        assert stage.change(Transition.TRANSITION_CONFIGURE)
    if state != State.PRIMARY_STATE_ACTIVE:
        assert stage.change(Transition.TRANSITION_ACTIVATE)
    stays_alive(stage, since)
