"""One run of a row: what is seen from the fault until the robot drives again, and judged."""

import re
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from faults.rows import END_WITHIN_S, Must, Row
from faults.stage import Stage

RECOVER_WITHIN_S = 20.0
"""After a repair, which may itself last: DDS lists a planner that was killed for 20 s."""
ANSWER_WITHIN_S = 0.2
"""Each state of a robot that drives on, or stands, is answered within this."""
REPORT_WITHIN_S = 3.0
REPEATED = (Must.STOP, Must.STAND)
STOPPING = (*REPEATED, Must.REST, Must.END)


@dataclass
class Run:
    """What was seen of one row once; times in s."""

    reaction_s: float | None = None
    """Until the safe command, or the end; the slowest answer of a robot that drives on."""
    recovery_s: float | None = None
    """From the repair to the first driving command."""
    machine_s: float = 0.0
    """Longest that this machine kept a bare process waiting meanwhile."""
    wrong: list[str] = field(default_factory=list)
    """Sentences; empty when everything held."""


def run(row: Row, stage: Stage) -> Run:
    """Do it once to a robot that drives, and judge."""
    seen, observer = Run(), stage.observer
    observer.spin_for(0.3)
    row.before(stage)
    begin = time.time()
    try:
        row.fault(stage)
        _look_on(row, stage, seen, begin)
        _judge_commands(row, stage, seen, begin)  # a repair may begin with new stamps
        repaired = time.time()
        row.repair(stage)
        _wait_for_recovery(row, stage, seen, repaired)
        _judge_commands(row, stage, seen, repaired)
    except AssertionError as error:
        seen.wrong.append(str(error) or "an assertion failed")
    seen.machine_s = stage.meter.delay_s(begin, time.time())
    return seen


def _allowance_s(stage: Stage, begin: float) -> float:
    """What the machine may add: it can keep the sender waiting, and then the receiver."""
    return 2.0 * stage.meter.delay_s(begin, time.time())


def _judge_commands(row: Row, stage: Stage, seen: Run, begin: float) -> None:
    max_age_s = row.max_age_s + _allowance_s(stage, begin)
    seen.wrong += dict.fromkeys(stage.observer.wrong_commands(begin, max_age_s))


def _look_on(row: Row, stage: Stage, seen: Run, begin: float) -> None:
    """From the fault on, until it is judged."""
    observer = stage.observer
    if row.must is Must.END:
        asked = time.time()
        code = stage.exit_code(stage.planner, END_WITHIN_S + 5.0)
        _judge_time(seen, time.time() - asked, END_WITHIN_S, stage, begin, "the end")
        if code != 0:
            seen.wrong.append(f"the exit code is {code}")
    acted = begin if row.must in (*REPEATED, Must.REST) else time.time()
    observer.spin_for(max(0.0, acted + row.within_s + row.lasts_s - time.time()))
    end = time.time()
    if row.must in STOPPING:
        stop = observer.first_lasting_stop(begin, by_receipt=row.must is not Must.REST)
        if stop is None:
            seen.wrong.append("the last command drives")
        elif row.must is not Must.END:
            _judge_time(seen, stop - begin, row.within_s, stage, begin, "the safe command")
        silence = observer.longest_silence_s(begin, end)
        if row.must in REPEATED and silence > row.within_s + _allowance_s(stage, begin):
            seen.wrong.append(f"no command for {silence:.2f} s")
    elif row.must in (Must.DRIVE, Must.ANSWER):
        slowest = observer.slowest_answer_s(begin, end)
        _judge_time(seen, slowest, ANSWER_WITHIN_S, stage, begin, "the answer to a state")
        stops = observer.stops(begin, end)
        if row.must is Must.DRIVE and stops:
            said = stage.planner.said().splitlines()[-3:]
            waited = (
                f"this machine kept a process waiting for {_allowance_s(stage, begin) / 2:.2f} s"
            )
            seen.wrong.append(
                f"{stops} safe commands; {waited}; the planner said {' '.join(said)}"
            )
    else:
        silence = observer.longest_silence_s(begin, end)
        _judge_time(seen, silence, row.within_s, stage, begin, "a command")
    if row.says:
        pattern, deadline = re.compile(row.says), time.time() + REPORT_WITHIN_S
        while not observer.heard(begin, pattern.search) and time.time() < deadline:
            observer.spin_for(0.1)
        if not observer.heard(begin, pattern.search):
            said = observer.reports[-1].text.split(";")[0] if observer.reports else "nothing"
            seen.wrong.append(f"/diagnostics lacks '{row.says}'; it says '{said}'")


def _judge_time(
    seen: Run, took_s: float, within_s: float, stage: Stage, begin: float, what: str
) -> None:
    seen.reaction_s = took_s
    allowed_s = within_s + _allowance_s(stage, begin)
    if took_s > allowed_s:
        seen.wrong.append(f"{what} took {took_s:.2f} s; allowed are {allowed_s:.2f} s")


def _wait_for_recovery(row: Row, stage: Stage, seen: Run, repaired: float) -> None:
    observer, deadline = stage.observer, time.time() + RECOVER_WITHIN_S
    while observer.first_drive(repaired) is None:
        assert time.time() < deadline, "it does not drive again"
        observer.spin_for(0.1)
    if row.must in STOPPING:
        seen.recovery_s = observer.first_drive(repaired) - repaired


class Robots:
    """One robot after the other; the last one again where nothing was wrong with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stage: Stage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._stage = None

    def run(self, row: Row) -> Run:
        """Run a row once."""
        try:
            if self._stage is None or self._stage.setup != row.setup:
                self._stack.close()
                folder = self._stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="faults_", ignore_cleanup_errors=True)
                )
                self._stage = self._stack.enter_context(Stage(Path(folder), row.setup))
            seen = run(row, self._stage)
        except AssertionError as error:
            seen = Run(wrong=[f"no start: {error}"])
        if seen.wrong:
            self.__exit__()
        return seen
