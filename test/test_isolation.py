"""isolated: what goes wrong in a process of its own is one sentence here."""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import isolated_work as work
from dads_ros.isolation import MAX_TEXT, IsolatedError, isolated, one_line


def call(function: Callable[..., bytes], *arguments: object, cpu_s: int = 2) -> bytes:
    return isolated(function, *arguments, cpu_s=cpu_s, memory_bytes=1 << 30)


def test_the_answer_is_what_the_function_gives_whatever_is_printed() -> None:
    content = os.urandom(1 << 20)
    assert call(work.echo, content) == content


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (work.crash, (), "SIGSEGV"),
        (work.leave, (), "exit code 7"),
        (work.hoard, (), "more than 1024 MB of memory"),
        (work.refuse, ("it is too large",), "it is too large"),
        (work.stumble, (), "it fails: first line"),
    ],
)
def test_what_goes_wrong_is_one_short_sentence(
    function: Callable[..., bytes], arguments: tuple[object, ...], words: str
) -> None:
    with pytest.raises(IsolatedError) as caught:
        call(function, *arguments)
    text = str(caught.value)
    assert words in text and len(text) < MAX_TEXT + 10 and text.isprintable()


@pytest.mark.parametrize("function", [work.spin, work.sleep])
def test_what_never_ends_is_ended(function: Callable[..., bytes]) -> None:
    start = time.monotonic()
    with pytest.raises(IsolatedError, match="took more than"):
        call(function, cpu_s=1)
    assert time.monotonic() - start < 60.0


def test_it_runs_in_an_empty_folder_and_leaves_no_core_file() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        core, folder = call(work.limits).decode().split()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert core == "0" and folder != os.getcwd() and not Path(folder).exists()


def test_nothing_is_imported_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("colorsys", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend("")
    assert str(tmp_path) not in call(work.imported, "colorsys").decode()
    root = Path(work.__file__).parent.parent  # and of this package, what runs here as well
    assert Path(call(work.imported, "dads_ros").decode()).is_relative_to(root)


def test_threads_of_this_process_do_not_matter() -> None:
    """As after a fork, where a lock that another thread holds stays locked."""
    held = threading.Lock()
    with held:
        threads = [threading.Thread(target=call, args=(work.echo, b"x")) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
    assert not any(thread.is_alive() for thread in threads)


def test_where_no_process_starts_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(IsolatedError, match="no process can be started"):
        call(work.echo, b"x")


def test_foreign_text_becomes_one_line() -> None:
    assert one_line("a\n\tb\x00\x1b c") == "a b?? c"
    assert len(one_line("x" * 10**6)) < MAX_TEXT + 10
