"""The package as users get it: by pip and by colcon, built from the source tree."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ("config", "launch", "models")
NODES = ("simulator", "skill_planner", "skill_trainer", "view")
SHOW_SHARE_FOLDER = """
from pathlib import Path
import dads_ros
from dads_ros.files import find_file, share_folder
from dads_ros.robot import RobotSpec
assert RobotSpec.load("ant").name == "ant"
assert (find_file("ant", folder="models") / "bundle.yaml").is_file()
print(share_folder())
print(Path(dads_ros.__file__).parent)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git would check out: building must not write into the source tree."""
    folder = tmp_path_factory.mktemp("source") / "dads_ros"
    folder.mkdir()
    for name in ("dads_ros", "resource", *SHARED):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("package.xml", "setup.py", "setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_pip_installs_code_share_files_and_command(source: Path, tmp_path: Path) -> None:
    environment = _clean_environment()
    _run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], environment)
    python = tmp_path / "venv" / "bin" / "python"
    site_packages = Path(
        _run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], environment
        ).strip()
    )
    # The dependencies come from the environment that runs the tests.
    (site_packages / "tested.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", *options, source]
    _run(pip, environment, cwd=tmp_path)

    share, package = _run([python, "-c", SHOW_SHARE_FOLDER], environment, cwd=tmp_path).split()
    assert Path(share) == tmp_path / "venv" / "share" / "dads_ros"
    assert Path(package) == site_packages / "dads_ros"
    assert _files(Path(share)) == _files(source, SHARED) | {"package.xml"}
    assert _files(Path(package)) == _files(source / "dads_ros")
    for command in ([python, "-m", "dads_ros"], [python.with_name("dads-ros")]):
        assert "evaluate" in _run([*command, "--help"], environment, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--symlink-install"]], ids=["copies", "links"])
def test_colcon_installs_share_files_and_executables(
    more: list[str], source: Path, tmp_path: Path
) -> None:
    environment = _clean_environment() | {"AMENT_PREFIX_PATH": sys.prefix}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    folders = [f"--{name}-base={tmp_path / name}" for name in ("build", "install")]
    colcon = ["colcon", f"--log-base={tmp_path / 'log'}", "build", f"--base-paths={source}"]
    _run([*colcon, *folders, *more], environment, cwd=tmp_path)

    prefix = tmp_path / "install" / "dads_ros"
    library = prefix / "lib" / "dads_ros"
    for name in (*NODES, "dads-ros"):
        assert os.access(library / name, os.X_OK), name
    assert (prefix / "share/ament_index/resource_index/packages/dads_ros").is_file()

    setup = f"source {tmp_path}/install/setup.bash"
    find = (
        "from ament_index_python.packages import get_package_share_directory as find;"
        "print(find('dads_ros'))"
    )
    shell = ["bash", "-c", f'{setup}; python -c "{find}"; python -c "$1"', "-", SHOW_SHARE_FOLDER]
    index, share, package = _run(shell, environment, cwd=tmp_path).split()
    assert Path(index) == prefix / "share" / "dads_ros"
    assert Path(share) == (source if more else Path(index))
    assert Path(package).is_relative_to(tmp_path / "build" if more else prefix)
    hooks = {name for name in _files(Path(index)) if name.startswith(("hook/", "package."))}
    assert _files(Path(index)) - hooks == _files(source, SHARED)
    shell = ["bash", "-c", f"{setup}; python -m dads_ros --help && {library}/dads-ros --version"]
    assert "evaluate" in _run(shell, environment, cwd=tmp_path)
    for name in NODES:  # refuses what is no ROS argument, after it has imported everything
        shell = ["bash", "-c", f"{setup}; {library}/{name} nonsense 2>&1; test $? = 2"]
        assert "nonsense" in _run(shell, environment, cwd=tmp_path)


def _clean_environment() -> dict[str, str]:
    """The environment without what the ROS wheels, or a sourced ROS 2, put into it."""
    leaks = {
        "AMENT_PREFIX_PATH",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
    }
    return {name: value for name, value in os.environ.items() if name not in leaks}


def _files(folder: Path, parts: tuple[str, ...] = ("",)) -> set[str]:
    """Paths, relative to a folder, of all files in some of its parts; compiled ones left out."""
    found = (path for part in parts for path in (folder / part).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in found if path.suffix != ".pyc"}


def _run(command: list[str | Path], environment: dict[str, str], cwd: Path | None = None) -> str:
    result = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout
