"""dads-ros train in a process of its own: signals, kill -9, resume, progress."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dads_ros.bundle.runtime import SkillBundle
from dads_ros.cli.main import main
from dads_ros.config import read_yaml
from dads_ros.evaluation.curves import METRICS_FILE, lines_of
from dads_ros.files import only_trainer, share_folder
from dads_ros.learning.checkpoint import load_checkpoint, save_checkpoint
from dads_ros.learning.config import TrainConfig
from dads_ros.learning.metrics import MetricsWriter
from dads_ros.learning.trainer import IterationMetrics
from dads_ros.process import SIGNALS
from dads_ros.robot import RobotSpec
from disks import fill
from waiting import wait_until

ITERATIONS = 60


def write_config(folder: Path) -> Path:
    values = read_yaml(share_folder() / "config" / "train" / "point_mass.yaml")
    values["collect"] |= {"num_envs": 16, "warmup_steps": 512, "replay_capacity": 4000}
    values |= {"num_iterations": ITERATIONS, "evaluate_every": 30, "checkpoint_period_s": 0.5}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


PROGRAM = "import sys; from dads_ros.cli.main import main; sys.exit(main())"
ENDLESS_EVALUATION = """
import sys, threading
from dads_ros.learning.selection import Selection

def judge(self, skills, iteration):
    print("evaluating", file=sys.stderr, flush=True)
    threading.Event().wait()

Selection.judge = judge
from dads_ros.cli.main import main
sys.exit(main())
"""


def train(config: Path, out: Path, *more: str, script: str = PROGRAM) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, "train", "--config", str(config)]
    return subprocess.Popen(
        [*command, "--out", str(out), *more],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output + errors


def wait_for_text(process: subprocess.Popen[str], text: str) -> None:
    """Until it has written this on stderr."""
    assert process.stderr is not None
    seen = ""
    while text not in seen:
        more = process.stderr.read(1)
        assert more, seen
        seen += more


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    def is_there() -> bool:
        assert path.exists() or process.poll() is None, process.communicate()[1]
        return path.exists()

    wait_until(is_there, 60.0, lambda: path)


def lines(out: Path) -> list[dict[str, float]]:
    """What the run has written so far; a kill can cut the last line short."""
    return [values for _, values in lines_of(out / METRICS_FILE)]


def test_any_setting_can_be_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = write_config(tmp_path), tmp_path / "out"
    command = ["train", "--config", str(config), "--out", str(out)]
    sets = ["--set", "num_iterations=20", "--set", "collect.delay_ms=[0, 20]"]
    sets += ["--set", "reward.motion_cost=[0.1, 0.2]", "--set", "collect.zero_skill_fraction=1e-1"]
    assert main([*command, *sets, "--set", "sac.batch_size=64"]) == 0
    saved = TrainConfig.from_yaml(out / "config.yaml")
    assert (saved.num_iterations, saved.sac.batch_size) == (20, 64)
    assert saved.collect.delay_ms == (0.0, 20.0)
    assert (saved.reward.motion_cost, saved.collect.zero_skill_fraction) == ((0.1, 0.2), 0.1)
    assert saved.collect.num_envs == 16  # what the file says
    for wrong, words in (
        ("sac.batch_sze=64", "sac: unknown setting 'batch_sze'; did you mean 'batch_size'?"),
        ("sacc.batch_size=64", "unknown setting 'sacc'; did you mean 'sac'?"),
        ("sac.batch_size", "expected part.name=value"),
        ("sac.batch_size=[", "'sac.batch_size=[' is not valid YAML"),
        ("sac.batch_size=0", "sac: 'batch_size' is 0; it must be between"),
        ("seed.x=1", "'seed' is a setting and has no parts"),
    ):
        assert main([*command, "--set", wrong]) == 2
        assert words in capsys.readouterr().err


def test_a_run_killed_with_9_resumes_to_the_end_of_an_uninterrupted_one(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    output = finish(train(config, tmp_path / "whole"))
    assert "12 sectors" in output
    assert f"training 'point_mass' in '{tmp_path / 'whole'}', iteration 1 of 60, on cpu" in output
    assert "iteration 60 of 60, " in output and " it/s, 0 s left, reward " in output
    assert (tmp_path / "whole" / "bundle" / "bundle.yaml").exists()
    assert any(p.name.startswith("events.out") for p in (tmp_path / "whole").iterdir())
    assert (tmp_path / "whole" / "skills.png").read_bytes().startswith(b"\x89PNG")

    killed = train(config, tmp_path / "killed")
    wait_for(tmp_path / "killed" / "checkpoint.pt", killed)
    killed.kill()
    killed.communicate()
    finish(train(config, tmp_path / "killed", "--resume"))
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert [line["iteration"] for line in lines(tmp_path / "killed")] == list(range(1, 61))


def test_ctrl_c_ends_cleanly_with_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    process = train(config, tmp_path / "run", "--iterations", "100000")
    wait_for(tmp_path / "run" / "checkpoint.pt", process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output + errors
    hint = errors.split("go on with: dads-ros ")[1].split()
    command = [sys.executable, "-m", "dads_ros", *hint]
    again = subprocess.run(  # as it says, but to an end that is behind it
        [*command, "--iterations", "1"], capture_output=True, text=True, check=True
    )
    assert "of 1 iterations are done already" in again.stderr
    done = len(lines(tmp_path / "run"))
    finish(train(config, tmp_path / "run", "--resume", "--iterations", str(done + 3)))
    assert [line["iteration"] for line in lines(tmp_path / "run")] == list(range(1, done + 4))


@pytest.mark.slow
def test_a_signal_at_any_moment_leaves_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    config, run = write_config(tmp_path), tmp_path / "run"
    process = train(config, run, "--iterations", "100000")
    wait_for(run / "checkpoint.pt", process)
    rng = np.random.default_rng()
    for number in SIGNALS:
        try:
            process.wait(rng.uniform(0.0, 4.0))  # any moment, not one to wait for
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        # Before training begins it is the signal's own default action.
        assert process.returncode in (128 + number, -number), errors
        assert "Traceback" not in output + errors
        process = train(config, run, "--resume", "--iterations", "100000")
        wait_for_text(process, "training 'point_mass' in")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    done = len(lines(run))
    finish(train(config, run, "--resume", "--iterations", str(done + 2)))
    assert [line["iteration"] for line in lines(run)] == list(range(1, done + 3))
    assert list(run.glob(".*")) == []


@pytest.mark.slow
def test_a_signal_during_a_long_iteration_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    config, run = write_config(tmp_path), tmp_path / "run"
    finish(train(config, run, "--iterations", "3"))
    values = yaml.safe_load((run / "config.yaml").read_text())
    before = (run / "checkpoint.pt").read_bytes()
    values |= {"evaluate_every": 4, "num_iterations": 100000}
    config.write_text(yaml.safe_dump(values))
    process = train(config, run, "--resume", script=ENDLESS_EVALUATION)
    wait_for_text(process, "evaluating")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "cut off" in errors
    assert (run / "checkpoint.pt").read_bytes() == before
    finish(train(config, run, "--resume", "--iterations", "4"))


def test_metrics_are_rewritten_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between cutting the file and writing it again, a run would lose its history."""
    path = tmp_path / METRICS_FILE
    text = "".join(json.dumps({"iteration": i}) + "\n" for i in (1, 2, 3))
    path.write_text(text)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        MetricsWriter(tmp_path, RobotSpec.load("point_mass"), first_iteration=3)
    assert path.read_text() == text
    monkeypatch.undo()
    with MetricsWriter(tmp_path, RobotSpec.load("point_mass"), first_iteration=3) as writer:
        writer.write(IterationMetrics(3, 300, 30, {"reward": 1.0}))
    assert [line["iteration"] for line in lines(tmp_path)] == [1, 2, 3]


