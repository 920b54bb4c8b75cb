"""Networks: ONNX files that were seen to be sound, on onnxruntime."""

import hashlib
import math
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dads_ros.bundle.onnx_format import check_onnx
from dads_ros.errors import BundleError
from dads_ros.isolation import IsolatedError, isolated, one_line

Float32 = NDArray[np.float32]
MAX_BINDINGS = 16
"""Numbers of rows that a network keeps memory for."""
MAX_ROWS = 2048
"""Of one call of onnxruntime. More go in parts, so that nothing larger runs than was tried."""
MAX_ROW_S = 0.05
"""Time of the processor that one row may take."""
TRIAL_S, TRIAL_BYTES = 3, 512 << 20
"""Time of the processor and memory, beside the files', for loading and trying networks."""
TRIAL_ROWS = (1, 2, MAX_ROWS)


class NetworkFile(NamedTuple):
    """An ONNX file and what it must be."""

    name: str
    content: bytes
    inputs: dict[str, int]
    """Names and sizes, in order."""
    output: str
    num_outputs: int

    def key(self) -> str:
        """Of files that are the same and must be the same."""
        what = repr((tuple(self.inputs.items()), *self[3:])).encode()
        return hashlib.sha256(self.content + what).hexdigest()


_tried: set[str] = set()
"""Keys of files that ran well in a process of their own since this one began."""


def load_networks(files: Sequence[NetworkFile]) -> list["Network"]:
    """Networks that may drive a robot: their files have the right form, and were tried out.

    Once for each file they are loaded and run in a process of their own, with limits on its time
    and memory: a file that hangs, crashes or takes too much does so there. Here the same bytes are
    loaded then.

    Raises: BundleError.
    """
    for file in files:
        check_onnx(**file._asdict())
    new = [file for file in files if file.key() not in _tried]
    if new:
        size = sum(len(file.content) for file in new)
        try:
            isolated(_try, new, cpu_s=TRIAL_S, memory_bytes=TRIAL_BYTES + 8 * size)
        except IsolatedError as error:
            names = " and ".join(f"'{file.name}'" for file in new)
            raise BundleError(
                f"{names} cannot be used: {error}; export or download them again"
            ) from error
        _tried.update(file.key() for file in new)
    return [Network(file) for file in files]


class Network:
    """An ONNX file that ``load_networks`` found to be sound.

    Inputs and output stay bound to onnxruntime, for that is half the time of a call on few rows.
    """

    def __init__(self, file: NetworkFile) -> None:
        """Load it. Raises: BundleError."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                file.content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a dozen types without a common base
            raise BundleError(
                f"'{file.name}' is not a model that onnxruntime loads: {one_line(error)}"
            ) from error
        self._file = file
        self._lock = threading.Lock()
        self._bindings: dict[int, _Binding] = {}

    def __call__(self, *inputs: NDArray[np.floating]) -> Float32:
        """The output for rows of all inputs, from whichever thread. Shape (N, outputs).

        Raises: ValueError for inputs of other shapes.
        """
        num = len(inputs[0])
        if num > MAX_ROWS:
            parts = (slice(i, i + MAX_ROWS) for i in range(0, num, MAX_ROWS))
            return np.concatenate([self(*(values[part] for values in inputs)) for part in parts])
        with self._lock:
            binding = self._bindings.get(num) or self._bind(num)
            for bound, values in zip(binding.inputs, inputs, strict=True):
                if values.shape != bound.shape:  # it would be broadcast
                    raise ValueError(f"input of shape {values.shape}; expected {bound.shape}")
                bound[:] = values
            self._session.run_with_iobinding(binding.io)
            return binding.output.copy()

    def _bind(self, num: int) -> "_Binding":
        if len(self._bindings) >= MAX_BINDINGS:
            self._bindings.clear()
        file, io = self._file, self._session.io_binding()
        output = np.empty((num, file.num_outputs), np.float32)
        inputs = {name: np.empty((num, size), np.float32) for name, size in file.inputs.items()}
        for name, values in inputs.items():
            io.bind_cpu_input(name, values)
        io.bind_output(
            self._file.output,
            element_type=np.float32,
            shape=output.shape,
            buffer_ptr=output.ctypes.data,
        )
        self._bindings[num] = _Binding(io, tuple(inputs.values()), output)
        return self._bindings[num]

    def try_out(self) -> None:
        """Run it on few and many rows. Raises: BundleError, or whatever onnxruntime does."""
        rng, name, took = np.random.default_rng(0), f"'{self._file.name}'", math.inf
        for num in TRIAL_ROWS:
            rows = {
                name: rng.standard_normal((num, size)).astype(np.float32)
                for name, size in self._file.inputs.items()
            }
            output, shape = self._session.run(None, rows)[0], (num, self._file.num_outputs)
            if output.shape != shape:
                raise BundleError(
                    f"{name} gives numbers of shape {output.shape} for {num} rows; "
                    f"expected {shape}"
                )
            if not np.isfinite(output).all():
                raise BundleError(f"{name} gives numbers that are not finite for inputs that are")
            start = time.process_time()
            alone = self(*(values[:1] for values in rows.values()))
            took = min(took, time.process_time() - start)
            if not np.allclose(alone, output[:1], rtol=1e-3, atol=1e-3 * np.abs(output).max()):
                raise BundleError(f"{name} gives another result for a row alone than among others")
        if took > MAX_ROW_S:
            raise BundleError(f"{name} takes {took:.2g} s for one row; {MAX_ROW_S:g} are allowed")


class _Binding(NamedTuple):
    """Memory that a network reads and writes, for one number of rows."""

    io: onnxruntime.IOBinding
    inputs: tuple[Float32, ...]
    output: Float32


def _try(files: Sequence[NetworkFile]) -> bytes:
    """In a process of its own: load and run. Raises: BundleError, or whatever onnxruntime does."""
    for file in files:
        Network(file).try_out()
    return b""
