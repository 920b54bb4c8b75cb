"""TaskMemory: the goal or path that a planner follows, kept in a file over its restart."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from dads_ros.errors import ConfigError, DadsError
from dads_ros.files import atomic_write
from dads_ros.planning.planning_thread import PlanningThread
from dads_ros.transform import Transform

MAX_BYTES = 64 << 20


class TaskMemory:
    """The topic, where the message's frame was in odom, and the message as it came.

    Written in a thread of its own, the newest wins.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        """Keep it there; ``say`` takes a warning. Raises: ConfigError when nothing can be kept."""
        self._path, self._say = path, say
        if not path.parent.is_dir() or path.is_dir():
            raise ConfigError(f"'task_file' is '{path}'; expected a file in a folder that exists")
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise ConfigError(
                f"'task_file' is '{path}', where nothing can be written ({error.strerror})"
            ) from error
        self._writer = PlanningThread(self._write)

    def keep(self, topic: str, transform: Transform, serialised: bytes) -> None:
        """The task is this message from now on."""
        head = " ".join([topic, *map(repr, transform)])
        self._writer.submit(head.encode() + b"\n" + serialised)

    def forget(self) -> None:
        """There is no task any longer."""
        self._writer.submit(b"")

    def recall(self) -> tuple[str, Transform, bytes] | None:
        """The task that was kept last. Raises: ConfigError; ValueError for a file of others."""
        try:
            if not self._path.exists():
                return None
            with self._path.open("rb") as stream:
                head, _, serialised = stream.read(MAX_BYTES).partition(b"\n")
        except OSError as error:
            raise ConfigError(f"'{self._path}' cannot be read ({error.strerror})") from error
        topic, *numbers = head.decode().split()
        return topic, Transform(*map(float, numbers)), serialised

    def _write(self, content: bytes) -> None:
        """A task that cannot be kept, as on a full disk, is forgotten: the old one is outdated."""
        try:
            if content:
                with atomic_write(self._path) as temporary:
                    temporary.write_bytes(content)
            else:
                self._path.unlink(missing_ok=True)
        except (DadsError, OSError) as error:
            self._say(f"the task cannot be kept in '{self._path}': {error}")
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
