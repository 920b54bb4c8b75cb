"""Whatever a process of ours finds around it costs one sentence, or nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dads_ros.cli.main import main
from dads_ros.files import source_commit
from ros_graph import ROOT, START

BEGIN = "import os, sys, warnings; from dads_ros.process import begin; begin(is_node=False); "
EVALUATE = [sys.executable, "-m", "dads_ros", "evaluate", "no_such"]
SIMULATE = [sys.executable, "-c", START.format("simulator"), "--ros-args", "-p", "robot:=no_such"]


def run(
    *command: str | Path, folder: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """As a process, with this package on its path wherever it runs."""
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_opened_never_becomes_input_or_output(closed: str, tmp_path: Path) -> None:
    work = "file = open(sys.argv[1], 'w'); assert file.fileno() > 2; print('to nobody'); "
    work += "sys.stdout.flush(); os.write(2, b'nor this'); file.write('kept'); "
    work += "sys.stdout.isatty(); assert os.system('echo out; echo error >&2') == 0"
    shell = ["bash", "-c", f'exec "$@" {closed}', "bash"]
    done = run(*shell, sys.executable, "-c", BEGIN + work, tmp_path / "file")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("variable", "value", "work"),
    [
        (
            "PYTHONWARNINGS",
            "error",
            "warnings.warn('old'); assert 'PYTHONWARNINGS' not in os.environ",
        ),
        ("PYTHONIOENCODING", "ascii", "print('Füße', os.fsdecode(b'\\xff'))"),
        ("MUJOCO_GL", "nonsense", "import mujoco"),
        ("MPLBACKEND", "nonsense", "import matplotlib"),
        ("ORT_DISABLE_TELEMETRY", "0", "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"),
        ("HOME", "", "import pwd; assert os.environ['HOME'] == pwd.getpwuid(os.getuid()).pw_dir"),
        ("PYTHONPATH", f":{ROOT}", "assert '' not in sys.path and os.getcwd() not in sys.path"),
    ],
)
def test_what_is_set_strangely_ends_nothing(variable: str, value: str, work: str) -> None:
    done = run(sys.executable, "-c", BEGIN + work, **{variable: value})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [EVALUATE, SIMULATE])
def test_a_folder_that_is_gone_is_one_sentence(command: list[str], tmp_path: Path) -> None:
    shell = ["bash", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "bash"]
    done = run(*shell, *command, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("the current folder is gone; change to one that is there\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "path", "more"),
    [(EVALUATE, str(ROOT), ("signal", "contextlib")), (SIMULATE, f":{ROOT}", ())],
    ids=["-m", "an empty entry in PYTHONPATH"],
)
def test_nothing_is_imported_from_the_working_folder(
    command: list[str], path: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    for name in ("random", "logging", "json", "numpy", "yaml", "mujoco", "rclpy", *more):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')")
    done = run(*command, folder=tmp_path, PYTHONPATH=path)
    assert done.returncode == 2
    assert "'no_such' was not found" in done.stderr


@pytest.mark.parametrize("columns", ["1", "-5", "abc"])
def test_help_fits_any_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for verb in ([], ["train"], ["plan"]):
        try:
            assert main([*verb, "--help"]) == 0
        except SystemExit as leaving:
            assert not leaving.code


def test_a_log_on_a_full_disk_ends_nothing() -> None:
    work = "print('lost', file=sys.stderr); print('kept')"
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", BEGIN + work]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=full, check=False)
    assert (done.returncode, done.stdout) == (0, b"kept\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_on_a_full_disk_is_one_sentence(unbuffered: str, option: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dads_ros", option],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(b"dads-ros: error: [Errno 28] No space left on device")


def test_the_commit_is_that_of_the_code_also_within_another_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = source_commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert source_commit() == before
