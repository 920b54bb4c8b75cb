"""A process that runs functions and may die, hang or be ended without harm to this one."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from dads_ros.errors import PlanningError
from dads_ros.planning.worker import NICENESS, Worker

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = ("echo", "arrays", "pid", "refuse", "fail", "die", "allocate", "hold_interpreter")
FUNCTIONS = {name: f"worker_jobs:{name}" for name in NAMES}
PATIENCE_S = 60.0
MAIN = """
import concurrent.futures, sys
sys.path.insert(0, sys.argv[1])
from dads_ros.planning.worker import Worker
functions = ("worker_jobs:pid", "worker_jobs:hold_interpreter")
worker = Worker(functions)
print(worker.submit(functions[0]).result()["pid"], flush=True)
job = worker.submit(functions[1], seconds=600, fifo=sys.argv[2])
while not job.done():  # a wait without end can miss a signal that comes just before it
    concurrent.futures.wait([job], 0.1)
"""


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """Opened for reading, it waits until the job that it is given to runs."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(tuple(FUNCTIONS.values()))
    yield worker
    worker.close()


def run(worker: Worker, name: str, data: object = b"", **arguments: object) -> dict[str, object]:
    return worker.submit(FUNCTIONS[name], data, **arguments).result(PATIENCE_S)


def ended(descriptor: int) -> bool:
    """Whether a process has ended, or does in good time."""
    return bool(select.select([descriptor], [], [], PATIENCE_S)[0])


def test_arrays_and_values_come_back_as_they_were(worker: Worker) -> None:
    result = run(worker, "arrays")
    np.testing.assert_array_equal(result["bools"], np.eye(3, dtype=bool))
    np.testing.assert_array_equal(result["numbers"], [4.0, 3.0, 2.0, 1.0, 0.0])
    np.testing.assert_array_equal(result["turned"], [[0, 3], [1, 4], [2, 5]])
    assert result["empty"].shape == (0, 2) and result["text"] == "of three arrays"
    assert result["turned"].dtype == np.int16 and not result["numbers"].flags.writeable


@pytest.mark.parametrize("size", [0, 1, 77, 20_000_000])
def test_data_of_any_size_goes_there(worker: Worker, size: int) -> None:
    data = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    result = run(worker, "echo", data, names=["a", "b"], number=0.1)
    assert result["size"] == size and result["arguments"] == {"names": ["a", "b"], "number": 0.1}
    np.testing.assert_array_equal(result["bytes"], data)


def test_nothing_runs_before_the_first_job_and_the_process_lives_on(worker: Worker) -> None:
    assert worker.pid is None
    first, second = run(worker, "pid"), run(worker, "pid")
    assert first["pid"] == second["pid"] == worker.pid != os.getpid()
    assert first["nice"] == min(19, os.nice(0) + NICENESS)


def test_an_error_is_told_and_the_process_goes_on(worker: Worker) -> None:
    before = run(worker, "pid")["pid"]
    with pytest.raises(PlanningError, match=r"^this is refused, send something else$"):
        run(worker, "refuse")
    with pytest.raises(PlanningError, match=r"fail failed.*KeyError.*nobody expected this"):
        run(worker, "fail")
    assert run(worker, "pid")["pid"] == before


def test_refusals_leave_no_file_open(worker: Worker) -> None:
    def refuse() -> int:
        with pytest.raises(PlanningError):
            worker.submit(FUNCTIONS["refuse"]).result(PATIENCE_S)
        return len(os.listdir("/proc/self/fd"))

    assert len({refuse() for _ in range(20)}) == 1


def test_too_much_memory_is_refused(worker: Worker) -> None:
    with pytest.raises(PlanningError, match="needs more than its 1024 MiB"):
        run(worker, "allocate")
    assert run(worker, "pid")["pid"] == worker.pid


def test_a_process_that_dies_is_replaced(worker: Worker) -> None:
    before = run(worker, "pid")["pid"]
    with pytest.raises(PlanningError, match="die ended before its result came"):
        run(worker, "die")
    assert run(worker, "pid")["pid"] != before


