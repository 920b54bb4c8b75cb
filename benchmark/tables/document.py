"""docs/comparisons.md, written from the files of results alone."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tables.results import FOLDER, Result, Run, mean_and_half_width
from tables.rows import Column, Row, Table

PATH = Path(__file__).resolve().parents[2] / "docs" / "comparisons.md"
HEAD = (
    "# Comparisons\n\n"
    "Written by `make tables` from the files in `benchmark/results/`, one for each training seed "
    "of each row, with its settings, commits and wall time. What others report, and where, is in "
    "`benchmark/tables/rows.py`.\n\n"
    "A figure is the mean over training seeds, with its 95 % interval (Student's t, not cut off "
    "where a part would be above 1 or below 0). A row of one training seed has no interval and "
    "says nothing about other seeds. In a table all get the same goals and starts, at a random "
    "yaw; a robot that falls stays where it fell. A training run of ours whose skills collapse "
    "counts with the best that it had before. 'Training' is the control steps of all robots "
    "together, in millions, with those of a refit, or the wall time that ended it; evaluations "
    "while training do not count, of which ours chooses its best iteration by (0.04 million steps "
    "each, with zero skills 0.06 since 4213241). Where a row does not say otherwise, plans take "
    "all places within 0.4 m of a goal as equally good, as when the first were measured; the "
    "default has become 0.25 m, with which the shipped Ant's Δ over 400 steps is 0.005 less. Rows "
    "of one name may be of several runs with the same settings, as their commits say; "
    "'-dirty' is a commit with changes that were not committed. Training minutes depend on what "
    "else a machine did. The Ant has half of the torque of gym's, but where a row says otherwise."
    "\n\n"
    "`make tables` runs what is missing, which takes days; stopped, it goes on where it was. "
    '`make tables TABLES="goals circle" ROWS=continuous SEEDS="0 1" JOBS=2` runs a part of it, '
    "with training in `runs/tables`.\n"
)


def document(tables: Sequence[Table], folder: Path = FOLDER) -> str:
    """The text of the document. Raises: ConfigError for a file that is no result."""
    return "\n".join([HEAD, *(_section(table, folder) for table in tables)])


def _section(table: Table, folder: Path) -> str:
    found: dict[str, list[Result]] = {row.name: [] for row in table.rows}
    stale, missing = [], []
    for row in table.rows:
        for seed in row.contender.seeds:
            run = Run(table, row, seed, folder)
            if (result := run.result()) is not None:
                found[row.name].append(result)
            elif run.any_result() is not None:
                stale.append(str(run.path.relative_to(folder)))
        if not found[row.name]:
            missing.append(row.name)
    lines = [f"## {table.title}", "", table.text]
    shown = [row for row in table.rows if found[row.name]]
    for caption, columns in table.columns.items() if shown else ():
        lines += ["", f"**{caption}**"] if caption else []
        lines += ["", *_table(table, columns, shown, found)]
    notes = [_about(row, found[row.name]) for row in shown]
    notes += [f"- {each.name}: <{each.source}>, {each.how}." for each in table.published]
    lines += ["", *notes] if notes else []
    if missing:
        lines += ["", f"Without results yet: {'; '.join(missing)}."]
    if stale:
        lines += [
            "",
            "Left out, for they were made with other settings than today's or lack a figure: "
            f"{', '.join(stale)}.",
        ]
    return "\n".join(lines) + "\n"


def _table(
    table: Table, columns: Sequence[Column], rows: Sequence[Row], found: dict[str, list[Result]]
) -> list[str]:
    heads = ["", "seeds", "training", *(column.header for column in columns)]
    lines = [_line(heads), "|" + "---|" * len(heads)]
    for row in rows:
        results = found[row.name]
        seeds = f"{len(results)} of {len(row.contender.seeds)}"
        if len(row.contender.seeds) == 1:
            seeds = "one"
        training = row.training or f"{row.contender.num_env_steps() / 1e6:.1f}"
        cells = [_cell([r.figures[c.figure] for r in results], c.format) for c in columns]
        lines.append(_line([row.name, seeds, training, *cells]))
    for each in table.published:
        if any(column.figure in each.figures for column in columns):
            cells = [each.figures.get(column.figure, "") for column in columns]
            lines.append(_line([f"{each.name}, as published", "", "", *cells]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(values: Sequence[float], form: str) -> str:
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return "-"
    mean, half = mean_and_half_width(values)
    if half is None:
        return f"{mean:{form}}"
    return f"{mean:{form}} [{mean - half:{form}}, {mean + half:{form}}]"


def _about(row: Row, results: Sequence[Result]) -> str:
    """What a row is, and which code made it."""
    trained = _commits(result.training_commit for result in results)
    measured = _commits(result.commit for result in results)
    minutes = [round(result.train_s / 60.0) for result in results if result.train_s is not None]
    took = ""
    if len(minutes) == len(results):
        low, high = min(minutes), max(minutes)
        took = f", {low if low == high else f'{low} to {high}'} min a seed"
    seeds = ", ".join(str(result.seed) for result in results)
    return (
        f"- {row.name}: {row.note} Training seed {seeds}; trained at {trained}{took}, measured "
        f"at {measured}."
    )


def _commits(commits: Iterable[str]) -> str:
    """Each once, short."""
    return re.sub(r"\b([0-9a-f]{7})[0-9a-f]{33}\b", r"\1", ", ".join(sorted(set(commits))))
