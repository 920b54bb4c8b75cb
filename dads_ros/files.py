"""Files: where the package's share folder is, atomic writes, hashes, the source's commit."""

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dads_ros.errors import ConfigError

PACKAGE = "dads_ros"


def share_folder() -> Path:
    """The folder that holds config/, launch/ and models/.

    Looked for in this order: the source tree that this code runs from, the ament index (colcon
    install), ``sys.prefix/share`` (pip install).
    """
    source = Path(__file__).resolve().parent.parent
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    installed = [Path(prefix) / "share" / PACKAGE for prefix in [*prefixes, sys.prefix]]
    candidates = [source, *installed] if (source / "package.xml").exists() else installed
    for folder in candidates:
        if (folder / "config" / "robots").is_dir():
            return folder
    raise ConfigError(
        f"the share folder of {PACKAGE} was not found in {', '.join(map(str, candidates))}; "
        "install the package again (pip install . or colcon build)"
    )


def find_file(name: str, *, folder: str, suffix: str = "") -> Path:
    """The path of a file that a user named: a path that exists, or a name in a share folder.

    Args:
        name: what the user wrote, such as ``ant`` or ``my/robot.yaml``.
        folder: folder below the share folder, such as ``config/robots``.
        suffix: file suffix that a bare name leaves out, such as ``.yaml``.
    Raises: ConfigError naming the known names.
    """
    path = user_path(name)
    try:
        if path.exists() and (suffix == "" or path.is_file()):
            return path.resolve()
    except OSError as error:
        raise ConfigError(f"'{name}' cannot be read ({error.strerror}); check the path") from error
    known = share_folder() / folder
    shipped = known / (name if name.endswith(suffix) else name + suffix)
    if shipped.exists():
        return shipped
    names = sorted(p.name.removesuffix(suffix) for p in known.glob(f"*{suffix}"))
    raise ConfigError(
        f"'{name}' was not found: neither a path nor in {folder}, which has "
        f"{', '.join(names) or 'nothing'}"
    )


def user_path(name: str) -> Path:
    """A path that a user wrote, with ~ and ~user. Raises: ConfigError for an unknown user."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"'{name}' names a home folder that is not known; write it out"
        ) from error


def resolve_package_uri(uri: str, relative_to: Path) -> Path:
    """The path of ``package://<python package>/<file>``, or of a path relative to a folder."""
    if not uri.startswith("package://"):
        return (relative_to / uri).resolve()
    package, _, rest = uri.removeprefix("package://").partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # of a missing parent, an empty or a relative name
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(f"'{uri}' needs the Python package '{package}': pip install {package}")
    return Path(spec.origin).parent / rest


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path`` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what ``atomic_write`` left there in processes that were killed."""
    for temporary in folder.glob(".*.*.tmp"):
        pid = temporary.name.split(".")[-2]
        if pid.isdecimal() and temporary.is_file() and not _is_alive(int(pid)):
            temporary.unlink(missing_ok=True)


def source_commit() -> str:
    """Commit of the source tree that this runs from, with '-dirty' for local changes."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, check=False
        )
    except OSError:  # no git on this machine
        return "unknown"
    return result.stdout.strip() or "unknown"


def make_output_folder(path: Path) -> Path:
    """Create a folder and prove that it can be written to. Raises: ConfigError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"output folder '{path}' cannot be written ({error.strerror}); choose another"
        ) from error
    return path


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return pid != os.getpid()  # this process is not writing now
