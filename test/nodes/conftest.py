"""Fixtures for tests over DDS."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ros_graph import NodeProcess, Probe, Robot, isolate, start_robot

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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, point_mass_bundle: Path) -> Iterator[Robot]:
    """A robot that the tests of a module which leave it running share."""
    with ExitStack() as stack:
        probe = Probe()
        stack.callback(probe.close)
        folder = tmp_path_factory.mktemp("nodes")

        def start(node: str, **parameters: object) -> NodeProcess:
            return stack.enter_context(NodeProcess(node, folder, **parameters))

        yield start_robot(probe, start, point_mass_bundle)
