"""Checkpoints: the full state of a training run in one file, written atomically."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from dads_ros.errors import CheckpointError
from dads_ros.files import atomic_write

FORMAT_VERSION = 3
CHECKPOINT_FILE = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint in one step."""
    with atomic_write(folder / CHECKPOINT_FILE) as temporary:
        torch.save({"format_version": FORMAT_VERSION, **_to_tensors(state)}, temporary)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the folder's checkpoint. Raises: CheckpointError."""
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise CheckpointError(
            f"'{folder}' holds no training run ({CHECKPOINT_FILE} is missing); give the --out of "
            "'dads-ros train', begun without --resume"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        detail = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"'{path}' is damaged ({detail}); delete it and train again"
        ) from error
    version = state.get("format_version") if isinstance(state, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"'{path}' has format {version}; this version reads {FORMAT_VERSION}; train again"
        )
    if not isinstance(state.get("config"), dict):
        raise CheckpointError(f"'{path}' lacks 'config'; delete it and train again")
    return _to_arrays(state)


def _to_tensors(value: Any) -> Any:  # noqa: ANN401
    """numpy arrays as tagged tensors, so that weights_only loading takes them."""
    if isinstance(value, dict):
        return {key: _to_tensors(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return {"__numpy__": torch.from_numpy(value.copy())}
    return value


def _to_arrays(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        if set(value) == {"__numpy__"}:
            return value["__numpy__"].numpy()
        return {key: _to_arrays(item) for key, item in value.items()}
    return value
