"""Settings: validation, YAML, and messages that help."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from dads_ros.config import (
    MAX_BYTES,
    REQUIRED,
    Config,
    PlannerConfig,
    SkillPriorConfig,
    read_yaml,
    setting,
    shown,
)
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
        ({"name": "a", "rate": 10**400}, "rate: got a huge integer; expected one within"),
        ({"name": "a", "count": 2**63}, "count: got a huge integer; expected one within"),
        (
            {"name": "a", "inner": {"sizes": [1] * 1001}},
            "sizes: got 1001 values; expected at most",
        ),
        ({"name": "a", "table": {1: 2.0}}, "table: got {1: 2.0}; expected a mapping of names"),
        ({"name": "a", 1: 2}, "unknown setting 1; known are name"),
        ({"name": ["long" * 99] * 99}, "...; expected str"),
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


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!int x", "line 1 has a tag, '!'; leave it out"),
        ("a: !!timestamp x", "has a tag"),
        ("a: !!binary '='", "has a tag"),
        ("a: !!python/object/apply:os.abort []", "has a tag"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: 0b_", "not valid YAML: invalid literal"),
        ("a: " + "1" * 5000, "has a number of more than 40 letters"),
        ("a: " + "1." * 3 + "5" * 5000, "has a text of more than 4096 letters"),
        ("a: '" + "x" * 5000 + "'", "has a text of more than 4096 letters"),
        ("x" * 300 + ": 1", "has a key of more than 200 letters"),
        ("[" * 3000, "lists and mappings in each other deeper than 20"),
        ("{a: " * 3000, "lists and mappings in each other deeper than 20"),
        ("- " * 3000, "lists and mappings in each other deeper than 20"),
        (BOMB, "line 1 has an anchor or alias, '&' or '*'; write it out"),
        ("a: *b", "has an anchor or alias"),
        ("b: 1\na: 1\nb: 2", "line 3 has the key 'b' twice"),
        ("1: 2", "has a key that is no text; put it in quotes"),
        ("{[a]: 2}", "has a key that is no text"),
        ("<<: {a: 1}", "has a key that is no text"),
        ('a: "\\0"', "has a text with a NUL"),
        ("a\0: 1", "special characters are not allowed"),
        ("a: b: c", "mapping values are not allowed here"),
        ("a: 1\n---\na: 1", "expected a single document"),
        ("# " + "x" * MAX_BYTES, "more than 65536 bytes"),
    ],
)
def test_yaml_beyond_the_bounds_is_refused_at_once_in_one_short_sentence(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    begun = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert words in message and str(path) in message
    assert message.isprintable() and len(message) < 1000
    assert time.monotonic() - begun < 10.0


def test_what_is_no_yaml_file_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "binary", tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match=str(path)):
            read_yaml(path)


def test_every_scalar_that_our_files_need_is_read(tmp_path: Path) -> None:
    path = tmp_path / "exponents.yaml"
    path.write_text("[1e-3, -1e+3, 2.5E2, 1.0e-3, 1e, e3]")
    assert read_yaml(path) == [0.001, -1000.0, 250.0, 0.001, "1e", "e3"]
    path = tmp_path / "good.yaml"
    path.write_text("{a: 1, b: 2.5, c: -1.0e+3, d: yes, e: null, f: [x, 'y'], 'on': {y: z}}")
    assert read_yaml(path) == yaml.safe_load(path.read_text())


def test_a_value_is_shown_in_no_time_and_few_letters() -> None:
    bomb: list[Any] = []
    for _ in range(40):
        bomb = [bomb] * 10
    for value in (bomb, "x" * 10**6, 10**10000, {"a": bomb}, b"x" * 10**6, [[[[[[1]]]]]]):
        assert len(shown(value)) <= 200
    assert shown({"a": [1, "x"]}) == "{'a': [1, 'x']}"
