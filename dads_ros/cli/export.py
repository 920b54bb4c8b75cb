"""dads-ros export: the bundle of a training run's checkpoint."""

import argparse
import dataclasses
from pathlib import Path

from dads_ros.cli.training import export
from dads_ros.errors import CheckpointError, ConfigError
from dads_ros.files import user_path
from dads_ros.learning.checkpoint import load_checkpoint
from dads_ros.learning.config import CONFIG_FILE, TrainConfig
from dads_ros.learning.trainer import Trainer


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser("export", help="write the skill bundle of a training run")
    parser.add_argument("run", type=user_path, help="run folder, as given to train --out")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the bundle")


def run(args: argparse.Namespace) -> int:
    """Load the checkpoint and export its best skills."""
    if not args.run.is_dir():
        raise CheckpointError(f"run folder '{args.run}' does not exist; give the --out of train")
    saved = load_checkpoint(args.run)
    try:
        config = TrainConfig.from_dict(saved["config"])
    except ConfigError as error:
        raise CheckpointError(
            f"the run in '{args.run}' is of another version of dads_ros: {error}; export it with "
            f"that of commit {saved.get('commit', 'unknown')}"
        ) from error
    was_moved = not Path(config.robot).is_file() and (args.run / CONFIG_FILE).is_file()
    if was_moved:  # it names the robot file from there
        config = dataclasses.replace(
            config, robot=TrainConfig.from_yaml(args.run / CONFIG_FILE).robot
        )
    export(Trainer(dataclasses.replace(config, device="cpu"), args.run, resume=True), args.out)
    return 0
