"""What trainings of all baselines have in common, and how they are measured.

A run that was stopped, or killed, goes on from its last checkpoint. Shapes: R robots, T steps,
A actuators.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from baselines.config import POLICY_FOLDER, BaselineConfig
from dads_ros.envs.model import RobotModel
from dads_ros.envs.vector_env import VectorEnv, one_episode_env
from dads_ros.errors import CheckpointError, DadsError
from dads_ros.evaluation.driving import follow
from dads_ros.evaluation.goals import GoalMetrics
from dads_ros.files import atomic_folder, only_trainer
from dads_ros.process import STOP

Array = NDArray[np.floating]
ConfigT = TypeVar("ConfigT", bound=BaselineConfig)
Write = Callable[[Path], None]
"""Fills a new, empty folder, which is there whole or not at all."""
CHECKPOINT_FOLDER = "checkpoint"
"""Of a run that has not come to its end."""
SETTINGS_FILE = "settings.json"
"""Of a checkpoint: with which settings and seed its run was begun."""
LINE_S, CHECKPOINT_S = 10.0, 300.0


class Training(Protocol):
    """What can be stopped, and go on."""

    @property
    def num_env_steps(self) -> int:
        """Control steps of all robots so far."""

    def save(self, folder: Path) -> None:
        """Write everything that ``restore`` needs."""

    def restore(self, folder: Path) -> None:
        """Go on from what ``save`` left. Raises: DadsError."""


class Watch:
    """Says how far a training is, saves it now and then, and tells when a signal ends it."""

    def __init__(
        self,
        out: Path,
        config: BaselineConfig,
        seed: int,
        *,
        what: str,
        step: int,
        save: Write,
    ) -> None:
        """Say what begins or goes on.

        Args:
            out: folder of the run.
            config: its settings.
            seed: of it.
            what: is trained.
            step: control steps made, of all robots together.
            save: writes a checkpoint.
        """
        self._out, self._step, self._save_to = out, step, save
        self._num_steps = config.num_env_steps
        self._settings = _settings(config, seed)
        self._said = self._saved = time.monotonic()
        left = self._num_steps - step
        _say(f"training {what} in '{out}', {left} of {self._num_steps} steps left")

    def goes_on(self, step: int) -> bool:
        """To be asked after every step."""
        self._step, now = step, time.monotonic()
        if now - self._said > LINE_S:
            _say(f"step {step} of {self._num_steps}")
            self._said = now
        if now - self._saved > CHECKPOINT_S:
            self._save()
            self._saved = time.monotonic()
        return not STOP.is_asked

    def end(self, keep: Write) -> int:
        """Leave a checkpoint after a signal, else what was learned. Returns: the exit code."""
        if STOP.is_asked:
            self._save()
            _say(f"stopped at step {self._step}; the same command goes on")
            return STOP.exit_code
        with atomic_folder(self._out / POLICY_FOLDER) as temporary:
            keep(temporary)
        shutil.rmtree(self._out / CHECKPOINT_FOLDER, ignore_errors=True)
        return 0

    def _save(self) -> None:
        with atomic_folder(self._out / CHECKPOINT_FOLDER) as temporary:
            self._save_to(temporary)
            text = json.dumps(self._settings, indent=1)
            (temporary / SETTINGS_FILE).write_text(text, encoding="utf-8")


def begin(training: Training, out: Path, config: BaselineConfig, seed: int, what: str) -> Watch:
    """Let a training go on from its checkpoint, if there is one. Raises: DadsError."""
    checkpoint = checkpoint_of(out, config, seed)
    if checkpoint is not None:
        training.restore(checkpoint)
    return Watch(out, config, seed, what=what, step=training.num_env_steps, save=training.save)


def checkpoint_of(out: Path, config: BaselineConfig, seed: int) -> Path | None:
    """The folder of the checkpoint that a run goes on from; None where it begins.

    Settings that are newer than it stand at their defaults. Raises: CheckpointError for one of
    other settings, which are named; ConfigError for one with a setting that is no more.
    """
    folder = out / CHECKPOINT_FOLDER
    path = folder / SETTINGS_FILE
    if not folder.exists():
        return None
    try:
        was = json.loads(path.read_text(encoding="utf-8"))
        was_seed = was.pop("seed")
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"'{path}' does not say of which settings the checkpoint is ({error}); remove "
            f"'{folder}' to train anew"
        ) from error
    before = _settings(type(config).from_dict(was, str(path)), was_seed)
    differ = [
        f"'{name}' was {before[name]} and is {value} now"
        for name, value in _settings(config, seed).items()
        if value != before[name] and name not in config.may_change
    ]
    if differ:
        raise CheckpointError(
            f"'{folder}' is of other settings: {', '.join(differ)}; use those that it was begun "
            "with, or another --out"
        )
    return folder


def seed_of(*numbers: int) -> int:
    """A seed that no other numbers, as many, are likely to give."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _settings(config: BaselineConfig, seed: int) -> dict[str, Any]:
    """As JSON has them."""
    return {"seed": seed, **config.to_dict()}


def main(train: Callable[[ConfigT, int, Path], int], kind: type[ConfigT]) -> int:
    """The command of a baseline: train in a run folder. Returns: the exit code.

    Args:
        train: with these settings and this seed, in this folder.
        kind: of the settings.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    STOP.catch_signals(is_command=True)
    try:
        config = kind.from_yaml(args.config)
        with only_trainer(args.out):
            code = train(config, args.seed, args.out)
    except DadsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    STOP.leave_if_asked(code)
    return code


def drive(
    model: RobotModel,
    command: Callable[[VectorEnv], Array],
    goals: NDArray[np.float64],
    steps: int,
    *,
    seed: int,
    progress: Callable[[int], None],
) -> GoalMetrics:
    """As ``evaluation.driving.Driver``, with the same starts, without a planner over skills.

    Args:
        model: the robot.
        command: wanted in each control step. Shape (R, A).
        goals: world frame, m. Shape (R, 2).
        steps: T.
        seed: of the starts.
        progress: called with the number of steps made.
    """
    env = one_episode_env(model, len(goals), steps, rng=np.random.default_rng(seed))
    driven = follow(env, steps, lambda _: env.filtered(command(env)), progress=progress)
    return GoalMetrics(goals=goals, **vars(driven))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
