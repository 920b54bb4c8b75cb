"""Do what is missing: train and measure, each run in processes of its own."""

import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
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
    commit, code = source_commit(), 0
    locks = {run.row.contender.training(run.seed): threading.Lock() for run in missing}
    pool = ThreadPoolExecutor(jobs)
    futures = {run: pool.submit(make, run, commit, locks) for run in missing}
    try:
        for number, (run, future) in enumerate(futures.items(), 1):
            try:
                future.result()
                what = "done"
            except (DadsError, CalledProcessError) as error:
                what, code = f"failed ({error})", 1
            _say(f"[{number} of {len(missing)}] {what}: {run}")
    except KeyboardInterrupt:
        _say("stopping; the same command goes on from here")
        code = INTERRUPTED
    pool.shutdown(cancel_futures=True)  # a Ctrl-C has reached what runs as well
    return code


def make(run: Run, commit: str, locks: Mapping[str, threading.Lock]) -> None:
    """Train and measure, each in a process of its own. Raises: CalledProcessError, DadsError."""
    contender = run.row.contender
    with locks[contender.training(run.seed)]:  # several rows may want the same
        contender.train(run.seed, lambda arguments: _call(str(run), arguments))
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(run, commit))
    process.start()
    process.join()
    if process.exitcode:
        raise CalledProcessError(process.exitcode, "measuring")


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


def measure(run: Run, commit: str) -> None:
    """Measure a run that was trained, and keep its result. Exits where it cannot."""
    begin = time.perf_counter()

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
            versions=versions(),
        ).save(run.path)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except DadsError as error:
        _say(f"{run}: error: {error}")
        sys.exit(2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
