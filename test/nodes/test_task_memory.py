"""What a planner keeps over its restart, where the disk lets it."""

import subprocess
import sys
from pathlib import Path

import pytest

from dads_ros.errors import ConfigError
from dads_ros.nodes.task_memory import TaskMemory

FULL_DISK = """
import resource, sys
from pathlib import Path
from dads_ros.nodes.task_memory import TaskMemory
from dads_ros.transform import Transform

said = []
memory = TaskMemory(Path(sys.argv[1]), said.append)
memory._write(b"goal_pose " + b" ".join(repr(x).encode() for x in Transform()) + b"\\nold goal")
assert memory.recall() is not None and not said
resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
memory._write(b"goal_pose: the new goal")
assert memory.recall() is None, memory.recall()
(text,) = said
assert "the task cannot be kept" in text
"""


def test_a_goal_that_cannot_be_kept_does_not_leave_the_one_before(tmp_path: Path) -> None:
    """A robot must not set off to an outdated goal after a restart."""
    subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path / "task")], check=True)


@pytest.mark.parametrize("path", ["/proc/self/task_file", "/nowhere/task", "/tmp"])
def test_a_place_where_nothing_can_be_kept_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="'task_file' is"):
        TaskMemory(Path(path), lambda text: None)
