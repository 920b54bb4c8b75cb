"""A settings dataclass as declared ROS parameters: one source for type, range, help, default."""

import array
import dataclasses
import difflib
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from dads_ros.config import Config
from dads_ros.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=Config)
_INT64_MAX = 2**63 - 1


class NodeParameters(Generic[ConfigT]):
    """The parameters of a node as one settings object, checked whenever somebody sets one."""

    def __init__(
        self,
        node: Node,
        config_type: type[ConfigT],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Declare every field; nested settings are named ``group.field``.

        Args:
            node: declares them.
            config_type: the settings.
            on_change: called when ``config`` was replaced after the start.
        Raises: ConfigError for a value of the wrong type or out of range.
        """
        self._node, self._type, self._on_change = node, config_type, on_change
        overrides = node._parameter_overrides
        for name, field, hint in leaves(config_type):
            given = overrides.get(name)
            value = _default(field) if given is None else _typed(given, hint).value
            descriptor = _descriptor(field, hint)
            try:
                node.declare_parameter(name, value, descriptor, ignore_override=True)
            except InvalidParameterValueException as error:
                raise ConfigError(f"parameter {name}: {error}") from error
        self.config = self._read({})
        self._warn_of_unknown()
        node.add_pre_set_parameters_callback(self._type_all)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._take_over)

    def _read(self, changed: dict[str, Any]) -> ConfigT:
        values: dict[str, Any] = {}
        for name, _, _ in leaves(self._type):
            value = changed[name] if name in changed else self._node.get_parameter(name).value
            value = list(value) if isinstance(value, array.array) else value
            group, _, key = name.rpartition(".")
            (values.setdefault(group, {}) if group else values)[key] = value
        return self._type.from_dict(values)

    def _type_all(self, parameters: list[Parameter]) -> list[Parameter]:
        hints = {name: hint for name, _, hint in leaves(self._type)}
        return [_typed(parameter, hints.get(parameter.name)) for parameter in parameters]

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            self._read({parameter.name: parameter.value for parameter in parameters})
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take_over(self, _: list[Parameter]) -> None:
        self.config = self._read({})
        self._on_change()

    def _warn_of_unknown(self) -> None:
        """Say so when a value was given for a parameter that does not exist: ROS is silent."""
        known = [name for name, _, _ in leaves(self._type)]
        for name in self._node._parameter_overrides:
            if not self._node.has_parameter(name) and not name.startswith("qos_overrides."):
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
                self._node.get_logger().warning(f"unknown parameter '{name}' is ignored; {hint}")


def leaves(config_type: type[Config]) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """(name, field, type) of every plain field, nested ones included."""
    hints = typing.get_type_hints(config_type)
    for field in dataclasses.fields(config_type):  # type: ignore[arg-type]
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, Config):
            for name, inner, inner_hint in leaves(hint):
                yield f"{field.name}.{name}", inner, inner_hint
        else:
            yield field.name, field, hint


def _default(field: dataclasses.Field[Any]) -> Any:  # noqa: ANN401
    return list(field.default) if isinstance(field.default, tuple) else field.default


def _typed(parameter: Parameter, hint: Any) -> Parameter:  # noqa: ANN401
    """What people write as 2 or [1, 2] is of integers to ROS, and of floats to a float setting."""
    name, kind, value = parameter.name, parameter.type_, parameter.value
    if hint is float and kind == Parameter.Type.INTEGER:
        return Parameter(name, Parameter.Type.DOUBLE, float(value))
    is_floats = typing.get_origin(hint) is tuple and float in typing.get_args(hint)
    if is_floats and kind == Parameter.Type.INTEGER_ARRAY:
        return Parameter(name, Parameter.Type.DOUBLE_ARRAY, [float(item) for item in value])
    return parameter


def _descriptor(field: dataclasses.Field[Any], hint: Any) -> ParameterDescriptor:  # noqa: ANN401
    low, high = field.metadata["min"], field.metadata["max"]
    descriptor = ParameterDescriptor(
        description=field.metadata["help"],
        read_only=field.metadata["read_only"],
    )
    if typing.get_origin(hint) is Literal:
        names = ", ".join(map(str, typing.get_args(hint)))
        descriptor.additional_constraints = f"one of {names}"
    if low is None and high is None:
        return descriptor
    if hint is int:
        bounds = IntegerRange(
            from_value=-_INT64_MAX if low is None else int(low),
            to_value=_INT64_MAX if high is None else int(high),
        )
        descriptor.integer_range = [bounds]
    elif hint is float:
        bounds = FloatingPointRange(
            from_value=-sys.float_info.max if low is None else float(low),
            to_value=sys.float_info.max if high is None else float(high),
        )
        descriptor.floating_point_range = [bounds]
    return descriptor
