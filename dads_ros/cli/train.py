"""dads-ros train: run or resume a training run, with a progress bar."""

import argparse
import dataclasses
import sys
from pathlib import Path

from tqdm import tqdm

from dads_ros.errors import ConfigError
from dads_ros.files import atomic_write, find_file, only_trainer, user_path
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.export import export_bundle
from dads_ros.learning.metrics import MetricsWriter, evaluation_line
from dads_ros.learning.trainer import Trainer
from dads_ros.process import STOP

SHOWN = {"reward": "reward", "mean_displacement_m": "m", "sectors_3m": "sectors"}


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


def run(args: argparse.Namespace) -> int:
    """Train; a signal ends it after the current iteration, with a checkpoint.

    Where that takes longer than ``STOP`` allows, the last checkpoint stands; before the first
    iteration nothing is lost, and the signal ends it at once.
    """
    if args.config is not None:
        path = find_file(args.config, folder="config/train", suffix=".yaml")
    elif args.resume and args.out is not None:
        path = args.out / "config.yaml"
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
    out = args.out or Path("runs") / f"{name}-seed{config.seed}"
    with only_trainer(out):
        return _train(config, out, resume=args.resume)


def _train(config: TrainConfig, out: Path, *, resume: bool) -> int:
    trainer = Trainer(config, out, resume=resume)
    with atomic_write(out / "config.yaml") as temporary:
        config.with_robot_from(out).to_yaml(temporary)
    if trainer.iteration >= config.num_iterations:
        print(
            f"{trainer.iteration} of {config.num_iterations} iterations are done already: no "
            "more training; raise --iterations to go on",
            file=sys.stderr,
        )
    STOP.catch_signals(is_command=True)
    shown: dict[str, str] = {}
    with (
        MetricsWriter(out, trainer.robot, first_iteration=trainer.iteration + 1) as writer,
        tqdm(
            total=config.num_iterations,
            initial=trainer.iteration,
            unit="it",
            mininterval=0.5 if sys.stderr.isatty() else 15.0,
            dynamic_ncols=True,
            file=sys.stderr,
        ) as bar,
    ):
        for metrics in trainer.iterations():
            writer.write(metrics)
            if "mean_displacement_m" in metrics.values:
                tqdm.write(evaluation_line(metrics, trainer.robot), file=sys.stderr)
            shown |= {
                label: f"{metrics.values[name]:.3g}"
                for name, label in SHOWN.items()
                if name in metrics.values
            }
            bar.set_postfix(shown, refresh=False)
            bar.update()
            if STOP.is_asked:
                break
    if STOP.is_asked:
        trainer.save_checkpoint()
        print(
            f"stopped at iteration {trainer.iteration}; go on with: dads-ros train --resume "
            f"--out {out}",
            file=sys.stderr,
        )
        return STOP.exit_code
    export_bundle(trainer, out / "bundle")
    print(f"skills exported to {out / 'bundle'}")
    return STOP.exit_code
