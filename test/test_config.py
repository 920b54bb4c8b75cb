"""Settings: validation, YAML, and messages that help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from dads_ros.config import REQUIRED, Config, PlannerConfig, SkillPriorConfig, setting
from dads_ros.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner(Config):
    """Part of a config."""

    sizes: tuple[int, ...] = setting((3, 4), min=1, help="Sizes.")


@dataclass(frozen=True, kw_only=True)
class Outer(Config):
    """A config of every kind of field."""

    name: str = setting(REQUIRED, help="Name.")
    rate: float = setting(0.5, min=0.0, max=1.0, help="Rate.")
    count: int = setting(3, min=1, help="Count.")
    kind: Literal["one", "two"] = setting("one", help="Kind.")
    flag: bool = setting(False, help="Flag.")
    limit: float | None = setting(None, min=0.0, help="Limit.")
    pair: tuple[float, float] = setting((0.0, 1.0), help="Pair.")
    table: dict[str, float] | None = setting(None, help="Table.")
    inner: Inner = setting(Inner(), help="Inner.")


def test_a_config_survives_yaml(tmp_path: Path) -> None:
    config = Outer(name="a", pair=(2, 3), table={"x": 1}, limit=2, inner=Inner(sizes=(9,)))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()))
    assert Outer.from_yaml(path) == config
    assert config.pair == (2.0, 3.0) and isinstance(config.pair[0], float)


def test_yaml_holds_only_what_differs() -> None:
    assert Outer.from_dict({"name": "a"}) == Outer(name="a")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "a", "rat": 1.0}, "unknown setting 'rat'; did you mean 'rate'?"),
        ({"name": "a", "xyz": 1.0}, "unknown setting 'xyz'; known are name"),
        ({"name": "a", "inner": {"size": [1]}}, "inner: unknown setting 'size'; did you mean"),
        ({}, "missing setting(s) name"),
        ({"name": "a", "rate": 1.5}, "'rate' is 1.5; it must be between 0.0 and 1.0"),
        ({"name": "a", "count": 0}, "'count' is 0; it must be at least 1"),
        ({"name": "a", "count": 1.5}, "count: got 1.5; expected int"),
        ({"name": "a", "count": True}, "count: got True; expected int"),
        ({"name": "a", "count": "3"}, "count: got '3'; expected int"),
        ({"name": "a", "rate": float("nan")}, "must be finite"),
        ({"name": "a", "limit": float("inf")}, "must be finite"),
        ({"name": "a", "limit": -1.0}, "'limit' is -1.0"),
        ({"name": "a", "kind": "three"}, "kind: got 'three'; expected one of one, two"),
        ({"name": "a", "flag": "yes"}, "flag: got 'yes'; expected bool"),
        ({"name": "a", "pair": [1.0]}, "pair: got 1 values; expected 2"),
        ({"name": "a", "pair": 1.0}, "pair: got 1.0; expected a list"),
        ({"name": "a", "inner": {"sizes": [4, 0]}}, "inner: 'sizes' is 0"),
        ({"name": "a", "inner": 3}, "inner: got 3; expected a mapping"),
        ({"name": "a", "table": {"x": "y"}}, "table.x: got 'y'; expected float"),
        ({"name": 7}, "name: got 7; expected str"),
        ([1, 2], "expected a mapping of settings"),
        (None, "expected a mapping of settings"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(values: Any, words: str) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError) as caught:
        Outer.from_dict(values)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        Outer.from_yaml(tmp_path / "gone.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    with pytest.raises(ConfigError, match="not valid YAML") as caught:
        Outer.from_yaml(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)


def test_a_config_cannot_be_edited() -> None:
    with pytest.raises(AttributeError):
        PlannerConfig().num_samples = 3


@pytest.mark.parametrize("config", [PlannerConfig(), SkillPriorConfig(), Outer(name="a")])
def test_to_dict_is_read_back_unchanged(config: Config) -> None:
    assert type(config).from_dict(config.to_dict()) == config
