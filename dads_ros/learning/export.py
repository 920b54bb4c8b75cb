"""Export: a training state as a skill bundle, after torch and ONNX were seen to agree."""

import contextlib
import importlib.metadata
import platform
from pathlib import Path

import torch

from dads_ros.bundle.manifest import DYNAMICS_FILE, POLICY_FILE, BundleManifest
from dads_ros.errors import BundleError
from dads_ros.files import sha256
from dads_ros.learning.bundle_folder import new_bundle
from dads_ros.learning.onnx_file import check_parity, write_onnx
from dads_ros.learning.refit import refit_bundle
from dads_ros.learning.trainer import Trainer


def export_bundle(trainer: Trainer, folder: Path) -> BundleManifest:
    """Write the bundle of a run's best skills so far, replacing what stood there.

    Args:
        trainer: with some experience collected: the comparison runs on recorded observations.
            Before its first evaluation the present skills are taken and evaluated.
        folder: the bundle.
    Raises: BundleError when torch and ONNX do not agree or something else stands there;
        StorageError, ConfigError when it cannot be written. What stood there is kept then.
    """
    if trainer.replay is None:
        raise BundleError("nothing was collected yet, so there is nothing to export; train first")
    best = trainer.selection.best
    if best is None:
        best, _ = trainer.selection.judge(trainer.agent.learned_skills(), trainer.iteration)
    policy, dynamics = best.skills
    generator = torch.Generator().manual_seed(0)
    recorded = trainer.replay.sample(1024, generator, with_early_falls=True)
    obs, skill = recorded.policy_obs.cpu(), recorded.skill.cpu()

    with new_bundle(folder) as new:
        inputs = {"skill": skill}
        if trainer.config.prediction.body_state:
            known = (torch.arange(len(skill)) % 2).float()[:, None]
            inputs |= {"policy_obs": obs, "known": known}
        seen = {"policy_obs": obs, "skill": skill}
        write_onnx(policy, seen, "command", new / POLICY_FILE)
        write_onnx(dynamics, inputs, "delta", new / DYNAMICS_FILE)
        check_parity(policy, seen, "command", new / POLICY_FILE)
        check_parity(dynamics, inputs, "delta", new / DYNAMICS_FILE)
        manifest = BundleManifest(
            robot=trainer.robot,
            model_sha256=trainer.model.sha256(),
            skill_prior=trainer.config.skill_prior,
            prediction=trainer.config.prediction,
            files={name: sha256(new / name) for name in (POLICY_FILE, DYNAMICS_FILE)},
            training_config=trainer.config.to_dict() | {"robot": trainer.robot.name},
            training_metrics={"iteration": best.iteration, **best.metrics},
            commit=trainer.commit,
            versions=tool_versions(),
        )
        manifest.save(new)
        if trainer.config.skill_dynamics.refit:
            seed = trainer.config.seed
            manifest = refit_bundle(new, new, robot=trainer.robot, seed=seed)
    return manifest


def tool_versions() -> dict[str, str]:
    """Versions of what a bundle's numbers depend on."""
    tools = ("dads_ros", "torch", "onnx", "onnxruntime", "mujoco", "gymnasium", "numpy")
    versions = {"python": platform.python_version()}
    for tool in tools:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[tool] = importlib.metadata.version(tool)
    return versions
