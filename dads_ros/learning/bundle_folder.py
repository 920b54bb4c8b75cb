"""new_bundle: the folder of a bundle, whole or as it was."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dads_ros.bundle.manifest import MANIFEST_FILE, NETWORK_FILES
from dads_ros.errors import BundleError
from dads_ros.files import atomic_folder, make_output_folder


@contextmanager
def new_bundle(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of the bundle there, if any, in the end.

    What else lies beside that bundle stays.

    Raises: BundleError when something other than a bundle stands there; ConfigError, StorageError.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"'{folder}' is a file; choose a folder for the bundle")
    make_output_folder(folder.parent)
    found = list(folder.iterdir()) if folder.exists() else []
    others = [path for path in found if path.name not in (MANIFEST_FILE, *NETWORK_FILES)]
    if others and not (folder / MANIFEST_FILE).exists():
        raise BundleError(f"'{folder}' holds other files than a bundle; choose another folder")
    with atomic_folder(folder) as new:
        yield new
        for path in others:  # notes, figures: not the bundle's, and not to be lost with it
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, new / path.name, symlinks=True)
            else:
                shutil.copy2(path, new / path.name, follow_symlinks=False)
