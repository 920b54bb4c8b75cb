"""Fixtures for all tests."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from bundles import write_bundle
from disks import fill

# 'pytest --hypothesis-profile=many' runs many times more examples; FUZZ_EXAMPLES says how many.
COMMON = {"deadline": 10_000, "database": None, "print_blob": True}
hypothesis.settings.register_profile("few", max_examples=25, derandomize=True, **COMMON)
hypothesis.settings.register_profile(
    "many", max_examples=int(os.environ.get("FUZZ_EXAMPLES", "10000")), **COMMON
)
hypothesis.settings.load_profile("few")


# Whoever starts tests in the background, or by nohup, has these ignored, and so would all that the
# tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def point_mass_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a hand-written bundle whose skills are velocities of the point mass."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "point_mass")


@pytest.fixture(scope="session")
def hovercraft_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one whose skills are velocities seen from the heading, refitted to little."""
    from dads_ros.learning import refit
    from hovercraft import write_hovercraft_bundle

    folder = tmp_path_factory.mktemp("hovercraft")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refit, "NUM_PERIODS", 80)
        refit.refit_bundle(write_hovercraft_bundle(folder / "old"), folder / "new")
    return folder / "new"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB; only root can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def full_disk(small_disk: Path) -> Path:
    """One on which nearly nothing is free."""
    fill(small_disk)
    return small_disk
