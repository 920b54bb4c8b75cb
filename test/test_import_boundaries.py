"""The contracts on imports in pyproject.toml hold, also at run time."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TRAINING = ("torch", "onnx", "tensorboard", "matplotlib", "dads_ros.learning")
SIMULATION = ("mujoco", "gymnasium", "dads_ros.envs")
ROS = ("rclpy", "std_msgs")


def test_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("dads_ros", ("numpy", "yaml", *ROS, *TRAINING, *SIMULATION)),
        ("dads_ros.cli.main", ("numpy", "yaml", *ROS, *TRAINING, *SIMULATION)),
        ("dads_ros.planning.control_loop", ("onnxruntime", *ROS, *TRAINING, *SIMULATION)),
        ("dads_ros.bundle.runtime", (*ROS, *TRAINING, *SIMULATION)),
        ("dads_ros.nodes.planner_node", (*TRAINING, *SIMULATION)),
        ("dads_ros.cli.node", (*TRAINING, *SIMULATION)),
        ("dads_ros.cli.audit", (*TRAINING, *SIMULATION)),
        ("dads_ros.cli.doctor", (*TRAINING, *SIMULATION)),
        ("dads_ros.nodes.simulator_node", TRAINING),
        ("dads_ros.cli.evaluate", (*ROS, *TRAINING)),
        ("dads_ros.cli.train", ROS),
    ],
)
def test_import_leaves_out(module: str, unwanted: tuple[str, ...]) -> None:
    script = f"import sys, {module}; print(*(name for name in {unwanted} if name in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []
