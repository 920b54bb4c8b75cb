"""Fuzz: whatever stands in a file, a name or a command line, it is taken or refused in a line."""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dads_ros.bundle.manifest import BundleManifest
from dads_ros.cli.main import main
from dads_ros.config import Config, CostsConfig, PlannerConfig
from dads_ros.files import (
    find_file,
    make_output_folder,
    resolve_package_uri,
    share_folder,
    user_path,
)
from dads_ros.learning.config import TrainConfig
from dads_ros.robot import RobotSpec
from fuzzing import FRAGMENTS, NAMES, TEXT, changed_values, edits, only_dads_errors

KINDS: dict[str, tuple[type[Config], bytes]] = {
    "robot": (RobotSpec, (share_folder() / "config/robots/ant.yaml").read_bytes()),
    "train": (TrainConfig, (share_folder() / "config/train/ant.yaml").read_bytes()),
    "planner": (PlannerConfig, yaml.safe_dump(PlannerConfig().to_dict()).encode()),
    "costs": (CostsConfig, yaml.safe_dump(CostsConfig().to_dict()).encode()),
    "bundle": (BundleManifest, (share_folder() / "models/ant/bundle.yaml").read_bytes()),
}
VALUES = {kind: yaml.safe_load(shipped) for kind, (_, shipped) in KINDS.items()}
KIND = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@KIND
@given(data=st.data())
def test_fuzz_files_of_settings(folder: Path, kind: str, data: st.DataObject) -> None:
    settings, shipped = KINDS[kind]
    soup = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
    content = data.draw(
        edits(shipped) | st.binary(max_size=64) | soup.map(lambda text: text.encode())
    )
    path = folder / "fuzzed.yaml"
    path.write_bytes(content)
    with only_dads_errors():
        _is_sound(RobotSpec.load(str(path)) if kind == "robot" else settings.from_yaml(path))


@KIND
@given(data=st.data())
def test_fuzz_values_of_settings(kind: str, data: st.DataObject) -> None:
    settings, _ = KINDS[kind]
    values = data.draw(changed_values(VALUES[kind]))
    with only_dads_errors():
        _is_sound(settings.from_dict(values))


@given(name=NAMES)
def test_fuzz_names(folder: Path, name: str) -> None:
    with only_dads_errors():
        find_file(name, folder="models")
    with only_dads_errors():
        RobotSpec.load(name)
    for uri in (name, f"package://{name}", f"package://gymnasium/{name}"):
        with only_dads_errors():
            resolve_package_uri(uri, folder)
    with only_dads_errors():
        make_output_folder(user_path(str(folder / name.translate(str.maketrans("/.", "--")))))


OPTIONS = {
    "train": ["--robot", "--seed", "--out", "--resume", "--iterations"],
    "export": ["--out"],
    "refit": ["--out", "--robot", "--seed"],
    "evaluate": [
        *("--robot", "--task", "--goals", "--steps", "--seed", "--goal-range", "--delay-ms"),
        *("--threads", "--preset", "--planner", "--json", "--save"),
    ],
    "plot": ["--robot", "--out", "--skills", "--goals", "--steps", "--goal-range", "--seed"],
    "demo": ["--robot", "--goals", "--num-goals", "--seed", "--speed", "--time-limit"],
}
LAST = {"train": ["--config", "no_such.yaml"], "demo": ["--bundle", "no_such_bundle"]}
"""What the end of a command line says, so that nothing is begun."""


@pytest.mark.parametrize("verb", OPTIONS)
@given(data=st.data())
def test_fuzz_command_lines(folder: Path, verb: str, data: st.DataObject) -> None:
    word = TEXT | st.sampled_from(["-1", "0", "nan", "1e999", "9" * 5000, "x" * 300, "-h", "--"])
    option = st.tuples(st.sampled_from(OPTIONS[verb]), word | st.integers().map(str)).map(list)
    words = data.draw(st.lists(option | word.map(lambda text: [text]), max_size=4))
    argv = [
        verb,
        *(part for parts in words for part in parts),
        *LAST.get(verb, ["no_such_bundle"]),
    ]
    said, errors = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            code: Any = main(argv)
    except SystemExit as leaving:
        code = leaving.code
    finally:
        os.chdir(before)
    if code != 0:  # 0 is that of --help
        (line,) = errors.getvalue().splitlines()
        assert code == 2
        assert line.startswith("dads-ros: error: ") and len(line) < 1000 and line.isprintable()


def _is_sound(config: Config) -> None:
    """What was taken can be written, and is the same when it is read."""
    text = yaml.safe_dump(config.to_dict())
    again = type(config).from_dict(yaml.safe_load(text))
    # As text: NaN, which may stand in a bundle's notes on its training, equals nothing.
    assert yaml.safe_dump(again.to_dict()) == text
