"""dads-ros VERB: runs a verb; turns errors into one sentence and an exit code.

A verb is a module of this package with ``add_parser(subparsers)`` and ``run(args) -> int``. Only
the one that was asked for is imported, so that each needs no more than its own packages.

SIGINT, SIGTERM and SIGHUP end every verb, with the exit code that a shell shows for them: 130, 143
and 129; after them a node's is 0. What a verb does not catch is the signal's default action, which
ends it at once: files are written in one step.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from dads_ros import __version__
from dads_ros.errors import DadsError, how_to_install
from dads_ros.process import STOP, begin

PROGRAM = "dads-ros"
EXIT_BAD_INPUT = 2


@dataclass(frozen=True)
class Verb:
    """What is known about a verb before its module is imported."""

    module: str
    extra: str
    """Of setup.py: what must be installed for it."""
    help: str


VERBS = {
    "train": Verb("train", "train", "learn skills"),
    "export": Verb("export", "train", "make a skill bundle of a training run"),
    "refit": Verb("refit", "train", "refit a bundle's skill dynamics, with momentum"),
    "evaluate": Verb("evaluate", "ros", "measure a bundle in simulation, without ROS"),
    "plot": Verb("plot", "ros", "draw what a bundle's skills do, or a training run"),
    "demo": Verb("demo", "ros", "drive a simulated robot to goals over ROS 2"),
    "simulate": Verb("node", "ros", "start the simulator node"),
    "plan": Verb("node", "ros", "start the planner node"),
    "view": Verb("node", "view", "show robots and training in a browser"),
    "doctor": Verb("doctor", "ros", "look at a robot's ROS graph for what is wrong"),
    "audit": Verb("audit", "ros,audit", "look at a recorded drive for what was wrong in it"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: arguments without the program's name; those of the process when left out.
    Returns: 0 when all went well, 2 for wrong input; else the verb's own.
    """
    is_program = argv is None  # not called by a program of somebody else's
    argv = list(sys.argv[1:] if argv is None else argv)
    name = argv[0] if argv else "--help"
    try:
        if is_program:
            begin(is_node=name in VERBS and VERBS[name].module == "node")
        logging.basicConfig(format="%(message)s")
        logging.getLogger("dads_ros").setLevel(logging.INFO)
        if name not in VERBS:
            _parser().parse_args([name])  # prints help, version or an error, and leaves
        status = _run(name, argv)
        if is_program:
            STOP.leave_if_asked(status)
        return status
    except DadsError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error}; free some space, or choose a place that can be read and written")
    except UnicodeError as error:
        return _fail(f"{error}; choose other names, or a locale that has them: LC_ALL=C.UTF-8")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "dads_ros":
            raise
        return _fail(
            f"'{name}' needs the Python package '{error.name}', which is not installed; "
            f"{how_to_install(VERBS[name].extra)}"
        )


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default of an option, where it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_one = action.default not in (None, []) and not isinstance(action.default, bool)
        return super()._get_help_string(action) if has_one else action.help


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, like every other error of the program."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **{"formatter_class": _Formatter} | kwargs)

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401
        """Of help and version; argparse itself drops what cannot be written."""
        print(message, end="", file=file, flush=True)

    def error(self, message: str) -> NoReturn:
        self.exit(_fail(f"{message}; '{self.prog} --help' shows how"))


def _run(name: str, argv: list[str]) -> int:
    module = importlib.import_module(f"dads_ros.cli.{VERBS[name].module}")
    parser = _Parser(prog=PROGRAM)
    module.add_parser(parser.add_subparsers())
    status: int = module.run(parser.parse_args(argv))
    sys.stdout.flush()  # here, where a full disk still is one sentence
    return status


def _parser() -> argparse.ArgumentParser:
    """The parser without any verb's own arguments: for help and version."""
    parser = _Parser(prog=PROGRAM, description="Learn skills without reward, then plan over them.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        subparsers.add_parser(name, help=verb.help)
    return parser


def _fail(message: str) -> int:
    """Print one line on stderr. Returns: the exit code for bad input."""
    print(f"{PROGRAM}: error: {DadsError(message)}", file=sys.stderr)
    return EXIT_BAD_INPUT
