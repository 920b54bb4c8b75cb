"""What is asked for in the browser reaches the node, and no more than that."""

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
        assert found[0][:3] == ("goal", None, (11.0, -2.0))
        client.set("A click on the ground is a goal", False)
        client.wait_for(lambda: not page.panel.takes_clicks)
        client.click(1.0, 2.0)
        client.press("Push")
        client.wait_for(lambda: found.extend(page.asks()) or len(found) > 1)
        assert found[1].what == "push"
    client.wait_for(lambda: page.num_lookers == 0)


def test_a_skill_is_driven_only_while_it_is_held(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes late, or all at once after a connection stalled, says nothing of now."""
    now = 100.0
    monkeypatch.setattr("dads_ros.view.page.time.monotonic", lambda: now)

    def driven(*gaps_s: float, later_s: float = 0.01) -> list[float]:
        nonlocal now
        skills = []
        for number, gap_s in enumerate(gaps_s):
            now += gap_s
            page._ask("skill", float(number))
            now += later_s
            skills += [ask.numbers[0] for ask in page.asks()]
        return skills

    assert driven(9.0, 0.1, 0.1, 0.08, 0.12) == [1.0, 2.0, 3.0, 4.0]
    assert driven(9.0, 0.0, 0.01, 0.0, later_s=0.0) == []
    assert driven(9.0, 0.1, 0.3, 0.1) == [1.0, 3.0]
    assert driven(9.0, 0.1, later_s=HELD_S) == []


def test_a_wish_is_not_lost_among_skills(page: Page) -> None:
    for _ in range(2 * MAX_ASKS):
        page._ask("skill", 0.1)
    page._ask("cancel")
    assert [ask.what for ask in page.asks()] == ["cancel"]


def test_more_than_anybody_can_want_is_dropped(page: Page) -> None:
    for _ in range(2 * MAX_ASKS):
        page._ask("push")
    assert len(list(page.asks())) == MAX_ASKS
