"""The age of a state counts from its stamp and its way through DDS, whichever says older."""

import time

import pytest
from rclpy.clock import ROSClock
from rclpy.time import Time

from dads_ros.nodes.conversions import MessageError
from dads_ros.nodes.state_age import StateAge, under_way_s
from dads_ros.planning.stamp_order import COMPARABLE_S

S = 1_000_000_000
TIMEOUT_S = 0.5
SLACK_S = 30.0  # a busy machine


def info(sent_s: float = 0.0, received_s: float = 0.0) -> float:
    """How old a message is that was sent and received so long ago."""
    now = time.time_ns()
    return under_way_s(
        {
            "source_timestamp": now - round(sent_s * S),
            "received_timestamp": now - round(received_s * S),
        }
    )


def simulated(seconds: float) -> ROSClock:
    clock = ROSClock()
    clock._set_ros_time_is_active(True)
    clock.set_ros_time_override(Time(nanoseconds=round(seconds * S), clock_type=clock.clock_type))
    return clock


@pytest.mark.parametrize(
    ("stamped_s", "sent_s", "received_s"), [(100, 0, 0), (0, 100, 0), (0, 0, 100), (100, 99, 98)]
)
def test_whatever_says_older_counts(stamped_s: float, sent_s: float, received_s: float) -> None:
    age = StateAge(ROSClock())
    stamp_ns = time.time_ns() - round(stamped_s * S)
    assert 100 <= age.of(stamp_ns, info(sent_s, received_s), TIMEOUT_S) < 100 + SLACK_S
    assert not age.is_other_clock


def test_a_stamp_of_another_clock_says_nothing_and_this_is_known() -> None:
    """A driver's uptime, or a simulation without use_sim_time."""
    age = StateAge(ROSClock())
    assert 7 <= age.of(10 * S, info(sent_s=7), TIMEOUT_S) < 7 + SLACK_S
    assert age.is_other_clock
    far = round(2 * COMPARABLE_S)
    assert age.of(time.time_ns(), info(sent_s=far), TIMEOUT_S) < SLACK_S  # another machine's time


def test_a_stamp_from_the_future_is_refused_but_not_a_little_skew() -> None:
    age = StateAge(ROSClock())
    with pytest.raises(MessageError, match="ahead of this node's clock"):
        age.of(time.time_ns() + 60 * S, info(), TIMEOUT_S)
    assert age.of(time.time_ns() + S // 10, info(), TIMEOUT_S) < SLACK_S


def test_simulated_stamps_are_measured_by_the_simulated_clock() -> None:
    clock, begin = simulated(100.0), time.monotonic()
    age, found = StateAge(clock), 0.0
    while time.monotonic() - begin < 1.5 and found < 1.0:
        now_ns = round((100.0 + time.monotonic() - begin) * S)
        clock.set_ros_time_override(Time(nanoseconds=now_ns, clock_type=clock.clock_type))
        found = age.of(now_ns - 5 * S, info(), TIMEOUT_S)
    assert found == pytest.approx(5.0, abs=0.5)
    assert age.of(now_ns + S, info(), TIMEOUT_S) < SLACK_S  # /clock comes later
    assert StateAge(simulated(0.0)).of(5 * S, info(), TIMEOUT_S) < SLACK_S  # no /clock yet


def test_at_high_speed_a_second_of_the_simulation_is_less_than_one_of_age() -> None:
    clock = simulated(0.0)
    age, begin = StateAge(clock), time.monotonic()
    assert age.of(0, info(), TIMEOUT_S) < SLACK_S  # the speed is not known yet: DDS alone counts
    while (elapsed_s := time.monotonic() - begin) < 1.5:
        now = Time(nanoseconds=round(100.0 * elapsed_s * S), clock_type=clock.clock_type)
        clock.set_ros_time_override(now)
        found = age.of(now.nanoseconds - 2 * S, info(), TIMEOUT_S)
    assert found == pytest.approx(0.02, abs=0.01)
