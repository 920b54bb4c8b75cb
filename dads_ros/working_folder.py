"""Nothing is imported from the working folder: what lies there may be anybody's.

Imports nothing that is not loaded before any program begins.
"""

import os
import sys

_INSTALLED = ("site-packages", "dist-packages")


def path_without_it() -> list[str]:
    """``sys.path`` without the working folder, unless that is one where packages are installed."""
    return [
        place
        for place in sys.path
        if os.path.basename(place) in _INSTALLED or not _is_working_folder(place)
    ]


def _is_working_folder(place: str) -> bool:
    try:
        return place == "" or os.path.samefile(place, ".")
    except OSError:  # one of them is gone
        return False
