"""Export: a training state as a skill bundle, after torch and ONNX were seen to agree."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

import torch

from dads_ros.bundle.manifest import DYNAMICS_FILE, MANIFEST_FILE, POLICY_FILE, BundleManifest
from dads_ros.errors import BundleError
from dads_ros.files import make_output_folder, sha256
from dads_ros.learning.onnx_file import check_parity, write_onnx
from dads_ros.learning.refit import refit_bundle
from dads_ros.learning.trainer import Trainer


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
        inputs = {"skill": skill}
        if trainer.config.prediction.body_state:
            known = (torch.arange(len(skill)) % 2).float()[:, None]
            inputs |= {"policy_obs": obs, "known": known}
        seen = {"policy_obs": obs, "skill": skill}
        write_onnx(policy, seen, "command", temporary / POLICY_FILE)
        write_onnx(dynamics, inputs, "delta", temporary / DYNAMICS_FILE)
        check_parity(policy, seen, "command", temporary / POLICY_FILE)
        check_parity(dynamics, inputs, "delta", temporary / DYNAMICS_FILE)
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
        if trainer.config.skill_dynamics.refit:
            seed = trainer.config.seed
            manifest = refit_bundle(temporary, temporary, robot=trainer.robot, seed=seed)
        _replace_folder(temporary, folder)
    except OSError as error:
        raise BundleError(
            f"bundle '{folder}' cannot be written ({error.strerror}); choose another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def tool_versions() -> dict[str, str]:
    """Versions of what a bundle's numbers depend on."""
    tools = ("dads_ros", "torch", "onnx", "onnxruntime", "mujoco", "gymnasium", "numpy")
    versions = {"python": platform.python_version()}
    for tool in tools:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[tool] = importlib.metadata.version(tool)
    return versions


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
