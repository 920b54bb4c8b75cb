"""Runs rows over real processes and writes what was seen to docs/reliability.md.

    python -m faults [--repeat 5] [--rows TEXT] [--jobs 2] [--out FILE] [--without]

Each row has a process, a ROS domain and a robot of its own; the robot of a run in which something
was wrong is replaced by a new one. Rows that keep every core busy are run alone.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults.judge import Robots, Run
from faults.report import write_rows
from faults.rows import ROWS, Row
from faults.without import protection_from

ROW_TIMEOUT_S = 600.0
UNPROVED = ("no start", "the row broke", "the row did not end")


def main() -> int:
    """Returns: 0 when every row held every time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rows", default="", help="only rows whose name holds this")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time")
    parser.add_argument("--out", type=Path, help="write the table to this file")
    parser.add_argument(
        "--without", action="store_true", help="take out what protects: each row must fail, once"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        (row,) = (row for row in ROWS if row.name == args.one)
        if args.without:
            setup = dataclasses.replace(row.setup, without=protection_from(row.name))
            row = dataclasses.replace(row, setup=setup)
        with Robots() as robots:
            runs = [robots.run(row) for _ in range(args.repeat)]
            print(json.dumps([dataclasses.asdict(seen) for seen in runs]), flush=True)
        return 0
    rows = [row for row in ROWS if args.rows in row.name]
    if args.without:
        return _prove(rows)
    results: dict[str, list[Run]] = {}
    for jobs, burn in ((args.jobs, False), (1, True)):
        some = [row for row in rows if row.setup.burns == burn]
        with ThreadPoolExecutor(jobs) as pool:
            for row, runs in zip(
                some, pool.map(lambda row: _in_process(row, args.repeat), some), strict=True
            ):
                results[row.name] = runs
                wrong = [sentence for seen in runs for sentence in seen.wrong]
                held = sum(not seen.wrong for seen in runs)
                said = [f"{held}/{args.repeat}  {row.name}", *dict.fromkeys(wrong)]
                print(*said, sep="\n      ", flush=True)
    if args.out is not None:
        write_rows(args.out, [(row, results[row.name]) for row in rows])
    return int(any(seen.wrong for runs in results.values() for seen in runs))


def _prove(rows: Sequence[Row]) -> int:
    """Print how each row fails without its protection. Returns: 1 where one does not."""
    status = 0
    for row in rows:
        protection = protection_from(row.name)
        if not protection:
            print(f"-     {row.name}: nothing can be taken out")
            continue
        (seen,) = _in_process(row, 1, "--without")
        is_proved = any(not sentence.startswith(UNPROVED) for sentence in seen.wrong)
        status |= not is_proved
        said = "; ".join(seen.wrong) or "it holds all the same"
        verdict = "fails" if is_proved else "HOLDS"
        print(f"{verdict} without {protection}: {row.name}: {said}", flush=True)
    return status


def _in_process(row: Row, number: int, *more: str) -> list[Run]:
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "faults",
        "--one",
        row.name,
        "--repeat",
        str(number),
        *more,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said, complaints = process.communicate(timeout=ROW_TIMEOUT_S)
        return [Run(**seen) for seen in json.loads(said.splitlines()[-1])]
    except subprocess.TimeoutExpired:
        return [Run(wrong=["the row did not end"])] * number
    except (IndexError, ValueError):
        return [
            Run(wrong=[f"the row broke ({process.returncode}): {complaints.strip()[-300:]}"])
        ] * number
    finally:
        with contextlib.suppress(ProcessLookupError):  # also what it started itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
