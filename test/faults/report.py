"""docs/reliability.md: what ``make faults`` and ``make soak`` measured, as they measured it."""

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from faults.judge import Run
from faults.machine import machine
from faults.rows import Row
from ros_graph import ROOT, STATE_TIMEOUT_S

_HEAD = """# Reliability

Written by `make faults` and `make soak`, never by hand. What is promised, and what is not, is in \
[safety.md](safety.md).
"""
_ROWS = """## Faults

{measured}. {held} of {rows} rows held every time.

What is done to real processes (simulator, planner, DDS) while a robot drives, and what was seen. \
In every row no command may be non-finite, out of limits or of wrong length, and none may drive \
in answer to a state older than {timeout_s:g} s (`state_timeout_s`). Times are in milliseconds, \
the median and the longest of all runs. *Reaction* is the time from the fault to the safe \
command; where a process has to end, until it has ended; where the robot has to drive on, the \
longest time from a state to its command, or without a command. *Recovery* is the time from the \
end of the fault (which may be the start of a new process) until the robot drives again. \
*Machine* is the longest time that this machine kept a bare process waiting meanwhile. A reaction \
may be later than promised by twice that (who sends may be kept waiting, and who receives); \
nothing is subtracted from it. Two rows are run at a time, but for those that keep every core busy.

| what is done | what must be seen | held | reaction | recovery | machine |
|---|---|---|---|---|---|
{table}
"""


def write_rows(file: Path, results: Sequence[tuple[Row, list[Run]]]) -> None:
    """Write the table of all rows, and what was wrong."""
    lines = []
    for row, runs in results:
        cells = (
            row.name,
            row.must.value + (f"; `{row.says}` in `/diagnostics`" if row.says else ""),
            f"{sum(not run.wrong for run in runs)} of {len(runs)}",
            _milliseconds(runs, lambda run: run.reaction_s),
            _milliseconds(runs, lambda run: run.recovery_s),
            f"{max(1e3 * run.machine_s for run in runs):.0f}",
        )
        lines.append(f"| {' | '.join(cell.replace('|', ' or ') for cell in cells)} |")
    text = _ROWS.format(
        measured=measured(),
        held=sum(all(not run.wrong for run in runs) for _, runs in results),
        rows=len(results),
        timeout_s=STATE_TIMEOUT_S,
        table="\n".join(lines),
    )
    wrong = [
        f"- {row.name}: {sentence}"
        for row, runs in results
        for sentence in dict.fromkeys(sentence for run in runs for sentence in run.wrong)
    ]
    if wrong:
        text += "\nWhat did not hold:\n\n" + "\n".join(wrong) + "\n"
    write_section(file, "Faults", text)


def write_section(file: Path, title: str, text: str) -> None:
    """Put a section, which begins with its title, in the place of the one before."""
    old = file.read_text(encoding="utf-8") if file.exists() else _HEAD
    head, *sections = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    kept = [section for section in sections if not section.startswith(f"## {title}\n")]
    parts = sorted([*kept, text])
    file.write_text("\n".join(part.rstrip() + "\n" for part in [head, *parts]), encoding="utf-8")


def measured() -> str:
    """When, with what and on what it was."""
    command = ["git", "describe", "--always", "--dirty=, with changes", "--exclude=*"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    commit = said.stdout.strip() or "unknown"
    return f"Measured on {time.strftime('%Y-%m-%d')} at commit {commit} on {machine()}"


def _milliseconds(runs: Sequence[Run], read: Callable[[Run], float | None]) -> str:
    values = [1e3 * value for run in runs if (value := read(run)) is not None]
    return f"{np.median(values):.0f}, {max(values):.0f}" if values else "-"
