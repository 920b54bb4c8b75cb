"""Launch files name executables, parameter files, parameters and arguments that exist.

They are read as syntax trees: ROS 2's launch package is not on PyPI.
"""

import ast
import dataclasses
import typing
from pathlib import Path

import pytest
import yaml

from dads_ros.nodes.settings import (
    SimulatorConfig,
    SkillPlannerConfig,
    SkillTrainerConfig,
    ViewConfig,
)

ROOT = Path(__file__).resolve().parent.parent
FILES = {path.name: ast.parse(path.read_text()) for path in sorted(ROOT.glob("launch/*.py"))}
SETTINGS = {
    "simulator": SimulatorConfig,
    "skill_planner": SkillPlannerConfig,
    "skill_trainer": SkillTrainerConfig,
    "view": ViewConfig,
}
FILE_ARGUMENTS = {
    "simulator": "simulator_params",
    "skill_planner": "planner_params",
    "skill_trainer": "trainer_params",
}
PARAMETER_FILES = {
    "simulator.yaml": SimulatorConfig,
    "planner.yaml": SkillPlannerConfig,
    "trainer.yaml": SkillTrainerConfig,
}


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if isinstance(call.func, ast.Name) and call.func.id == name]


def text(node: ast.AST) -> str:
    assert isinstance(node, ast.Constant)
    return str(node.value)


def declared(tree: ast.AST) -> set[str]:
    return {text(call.args[0]) for call in calls(tree, "DeclareLaunchArgument")}


def our_nodes(tree: ast.AST) -> list[dict[str, ast.expr]]:
    nodes = calls(tree, "Node") + calls(tree, "LifecycleNode")
    keywords = [{k.arg or "": k.value for k in call.keywords} for call in nodes]
    return [words for words in keywords if text(words["package"]) == "dads_ros"]


def given_by(tree: ast.Module) -> dict[str, str]:
    """Arguments that are parameters, and of which type."""
    found = [
        n.value
        for n in tree.body
        if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "GIVEN"
    ]
    return {
        text(key): ast.unparse(value)
        for node in found
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is not None
    }


def defaults(tree: ast.AST) -> dict[str, str]:
    return {
        text(call.args[0]): ast.unparse(keyword.value)
        for call in calls(tree, "DeclareLaunchArgument")
        for keyword in call.keywords
        if keyword.arg == "default_value"
    }


def passed_on() -> dict[str, set[str]]:
    """Arguments that the demo gives to each launch file as it got them."""
    (found,) = [
        n.value
        for n in ast.walk(FILES["demo.launch.py"])
        if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "PASSED_ON"
    ]
    return {file: set(names) for file, names in ast.literal_eval(found).items()}


def known_parameters(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config)} | {"use_sim_time"}


def test_there_is_one_launch_file_for_each_task() -> None:
    assert set(FILES) == {f"{n}.launch.py" for n in ("demo", "simulate", "plan", "train", "view")}


@pytest.mark.parametrize("name", FILES)
def test_arguments_that_are_used_are_declared_and_the_other_way_round(name: str) -> None:
    tree = FILES[name]
    used = {
        text(c.args[0])
        for c in calls(tree, "LaunchConfiguration")
        if c.args[0:1] != [] and isinstance(c.args[0], ast.Constant)
    }
    used |= set(given_by(tree))
    if name == "demo.launch.py":  # passed on by name, see the test of what it includes
        used |= {key for keys in passed_on().values() for key in keys}
    assert used == declared(tree)


