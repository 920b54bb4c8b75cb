"""Repeats: serialised messages that say what the one before said, found without reading them."""

import struct

_STAMP = slice(4, 12)
"""Of the header, after the four bytes that name the encoding."""
_SMALLEST = 16
"""Bytes of a header, with the length of its frame's name."""


class Repeats:
    """Of one topic, whose messages begin with a header."""

    def __init__(self, *, has_second_stamp: bool = False) -> None:
        """Nothing was said. A map has a second stamp, when it was loaded, after its frame."""
        self._has_second_stamp = has_second_stamp
        self._said: tuple[bytes, bytes] | None = None

    def is_repeated(self, message: bytes) -> bool:
        """Whether it differs from the one before in its stamps alone, if in anything."""
        head, begin = self._head(message)
        if self._said is not None:
            same, rest = self._said
            if same == head and len(message) == begin + len(rest):
                return message.startswith(rest, begin)  # no copy is made of 16 MB
        return False

    def keep(self, message: bytes) -> None:
        """It is the one before from now on."""
        head, begin = self._head(message)
        self._said = head, message[begin:]

    def _head(self, message: bytes) -> tuple[bytes, int]:
        """Encoding and frame, and where what follows the stamps begins."""
        if len(message) < _SMALLEST:
            return message, len(message)
        if not self._has_second_stamp:
            return message[: _STAMP.start], _STAMP.stop
        is_little = message[1] & 1
        (size,) = struct.unpack_from("<I" if is_little else ">I", message, _STAMP.stop)
        frame_end = _SMALLEST + size
        stamp = frame_end + -frame_end % 4
        return message[: _STAMP.start] + message[_STAMP.stop : frame_end], stamp + 8
