"""Checkpoints: the full state of a training run in one file, written atomically.

A line of text, which has the SHA-256 of all that follows; then what torch.save makes.
"""

import hashlib
import io
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from dads_ros.errors import CheckpointError
from dads_ros.files import atomic_write

FORMAT_VERSION = 4
CHECKPOINT_FILE = "checkpoint.pt"
MAGIC = b"dads_ros checkpoint "
HEADER_BYTES = 100
ZIP = b"PK"
"""What a checkpoint of format 3 or older begins with: they have no checksum."""


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint in one step. Raises: StorageError."""
    with atomic_write(folder / CHECKPOINT_FILE) as temporary, temporary.open("wb") as stream:
        stream.write(bytes(HEADER_BYTES))
        writer = _HashingWriter(stream)
        try:
            torch.save(_to_tensors(state), writer)
        except RuntimeError as error:  # torch's own, of a disk that is full
            raise writer.error or error from error
        stream.seek(0)
        stream.write(_header(writer.hash.hexdigest()))


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the folder's checkpoint. Raises: CheckpointError."""
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise CheckpointError(
            f"'{folder}' holds no training run ({CHECKPOINT_FILE} is missing); give the --out of "
            "'dads-ros train', begun without --resume"
        )
    try:
        with path.open("rb") as stream:
            _check(stream, path)
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(
            f"'{path}' cannot be read ({error.strerror}); check the path"
        ) from error
    except CheckpointError:
        raise
    except Exception as error:  # torch raises many types for a damaged file
        detail = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"'{path}' is damaged ({detail}); delete it and train again"
        ) from error
    if not isinstance(state, dict) or not isinstance(state.get("config"), dict):
        raise CheckpointError(f"'{path}' lacks 'config'; delete it and train again")
    return _to_arrays(state)


class _HashingWriter(io.RawIOBase):
    """Passes on what is written, and keeps its SHA-256."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self.hash = hashlib.sha256()
        self.error: OSError | None = None
        """What the system said against it; torch turns it into an error of its own."""

    def write(self, content: Any) -> int:  # noqa: ANN401
        """All of it."""
        self.hash.update(content)
        try:
            return self._stream.write(content)
        except OSError as error:
            self.error = error
            raise


def _header(digest: str) -> bytes:
    text = MAGIC + f"{FORMAT_VERSION} {digest}".encode()
    return text.ljust(HEADER_BYTES - 1) + b"\n"


def _check(stream: io.BufferedReader, path: Path) -> None:
    """Read past the header. Raises: CheckpointError unless what follows is what was written."""
    header = stream.read(HEADER_BYTES)
    if header.startswith(MAGIC):
        version = header[len(MAGIC) :].split(b" ")[0].decode("ascii", "replace")
    else:
        version = "3 or older" if header.startswith(ZIP) else ""
    if version and version != str(FORMAT_VERSION):
        raise CheckpointError(
            f"'{path}' has format {version}; this version of dads_ros reads {FORMAT_VERSION}, "
            "which has a checksum; train again, or export it with the version that wrote it"
        )
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if header != _header(digest):
        raise CheckpointError(
            f"'{path}' is damaged (its content does not have the SHA-256 that it was written "
            "with); bring back a copy, or delete it and train again"
        )
    stream.seek(HEADER_BYTES)


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
