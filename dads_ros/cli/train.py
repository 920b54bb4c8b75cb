"""dads-ros train: run or resume a training run."""

import argparse
import dataclasses
import sys
from pathlib import Path

from dads_ros.errors import ConfigError
from dads_ros.files import find_file, only_trainer, user_path
from dads_ros.learning.config import CONFIG_FILE, TrainConfig


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser("train", help="learn skills and export them as a bundle")
    parser.add_argument(
        "--config", help="training config: path or name of a shipped one; with --resume the run's"
    )
    parser.add_argument("--robot", help="replaces the config's robot: robot file, name or path")
    parser.add_argument("--seed", type=int, help="replaces the config's seed")
    parser.add_argument(
        "--out", type=user_path, help="run folder; runs/<robot>-seed<seed> by default"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--iterations", type=int, help="replaces the config's num_iterations")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PART.NAME=VALUE",
        help="replaces any other setting of the config: --set sac.batch_size=512; with --resume "
        "a cost or a schedule",
    )


def run(args: argparse.Namespace) -> int:
    """Train; a signal ends it after the current iteration, with a checkpoint.

    Where that takes longer than ``STOP`` allows, the last checkpoint stands; before the first
    iteration nothing is lost, and the signal ends it at once.
    """
    if args.config is not None:
        path = find_file(args.config, folder="config/train", suffix=".yaml")
    elif args.resume and args.out is not None:
        path = args.out / CONFIG_FILE
    else:
        raise ConfigError("--config is missing; give a path or the name of a robot, such as ant")
    config = TrainConfig.from_yaml(path)
    name = path.stem
    if args.robot is not None:
        config, name = config.with_robot(args.robot, Path()), user_path(args.robot).stem
    if args.seed is not None:
        config = dataclasses.replace(config, seed=args.seed)
    if args.iterations is not None:
        config = dataclasses.replace(config, num_iterations=args.iterations)
    config = config.with_settings(args.set)
    renewed = [each.partition("=")[0].strip() for each in args.set]
    if "robot" in renewed:
        config = config.with_robot(config.robot, Path())
    out = args.out or Path("runs") / f"{name}-seed{config.seed}"
    with only_trainer(out):
        print("loading torch", file=sys.stderr, flush=True)
        from dads_ros.cli.training import train  # takes seconds; what is wrong is said before

        return train(config, out, resume=args.resume, renewed=renewed)
