"""Fixtures for all tests."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bundles import write_bundle

for profile, max_examples in (("few", 30), ("many", 20_000)):
    # Some of them start processes: a busy machine may take its time.
    settings.register_profile(
        profile,
        max_examples=max_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile("few")


@pytest.fixture(scope="session")
def point_mass_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a hand-written bundle whose skills are velocities of the point mass."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "point_mass")
