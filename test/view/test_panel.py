"""What stands beside the scene."""

from collections.abc import Iterator

import numpy as np
import pytest

from dads_ros.view.panel import MAX_DIMENSIONS, NUM_SAMPLES, Panel, StatusLine
from dads_ros.view.server import start_server
from page_client import PageClient


@pytest.fixture
def panel() -> Iterator[Panel]:
    server = start_server("127.0.0.1", 0)
    yield Panel(server.gui, lambda *_: None)
    server.stop()


def test_what_nodes_say_is_text_and_never_part_of_the_page(panel: Panel) -> None:
    lines = [StatusLine("<b>", 0, "well"), StatusLine("x", 2, "<script>evil()</script>" * 99)]
    panel.show_status(lines * 99)
    content = panel._status.content
    assert "<script>" not in content and "&lt;script&gt;evil()" in content
    assert len(content) < 20_000


def test_the_worst_is_said_first(panel: Panel) -> None:
    panel.show_status(
        [StatusLine("a", 0, "well"), StatusLine("b", 2, "ill"), StatusLine("c", 1, "so")]
    )
    content = panel._status.content
    assert content.index("ill") < content.index("so") < content.index("well")


def test_there_is_a_slider_for_each_dimension_of_a_skill(panel: Panel) -> None:
    for dim in (2, 5, 1, 0, MAX_DIMENSIONS + 1):
        panel.offer_skills(dim)
        assert len(panel.skill) == (dim if dim <= MAX_DIMENSIONS else 0)
    assert not panel._pad.visible


def test_a_plot_keeps_its_last_samples_before_now(panel: Panel) -> None:
    for second in range(NUM_SAMPLES + 10):
        panel.plot("skill", ["z1", "z2"], [second, np.nan], float(second))
    times, z1, z2 = panel._plots["skill"]._chart.data
    assert len(times) == NUM_SAMPLES and times[-1] == 0.0 and times[0] == 1.0 - NUM_SAMPLES
    assert z1[-1] == NUM_SAMPLES + 9 and np.isnan(z2).all()


def test_opening_and_closing_the_page_leaks_nothing() -> None:
    server = start_server("127.0.0.1", 0)
    panel = Panel(server.gui, lambda *_: None)
    buffer = server._websock_server._broadcast_buffer
    sizes = []
    for _ in range(5):
        with PageClient(server.get_port()) as page:
            page.wait_for(lambda: server.get_clients())
            for second in range(50):
                panel.plot("skill", ["z1"], [0.0], float(second))
                panel.show_status([StatusLine("a", 0, str(second))])
        page.wait_for(lambda: not server.get_clients())
        sizes.append(len(buffer.message_from_id))
    server.stop()
    assert len(set(sizes)) == 1 and not buffer.generator_cursors
