"""How a process of ours ends: real processes, real signals."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dads_ros.process import ECHO_S, SIGNALS

Start = Callable[..., "subprocess.Popen[str]"]
CATCH = "from dads_ros.process import STOP; import time; STOP.catch_signals({}); "
READY = "print('ready', flush=True); "
LOOP = "\nwhile not STOP.is_asked: time.sleep(0.01)\n"
STUCK = "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a script, waits until it is ready, and ends it in every case."""
    processes: list[subprocess.Popen[str]] = []

    def start(script: str, *, ignored: signal.Signals | None = None) -> subprocess.Popen[str]:
        # As from a terminal, whatever this test inherited.
        before = {n: signal.signal(n, signal.SIG_DFL) for n in SIGNALS}
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, handler in before.items():
            signal.signal(number, handler)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("is_command", [False, True])
def test_a_signal_asks_and_the_exit_code_tells_which(
    start: Start, number: signal.Signals, is_command: bool
) -> None:
    end = "print('saved'); raise SystemExit(STOP.exit_code)"
    process = start(CATCH.format(f"is_command={is_command}") + READY + LOOP + end)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (out, err) == ("saved\n", "")
    assert process.returncode == (128 + number if is_command else 0)


@pytest.mark.parametrize("number", SIGNALS)
def test_what_does_not_end_is_cut_off_with_one_sentence(
    start: Start, number: signal.Signals
) -> None:
    process = start(CATCH.format("0.3, is_command=True") + READY + STUCK)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert err.startswith("dads_ros: cut off ")
    assert len(err.splitlines()) == 1


def test_asking_without_a_signal_has_the_same_deadline(start: Start) -> None:
    process = start(CATCH.format(0.3) + READY + "STOP.ask(); " + STUCK)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err.startswith("dads_ros: cut off ")


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    process = start(CATCH.format(600.0) + READY + STUCK)
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 30.0
    while process.poll() is None:
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGTERM)
        time.sleep(2.0 * ECHO_S)
    assert process.returncode == 0


def test_the_echo_of_a_signal_leaves_it_the_time_to_end(start: Start) -> None:
    """A terminal that closes sends two: from the kernel and from the shell."""
    end = "time.sleep(0.2); print('saved')"
    process = start(CATCH.format(600.0) + READY + LOOP + end)
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
    assert process.communicate(timeout=30) == ("saved\n", "")
    assert process.returncode == 0


def test_the_kernel_ends_what_holds_the_interpreter(start: Start) -> None:
    hold = "import re; re.match('(a+)+$', 'a' * 60 + 'b')"
    process = start(CATCH.format(0.3) + READY + LOOP + hold)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGALRM


def test_where_nothing_is_to_be_ended_a_signal_ends_it_at_once(start: Start) -> None:
    process = start(CATCH.format(0.0) + READY + STUCK)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_what_nohup_has_ignored_stays_ignored(start: Start) -> None:
    end = "print(STOP.exit_code)"
    script = CATCH.format("is_command=True") + READY + LOOP + end
    process = start(script, ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert out == "143\n"


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_output_that_nobody_reads_ends_nothing(kind: str, tmp_path: Path) -> None:
    script = (
        "import sys; from dads_ros.process import begin; begin(is_node=False)\n"
        "sys.stdin.readline()\n"
        "for _ in range(1000): print('x' * 100); print('y', file=sys.stderr, flush=True)\n"
        "open(sys.argv[1], 'w').close()"
    )
    reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "done")],
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    os.close(reader)
    process.communicate(b"go\n", timeout=30)
    assert process.returncode == 0
    assert (tmp_path / "done").exists()
