"""What this machine adds to every time: measured by a bare process beside what is tested."""

import contextlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

_METER = """
import gc, time
gc.disable()
while True:
    begin = time.time()
    time.sleep(0.002)
    late = time.time() - begin - 0.002
    if late > 0.005:
        print(begin, late, flush=True)
"""
_BURNER = "while True: pass"


class DelayMeter:
    """A process that asks to be woken every 2 ms and notes when that came late."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "delays.txt"
        with self._log.open("wb") as stream:
            self._process = subprocess.Popen([sys.executable, "-c", _METER], stdout=stream)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def delay_s(self, begin: float, end: float) -> float:
        """Longest delay between two times of ``time.time``."""
        lines = (line.split() for line in self._log.read_text().splitlines())
        delays = [(float(line[0]), float(line[1])) for line in lines if len(line) == 2]
        return max((late for at, late in delays if at + late >= begin and at <= end), default=0.0)


class Burners:
    """A process for each core that never waits, as important as what is tested."""

    def __init__(self, number: int) -> None:
        self._processes = [
            subprocess.Popen([sys.executable, "-c", _BURNER]) for _ in range(number)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def sweep_shared_memory(since: float) -> None:
    """Remove what processes that were killed since then have left in /dev/shm.

    What a living process has open or mapped stays.
    """
    used: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            used |= {os.readlink(entry) for entry in (process / "fd").iterdir()}
            maps = (process / "maps").read_text().splitlines()
            used |= {line.split()[-1] for line in maps if "/dev/shm/" in line}
    for file in Path("/dev/shm").glob("*fastrtps_*"):
        with contextlib.suppress(OSError):
            if str(file) not in used and since < file.stat().st_mtime < time.time() - 1.0:
                file.unlink()


def machine() -> str:
    """Processor, cores and load of this machine, for a report."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "?")
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[1]
    return f"{model}, {cores} cores, {platform.system()}, load {load:.1f} over 5 minutes"
