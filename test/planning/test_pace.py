"""Which states become control steps, and which rates are named, all with made stamps."""

import numpy as np
import pytest

from dads_ros.planning.pace import NUM_INTERVALS, NUM_JUDGED, Pace

STEP_MS = 50.0
SECONDS = 100.0


def stamps(rate_hz: float, jitter_ms: float = 0.0, lost: float = 0.0) -> np.ndarray:
    """Of states over SECONDS, ms."""
    rng = np.random.default_rng(0)
    times = np.arange(0.0, 1e3 * SECONDS, 1e3 / rate_hz)
    times = times[(rng.random(len(times)) >= lost) | (times == 0.0)]
    return 7e9 + times + rng.uniform(-jitter_ms, jitter_ms, len(times))


def taken(pace: Pace, times_ms: np.ndarray) -> np.ndarray:
    return np.array([ms for ms in times_ms if pace.take(round(ms * 1e6))])


@pytest.mark.parametrize("rate_hz", [22.5, 30.0, 37.3, 40.0, 63.0, 87.0, 100.0, 200.0, 999.0])
def test_faster_states_are_thinned_to_the_control_rate_without_drift(rate_hz: float) -> None:
    pace = Pace(STEP_MS / 1e3)
    times = taken(pace, stamps(rate_hz))
    grid = times[0] + STEP_MS * np.arange(len(times))
    assert len(times) == SECONDS * 1e3 / STEP_MS
    assert np.abs(times - grid).max() <= 0.5e3 / rate_hz + 1e-3  # the nearest one each time
    assert pace.rate_hz == pytest.approx(rate_hz, rel=1e-3)
    assert not pace.complaint and not pace.is_too_slow


@pytest.mark.parametrize(("rate_hz", "jitter_ms", "lost"), [(200.0, 2.4, 0.0), (200.0, 1.0, 0.1)])
def test_jitter_and_loss_leave_the_control_rate(
    rate_hz: float, jitter_ms: float, lost: float
) -> None:
    pace = Pace(STEP_MS / 1e3)
    times = taken(pace, stamps(rate_hz, jitter_ms, lost))
    assert abs(len(times) - SECONDS * 1e3 / STEP_MS) <= 2
    assert np.diff(times).min() > 0.5 * STEP_MS and np.diff(times).max() < 1.8 * STEP_MS
    assert not pace.complaint


@pytest.mark.parametrize(
    ("rate_hz", "jitter_ms"), [(18.5, 0.0), (19.9, 5.0), (20.0, 5.0), (20.1, 5.0), (21.9, 0.0)]
)
def test_about_the_control_rate_every_state_counts(rate_hz: float, jitter_ms: float) -> None:
    pace, times = Pace(STEP_MS / 1e3), stamps(rate_hz, jitter_ms)
    assert len(taken(pace, times)) == len(times)
    assert not pace.complaint


@pytest.mark.parametrize(
    ("rate_hz", "is_too_slow"), [(17.0, False), (10.0, False), (8.1, False), (7.9, True)]
)
def test_slower_states_all_count_and_are_named(rate_hz: float, is_too_slow: bool) -> None:
    pace, times = Pace(STEP_MS / 1e3), stamps(rate_hz, jitter_ms=0.1)
    assert len(taken(pace, times[:NUM_JUDGED])) == NUM_JUDGED
    assert not pace.complaint  # it may yet be chance
    assert len(taken(pace, times[NUM_JUDGED:])) == len(times) - NUM_JUDGED
    assert f"come at {rate_hz:g}" in pace.complaint and "needs 20 Hz" in pace.complaint
    assert pace.is_too_slow == is_too_slow


def test_a_pause_is_no_rate_and_a_rate_that_recovers_is_forgiven() -> None:
    pace, times = Pace(STEP_MS / 1e3), np.arange(100) * STEP_MS
    taken(pace, times)
    assert len(taken(pace, times + 60e3)) == 100  # no step is made up for
    fast = taken(pace, 120e3 + np.arange(100) * 5.0)
    assert len(taken(pace, fast[-1] + 10e3 + np.arange(100) * 5.0)) == 10
    assert not pace.complaint
    taken(pace, 200e3 + np.arange(20) * 4 * STEP_MS)
    assert pace.is_too_slow
    taken(pace, 300e3 + np.arange(NUM_INTERVALS) * STEP_MS)
    assert not pace.complaint


def test_two_states_at_nearly_one_time_are_one_control_step() -> None:
    pace = Pace(STEP_MS / 1e3)
    pairs = np.add.outer(np.arange(100) * STEP_MS, [0.0, 1.0])
    assert taken(pace, pairs.ravel()).tolist() == pairs[:, 0].tolist()
