"""Write the tables of settings in docs/ from the dataclasses that define them.

A table stands between ``<!-- settings MODULE.CLASS -->`` and ``<!-- end -->``. With ``--write``
the files are rewritten; without it the exit code says whether they are up to date.
"""

import argparse
import dataclasses
import importlib
import re
import sys
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("docs/nodes.md", "docs/dads.md")
TABLE = re.compile(r"(<!-- settings (\S+)\.(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """The same text with every table made anew."""
    return TABLE.sub(lambda found: f"{found[1]}{_table(found[2], found[3])}{found[4]}", text)


def _table(module: str, name: str) -> str:
    rows = _rows(getattr(importlib.import_module(module), name))
    head = "| setting | default | range | what it does |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(
    config: typing.Any,  # noqa: ANN401
    prefix: str = "",
) -> list[tuple[str, str, str, str]]:
    """One row for each field of a dataclass or of an instance; nested ones as ``outer.inner``."""
    rows, hints = [], typing.get_type_hints(config if isinstance(config, type) else type(config))
    for field in dataclasses.fields(config):
        choices = typing.get_args(hints[field.name])
        if field.default_factory is not dataclasses.MISSING:
            rows += _rows(field.default_factory(), f"{prefix}{field.name}.")
            continue
        default = field.default if isinstance(config, type) else getattr(config, field.name)
        text = "required" if default is dataclasses.MISSING else f"`{_text(default)}`"
        help_text = field.metadata["help"].replace("|", r"\|")
        span = _range(hints[field.name], field.metadata)
        rows.append((f"`{prefix}{field.name}`", text, span, help_text))
        for kind in filter(dataclasses.is_dataclass, choices):
            rows += _rows(kind, f"{prefix}{field.name}.")
    return rows


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return {"": '""', "None": "null"}.get(str(value), str(value))


def _range(hint: object, metadata: typing.Mapping[str, typing.Any]) -> str:
    for kind in (hint, *typing.get_args(hint)):
        if typing.get_origin(kind) is typing.Literal:
            return ", ".join(f"`{choice}`" for choice in typing.get_args(kind))
    low, high = metadata["min"], metadata["max"]
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"≥ {low:g}" if low is not None else f"≤ {high:g}" if high is not None else ""


def main() -> int:
    """Check or rewrite. Returns: 1 when a file was stale and not rewritten."""
    parser = argparse.ArgumentParser(description="Tables of settings in the documentation.")
    parser.add_argument("--write", action="store_true", help="rewrite the files")
    args = parser.parse_args()
    stale = False
    for name in FILES:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if (made := with_tables(text)) == text:
            continue
        if args.write:
            path.write_text(made, encoding="utf-8")
        else:
            print(f"{name} has stale tables of settings; make format", file=sys.stderr)
            stale = True
    return int(stale)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
