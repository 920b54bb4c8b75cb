"""Files: lookup by name, writes that are whole or not at all, locks, hashes, the commit."""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dads_ros.errors import ConfigError, StorageError

PACKAGE = "dads_ros"
LOCK_FILE = ".lock"
TEMPORARY = f".{PACKAGE}.*.tmp"
"""Names of what is being written; who writes it holds a lock on it."""
NOT_RESULTS = (".", ":!benchmark/results", ":!docs/comparisons.md")
"""In the source tree, as git takes it."""


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

    A bare name of a shipped file means that one, whatever lies in the working folder: write
    ``./ant`` for a folder there.

    Args:
        name: what the user wrote, such as ``ant`` or ``my/robot.yaml``.
        folder: folder below the share folder, such as ``config/robots``.
        suffix: file suffix that a bare name leaves out, such as ``.yaml``.
    Raises: ConfigError naming the known names.
    """
    path, known = user_path(name), share_folder() / folder
    names = sorted(p.name.removesuffix(suffix) for p in known.glob(f"*{suffix}"))
    if name in names:
        return known / (name + suffix)
    if path.exists() and (suffix == "" or path.is_file()):
        return path.resolve()
    if suffix and name.removesuffix(suffix) in names:
        return known / name
    raise ConfigError(
        f"'{name}' was not found: neither a path nor in {folder}, which has "
        f"{', '.join(names) or 'nothing'}"
    )


def parameter_file(argument: str, name: str) -> str:
    """Path of the parameter file that a launch argument names.

    Raises: ConfigError where there is none: ROS's launch would warn, and go on with the defaults.
    """
    path = user_path(name)
    if not path.is_file():
        raise ConfigError(f"{argument} is '{name}', and there is no such file")
    return str(path)


def user_path(name: str) -> Path:
    """A path that a user wrote, with ~ and ~user; nothing needs to be there.

    Raises: ConfigError for an unknown user, and for what no file can be called or nobody here may
        look at.
    """
    try:
        path = Path(name).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except RuntimeError as error:
        raise ConfigError(
            f"'{name}' names a home folder that is not known; write it out"
        ) from error
    except OSError as error:
        raise ConfigError(f"'{name}' cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # a NUL, or half a character
        raise ConfigError(f"{name!a} cannot be a path ({error}); check it") from error
    return path


def resolve_package_uri(uri: str, relative_to: Path) -> Path:
    """The path of ``package://<python package>/<file>``, or of a path relative to a folder.

    Nothing is imported for it. Raises: ConfigError.
    """
    if not uri.startswith("package://"):
        user_path(uri)
        return (relative_to / uri).resolve()
    package, _, rest = uri.removeprefix("package://").partition("/")
    # Of a dotted name, find_spec would import the parent.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ConfigError(f"'{uri}' needs the Python package '{package}': pip install {package}")
    return user_path(str(Path(spec.origin).parent / rest))


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing ``path`` into a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"'{path}' cannot be written ({error.strerror or error}); make room or fix the "
            "folder; what was written before stands"
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield the path of a new, empty file beside ``path``, which it replaces in the end.

    When anything is raised meanwhile, ``path`` stays as it is. Raises: StorageError.
    """
    with writing(path):
        temporary, descriptor = _temporary(path.parent, _make_file)
        try:
            yield temporary
            os.fsync(descriptor)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(descriptor)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside ``folder``, which it replaces in the end.

    When anything is raised meanwhile, ``folder`` stays as it is. Raises: StorageError.
    """
    remove_leftovers(folder.parent)
    with writing(folder):
        temporary, descriptor = _temporary(folder.parent, _make_folder)
        try:
            new, old = temporary / "new", temporary / "old" / folder.name
            new.mkdir()
            old.parent.mkdir()
            yield new
            for path in (*new.rglob("*"), new):
                _sync(path)
            if folder.exists():
                os.replace(folder, old)
            os.replace(new, folder)
            _sync(folder.parent)  # before the old one is removed
        finally:
            _put_back(temporary)
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(descriptor)


def _sync(path: Path) -> None:
    """To the disk, so that it stands after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete what processes that were killed were writing there, and nothing else."""
    for temporary in folder.glob(TEMPORARY):
        # Not writable, or without locks: then nobody knows whether it is being written.
        with contextlib.suppress(OSError), _locked(temporary, os.O_RDONLY):
            if temporary.is_dir():
                _put_back(temporary)
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink()


@contextmanager
def only_trainer(folder: Path) -> Iterator[None]:
    """Hold the run folder, made if need be; where nothing came of the run, it goes again.

    The system lets go of it when this process ends, however it ends. Raises: ConfigError when the
    folder cannot be written, or another process holds it; the message says which.
    """
    is_new = not folder.exists()
    path = make_output_folder(folder) / LOCK_FILE
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(_locked(path, os.O_RDWR | os.O_CREAT))
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            text = f"process {os.getpid()} on {socket.gethostname()} since {since}"
            os.truncate(descriptor, 0)
            os.write(descriptor, text.encode())
        except BlockingIOError as error:
            holder = ""
            with contextlib.suppress(OSError), path.open(errors="replace") as stream:
                holder = stream.read(200)
            raise ConfigError(
                f"'{folder}' is being trained by {holder or 'another process'}; stop that one or "
                "choose another --out"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"'{path}' cannot be locked ({error.strerror}); choose another --out"
            ) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # read-only by now, or gone
                path.unlink()
                if is_new and not any(folder.iterdir()):
                    folder.rmdir()


def source_commit() -> str:
    """Commit of the source tree that this runs from, with '-dirty' for local changes.

    Those of results do not count: benchmarks write them while they run.
    """
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return "unknown"
    # Within a hook of git's, these name another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment
        )
        return result.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        changes = git("status", "--porcelain", "--untracked-files=no", "--", *NOT_RESULTS)
    except OSError:  # no git on this machine
        return "unknown"
    return commit + ("-dirty" if changes else "") if commit else "unknown"


def make_output_folder(path: Path) -> Path:
    """Create a folder and prove that it can be written to. Raises: ConfigError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()  # on Linux it never has a name
    except OSError as error:
        raise ConfigError(
            f"output folder '{path}' cannot be written ({error.strerror}); choose another"
        ) from error
    return path


def _temporary(folder: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """A new path there that nobody can guess, and the descriptor that holds its lock."""
    while True:
        path = folder / TEMPORARY.replace("*", secrets.token_hex(8))
        descriptor = make(path)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # else remove_leftovers was faster than the lock
            return path, descriptor
        os.close(descriptor)


def _make_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def _make_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _put_back(temporary: Path) -> None:
    """Of ``atomic_folder``: what was to be replaced, if nothing took its place."""
    for old in temporary.glob("old/*"):
        place = temporary.parent / old.name
        if not place.exists():
            os.replace(old, place)


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[int]:
    """An open file that nobody else holds. Raises: BlockingIOError when somebody does."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.lstat(path)):  # it is a new one
            raise BlockingIOError
        yield descriptor
    finally:
        os.close(descriptor)
