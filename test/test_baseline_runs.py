"""What trainings of all baselines have in common: a checkpoint is gone on from by its own run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from baselines import goal_sac, meta, pets
from baselines.config import BaselineConfig, GoalSacConfig, MetaConfig, PetsConfig
from baselines.run import Watch, checkpoint_of

from dads_ros.errors import CheckpointError, ConfigError
from dads_ros.process import STOP

GOAL_SAC = GoalSacConfig(robot="point_mass", sparse=False, her=True)
PETS = PetsConfig(robot="point_mass", kind="random")


def stop(out: Path, config: BaselineConfig, seed: int) -> None:
    """Leave the checkpoint of a run that was stopped in its first step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(STOP, "is_asked", True)
        watch = Watch(out, config, seed, what="nothing", step=0, save=lambda folder: None)
        assert not watch.goes_on(1)
        watch.end(lambda folder: None)


def test_a_checkpoint_is_gone_on_from_by_a_run_that_differs_in_its_end_alone(
    tmp_path: Path,
) -> None:
    assert checkpoint_of(tmp_path, PETS, 3) is None
    stop(tmp_path, PETS, 3)
    longer = dataclasses.replace(PETS, num_env_steps=10**9, max_minutes=1.0)
    assert checkpoint_of(tmp_path, longer, 3) == tmp_path / "checkpoint"


@pytest.mark.parametrize(
    ("train", "config"),
    [
        (goal_sac.train, GOAL_SAC),
        (pets.train, PETS),
        (meta.train, MetaConfig(bundle="point_mass")),
    ],
    ids=["goal_sac", "pets", "meta"],
)
def test_a_training_names_the_settings_by_which_it_is_not_the_one_of_the_checkpoint(
    train: Callable[[BaselineConfig, int, Path], int], config: BaselineConfig, tmp_path: Path
) -> None:
    stop(tmp_path, config, 3)
    other = dataclasses.replace(config, batch_size=64, hidden=(32,))
    said = (
        r"settings: 'seed' was 3 and is 4 now, 'batch_size' was \d+ and is 64 now, "
        r"'hidden' was \[(\d+), \1\] and is \[32\] now; use those"
    )
    with pytest.raises(CheckpointError, match=said):
        train(other, 4, tmp_path)


def test_settings_that_are_newer_than_a_checkpoint_stand_at_their_defaults(tmp_path: Path) -> None:
    stop(tmp_path, PETS, 3)
    path = tmp_path / "checkpoint" / "settings.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"noise_std": 0.25,', ""), "utf-8")
    assert checkpoint_of(tmp_path, PETS, 3) is not None
    with pytest.raises(CheckpointError, match=r"'noise_std' was 0\.25 and is 0\.1 now"):
        checkpoint_of(tmp_path, dataclasses.replace(PETS, noise_std=0.1), 3)
    path.write_text(text.replace("noise_std", "noise_of_old"), "utf-8")
    with pytest.raises(ConfigError, match="unknown setting 'noise_of_old'"):
        checkpoint_of(tmp_path, PETS, 3)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"does not say of which settings.*remove"):
        checkpoint_of(tmp_path, PETS, 3)
