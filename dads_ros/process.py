"""How this process begins, whatever it finds around it, and how it ends.

A signal sets a flag, and what does not end by itself is cut off.

Nothing is ever raised out of a signal: an exception inside of native code comes out as anything.
"""

import contextlib
import errno
import io
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO, cast

from dads_ros.errors import ConfigError
from dads_ros.working_folder import path_without_it

PARENT_PID = "DADS_ROS_PARENT_PID"
"""Environment variable: a node ends when this process has ended; launch files and demo set it."""
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
GRACE_S = 4.0
"""From the wish to end until the process is cut off."""
ALARM_S = 0.5
"""After that, the kernel ends what even this could not."""
QUIET = {"MPLBACKEND": "agg", "MUJOCO_GL": "disable", "ORT_DISABLE_TELEMETRY": "1"}
"""Environment: pictures are only written, with other values matplotlib and MuJoCo may want a
display, or libraries, or start a process; and onnxruntime reports to nobody."""
ECHO_S = 0.5
"""So soon after the first signal a second one is its echo: a closed terminal sends two."""


def begin(*, is_node: bool) -> None:
    """First of all in a process of our own: from here on its signals and its output are ours.

    A signal ends it at once, until ``STOP`` catches it. Of a command it is the signal's default
    action, which no interpreter can delay; a node's exit code is 0.

    Raises: ConfigError where the working folder is gone.
    """
    for descriptor in (0, 1, 2):
        _open_if_closed(descriptor)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name) or os.fdopen(descriptor, "w", closefd=False)
        stream.flush()
        setattr(sys, name, _unbreakable(stream, is_given_up=name == "stderr"))
    if is_node:
        STOP.catch_signals(grace_s=0.0)
    else:
        for number in signals_that_count():
            signal.signal(number, signal.SIG_DFL)
    sys.path[:] = path_without_it()
    os.environ |= QUIET
    if not os.environ.get("HOME"):  # as of a service, where ROS wants it
        os.environ.pop("HOME", None)
        home = os.path.expanduser("~")
        if home != "~":  # the user is known
            os.environ["HOME"] = home
    os.environ.pop("PYTHONWARNINGS", None)
    if sys.warnoptions:
        warnings.simplefilter("default")  # those of libraries may be seen, but end no program
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError("the current folder is gone; change to one that is there") from error


def _open_if_closed(descriptor: int) -> None:
    """Else the next file that is opened became this process's input or output."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number


class Stop:
    """The wish to end this process: whoever runs a loop looks at ``is_asked``."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.is_asked = False
        self.exit_code = 0
        """Of a process that was asked: 0 for a node, 128 + the signal for a command."""
        self._grace_s, self._is_command = 0.0, False
        self._pipe: tuple[int, int] | None = None

    def ask(self) -> None:
        """End soon, as after a signal."""
        self.is_asked = True
        if self._pipe is not None:
            os.write(self._pipe[1], b"\0")

    def catch_signals(self, grace_s: float = GRACE_S, *, is_command: bool = False) -> None:
        """From now on a signal asks; a second one cuts this process off. From the main thread.

        Args:
            grace_s: it is cut off when it has not ended so long after the first; 0 where it has
                nothing to end well, such as imports.
            is_command: its exit code tells the signal, as a shell does; a node's is 0.
        """
        self._grace_s, self._is_command = grace_s, is_command
        if self._pipe is not None:
            return
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        # Written to by the signal itself, whatever the interpreter is doing.
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="ending", daemon=True).start()
        for number in signals_that_count():
            signal.signal(number, lambda *_: None)

    def leave_if_asked(self, exit_code: int) -> None:
        """Last of all: leave without the interpreter's own end, which takes seconds with torch."""
        if self.is_asked:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.flush()
            os._exit(exit_code)

    def _watch(self) -> None:
        """Wait for the first wish, then for the deadline or a second signal."""
        number = next(self._wishes(None))
        if self._is_command:
            self.exit_code = 128 + number
        self.is_asked = True
        if self._grace_s == 0.0:
            os._exit(self.exit_code)
        signal.setitimer(signal.ITIMER_REAL, self._grace_s + ALARM_S)
        asked_s = time.monotonic()
        for again in self._wishes(asked_s + self._grace_s):
            if again and time.monotonic() - asked_s > ECHO_S:
                break
        # Past Python's streams, which another thread may hold.
        text = f"dads_ros: cut off {time.monotonic() - asked_s:.1f} s after it was asked to end"
        with contextlib.suppress(OSError):
            os.write(2, f"{text}; what was saved before stands\n".encode())
        os._exit(self.exit_code)

    def _wishes(self, deadline: float | None) -> Iterator[int]:
        """Numbers of signals, 0 for ``ask``, until a deadline of ``time.monotonic``."""
        assert self._pipe is not None
        while True:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._pipe[0]], [], [], left_s)[0]:
                return
            number = os.read(self._pipe[0], 1)[0]
            if number in (0, *SIGNALS):
                yield number


STOP = Stop()
"""Of this process: asked by a signal, when the parent has ended, or by a service."""


class _Output(io.FileIO):
    """A file descriptor that drops what nobody reads, and whatever follows a full disk."""

    is_given_up = False
    """Errors are dropped as well: one was raised, or nobody is left to be told."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EPIPE) and not self.is_given_up:
                self.is_given_up = True
                raise
            return memoryview(data).nbytes


def signals_that_count() -> list[signal.Signals]:
    """All three; without SIGHUP where nohup has it ignored."""
    return [n for n in SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]


def _unbreakable(stream: TextIO, *, is_given_up: bool) -> TextIO:
    """The same, but what is printed is dropped once its terminal or pipe has been closed.

    Letters that it cannot write are written as escapes.
    """
    raw = _Output(stream.fileno(), "w", closefd=False)
    raw.is_given_up = is_given_up
    is_direct = bool(getattr(stream, "write_through", False))  # PYTHONUNBUFFERED
    return io.TextIOWrapper(
        cast(BinaryIO, raw) if is_direct else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace" if stream.errors == "strict" else stream.errors,
        line_buffering=bool(stream.line_buffering),
        write_through=is_direct,
    )
