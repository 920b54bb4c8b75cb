"""What tests let processes of their own do."""

import ctypes
import os
import resource
import sys
import time

from dads_ros.errors import ConfigError


def echo(text: bytes) -> bytes:
    """Give back what came, whatever is printed meanwhile."""
    print("noise on stdout", flush=True)
    os.write(1, b"noise from a library\n")
    return text


def limits() -> bytes:
    """Size of a core file, and where this runs."""
    return f"{resource.getrlimit(resource.RLIMIT_CORE)[0]} {os.getcwd()}".encode()


def imported(name: str) -> bytes:
    """Where a module is found."""
    __import__(name)
    return str(sys.modules[name].__file__).encode()


def spin() -> bytes:
    """Never end."""
    while True:
        pass


def sleep() -> bytes:
    """Wait for what never comes."""
    time.sleep(600.0)
    return b""


def crash() -> bytes:
    """Segmentation fault."""
    ctypes.string_at(0)
    return b""


def leave() -> bytes:
    """End without an answer."""
    os._exit(7)


def hoard() -> bytes:
    """Take 4 GB."""
    return bytes(bytearray(b"x") * (4 << 30))[:1]


def refuse(text: str) -> bytes:
    """As a check does."""
    raise ConfigError(text)


def stumble() -> bytes:
    """As a library does that says too much."""
    raise RuntimeError("first line\n" + "\x1b[31mword " * 10_000)
