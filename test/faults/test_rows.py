"""The fast half of the rows of ``make faults``, each once, with robots that rows share."""

from collections.abc import Iterator

import pytest

from faults.judge import Robots
from faults.rows import ROWS, Row

FAST = sorted((row for row in ROWS if row.fast), key=lambda row: str(row.setup))


@pytest.fixture(scope="module")
def robots() -> Iterator[Robots]:
    with Robots() as robots:
        yield robots


@pytest.mark.parametrize("row", FAST, ids=lambda row: row.name)
def test_what_must_be_seen_is_seen(robots: Robots, row: Row) -> None:
    assert not robots.run(row).wrong
