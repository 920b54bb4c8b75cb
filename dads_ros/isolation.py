"""Work that may never end, crash or take all memory, done in a process that can be ended.

What foreign files make onnxruntime and MuJoCo do has no bound that could be known beforehand.
"""

import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from dads_ros.errors import DadsError
from dads_ros.process import QUIET
from dads_ros.working_folder import path_without_it

MAX_TEXT = 240
"""Characters of a foreign library's message that are passed on."""
WALL_FACTOR = 3
"""A busy machine may take so many times longer than the processor does."""
_ASKED_TO_END = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **QUIET}
_REFUSED = 3  # exit code: stdout says why
_START = """
import os, pickle, sys
output, path = os.dup(1), sys.path
os.dup2(2, 1)  # what libraries print is no answer
sys.path = sys.argv[1:2]
import dads_ros
sys.path = sys.argv[2:] + path
from dads_ros.isolation import _answer
_answer(output, *pickle.load(sys.stdin.buffer))
"""


class IsolatedError(Exception):
    """What was done in a process of its own failed; the text is the part of a sentence."""


def isolated(
    function: Callable[..., bytes], *arguments: object, cpu_s: int, memory_bytes: int
) -> bytes:
    """What a function of a module gives, called in a process of its own.

    A fresh interpreter: this process may have threads, which a fork would break. It imports what
    this one would, but nothing from the working folder, and leaves no core file behind.

    Args:
        function: of the top level of a module.
        arguments: of any kind that pickle takes.
        cpu_s: time of the processor that it may take, whatever else the machine does; of the
            clock on the wall it may take ``WALL_FACTOR`` times as much.
        memory_bytes: that it may hold.
    Raises: IsolatedError when it raised, hung, crashed or wanted more than it may have.
    """
    task = function.__module__, function.__qualname__, arguments, cpu_s, memory_bytes
    try:
        with tempfile.TemporaryDirectory() as folder:  # MuJoCo logs to the working folder
            child = subprocess.run(
                [sys.executable, "-I", "-c", _START, *import_path()],
                input=pickle.dumps(task),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=os.environ | _ENVIRONMENT,
                timeout=WALL_FACTOR * cpu_s,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise IsolatedError(f"it took more than {WALL_FACTOR * cpu_s} s and was ended") from error
    except OSError as error:
        raise IsolatedError(f"no process can be started for it ({error.strerror})") from error
    if child.returncode == 0:
        return child.stdout
    if child.returncode == _REFUSED:
        raise IsolatedError(one_line(child.stdout.decode(errors="replace")))
    if child.returncode == -signal.SIGXCPU:
        raise IsolatedError(f"it took more than {cpu_s} s of the processor's time and was ended")
    if -child.returncode in _ASKED_TO_END:
        raise IsolatedError("its process was ended from outside")
    end = f"exit code {child.returncode}"
    if child.returncode < 0:
        end = signal.Signals(-child.returncode).name
    raise IsolatedError(f"it crashed the process of its own that it ran in ({end})")


def import_path() -> list[str]:
    """What a clean interpreter is to import from: this package's folder, then what this one does.

    Not from the working folder, where anybody's files may lie, unless this package does.
    """
    package = str(Path(__file__).resolve().parent.parent)
    others = [entry for entry in path_without_it() if os.path.isabs(entry)]
    return [package, *(entry for entry in others if entry != package)]


def one_line(text: object) -> str:
    """A foreign text, such as an error's, as at most ``MAX_TEXT`` characters on one line."""
    line = " ".join(str(text)[: 10 * MAX_TEXT].split())
    printable = "".join(letter if letter.isprintable() else "?" for letter in line)
    return printable if len(printable) <= MAX_TEXT else printable[:MAX_TEXT] + " ..."


def _answer(
    output: int, module: str, name: str, arguments: tuple[object, ...], cpu_s: int, memory: int
) -> None:
    """The other process: set the limits, call, write the result or the refusal, end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a flag ends no foreign code
    signal.alarm(WALL_FACTOR * cpu_s + 1)  # should nobody wait any more
    for what, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, 1 << 20),
    ):
        _, most = resource.getrlimit(what)
        resource.setrlimit(what, (limit if most < 0 else min(limit, most), most))
    code = 0
    try:
        answer = getattr(import_module(module), name)(*arguments)
    except MemoryError:
        code, answer = _REFUSED, f"it needs more than {memory >> 20} MB of memory".encode()
    except Exception as error:  # whatever it is: for this the process is its own
        text = str(error) if isinstance(error, DadsError) else f"it fails: {error}"
        code, answer = _REFUSED, text.encode(errors="replace")
    with os.fdopen(output, "wb") as stream:
        stream.write(answer)
        stream.flush()
    os._exit(code)  # nothing that foreign code left may run at exit
