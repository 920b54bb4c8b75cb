"""What is asked for in the browser reaches the node, and no more than that."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from dads_ros.view.page import HELD_S, MAX_ASKS, Ask, Page
from page_client import PageClient


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page("127.0.0.1", 0)
    yield page
    page.close()


def test_a_click_is_a_place_on_the_ground_wherever_the_scene_has_moved(page: Page) -> None:
    page.look_at(np.array([10.0, -4.0]))
    with PageClient(int(page.address.rpartition(":")[2])) as client:
        client.wait_for(lambda: page.num_lookers == 1)
        client.click(1.0, 2.0)
        found: list[Ask] = []
        client.wait_for(lambda: found.extend(page.asks()) or found)
        assert found[0][:3] == ("goal", "", (11.0, -2.0))
        client.set("A click on the ground is a goal", False)
        client.wait_for(lambda: not page.panel.takes_clicks)
        client.click(1.0, 2.0)
        client.press("Push")
        client.wait_for(lambda: found.extend(page.asks()) or len(found) > 1)
        assert found[1].what == "push"
    client.wait_for(lambda: page.num_lookers == 0)


def test_a_skill_that_was_held_long_ago_is_not_driven(page: Page) -> None:
    now = time.monotonic()
    page._asks.put(Ask("skill", "", (0.5,), now - HELD_S))
    page._asks.put(Ask("goal", "", (1.0, 2.0), now - 9.0))
    page._ask("skill", 0.4)
    assert [(ask.what, ask.numbers[0]) for ask in page.asks()] == [("goal", 1.0), ("skill", 0.4)]


def test_more_than_anybody_can_want_is_dropped(page: Page) -> None:
    for _ in range(2 * MAX_ASKS):
        page._ask("push")
    assert len(list(page.asks())) == MAX_ASKS
