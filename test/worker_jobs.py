"""Functions that tests have run in a worker."""

import ctypes
import os
import signal

import numpy as np

from dads_ros.errors import ConfigError


def echo(data: memoryview, **arguments: object) -> dict[str, object]:
    return {"size": len(data), "bytes": np.frombuffer(data, np.uint8), "arguments": arguments}


def arrays(_: memoryview) -> dict[str, object]:
    return {
        "bools": np.eye(3, dtype=bool),
        "empty": np.zeros((0, 2)),
        "numbers": np.arange(5.0)[::-1],
        "text": "of three arrays",
        "turned": np.arange(6, dtype=np.int16).reshape(2, 3).T,
    }


def pid(_: memoryview) -> dict[str, object]:
    return {"pid": os.getpid(), "nice": os.nice(0)}


def refuse(_: memoryview) -> dict[str, object]:
    raise ConfigError("this is refused, send something else")


def fail(_: memoryview) -> dict[str, object]:
    raise KeyError("nobody expected this")


def die(_: memoryview) -> dict[str, object]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def allocate(_: memoryview) -> dict[str, object]:
    return {"ones": np.ones(1 << 29)}


def hold_interpreter(_: memoryview, seconds: int, fifo: str = "") -> dict[str, object]:
    """As native code does that never lets go of it; says when it begins."""
    if fifo:
        open(fifo, "w").close()
    ctypes.PyDLL(None).sleep(seconds)
    return {}
