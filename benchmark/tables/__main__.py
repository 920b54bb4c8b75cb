"""Run what is missing in the tables, and write docs/comparisons.md: make tables.

    PYTHONPATH=benchmark python -m tables [--tables NAME ...] [--rows TEXT ...] [--seeds N ...]
                                          [--jobs 1] [--list | --write]

Every training seed of every row is a run: trained if need be (in runs/tables/, whence a stopped
run goes on), then measured, and kept in benchmark/results/. A run whose result was made with
today's settings is not repeated.
"""

import argparse
import os
import sys

from dads_ros.errors import DadsError
from dads_ros.files import atomic_write
from tables.document import PATH, document
from tables.results import Run, all_runs
from tables.rows import TABLES
from tables.work import run_all

ROW_NAMES = {row.name for table in TABLES for row in table.rows}


def main() -> int:
    """Do it. Returns: the exit code; 1 when a run failed."""
    parser = argparse.ArgumentParser(prog="tables", description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", nargs="+", choices=[table.name for table in TABLES])
    parser.add_argument(
        "--rows", nargs="+", help="rows of these names, or with these words in their name"
    )
    parser.add_argument("--seeds", nargs="+", type=int, help="of training")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="say what is done, and run nothing")
    what.add_argument("--write", action="store_true", help="write the document, and run nothing")
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}; it must be at least 1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes started from here
    try:
        runs = [run for run in all_runs(TABLES) if _is_chosen(run, args)]
        if args.list:
            for run in runs:
                print(f"{_state(run):>8}  {run}")
            return 0
        if not runs:
            parser.error("no row has such a name or such a seed; --list shows them all")
        code = 0 if args.write else run_all(runs, args.jobs)
        with atomic_write(PATH) as temporary:
            temporary.write_text(document(TABLES), encoding="utf-8")
        print(f"wrote {os.path.relpath(PATH)}", file=sys.stderr)
        return code
    except DadsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _is_chosen(run: Run, args: argparse.Namespace) -> bool:
    def is_meant(text: str) -> bool:
        return run.row.name == text or (text in run.row.name and text not in ROW_NAMES)

    return (
        (args.tables is None or run.table.name in args.tables)
        and (args.rows is None or any(map(is_meant, args.rows)))
        and (args.seeds is None or run.seed in args.seeds)
    )


def _state(run: Run) -> str:
    if run.result() is not None:
        return "done"
    return "missing" if run.any_result() is None else "stale"


if __name__ == "__main__":
    sys.exit(main())
