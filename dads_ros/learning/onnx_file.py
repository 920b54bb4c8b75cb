"""ONNX files of networks, compared with what they were made from."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from dads_ros.bundle.network import NetworkFile, load_networks
from dads_ros.errors import BundleError

PARITY_TOLERANCE = 1e-5
"""Largest difference of torch and ONNX, as a part of the range of the output's column."""


def write_onnx(module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path) -> None:
    """Write a module with named inputs; the first rows of these are run through it on the way."""
    example = tuple(value[:2] for value in inputs.values())
    batch = torch.export.Dim("batch", min=1, max=1_000_000)
    noisy = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
    levels = {name: logging.getLogger(name).level for name in noisy}
    for name in noisy:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                input_names=list(inputs),
                output_names=[output],
                dynamic_shapes=tuple({0: batch} for _ in example),
                verbose=False,
            )
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # source locations of the machine that exported it
        del node.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def check_parity(module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path) -> None:
    """Compare a module with its ONNX file, as a robot loads it, by rows and all at once.

    Raises: BundleError when they differ by more than PARITY_TOLERANCE of the output's range, or
        when a robot would refuse the file.
    """
    with torch.no_grad():
        expected = module(*inputs.values()).numpy()
    sizes = {name: value.shape[1] for name, value in inputs.items()}
    file = NetworkFile(path.name, path.read_bytes(), sizes, output, expected.shape[1])
    (network,) = load_networks([file])
    # Of each column: metres and rad/s stand side by side. A constant one has no range.
    span = np.maximum(np.ptp(expected, axis=0), 0.05 * np.abs(expected).max(axis=0))
    span = np.maximum(span, 1e-6)
    num = len(expected)
    for rows in (slice(0, num), *(slice(i, i + 1) for i in range(0, num, max(num // 16, 1)))):
        found = network(*(value[rows].numpy() for value in inputs.values()))
        error = float((np.abs(found - expected[rows]) / span).max())
        if not error <= PARITY_TOLERANCE:
            raise BundleError(
                f"{path.name} differs from the network by {error:.1e} of its range (at most "
                f"{PARITY_TOLERANCE:.0e} is allowed), so no bundle was written; check the "
                "versions of torch, onnx and onnxruntime"
            )
