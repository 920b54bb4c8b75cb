"""Do what is missing: train and measure, in processes of their own."""

import functools
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from subprocess import CalledProcessError

from dads_ros.errors import DadsError
from dads_ros.files import source_commit
from tables.results import DECIMALS, Result, Run, versions

PROGRESS_STEPS = 100
INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def run_all(runs: Sequence[Run], jobs: int) -> int:
    """Make what is missing. Returns: 1 when a run failed, 130 when it was interrupted."""
    missing = [run for run in runs if run.result() is None]
    _say(f"{len(runs) - len(missing)} of {len(runs)} runs are done")
    trainings: dict[str, list[Run]] = {}
    for run in missing:
        trainings.setdefault(run.row.contender.training(run.seed), []).append(run)
    pool, stop = ThreadPoolExecutor(jobs), threading.Event()
    try:
        futures = [pool.submit(make, same, stop) for same in trainings.values()]
        return int(not all([future.result() for future in futures]))
    except KeyboardInterrupt:  # which has reached what runs as well
        _say("stopping; the same command goes on from here")
        return INTERRUPTED
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def make(runs: Sequence[Run], stop: threading.Event) -> bool:
    """Train and measure rows of the same training, each measured in a process of its own.

    Returns: whether all is done. Between two of them it looks at ``stop``.
    """
    is_done = True
    for index, run in enumerate(runs):
        if stop.is_set():
            return False
        try:
            run.row.contender.train(run.seed, functools.partial(_call, str(run)))
        except (DadsError, CalledProcessError) as error:
            _say(f"failed ({error}): {'; '.join(map(str, runs[index:]))}")
            return False
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(run,))
        process.start()
        process.join()
        is_done &= process.exitcode == 0
        _say(f"{'failed' if process.exitcode else 'done'}: {run}")
    return is_done


def _call(name: str, arguments: Sequence[str]) -> None:
    """Run ``python -m``; what it says is said with the name of the run before each line."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
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
        sys.exit(INTERRUPTED)
    except DadsError as error:
        _say(f"{run}: error: {error}")
        sys.exit(2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
