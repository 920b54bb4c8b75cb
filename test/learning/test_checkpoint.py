"""Checkpoints: what is damaged is never loaded, what cannot be written leaves the last one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dads_ros.errors import CheckpointError, StorageError
from dads_ros.learning.checkpoint import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from disks import fill


def state(num: int = 50, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "config": {"robot": "ant", "sac": {"hidden": [8]}},
        "replay": {"data": {"action": torch.from_numpy(rng.standard_normal(num))}},
        "rngs": {"env": rng.bit_generator.state},
        "steps": rng.integers(9, size=num),
    }


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    saved = state()
    save_checkpoint(tmp_path, saved)
    loaded = load_checkpoint(tmp_path)
    assert torch.equal(loaded["replay"]["data"]["action"], saved["replay"]["data"]["action"])
    assert np.array_equal(loaded["steps"], saved["steps"])
    assert loaded["config"] == saved["config"] and loaded["rngs"] == saved["rngs"]
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_a_checkpoint_that_is_damaged_anywhere_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state())
    path = tmp_path / CHECKPOINT_FILE
    content = path.read_bytes()
    places = {*range(120), *range(120, len(content), 23), len(content) - 1}
    flipped = {f"bit at {i}": _flipped(content, i) for i in places}
    cut = {f"cut at {i}": content[:i] for i in range(0, len(content), 101)}
    longer = {"longer": content + b"\0", "twice": 2 * content}
    for name, damaged in (flipped | cut | longer).items():
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(tmp_path)
            pytest.fail(f"{name}: it was loaded")
        assert str(path) in str(caught.value) and str(caught.value).isprintable()
    path.write_bytes(content)
    load_checkpoint(tmp_path)


def test_a_checkpoint_of_an_older_format_is_refused_as_such(tmp_path: Path) -> None:
    torch.save({"format_version": 3, "config": {}}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(CheckpointError, match=r"has format 3 or older; .* reads 4"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"config": 3}, {"iteration": 1}])
def test_a_sound_file_of_something_else_is_refused(tmp_path: Path, content: Any) -> None:  # noqa: ANN401
    save_checkpoint(tmp_path, content)
    with pytest.raises(CheckpointError, match="lacks 'config'"):
        load_checkpoint(tmp_path)


def test_on_a_full_disk_the_last_checkpoint_stands(small_disk: Path) -> None:
    first = state()
    save_checkpoint(small_disk, first)
    fill(small_disk, 2**20)
    with pytest.raises(StorageError, match=r"checkpoint\.pt' cannot be written \(No space left"):
        save_checkpoint(small_disk, state(2**18, seed=1))
    assert np.array_equal(load_checkpoint(small_disk)["steps"], first["steps"])
    assert sorted(path.name for path in small_disk.iterdir()) == [CHECKPOINT_FILE, "filler"]


def _flipped(content: bytes, index: int) -> bytes:
    changed = bytearray(content)
    changed[index] ^= 1 << (index % 8)
    return bytes(changed)
