"""Drives a robot as fast as the machine can while everything is asked of it, and watches memory.

python -m faults.soak [--minutes 60] [--robot point_mass] [--out FILE]
"""

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from geometry_msgs.msg import Vector3, Wrench

from faults.report import measured, write_section
from faults.stage import Setup, Stage, goal, grid, path
from ros_graph import STATE_TIMEOUT_S

SPEED = 100.0
PERIOD_S = 1.0
"""Between two things that are asked for."""
WARM_UP = 1.0 / 6.0
"""Part of the time that is not judged."""
MAX_GROWTH_MB_PER_H = 1.0
_TEXT = """## Soak

{measured}. {verdict}

{minutes:.0f} minutes of simulated {robot} at the highest speed (`speed` {speed:g}), with goals, \
paths, maps, pushes and the bundle loaded again in turns, one every {period_s:g} s: {commands} \
commands, {stops} of them safe or standing, longest time without a command {silence_s:.2f} s; \
this machine kept a bare process waiting for up to {machine_s:.2f} s. Memory is counted after \
{warm_up:.0f} minutes. *Workers* are the processes in which maps, ways and paths are read.

| process | memory, MB | growth, MB per hour | threads | open files |
|---|---|---|---|---|
{table}
"""


@dataclass
class Sample:
    """Of one process."""

    time_s: float
    memory_mb: float
    num_threads: int
    num_files: int


def sample(pid: int, begin: float) -> Sample:
    """What a process has now."""
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    num_files = len(list((Path("/proc") / str(pid) / "fd").iterdir()))
    memory_mb = int(status["VmRSS"].split()[0]) / 1024.0
    return Sample(time.monotonic() - begin, memory_mb, int(status["Threads"]), num_files)


def requests(stage: Stage) -> Iterator[None]:
    """One thing after the other, for ever; all of it comes again, so that memory can stay."""
    for round_ in itertools.count():
        rng = np.random.default_rng(round_ % 4)
        for size in (50, 400, 200, 100):
            stage.publish(goal(*rng.uniform(-8.0, 8.0, 2)))
            yield
            stage.publish(path(np.cumsum(rng.normal(0.0, 0.2, (500, 2)), axis=0)))
            yield
            cells = rng.random((size, size)) < 0.001
            stage.publish(grid(cells, 0.1, (-0.05 * size, -0.05 * size)))
            stage.publish(goal(*rng.uniform(-8.0, 8.0, 2)))
            yield
            stage.publish(Wrench(force=Vector3(x=1.0, y=-1.0)))
            yield
        stage.begin("skill_planner/load_bundle")
        yield


def main() -> int:
    """Returns: 0 when memory, threads and open files stayed and no command was missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--robot", default="point_mass")
    parser.add_argument("--out", type=Path, help="write the table to this file")
    args = parser.parse_args()
    setup = Setup(robot=args.robot, simulator={"speed": SPEED})
    wrong: list[str] = []
    commands, stops, silence_s = 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), setup) as stage:
        observer, asked = stage.observer, requests(stage)
        nodes = {"planner": stage.planner.process.pid, "simulator": stage.simulator.process.pid}
        samples: dict[str, list[Sample]] = defaultdict(list)
        begin, first = time.monotonic(), time.time()
        while time.monotonic() - begin < 60.0 * args.minutes:
            since = time.time()
            next(asked)
            observer.spin_for(PERIOD_S)
            end = time.time()
            allowed_s = STATE_TIMEOUT_S + 2.0 * stage.meter.delay_s(since, end)
            wrong += observer.wrong_commands(since, allowed_s)
            commands += sum(c.sent >= since for c in observer.commands)
            stops += observer.stops(since, end)
            before = max(first, since - PERIOD_S)
            silence_s = max(silence_s, observer.longest_silence_s(before, end))
            if observer.heard(since, lambda text: "fallen" in text):
                stage.call("simulator/reset_world")
            observer.forget()
            for name, pid in nodes.items():
                samples[name].append(sample(pid, begin))
            for name, pid in stage.children().items():
                with contextlib.suppress(OSError, KeyError):  # a worker may have ended
                    samples[name].append(sample(pid, begin))
        machine_s = stage.meter.delay_s(first, time.time())
    if silence_s > STATE_TIMEOUT_S + 0.1 + 2.0 * machine_s:
        wrong.append(f"no command for {silence_s:.2f} s")
    lines = [_line(name, of, wrong) for name, of in samples.items()]
    verdict = (
        "Everything held." if not wrong else "Wrong: " + "; ".join(dict.fromkeys(wrong)) + "."
    )
    text = _TEXT.format(
        measured=measured(),
        verdict=verdict,
        minutes=args.minutes,
        robot=args.robot,
        speed=SPEED,
        period_s=PERIOD_S,
        commands=commands,
        silence_s=silence_s,
        machine_s=machine_s,
        stops=stops,
        warm_up=WARM_UP * args.minutes,
        table="\n".join(lines),
    )
    if args.out is not None:
        write_section(args.out, "Soak", text)
    print(text)
    return int(bool(wrong))


def _line(name: str, samples: list[Sample], wrong: list[str]) -> str:
    """A line of the table; what is wrong with a process is added to the sentences."""
    warm = [s for s in samples if s.time_s >= WARM_UP * samples[-1].time_s]
    times, memory = np.array([(s.time_s / 3600.0, s.memory_mb) for s in warm]).T
    growth = float(np.polyfit(times, memory, 1)[0])
    if growth > MAX_GROWTH_MB_PER_H:
        wrong.append(f"the {name} grows by {growth:.1f} MB per hour")
    counts = []
    for what in ("num_threads", "num_files"):
        thirds = np.array_split([getattr(s, what) for s in warm], 3)
        first, last = np.median(thirds[0]), np.median(thirds[-1])
        counts.append(f"{first:.0f} to {last:.0f}")
        if last > first:
            wrong.append(f"{what} of the {name} went from {first:.0f} to {last:.0f}")
    cells = name, f"{memory[0]:.0f} to {memory[-1]:.0f}", f"{growth:.1f}", *counts
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
