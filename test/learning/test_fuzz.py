"""Fuzz: checkpoints and metrics.jsonl, whatever stands in them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dads_ros.config import read_yaml
from dads_ros.errors import CheckpointError
from dads_ros.evaluation.curves import METRICS_FILE
from dads_ros.files import share_folder
from dads_ros.learning.checkpoint import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.metrics import MetricsWriter
from dads_ros.learning.trainer import Trainer
from dads_ros.robot import RobotSpec
from fuzzing import changed_values, edits, only_dads_errors

Run = tuple[TrainConfig, dict[str, Any], bytes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Settings of a run, its state and its checkpoint."""
    values = read_yaml(share_folder() / "config" / "train" / "point_mass.yaml")
    values["collect"] |= {"num_envs": 2, "steps_per_iteration": 20, "episode_steps": 20}
    values["collect"] |= {"warmup_steps": 0, "replay_capacity": 1000}
    for part in ("sac", "skill_dynamics"):
        values[part] = values.get(part, {}) | {"hidden": [4], "gradient_steps": 1}
    config = TrainConfig.from_dict(values | {"num_iterations": 2})
    folder = tmp_path_factory.mktemp("run")
    for _ in Trainer(config, folder).iterations():
        pass
    return config, load_checkpoint(folder), (folder / CHECKPOINT_FILE).read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(data=st.data())
def test_fuzz_damaged_checkpoints(run: Run, folder: Path, data: st.DataObject) -> None:
    _, _, content = run
    damaged = data.draw(edits(content) | st.binary(max_size=200))
    (folder / CHECKPOINT_FILE).write_bytes(damaged)
    if damaged == content:
        load_checkpoint(folder)
        return
    with only_dads_errors(), pytest.raises(CheckpointError):
        load_checkpoint(folder)


@given(data=st.data())
def test_fuzz_checkpoints_of_something_else(run: Run, folder: Path, data: st.DataObject) -> None:
    config, state, _ = run
    save_checkpoint(folder, data.draw(changed_values(copy.deepcopy(state))))
    with only_dads_errors():
        Trainer(config, folder, resume=True)


@given(lines=st.lists(edits(b'{"iteration": 1, "reward": 0.5}') | st.binary(max_size=20)))
def test_fuzz_lines_of_metrics(folder: Path, lines: list[bytes]) -> None:
    path = folder / METRICS_FILE
    good = json.dumps({"iteration": 1, "reward": 0.5}).encode()
    path.write_bytes(b"\n".join([good, *lines, good]) + b"\n")
    with (
        only_dads_errors(),
        MetricsWriter(folder, RobotSpec.load("point_mass"), first_iteration=2),
    ):
        pass
    kept = path.read_bytes().splitlines(keepends=True)
    assert kept[0] == kept[-1] == good + b"\n"
    assert all(json.loads(line)["iteration"] < 2 for line in kept)
    for events in folder.glob("events.*"):
        events.unlink()
