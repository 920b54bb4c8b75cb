"""What serves the page: viser, but for this machine's own pages only, and without a word outside.

A browser lets any page that it shows open a connection to any address. A page that may push a
robot must therefore refuse those that it did not serve itself: the name that the browser asked for
must be one of this machine's, and the page that asks must have come from there.
"""

import contextlib
import functools
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import rich
import viser
import websockets.asyncio.server as websockets_server

from dads_ros.errors import ConfigError

LOOPBACK = "127.0.0.1"
_starting = threading.Lock()


class Server(viser.ViserServer):
    """A server that never reaches out: viser can publish a page through a machine of its own."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Never."""
        return None


def start_server(host: str, port: int) -> Server:
    """Listen on the first free port from ``port`` on. Raises: ConfigError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family):
            pass
    except OSError as error:
        raise ConfigError(
            f"host is '{host}', on which nobody can listen here ({error.strerror or error}); "
            f"expected an address of this machine, such as {LOOPBACK}"
        ) from error
    rich.reconfigure(quiet=True)  # what viser says on stdout, a node says in its log
    with _starting, _guarded(host):
        return Server(host=host, port=port, verbose=False)


def is_local(host: str) -> bool:
    """Nobody but this machine can connect to it."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def is_own_page(asked_for: str, origin: str | None, host: str) -> bool:
    """Whether a request may be answered.

    Args:
        asked_for: its header Host: the name that the browser looked up.
        origin: its header Origin, of the page that asks; None where no page does.
        host: what the server listens on.
    """
    name = urlsplit(f"//{asked_for}").hostname or ""
    if not _is_name_of_ours(name, host):  # else a name of theirs that leads here would do
        return False
    return origin is None or urlsplit(origin).netloc == asked_for


def _is_name_of_ours(name: str, host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    own = socket.gethostname().lower()
    return name in ("localhost", host.lower(), own, f"{own}.local") or name == _full_name()


@functools.cache
def _full_name() -> str:
    """Of this machine. Once: where no name server answers it takes seconds."""
    return socket.getfqdn().lower()


@contextlib.contextmanager
def _guarded(host: str) -> Iterator[None]:
    """While this lasts, servers that are started check who asks."""
    serve = websockets_server.serve

    @functools.wraps(serve)
    def start(*args: Any, process_request: Callable[..., Any], **rest: Any) -> Any:  # noqa: ANN401
        def check(connection: Any, request: Any) -> Any:  # noqa: ANN401
            asked_for = request.headers.get("Host", "")
            if is_own_page(asked_for, request.headers.get("Origin"), host):
                return process_request(connection, request)
            return connection.respond(HTTPStatus.FORBIDDEN, "this page is not served here\n")

        return serve(*args, process_request=check, **rest)

    websockets_server.serve = start  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        websockets_server.serve = serve  # type: ignore[misc]