def test_a_live_run_has_one_trainer_but_can_be_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = write_config(tmp_path), tmp_path / "run"
    process = train(config, out, "--iterations", "100000")
    wait_for(out / "checkpoint.pt", process)
    before = lines(out)
    try:
        for more in ([], ["--resume"]):
            assert main(["train", "--config", str(config), "--out", str(out), *more]) == 2
            said = capsys.readouterr().err
            assert f"is being trained by process {process.pid} on {socket.gethostname()}" in said
        assert main(["export", str(out), "--out", str(tmp_path / "bundle")]) == 0
        assert SkillBundle(tmp_path / "bundle").manifest.training_metrics
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert lines(out)[: len(before)] == before
    with only_trainer(out):  # the dead one holds it no longer
        pass


def test_a_run_that_was_moved_with_its_robot_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    (before / "robots").mkdir(parents=True)
    values = read_yaml(share_folder() / "config" / "robots" / "point_mass.yaml")
    mjcf = share_folder() / "config" / "robots" / values["mjcf"]
    (before / "robots" / "mine.yaml").write_text(yaml.safe_dump(values))
    shutil.copy(mjcf, before / "robots" / mjcf.name)
    config, run = write_config(before), before / "runs" / "mine"
    command = ["train", "--config", str(config), "--robot", str(before / "robots" / "mine.yaml")]
    assert main([*command, "--iterations", "12", "--out", str(run)]) == 0
    assert "skills of iteration 12 exported" in capsys.readouterr().out
    before.rename(now)
    bundle = now / "bundle"
    assert main(["export", str(now / "runs" / "mine"), "--out", str(bundle)]) == 0
    assert SkillBundle(bundle).robot.name == "point_mass"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_run_of_a_machine_with_cuda_is_exported_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = write_config(tmp_path), tmp_path / "run"
    command = ["train", "--config", str(config), "--out", str(out), "--iterations", "12"]
    assert main([*command, "--set", "device=cuda"]) == 2
    assert "'device' is cuda, and torch finds none" in capsys.readouterr().err
    assert main(command) == 0
    saved = load_checkpoint(out)
    saved["config"]["device"] = "cuda"
    save_checkpoint(out, saved)
    assert main(["export", str(out), "--out", str(tmp_path / "bundle")]) == 0


def test_a_disk_that_gets_full_ends_training_in_one_sentence_and_its_checkpoint_stands(
    small_disk: Path,
) -> None:
    out = small_disk / "run"
    process = train(write_config(small_disk), out, "--iterations", "100000")
    wait_for(out / "checkpoint.pt", process)
    fill(small_disk, 2**14)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Traceback" not in output + errors
    assert errors.count("dads-ros: error: ") == 1
    assert "cannot be written (No space left on device)" in errors
    assert load_checkpoint(out)["iteration"] > 0
    assert not list(out.glob(".*"))
