"""How long the parts take to import in a fresh process, and what they drag in.

    python benchmark/import_time.py [--repeats 5]

Quality: which of the heavy packages are loaded; the robot's side must not load torch or mujoco.
"""

import argparse
import json
import subprocess
import sys

import numpy as np
from report import percentiles_ms, print_report

MODULES = {
    "package": "dads_ros",
    "planner": "dads_ros.planning.control_loop",
    "bundle": "dads_ros.bundle.runtime",
    "simulation": "dads_ros.envs.vector_env",
    "evaluation": "dads_ros.evaluation.report",
    "training": "dads_ros.learning.trainer",
}
HEAVY = ("torch", "mujoco", "onnxruntime", "rclpy", "matplotlib")
_PROBE = """
import sys, time
begin = time.perf_counter()
__import__({module!r})
seconds = time.perf_counter() - begin
import json
print(json.dumps([seconds, [name for name in {heavy!r} if name in sys.modules]]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    results = {name: time_import(module, args.repeats) for name, module in MODULES.items()}
    print_report("import_time", {"imports": results})


def time_import(module: str, repeats: int) -> dict[str, object]:
    """Import time in processes of their own; the first, with cold files, is left out."""
    seconds, loaded = [], []
    for _ in range(repeats + 1):
        probe = _PROBE.format(module=module, heavy=HEAVY)
        result = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            return {"missing": result.stderr.strip().splitlines()[-1]}
        second, loaded = json.loads(result.stdout)
        seconds.append(second)
    return {**percentiles_ms(np.array(seconds[1:])), "loads": loaded}


if __name__ == "__main__":
    main()
