"""Fixtures for all tests."""

from pathlib import Path

import pytest

from bundles import write_bundle


@pytest.fixture(scope="session")
def point_mass_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a hand-written bundle whose skills are velocities of the point mass."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "point_mass")
