"""What 'ros2 run' and launch files start: a signal counts while the node is still imported."""

import importlib
import sys
from collections.abc import Sequence

from dads_ros.errors import DadsError, how_to_install
from dads_ros.process import STOP, begin


def simulator(args: Sequence[str] | None = None) -> int:
    """Run the simulator until a signal. Returns: the exit code."""
    return _run("simulator_node", args)


def skill_planner(args: Sequence[str] | None = None) -> int:
    """Run the planner until a signal. Returns: the exit code."""
    return _run("planner_node", args)


def skill_trainer(args: Sequence[str] | None = None) -> int:
    """Run the trainer until a signal. Returns: the exit code."""
    return _run("trainer_node", args)


def view(args: Sequence[str] | None = None) -> int:
    """Serve the page until a signal. Returns: the exit code."""
    return _run("view_node", args)


def _run(module: str, args: Sequence[str] | None) -> int:
    try:
        begin(is_node=True)
        node = importlib.import_module(f"dads_ros.nodes.{module}")
    except DadsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "dads_ros":
            raise
        extra = {"trainer_node": "train", "view_node": "view"}.get(module, "ros")
        sys.stderr.write(
            f"the Python package '{error.name}' is missing, which {module} needs; "
            f"{how_to_install(extra)}\n"
        )
        return 2
    status: int = node.main(args)
    STOP.leave_if_asked(status)
    return status
