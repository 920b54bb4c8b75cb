"""new_bundle: the folder of a bundle, whole or as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dads_ros.bundle.manifest import MANIFEST_FILE
from dads_ros.errors import BundleError
from dads_ros.files import atomic_folder, make_output_folder


@contextmanager
def new_bundle(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of the bundle there, if any, in the end.

    Raises: BundleError when something other than a bundle stands there; ConfigError, StorageError.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"'{folder}' is a file; choose a folder for the bundle")
    make_output_folder(folder.parent)
    if folder.exists() and not (folder / MANIFEST_FILE).exists() and any(folder.iterdir()):
        raise BundleError(f"'{folder}' holds other files than a bundle; choose another folder")
    with atomic_folder(folder) as new:
        yield new