def test_a_process_that_was_killed_between_two_jobs_is_replaced(worker: Worker) -> None:
    before = run(worker, "pid")["pid"]
    watch = os.pidfd_open(before)
    os.kill(before, signal.SIGKILL)
    assert ended(watch)
    os.close(watch)
    assert run(worker, "pid")["pid"] != before


def test_a_job_that_takes_too_long_is_ended() -> None:
    worker = Worker(tuple(FUNCTIONS.values()), limit_s=10.0)
    try:
        before = run(worker, "pid")["pid"]
        with pytest.raises(PlanningError, match="took longer than 10 s"):
            run(worker, "hold_interpreter", seconds=600)
        assert run(worker, "pid")["pid"] != before
    finally:
        worker.close()


def test_a_cancelled_job_is_ended_and_the_next_one_runs(worker: Worker, fifo: Path) -> None:
    before = run(worker, "pid")["pid"]
    endless = worker.submit(FUNCTIONS["hold_interpreter"], seconds=600, fifo=str(fifo))
    waiting = worker.submit(FUNCTIONS["fail"])
    assert fifo.read_text() == ""
    assert waiting.cancel() and endless.cancel()
    assert run(worker, "pid")["pid"] != before


def test_a_cancelled_job_that_is_short_costs_no_process(
    worker: Worker, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dads_ros.planning.worker._GRACE_S", PATIENCE_S)
    before = run(worker, "pid")["pid"]
    short = worker.submit(FUNCTIONS["hold_interpreter"], seconds=1, fifo=str(fifo))
    assert fifo.read_text() == "" and short.cancel()
    assert run(worker, "pid")["pid"] == before


def test_closing_ends_the_process_and_leaves_nothing_open(fifo: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    worker = Worker(tuple(FUNCTIONS.values()))
    watch = os.pidfd_open(run(worker, "pid")["pid"])
    hold = FUNCTIONS["hold_interpreter"]
    jobs = [worker.submit(hold, seconds=600, fifo=str(fifo)) for _ in range(2)]
    assert fifo.read_text() == ""
    worker.close()
    assert ended(watch) and all(job.cancelled() for job in jobs)
    assert worker.submit(FUNCTIONS["pid"]).cancelled()
    os.close(watch)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_this_process_goes_on_while_a_job_holds_its_interpreter(worker: Worker) -> None:
    run(worker, "pid")
    job = worker.submit(FUNCTIONS["hold_interpreter"], seconds=2)
    ticks, rest = 0, threading.Event()
    while not job.done():
        rest.wait(0.01)
        ticks += 1
    assert ticks > 5


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_parent_even_while_its_interpreter_is_held(
    signal_number: int, fifo: Path
) -> None:
    command = [sys.executable, "-c", MAIN, str(ROOT / "test"), str(fifo)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        watch = os.pidfd_open(int(parent.stdout.readline()))
        assert fifo.read_text() == ""
        parent.send_signal(signal_number)
        assert ended(watch)
        os.close(watch)
        parent.wait(PATIENCE_S)


def test_nothing_is_imported_from_the_working_folder(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "worker_jobs", "sitecustomize", "json", "resource"):
        (tmp_path / f"{name}.py").write_text(f"open('{tmp_path}/{name}.ran', 'w')")
    monkeypatch.chdir(tmp_path)
    for entry in ("", ".", str(tmp_path)):
        monkeypatch.syspath_prepend(entry)
    monkeypatch.setenv("PYTHONPATH", f":.:{tmp_path}")
    run(worker, "pid")
    assert not list(tmp_path.glob("*.ran"))


def test_what_is_made_of_a_result_may_fail_as_well(worker: Worker) -> None:
    def spoil(_: object) -> None:
        raise ZeroDivisionError

    convert: Callable[..., None] = spoil
    job: Future[None] = worker.submit(FUNCTIONS["pid"], convert=convert)
    with pytest.raises(PlanningError, match="ZeroDivisionError"):
        job.result(PATIENCE_S)
    assert run(worker, "pid")["pid"] == worker.pid
