"""Worker: runs functions in a process of its own, which can be ended whatever it is doing.

What takes long holds Python's interpreter, and with it everything else in a process: so it must
not run where states are answered. The worker is a clean interpreter that shares nothing with its
parent but a socket. Data and results go through anonymous memory, whose pages are mapped and not
copied, what says what they are through JSON: neither side ever unpickles anything.
"""

import contextlib
import ctypes
import importlib
import json
import mmap
import os
import queue
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dads_ros.errors import DadsError, PlanningError
from dads_ros.isolation import import_path

Result = Mapping[str, Any]
"""Arrays, and what JSON can say, by name."""
Function = Callable[..., Result]
"""(data: memoryview, **arguments that JSON can say) -> Result; may raise a DadsError."""
NICENESS = 10
_GRACE_S = 0.5
"""For a cancelled job to end by itself: about what a new process takes to start."""
_MAX_MESSAGE = 65536
_MAX_TEXT = 2000
_ALIGNMENT = 64
_PR_SET_PDEATHSIG = 1
_COMMAND = (
    "import json, sys; options = json.loads(sys.argv[1]); sys.path[:] = options.pop('path'); "
    "from dads_ros.planning.worker import serve; serve(**options)"
)


@dataclass(frozen=True)
class _Job:
    function: str
    data: Any
    arguments: Mapping[str, Any]
    convert: Callable[[Result], Any]
    future: "Future[Any]"


class Worker:
    """One process that runs one job after the other; starts with the first.

    It is replaced when it dies, when its job is cancelled and when a job takes longer than the
    limit, and ends when this object is closed or this process ends, however that ends.
    """

    def __init__(
        self, functions: Sequence[str], *, limit_s: float = 120.0, memory_bytes: int = 1 << 30
    ) -> None:
        """Start nothing yet.

        Args:
            functions: ``package.module:function`` of all that may be run.
            limit_s: on the time of a job.
            memory_bytes: limit on the process's address space.
        """
        self._functions = tuple(functions)
        self._limit_s, self._memory_bytes = limit_s, memory_bytes
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._roused, self._rouser = socket.socketpair()
        self._rouser.setblocking(False)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the process; None where none has been started."""
        return None if self._process is None else self._process.pid

    def submit(
        self,
        function: str,
        data: Any = b"",  # noqa: ANN401, typing has no name for a buffer before Python 3.12
        convert: Callable[[Result], Any] = dict,
        **arguments: Any,  # noqa: ANN401
    ) -> "Future[Any]":
        """Have a function run; returns at once.

        Args:
            function: one of those that were named at the start.
            data: bytes for it, anything with a contiguous buffer; not to be changed until then.
            convert: makes the future's result of the function's, in this process; must be quick.
            arguments: of the function, after the data; only what JSON can say.
        Returns: its result, or a PlanningError. Cancelling it ends the job, running or not.
            Callbacks run in the thread that waits for the worker.
        """
        assert function in self._functions, f"{function} was not named at the start"
        future: Future[Any] = Future()  # stays pending to its end, so that it can be cancelled
        if self._is_closed:
            future.cancel()
            return future
        future.add_done_callback(lambda _: self._rouse())
        self._jobs.put(_Job(function, data, arguments, convert, future))
        return future

    def close(self) -> None:
        """End the process and cancel what it has not done."""
        self._is_closed = True
        self._jobs.put(None)
        self._rouse()
        self._thread.join()
        self._roused.close()
        self._rouser.close()

    def _rouse(self) -> None:
        with contextlib.suppress(OSError):  # it is roused, or closed
            self._rouser.send(b"!")

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._is_closed:
                job.future.cancel()
            if job.future.done():
                continue
            try:
                found = job.convert(self._result_of(job))
            except DadsError as error:
                _settle(job.future, error=error)
            except Exception as error:  # no job may stay without an answer
                self._end()
                text = f"{job.function} could not be run in a process of its own ({error!r})"
                _settle(job.future, error=PlanningError(text[:_MAX_TEXT]))
            else:
                _settle(job.future, result=found)
        self._end()

    def _result_of(self, job: _Job) -> Result:
        """Raises: PlanningError from the job or about its end, OSError."""
        deadline = time.monotonic() + self._limit_s
        connection = self._connection()
        news = select.poll()
        news.register(connection, select.POLLIN)
        news.register(self._roused, select.POLLIN)
        with _memory(job.data) as data:
            text = json.dumps({"function": job.function, "arguments": job.arguments})
            socket.send_fds(connection, [text.encode()], [data])
        while not self._is_closed:
            if job.future.cancelled():
                deadline = min(deadline, time.monotonic() + _GRACE_S)
            left_s = max(0.0, deadline - time.monotonic())
            ready = [descriptor for descriptor, _ in news.poll(1000.0 * left_s)]
            if connection.fileno() in ready:
                return self._answer(connection, job)
            if not ready:
                self._end()
                raise PlanningError(
                    f"{job.function} took longer than {self._limit_s:g} s and was ended; send "
                    "less, or a coarser map"
                )
            self._roused.recv(_MAX_MESSAGE)
        self._end()
        job.future.cancel()
        raise PlanningError(f"{job.function} was ended")

    def _answer(self, connection: socket.socket, job: _Job) -> Result:
        try:
            message, descriptors, _, _ = socket.recv_fds(connection, _MAX_MESSAGE, 1)
        except ConnectionResetError:
            message, descriptors = b"", []
        if not message:
            assert self._process is not None
            process = self._process
            self._end()
            raise PlanningError(
                f"the process of {job.function} ended before its result came "
                f"(exit code {process.returncode}); the next job gets a new one"
            )
        answer = json.loads(message)
        with os.fdopen(descriptors[0], "rb") as file:
            if "error" in answer:
                raise PlanningError(answer["error"])
            memory = _mapped(file.fileno())
        result = dict(answer["values"])
        for name, (dtype, shape, offset) in answer["arrays"].items():
            result[name] = np.ndarray(shape, dtype, memory, offset)
        return result

    def _connection(self) -> socket.socket:
        """To the process, which is started where it is not there. Raises: OSError."""
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._socket is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            options = {
                "path": import_path(),
                "descriptor": theirs.fileno(),
                "parent": os.getpid(),
                "functions": self._functions,
                "memory_bytes": self._memory_bytes,
            }
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _COMMAND, json.dumps(options)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # the terminal's signals are for this process
                    # A thread for each core would take address space, and cores from the robot.
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                )
            self._socket = ours
        return self._socket

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._socket = self._process = None


def serve(descriptor: int, parent: int, functions: Sequence[str], memory_bytes: int) -> None:
    """Run jobs until the parent closes the socket or ends: the worker's side."""
    # The kernel's way: a thread that waits for the parent's end might never get the interpreter.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=descriptor)
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _MAX_MESSAGE, 1)
        if not message:
            return
        request = json.loads(message)
        answer, arrays = _run_job(functions, request, descriptors[0], memory_bytes)
        with _memory(*arrays) as found:
            del arrays
            socket.send_fds(connection, [json.dumps(answer).encode()], [found])


