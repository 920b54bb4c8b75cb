"""Export: a training state as a skill bundle, after torch and ONNX were seen to agree."""

import contextlib
import importlib.metadata
import io
import logging
import os
import platform
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from dads_ros.bundle.manifest import DYNAMICS_FILE, MANIFEST_FILE, POLICY_FILE, BundleManifest
from dads_ros.errors import BundleError
from dads_ros.files import make_output_folder, sha256
from dads_ros.learning.trainer import Trainer

PARITY_TOLERANCE = 1e-5
"""Largest difference of torch and ONNX, as a part of the range of the output's column."""


def export_bundle(trainer: Trainer, folder: Path) -> BundleManifest:
    """Write the bundle of a run's best skills so far, replacing what stood there.

    Args:
        trainer: with some experience collected: the comparison runs on recorded observations.
            Before its first evaluation the present skills are taken and evaluated.
        folder: the bundle.
    Raises: BundleError when torch and ONNX do not agree, or the folder cannot be written; what
        stood there is kept then.
    """
    if trainer.replay is None:
        raise BundleError("nothing was collected yet, so there is nothing to export; train first")
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"'{folder}' is a file; choose a folder for the bundle")
    if folder.exists() and not (folder / MANIFEST_FILE).exists() and any(folder.iterdir()):
        raise BundleError(f"'{folder}' holds other files than a bundle; choose another folder")
    best = trainer.best or trainer.judge()
    policy, dynamics = best.skills
    recorded = trainer.replay.sample(1024, torch.Generator().manual_seed(0))
    obs, skill = recorded.policy_obs.cpu(), recorded.skill.cpu()

    temporary = make_output_folder(folder.with_name(f".{folder.name}.{os.getpid()}.tmp"))
    try:
        _to_onnx(
            policy,
            (obs[:2], skill[:2]),
            ["policy_obs", "skill"],
            "command",
            temporary / POLICY_FILE,
        )
        inputs = {"skill": skill}
        if trainer.config.prediction.body_state:
            known = (torch.arange(len(skill)) % 2).float()[:, None]
            inputs |= {"policy_obs": obs, "known": known}
        example = tuple(value[:2] for value in inputs.values())
        _to_onnx(dynamics, example, list(inputs), "delta", temporary / DYNAMICS_FILE)
        check_parity(policy, temporary / POLICY_FILE, {"policy_obs": obs, "skill": skill})
        check_parity(dynamics, temporary / DYNAMICS_FILE, inputs)
        manifest = BundleManifest(
            robot=trainer.robot,
            model_sha256=trainer.model.sha256(),
            skill_prior=trainer.config.skill_prior,
            prediction=trainer.config.prediction,
            files={name: sha256(temporary / name) for name in (POLICY_FILE, DYNAMICS_FILE)},
            training_config=trainer.config.to_dict(),
            training_metrics={"iteration": best.iteration, **best.metrics},
            commit=trainer.commit,
            versions=tool_versions(),
        )
        manifest.save(temporary)
        _replace_folder(temporary, folder)
    except OSError as error:
        raise BundleError(
            f"bundle '{folder}' cannot be written ({error.strerror}); choose another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def check_parity(module: nn.Module, path: Path, inputs: dict[str, Tensor]) -> None:
    """Compare a module with its ONNX file, one row at a time and all at once.

    Raises: BundleError when they differ by more than PARITY_TOLERANCE of the output's range.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = module(*inputs.values()).numpy()
    # Of each column: metres and rad/s stand side by side. A constant one has no range.
    span = np.maximum(np.ptp(expected, axis=0), 0.05 * np.abs(expected).max(axis=0))
    span = np.maximum(span, 1e-6)
    num = len(expected)
    for rows in (slice(0, num), *(slice(i, i + 1) for i in range(0, num, max(num // 16, 1)))):
        feed = {name: value[rows].numpy() for name, value in inputs.items()}
        error = float((np.abs(session.run(None, feed)[0] - expected[rows]) / span).max())
        if not error <= PARITY_TOLERANCE:
            raise BundleError(
                f"{path.name} differs from the network by {error:.1e} of its range (at most "
                f"{PARITY_TOLERANCE:.0e} is allowed), so no bundle was written; check the "
                "versions of torch, onnx and onnxruntime"
            )


def tool_versions() -> dict[str, str]:
    """Versions of what a bundle's numbers depend on."""
    tools = ("dads_ros", "torch", "onnx", "onnxruntime", "mujoco", "gymnasium", "numpy")
    versions = {"python": platform.python_version()}
    for tool in tools:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[tool] = importlib.metadata.version(tool)
    return versions


def _to_onnx(
    module: nn.Module, example: tuple[Tensor, ...], inputs: list[str], output: str, path: Path
) -> None:
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
                input_names=inputs,
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


def _replace_folder(new: Path, folder: Path) -> None:
    """Put ``new`` in the place of ``folder``; at no time is a half-written bundle there."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
