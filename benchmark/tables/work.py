"""Do what is missing: train and measure, in processes of their own."""

import functools
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from subprocess import CalledProcessError
from types import FrameType
from typing import TypeVar

from dads_ros.errors import DadsError
from dads_ros.files import source_commit
from dads_ros.process import signals_that_count
from tables.results import DECIMALS, Result, Run, versions

ProcessT = TypeVar("ProcessT", "subprocess.Popen[str]", BaseProcess)
PROGRESS_STEPS = 100


class Children:
    """Processes that end with this one."""

    def __init__(self) -> None:
        """None is running."""
        self._lock, self._running = threading.Lock(), set[subprocess.Popen[str] | BaseProcess]()
        self.are_stopped = False

    @contextmanager
    def run(self, start: Callable[[], ProcessT]) -> Iterator[ProcessT]:
        """One that is started. Raises: DadsError once they are stopped."""
        with self._lock:
            if self.are_stopped:
                raise DadsError("stopped")
            process = start()
            self._running.add(process)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Tell all to end; no other one begins."""
        with self._lock:
            self.are_stopped = True
            for process in self._running:
                process.terminate()


def run_all(runs: Sequence[Run], jobs: int) -> int:
    """Make what is missing. Returns: 1 when a run failed, 128 + the signal that ended it."""
    missing = [run for run in runs if run.result() is None]
    _say(f"{len(runs) - len(missing)} of {len(runs)} runs are done")
    trainings: dict[str, list[Run]] = {}
    for run in missing:
        trainings.setdefault(run.row.contender.training(run.seed), []).append(run)
    pool, children = ThreadPoolExecutor(jobs), Children()
    before = {number: signal.signal(number, _interrupt) for number in signals_that_count()}
    try:
        futures = [pool.submit(make, same, children) for same in trainings.values()]
        return int(not all([future.result() for future in futures]))
    except KeyboardInterrupt as interrupt:
        _say("stopping; the same command goes on from here")
        return 128 + int(interrupt.args[0])
    finally:
        children.stop()
        pool.shutdown(cancel_futures=True)
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def make(runs: Sequence[Run], children: Children) -> bool:
    """Train and measure rows of the same training, each measured in a process of its own.

    Returns: whether all is done.
    """
    is_done = True
    for index, run in enumerate(runs):
        try:
            run.row.contender.train(run.seed, functools.partial(_call, children, str(run)))
            with children.run(functools.partial(_started, run)) as process:
                process.join()
        except (DadsError, CalledProcessError) as error:
            if not children.are_stopped:
                _say(f"failed ({error}): {'; '.join(map(str, runs[index:]))}")
            return False
        is_done &= process.exitcode == 0
        if not children.are_stopped:
            _say(f"{'failed' if process.exitcode else 'done'}: {run}")
    return is_done


def _started(run: Run) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(run,))
    process.start()
    return process


def _call(children: Children, name: str, arguments: Sequence[str]) -> None:
    """Run ``python -m``; what it says is said with the name of the run before each line."""

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with children.run(start) as process, process:
        assert process.stdout is not None
        line = ""
        for line in process.stdout:
            _say(f"{name}: {line.rstrip()}")
    if process.returncode:
        raise CalledProcessError(process.returncode, arguments[0], output=line)


def measure(run: Run) -> None:
    """Measure a run that was trained, and keep its result. Exits where it cannot."""
    begin, commit = time.perf_counter(), source_commit()

    def progress(step: int) -> None:
        if step % PROGRESS_STEPS == 0:
            _say(f"{run}: {step} steps, {time.perf_counter() - begin:.0f} s")

    try:
        agent = run.row.contender.load(run.seed)
        figures = run.table.protocol.measure(agent, progress)
        Result(
            table=run.table.name,
            row=run.row.name,
            seed=run.seed,
            commit=commit,
            training_commit=agent.training_commit,
            settings=run.settings(),
            figures={name: round(value, DECIMALS) for name, value in figures.items()},
            measure_s=round(time.perf_counter() - begin, 1),
            train_s=run.row.contender.train_s(run.seed),
            versions=versions(run.row.contender.packages),
        ).save(run.path)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except DadsError as error:
        _say(f"{run}: error: {error}")
        sys.exit(2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
