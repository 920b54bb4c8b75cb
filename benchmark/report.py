"""What every benchmark prints: one JSON line with commit, machine and versions."""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dads_ros.envs.vector_env import available_cores
from dads_ros.files import source_commit

_PACKAGES = ("mujoco", "numpy", "onnxruntime", "pytorch-mppi", "stable-baselines3", "torch")
_CPU_INFO = Path("/proc/cpuinfo")


def print_report(benchmark: str, results: dict[str, Any]) -> None:
    """Print one JSON line: the setting, then the results."""
    setting = {
        "benchmark": benchmark,
        "commit": source_commit(),
        "machine": f"{_processor()}, {available_cores()} cores",
        "versions": {"python": platform.python_version(), **_versions()},
    }
    print(json.dumps(setting | results))


def percentiles_ms(seconds: NDArray[np.float64]) -> dict[str, float]:
    """p50, p95, p99 and max of durations, in milliseconds."""
    values = np.percentile(seconds, [50, 95, 99, 100]) * 1000.0
    names = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
    return {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}


def _processor() -> str:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
