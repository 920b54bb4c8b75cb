"""Small disks."""

import os
from pathlib import Path


def fill(disk: Path, leave: int = 2**16) -> None:
    """Leave that many bytes free."""
    system = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(system.f_bavail * system.f_frsize - leave))
