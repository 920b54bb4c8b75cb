"""Training as dads-ros train does it: with a bar on a terminal, lines elsewhere."""

import shlex
import sys
from collections.abc import Collection
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dads_ros.bundle.manifest import BUNDLE_FOLDER
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.export import export_bundle
from dads_ros.learning.metrics import MetricsWriter, evaluation_line
from dads_ros.learning.progress import LINE_S, Progress, begin_line, every
from dads_ros.learning.trainer import Trainer
from dads_ros.process import STOP

BAR_S = 1.0
"""The bar's clock moves on so often, however long an iteration takes."""


def train(config: TrainConfig, out: Path, *, resume: bool, renewed: Collection[str] = ()) -> int:
    """Train, and export; arguments of Trainer. Returns: the exit code. Raises: DadsError."""
    trainer = Trainer(config, out, resume=resume, renewed=renewed)
    config.save(out)
    STOP.catch_signals(is_command=True)  # first: whoever reads that it trains may send one
    _print(begin_line(trainer))
    with MetricsWriter(out, trainer.robot, first_iteration=trainer.iteration + 1) as writer:
        _iterate(trainer, writer)
    if STOP.is_asked:
        trainer.save_checkpoint()
        _print(
            f"stopped at iteration {trainer.iteration}; go on with: dads-ros train --resume "
            f"--out {shlex.quote(str(out))}"
        )
        return STOP.exit_code
    bundle = out / BUNDLE_FOLDER
    _print(f"exporting to {bundle}")
    export(trainer, bundle)
    return STOP.exit_code


def export(trainer: Trainer, bundle: Path) -> None:
    """Export, and say of which iteration. Raises: DadsError."""
    metrics = export_bundle(trainer, bundle).training_metrics
    assert metrics is not None  # of a bundle that was just made
    print(f"skills of iteration {metrics['iteration']} exported to {bundle}")


def _iterate(trainer: Trainer, writer: MetricsWriter) -> None:
    """Train to the end or until a signal; a bar on a terminal, lines elsewhere."""
    num_iterations, is_terminal = trainer.config.num_iterations, sys.stderr.isatty()
    progress = Progress(trainer.iteration, num_iterations)

    def show() -> None:
        if is_terminal:
            bar.refresh()
        elif line := progress.line():
            _print(line)

    with (
        tqdm(
            total=num_iterations,
            initial=trainer.iteration,
            unit="it",
            mininterval=0.5,
            dynamic_ncols=True,
            file=sys.stderr,
            disable=not is_terminal,
        ) as bar,
        logging_redirect_tqdm(),
        every(BAR_S if is_terminal else LINE_S, show),
    ):
        for metrics in trainer.iterations():
            writer.write(metrics)
            progress.take(metrics)
            if "mean_displacement_m" in metrics.values:
                tqdm.write(evaluation_line(metrics, trainer.robot), file=sys.stderr)
            bar.set_postfix(progress.values, refresh=False)
            bar.update()
            if STOP.is_asked:
                break
    if not is_terminal and progress.has_news:
        show()


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