@pytest.mark.parametrize("name", [n for n in FILES if n != "demo.launch.py"])
def test_nodes_exist_and_take_the_parameters(name: str) -> None:
    (node,) = our_nodes(FILES[name])
    executable = text(node["executable"])
    assert f'"{executable} = dads_ros.nodes.' in (ROOT / "setup.py").read_text()
    assert text(node["name"]) == executable
    assert "namespace" in node  # else the parameters after the file are lost
    *files, inline = node["parameters"].elts  # type: ignore[attr-defined]
    given = given_by(FILES[name])
    if name == "view.launch.py":
        assert isinstance(inline, ast.Dict)
        given |= {text(key): "" for key in inline.keys if key is not None}
    else:  # above the file, and only where they are not empty
        assert ast.unparse(inline) == "given" and [ast.unparse(f) for f in files] == [
            f"parameter_file('{FILE_ARGUMENTS[executable]}', file)"
        ]
        hints = typing.get_type_hints(SETTINGS[executable]) | {"use_sim_time": bool}
        assert given == {key: hints[key].__name__ for key in given}
        assert {
            key: default for key, default in defaults(FILES[name]).items() if key in given
        } == {
            key: {"config_file": "robot", "out": "['runs/', robot]"}.get(key, "''")
            for key in given
        }
    assert set(given) <= known_parameters(SETTINGS[executable])
    environment = node["additional_env"]
    assert (
        isinstance(environment, ast.Dict)
        and ast.unparse(environment) == "{PARENT_PID: str(os.getpid())}"
    )
    assert all(isinstance(file, ast.Call) for file in files)


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_named_exist(name: str) -> None:
    constants = [node.value for node in ast.walk(FILES[name]) if isinstance(node, ast.Constant)]
    for value in map(str, constants):
        if value.endswith((".yaml", ".rviz")):
            assert (ROOT / "config" / value).is_file()


def test_demo_includes_launch_files_with_the_arguments_that_they_have() -> None:
    passed = passed_on()
    own = {
        n.targets[0].id: {text(key) for key in n.value.keys if key is not None}  # type: ignore
        for n in ast.walk(FILES["demo.launch.py"])
        if isinstance(n, ast.Assign) and isinstance(n.value, ast.Dict)
    }
    # And with all that they have: ros2 launch --show-args shows those of the demo only.
    simulate, plan = declared(FILES["simulate.launch.py"]), declared(FILES["plan.launch.py"])
    assert passed["simulate"] | own["own"] | own["own_of_simulator"] == simulate
    assert passed["plan"] | own["own"] | own["own_of_planner"] == plan


@pytest.mark.parametrize("name", ["demo.launch.py", "plan.launch.py", "train.launch.py"])
def test_the_view_is_included_where_it_is_asked_for_with_arguments_that_it_has(name: str) -> None:
    """It is off by default."""
    (view,) = [
        call
        for call in calls(FILES[name], "IncludeLaunchDescription")
        if "view.launch.py" in ast.unparse(call)
    ]
    words = {keyword.arg: ast.unparse(keyword.value) for keyword in view.keywords}
    assert words["condition"] == "IfCondition(LaunchConfiguration('view'))"
    (given,) = [node for node in ast.walk(view) if isinstance(node, ast.Dict)]
    # The robot, too: else that of another kind, declared here, would go on to it.
    assert {text(key) for key in given.keys if key} == {"namespace", "robot"}
    assert {"namespace", "robot"} <= declared(FILES["view.launch.py"])
    (argument,) = [
        call
        for call in calls(FILES[name], "DeclareLaunchArgument")
        if text(call.args[0]) == "view"
    ]
    assert {k.arg: text(k.value) for k in argument.keywords}["default_value"] == "false"


@pytest.mark.parametrize("name", PARAMETER_FILES)
def test_parameter_files_match_any_namespace_and_name_known_parameters(name: str) -> None:
    content = yaml.safe_load((ROOT / "config" / name).read_text())
    assert set(content) == {"/**"}
    values = content["/**"]["ros__parameters"]
    assert set(values) <= known_parameters(PARAMETER_FILES[name])
    values.pop("use_sim_time", None)
    PARAMETER_FILES[name].from_dict(values)


def test_demo_stretches_timeouts_that_exist_and_that_no_file_sets() -> None:
    assigned = [n for n in FILES["demo.launch.py"].body if isinstance(n, ast.Assign)]
    timeouts = ast.literal_eval(assigned[0].value)
    names = {"simulate": "simulator", "plan": "planner"}
    assert set(timeouts) == set(names)
    for launch_file, parameter in timeouts.items():
        file = f"{names[launch_file]}.yaml"
        config = PARAMETER_FILES[file]
        assert config().to_dict()[parameter] == 0.5  # at speed 1, as in the expression
        content = yaml.safe_load((ROOT / "config" / file).read_text())
        assert parameter not in content["/**"]["ros__parameters"]  # a file beats SetParameter
