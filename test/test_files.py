"""Files: lookup by name, atomic writes, folders that can be written."""

from pathlib import Path

import pytest

from dads_ros.errors import ConfigError
from dads_ros.files import (
    atomic_write,
    find_file,
    make_output_folder,
    resolve_package_uri,
    source_commit,
)


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


def test_a_path_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = find_file("ant", folder="config/robots", suffix=".yaml")
    assert shipped.parts[-3:] == ("config", "robots", "ant.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ant.yaml").write_text("mine")
    found = find_file("ant.yaml", folder="config/robots", suffix=".yaml")
    assert found == (tmp_path / "ant.yaml").resolve()


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
