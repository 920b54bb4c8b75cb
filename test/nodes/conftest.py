"""Fixtures for tests over DDS."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ros_graph import NodeProcess, Probe, isolate

isolate()


@pytest.fixture
def probe() -> Iterator[Probe]:
    """A node of the test's own."""
    probe = Probe()
    yield probe
    probe.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Starts nodes; they end with the test."""
    with ExitStack() as stack:
        yield lambda node, **parameters: stack.enter_context(
            NodeProcess(node, tmp_path, **parameters)
        )
