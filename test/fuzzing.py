"""What fuzz tests have in common: inputs that are nearly right, and what may come of wrong ones.

'pytest -k fuzz --hypothesis-profile=many' runs FUZZ_EXAMPLES (10000) of each instead of a few.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from dads_ros.errors import DadsError

MAX_GROWTH_KB = 500_000
FRAGMENTS = [
    *("!!int x", "!!binary =", "!a", "&a ", "*a", "<<: ", "? ", ": ", "- ", "[", "]", "{", "}"),
    *("'", '"', "|\n", ">\n", "#", "\n", "\n  ", "---\n", "...\n", "%YAML 1.1\n", ",", "\t", " "),
    *("~", "yes", ".nan", ".inf", "-1e999", "1e5", "0b_", "0x_", "1:2:3", "2001-99-99", "9" * 50),
    *("2001-01-01", "9" * 5000, "x" * 300, "[" * 30, "\0", "\x85", "\ufeff", "é", "=", "&a [*a]"),
]
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
"""Of any letters, halves of them too."""
NAMES = st.one_of(
    TEXT,
    st.lists(st.sampled_from(["..", ".", "~", "~x", "/", "a", "\0", "x" * 300]), max_size=5).map(
        "/".join
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**63, 10**30, 10**400, 1e308, "", "x" * 300, b"x", 10**4000]),
    st.floats(allow_subnormal=False),  # torch, where it trains, makes them 0
    st.text(max_size=20),
    st.dates(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)


@contextmanager
def only_dads_errors() -> Iterator[None]:
    """Nothing else is raised, its text is one short line, and it costs no memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    except DadsError as error:
        assert str(error).isprintable() and 0 < len(str(error)) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + MAX_GROWTH_KB


def edits(content: bytes) -> st.SearchStrategy[bytes]:
    """A file with one to four places cut out, doubled, flipped or filled with fragments."""
    place = st.integers(0, len(content))
    edit = st.one_of(
        st.tuples(place, place, st.sampled_from(FRAGMENTS).map(_encoded)),
        st.tuples(place, place.map(lambda end: min(end, 8)), st.binary(max_size=4)),
        st.tuples(place, st.just(0), st.integers(0, 7).map(lambda bit: bytes([1 << bit]))),
    )

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        changed = content
        for start, length, new in changes:
            changed = changed[:start] + new + changed[start + length :]
        return changed

    return st.lists(edit, min_size=1, max_size=4).map(apply)


def changed_values(values: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401
    """Settings of which one, somewhere inside, is left out, something else, or one too many."""
    places = list(_places(values))

    def change(place: tuple[Any, ...], change: str, new: Any) -> Any:  # noqa: ANN401
        return _changed(values, place, change, new)

    return st.builds(
        change, st.sampled_from(places), st.sampled_from(["drop", "set", "add"]), VALUES
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8")


def _places(values: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    items: Any = ()
    if isinstance(values, dict):
        items = values.items()
    elif isinstance(values, list):
        items = enumerate(values)
    for key, value in items:
        yield (*prefix, key)
        yield from _places(value, (*prefix, key))


def _changed(values: Any, place: tuple[Any, ...], change: str, new: Any) -> Any:  # noqa: ANN401
    key, *rest = place
    copy = values.copy()
    if rest:
        copy[key] = _changed(values[key], tuple(rest), change, new)
    elif change == "drop":
        del copy[key]
    elif change == "add" and isinstance(copy, dict):
        copy[f"{key}s"] = new
    else:
        copy[key] = new
    return copy
