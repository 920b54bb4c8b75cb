"""The page is served to this machine's own pages, and to nobody else's."""

import http.client
import socket
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from dads_ros.errors import ConfigError
from dads_ros.view.page import Page
from dads_ros.view.server import Server, is_local, is_own_page, start_server
from page_client import PageClient


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = start_server("127.0.0.1", 0)
    yield server
    server.stop()


def answer(server: Server, host: str) -> int:
    """Status of what a browser gets that asks for the page by this name."""
    connection = http.client.HTTPConnection("127.0.0.1", server.get_port(), timeout=10)
    connection.request("GET", "/", headers={"Host": host})
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    ("asked_for", "origin", "is_ours"),
    [
        ("127.0.0.1:8080", None, True),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("localhost:8080", "http://localhost:8080", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("192.168.7.7:8080", "http://192.168.7.7:8080", True),
        ("127.0.0.1:8080", "http://evil.example", False),
        ("127.0.0.1:8080", "null", False),
        ("127.0.0.1:8080", "http://127.0.0.1:9090", False),
        ("evil.example:8080", "http://evil.example:8080", False),  # a name that leads here
        ("evil.example:8080", None, False),
        ("", None, False),
    ],
)
def test_who_may_ask(asked_for: str, origin: str | None, is_ours: bool) -> None:
    assert is_own_page(asked_for, origin, "127.0.0.1") == is_ours


def test_pages_of_others_cannot_connect(server: Server) -> None:
    port = server.get_port()
    for origin in ("http://evil.example", f"http://evil.example:{port}"):
        with pytest.raises(InvalidStatus, match="403"):
            PageClient(port, origin=origin)
    assert answer(server, f"evil.example:{port}") == 403
    assert answer(server, f"127.0.0.1:{port}") == 200
    with PageClient(port, origin=f"http://127.0.0.1:{port}") as page:
        page.wait_for(lambda: len(server.get_clients()) == 1)


def test_it_never_reaches_out(server: Server) -> None:
    with PageClient(server.get_port()) as page:
        page.send("ShareUrlRequest")
        page.wait_for(lambda: server.get_clients())
    assert server.request_share_url() is None
    assert server._share_tunnel is None


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"host is '192\.0\.2\.1', on which nobody can listen"):
        start_server("192.0.2.1", 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_it_listens_on_ipv6_as_well() -> None:
    page = Page("::1", 0)
    connection = http.client.HTTPConnection("::1", int(page.address.rpartition(":")[2]))
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    assert page.address.startswith("http://[::1]:")
    connection.close()
    page.close()


def test_which_addresses_are_of_this_machine_alone() -> None:
    assert [is_local(h) for h in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [is_local(h) for h in ("0.0.0.0", "::", "192.168.7.7", "robot")] == [False] * 4
