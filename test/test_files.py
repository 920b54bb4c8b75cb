"""Files: lookup by name, atomic writes, locks, folders that can be written."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dads_ros.errors import ConfigError, StorageError
from dads_ros.files import (
    atomic_folder,
    atomic_write,
    find_file,
    make_output_folder,
    only_trainer,
    remove_leftovers,
    resolve_package_uri,
    source_commit,
    user_path,
)


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    """A process that runs a script with ``folder`` and ``ready()``, which waits to be ended."""
    begin = (
        "import os, sys\nfrom pathlib import Path\nfrom dads_ros import files\n"
        "folder = Path(sys.argv[1])\n"
        "def ready(): print('ready', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", begin + script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_bare_name_is_the_shipped_file_and_a_path_is_that_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robots = {"folder": "config/robots", "suffix": ".yaml"}
    shipped = find_file("ant", **robots)
    assert shipped.parts[-3:] == ("config", "robots", "ant.yaml")
    assert find_file("ant.yaml", **robots) == shipped
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ant.yaml").write_text("mine")
    (tmp_path / "ant").mkdir()
    assert find_file("ant", **robots) == shipped
    assert find_file("ant.yaml", **robots) == tmp_path / "ant.yaml"
    assert (find_file("ant", folder="models") / "bundle.yaml").is_file()
    assert find_file("./ant", folder="models") == tmp_path / "ant"


def test_an_unwritable_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        make_output_folder(tmp_path / "file" / "run")
    assert list(make_output_folder(tmp_path / "a" / "b").iterdir()) == []


def test_a_package_uri_of_a_missing_package_says_what_to_install(tmp_path: Path) -> None:
    path = resolve_package_uri("package://gymnasium/envs/mujoco/assets/ant.xml", tmp_path)
    assert path.is_file()
    assert resolve_package_uri("robot.xml", tmp_path) == (tmp_path / "robot.xml").resolve()
    with pytest.raises(ConfigError, match="pip install no_such_package"):
        resolve_package_uri("package://no_such_package/robot.xml", tmp_path)


@pytest.mark.parametrize("name", ["~no_such_user_here/x.yaml", "x" * 300])
def test_a_name_that_cannot_be_a_path_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_file(name, folder="config/robots", suffix=".yaml")
    assert name in str(caught.value)


@pytest.mark.parametrize("package", ["no_such_package.part", "", ".part"])
def test_a_package_uri_that_cannot_be_imported_is_refused(tmp_path: Path, package: str) -> None:
    with pytest.raises(ConfigError, match="needs the Python package"):
        resolve_package_uri(f"package://{package}/robot.xml", tmp_path)


def test_the_commit_is_unknown_on_a_machine_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_commit() == "unknown"


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\ud800"])
def test_what_no_file_can_be_called_is_refused_in_one_short_sentence(name: str) -> None:
    for look_up in (user_path, lambda name: find_file(name, folder="models")):
        with pytest.raises(ConfigError, match="cannot be") as caught:
            look_up(name)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_folder_without_permission_is_refused_in_one_sentence(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        for look_up in (user_path, lambda name: find_file(name, folder="models")):
            with pytest.raises(ConfigError, match=r"cannot be read \(Permission denied\)"):
                look_up(str(closed / "bundle"))
        with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\)"):
            make_output_folder(closed / "run")
    finally:
        os.seteuid(0)


def test_a_package_uri_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "imported_by_a_uri"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    uri = "package://imported_by_a_uri/robot.xml"
    assert resolve_package_uri(uri, tmp_path) == package / "robot.xml"
    with pytest.raises(ConfigError, match="needs the Python package"):
        resolve_package_uri("package://imported_by_a_uri.part/robot.xml", tmp_path)


def test_no_link_is_followed_by_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = tmp_path / "precious"
    precious.write_text("old")
    path = tmp_path / "file.txt"
    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    for name in (".dads_ros.guessed.tmp", f".file.txt.{os.getpid()}.tmp", "file.txt"):
        (tmp_path / name).symlink_to(precious)
    with (
        pytest.raises(StorageError, match=r"file\.txt' cannot be written \(File exists\)"),
        atomic_write(path),
    ):
        pass
    monkeypatch.undo()
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert precious.read_text() == "old"
    assert path.read_text() == "new" and not path.is_symlink()


def test_files_and_folders_that_are_written_have_the_permissions_of_the_umask(
    tmp_path: Path,
) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "file"), atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    for content in ("old", "new"):
        with atomic_folder(folder) as new:
            (new / content).touch()
    with pytest.raises(RuntimeError), atomic_folder(folder) as new:
        (new / "half").touch()
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_full_disk_is_one_sentence_and_what_stood_there_stands(full_disk: Path) -> None:
    path, folder = full_disk / "file", full_disk / "folder"
    with (
        pytest.raises(StorageError, match=r"file' cannot be written \(No space left on device"),
        atomic_write(path) as temporary,
    ):
        temporary.write_bytes(bytes(2**20))
    with (
        pytest.raises(StorageError, match="folder' cannot be written"),
        atomic_folder(folder) as new,
    ):
        (new / "file").write_bytes(bytes(2**20))
    assert [p.name for p in full_disk.iterdir()] == ["filler"]


def test_what_a_kill_leaves_is_swept_and_nothing_that_is_being_written(tmp_path: Path) -> None:
    writer = start(
        "with files.atomic_write(folder / 'a'), files.atomic_folder(folder / 'b'): ready()",
        tmp_path,
    )
    (tmp_path / ".other.tmp").touch()
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 3
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == kept
    kill(writer)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".other.tmp"]


def test_a_bundle_outlives_a_kill_in_the_moment_of_its_replacement(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").touch()
    killed = start(
        "replace = os.replace\n"
        "def replace_and_wait(*paths):\n"
        "    replace(*paths)\n"
        "    ready()\n"
        "os.replace = replace_and_wait\n"
        "with files.atomic_folder(folder / 'bundle'): pass",
        tmp_path,
    )
    assert not (tmp_path / "bundle").exists()
    kill(killed)
    remove_leftovers(tmp_path)
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["old"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_run_folder_has_one_trainer_and_the_second_is_told_which(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = start("with files.only_trainer(folder): ready()", run)
    words = rf"is being trained by process {first.pid} on {socket.gethostname()} since \d{{4}}-"
    with pytest.raises(ConfigError, match=words), only_trainer(run):
        pass
    first.send_signal(signal.SIGKILL)
    first.communicate()
    with only_trainer(run):
        (run / "checkpoint").touch()
    assert [path.name for path in run.iterdir()] == ["checkpoint"]


def test_a_run_folder_of_which_nothing_came_goes_again(tmp_path: Path) -> None:
    with only_trainer(tmp_path / "new"):
        pass
    (tmp_path / "mine").mkdir()
    with only_trainer(tmp_path / "mine"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("old")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="cannot be locked"), only_trainer(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "old"
