"""Settings become ROS parameters: type, range, help, and a check whenever one is set."""

from collections.abc import Iterator

import pytest
import rclpy
from rcl_interfaces.msg import ParameterType
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from dads_ros.errors import ConfigError
from dads_ros.nodes.parameters import NodeParameters
from dads_ros.nodes.settings import SimulatorConfig, SkillPlannerConfig


@pytest.fixture
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context)
    yield context
    rclpy.shutdown(context=context)


def make_node(context: Context, **overrides: object) -> Node:
    values = [Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()]
    return Node("tested", context=context, parameter_overrides=values)


def test_defaults_ranges_and_help_come_from_the_settings(context: Context) -> None:
    node = make_node(context)
    parameters = NodeParameters(node, SkillPlannerConfig)
    assert parameters.config == SkillPlannerConfig()
    samples = node.describe_parameter("planner.num_samples")
    assert samples.type == ParameterType.PARAMETER_INTEGER
    assert samples.integer_range[0].to_value == 20000
    assert "Skill sequences" in samples.description
    timeout = node.describe_parameter("state_timeout_s")
    assert timeout.floating_point_range[0].from_value == pytest.approx(0.01)
    assert node.describe_parameter("seed").read_only
    assert not timeout.read_only


def test_set_values_arrive_and_whole_numbers_do_for_floats(context: Context) -> None:
    node = make_node(context, speed=2, robot="point_mass")
    parameters = NodeParameters(node, SimulatorConfig)
    assert (parameters.config.speed, parameters.config.robot) == (2.0, "point_mass")
    assert node.get_parameter("speed").type_ == Parameter.Type.DOUBLE
    assert node.set_parameters([Parameter("speed", value=3)])[0].successful
    assert parameters.config.speed == 3.0
    assert node.get_parameter("speed").type_ == Parameter.Type.DOUBLE
    assert node.describe_parameter("speed").type == ParameterType.PARAMETER_DOUBLE
    assert not node.describe_parameter("speed").dynamic_typing


def test_lists_of_whole_numbers_do_for_lists_of_floats(context: Context) -> None:
    node = make_node(context, **{"costs.bounds_m": [-5, -5, 5, 5]})
    parameters = NodeParameters(node, SkillPlannerConfig)
    assert parameters.config.costs.bounds_m == (-5.0, -5.0, 5.0, 5.0)
    assert node.get_parameter("costs.bounds_m").type_ == Parameter.Type.DOUBLE_ARRAY
    assert node.set_parameters([Parameter("costs.bounds_m", value=[-1, -1, 1, 1])])[0].successful
    assert parameters.config.costs.bounds_m == (-1.0, -1.0, 1.0, 1.0)
    assert node.get_parameter("costs.bounds_m").type_ == Parameter.Type.DOUBLE_ARRAY
    assert not node.set_parameters([Parameter("costs.bounds_m", value=[1, 2])])[0].successful


def test_bad_values_are_refused_with_the_reason(context: Context) -> None:
    node = make_node(context)
    parameters = NodeParameters(node, SkillPlannerConfig)
    for name, value, reason in (
        ("planner.num_samples", 1, "out of range"),
        ("state_timeout_s", -1.0, "out of range"),
        ("state_timeout_s", float("nan"), "range"),
        ("state_timeout_s", 0, "out of range"),
        ("state_timeout_s", "soon", "expected 'Type.DOUBLE' got 'Type.STRING'"),
        ("seed", 4, "read-only"),
    ):
        result = node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful
        assert reason in result.reason
    assert parameters.config == SkillPlannerConfig()


@pytest.mark.parametrize("overrides", [{"speed": -1.0}, {"seed": "x"}, {"lock_step": 3}])
def test_bad_values_at_the_start_are_one_sentence(
    context: Context, overrides: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(overrides))):
        NodeParameters(make_node(context, **overrides), SimulatorConfig)
