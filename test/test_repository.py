"""What the repository says about itself is true: YAML files, README, tables of settings."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dads_ros.cli.main import VERBS, main
from dads_ros.learning.config import TrainConfig
from dads_ros.nodes.conversions import COMMAND_TYPES
from dads_ros.robot import RobotSpec

ROOT = Path(__file__).resolve().parent.parent
YAML_FILES = sorted(
    path for folder in ("config", "models") for path in (ROOT / folder).rglob("*.yaml")
)
ROBOT_FILES = sorted((ROOT / "config/robots").glob("*.yaml"))
TRAIN_FILES = sorted((ROOT / "config/train").glob("*.yaml"))
PARAMETER_FILES = sorted((ROOT / "config").glob("*.yaml"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted(
    {
        command.strip()
        for document in DOCUMENTS
        for block in re.findall(r"```bash\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        for command in line.split("&&")
    }
)
OF_OTHERS = (
    *("cd", "colcon", "python3 -m venv", "ros2 bag", "ros2 topic", "rosdep", "source"),
    "tensorboard",
)
"""Commands of other projects, or of the shell."""
MAKES_TOPIC = re.compile(r"publisher$|create_subscription$|create_service$")


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_yaml_loads(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


@pytest.mark.parametrize("path", ROBOT_FILES, ids=lambda path: path.stem)
def test_robot_file_is_named_after_its_robot(path: Path) -> None:
    assert RobotSpec.load(path.stem).name == path.stem


@pytest.mark.parametrize("path", TRAIN_FILES, ids=lambda path: path.stem)
def test_training_config_names_a_shipped_robot(path: Path) -> None:
    RobotSpec.load(TrainConfig.from_yaml(path).robot)


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.stem)
def test_parameter_file_has_only_the_section_for_any_name(path: Path) -> None:
    assert list(yaml.safe_load(path.read_text("utf-8"))) == ["/**"]


def test_tables_of_settings_are_up_to_date() -> None:
    script = [sys.executable, "docs/settings.py"]
    result = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_node_table_names_every_topic_and_service() -> None:
    """The literals in calls such as create_publisher(Type, "name", qos)."""
    made = set()
    for path in (ROOT / "dads_ros" / "nodes").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call) or len(call.args) < 2:
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            topic = call.args[1]
            if MAKES_TOPIC.search(name) and isinstance(topic, ast.Constant):
                kind = ast.unparse(call.args[0])
                either = kind == "COMMAND_TYPES[config.command_type]"
                kinds = [t.__name__ for t in COMMAND_TYPES.values()] if either else [kind]
                made.update((kind, topic.value) for kind in kinds)
    table = re.findall(
        r"\| `(\S+)` \| `\w+/([A-Z]\w+)` \|", (ROOT / "docs/nodes.md").read_text("utf-8")
    )
    assert {(kind, topic) for topic, kind in table} == made


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_command_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    if command.startswith(OF_OTHERS):
        return
    words = shlex.split(command)
    match words:
        case ["make", target, *variables]:
            makefile = (ROOT / "Makefile").read_text("utf-8")
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
            assert all(f"$({name.split('=')[0]})" in makefile for name in variables)
        case ["python", "-m", "dads_ros", *arguments] | ["dads-ros", *arguments]:
            _check_arguments(arguments, capsys)
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case ["ros2", "launch", "dads_ros", launch_file, *arguments]:
            text = (ROOT / "launch" / launch_file).read_text("utf-8")
            assert all(f'"{argument.split(":=")[0]}"' in text for argument in arguments)
        case ["pip", "install", *packages]:
            setup = (ROOT / "setup.py").read_text("utf-8")
            for package in re.findall(r"[a-z0-9_-]+", " ".join(packages).partition(".[")[2]):
                assert f'"{package}": [' in setup
        case _:
            pytest.fail(f"nobody checks '{command}'")


def _check_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The verb and its options exist, and so do shipped files that it is given."""
    verb, *rest = arguments
    assert verb in VERBS
    with pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    help_text = capsys.readouterr().out
    for word in rest:
        if word.startswith("--"):
            assert word.split("=")[0] in help_text
        elif word.startswith(("config/", "models/")):
            assert (ROOT / word).exists()
