"""What 'ros2 run' and launch files start: a signal counts while the node is still imported."""

import importlib
from collections.abc import Sequence

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


def _run(module: str, args: Sequence[str] | None) -> int:
    begin(is_node=True)
    status: int = importlib.import_module(f"dads_ros.nodes.{module}").main(args)
    STOP.leave_if_asked(status)
    return status