def _run_job(
    functions: Sequence[str], request: Mapping[str, Any], descriptor: int, memory_bytes: int
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """What to answer; arrays of it one after the other."""
    name = request["function"]
    try:
        with os.fdopen(descriptor, "rb") as file:
            data = _mapped(file.fileno())
        module, _, attribute = functions[functions.index(name)].partition(":")
        function = getattr(importlib.import_module(module), attribute)
        result = function(memoryview(data), **request["arguments"])
    except DadsError as error:
        return {"error": str(error)[:_MAX_TEXT]}, []
    except MemoryError:
        text = f"{name} needs more than its {memory_bytes >> 20} MiB; send less, or a coarser map"
        return {"error": text}, []
    except Exception as error:  # whatever the function raises: the next job may be a sound one
        return {"error": f"{name} failed ({type(error).__name__}: {error})"[:_MAX_TEXT]}, []
    values, places, arrays, offset = {}, {}, [], 0
    for key, value in result.items():
        if isinstance(value, np.ndarray):
            places[key] = (value.dtype.str, value.shape, offset if value.size else 0)
            arrays.append(np.ascontiguousarray(value))
            offset += -(-value.nbytes // _ALIGNMENT) * _ALIGNMENT
        else:
            values[key] = value
    return {"values": values, "arrays": places}, arrays


@contextlib.contextmanager
def _memory(*parts: Any) -> Iterator[int]:  # noqa: ANN401
    """Descriptor of anonymous memory with some buffers, each from a multiple of _ALIGNMENT on."""
    descriptor = os.memfd_create("dads_ros")
    try:
        offset = 0
        for part in parts:
            size = memoryview(part).nbytes
            left = memoryview(part).cast("B") if size else memoryview(b"")
            while left:  # a write lets go of the interpreter
                left = left[os.pwrite(descriptor, left, offset + size - len(left)) :]
            offset += -(-size // _ALIGNMENT) * _ALIGNMENT
        yield descriptor
    finally:
        os.close(descriptor)


def _mapped(descriptor: int) -> Any:  # noqa: ANN401
    """The memory behind a descriptor, read only; its pages are there when they are looked at."""
    is_empty = os.fstat(descriptor).st_size == 0
    return b"" if is_empty else mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)


def _settle(
    future: "Future[Any]", result: object = None, error: BaseException | None = None
) -> None:
    with contextlib.suppress(InvalidStateError):  # it was cancelled meanwhile
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
