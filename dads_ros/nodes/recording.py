"""Recording: the messages of an MCAP file, or of a rosbag2 folder of such files, one by one.

Nothing is held but one chunk, and what a file claims to be is believed of nothing: a recorder that
was killed, a bad disk or a program of another kind may have written it.
"""

import contextlib
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import lz4.frame
import zstandard
from mcap.exceptions import EndOfFile
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader

from dads_ros.errors import ConfigError, DadsError
from dads_ros.files import user_path
from dads_ros.isolation import one_line

SUFFIX = ".mcap"
CDR = "cdr"
"""The encoding of ROS 2 messages."""
MAX_RECORD_BYTES = 1 << 28
"""Of a record, and of a chunk without its compression; recorders write chunks of some MB."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
COMPRESSED = (
    "rosbag2 compressed it, and not MCAP: undo that by 'ros2 bag convert', and record with "
    "'--storage-preset-profile zstd_fast' instead of '--compression-mode'"
)


class Topic(NamedTuple):
    """What is recorded under a name."""

    name: str
    type: str
    """Such as sensor_msgs/msg/JointState; empty where the file does not say."""
    encoding: str


class Recorded(NamedTuple):
    """A message."""

    topic: Topic
    log_ns: int
    """When the recorder got it, its clock."""
    sent_ns: int
    """When it was published; where the recorder does not know, the same."""
    sequence: int | None
    """Its number; None where the recorder does not know."""
    content: bytes


class Recording:
    """Read once, from its beginning."""

    def __init__(self, name: str) -> None:
        """A file or a folder that a user named. Raises: ConfigError."""
        self.path = user_path(name)
        self._files = _files_of(self.path)
        self.topics: set[Topic] = set()
        """So far."""
        self.num_messages = 0
        """So far."""
        self.complaint = ""
        """Why not all of it could be read, for people; empty where it could."""

    def read(self) -> Iterator[Recorded]:
        """Its messages, in the order of the recording; up to the first damage of each file.

        Raises: ConfigError for what cannot be opened.
        """
        for file in self._files:
            try:
                with file.open("rb") as stream:
                    yield from self._read(stream)
            except _DamageError as error:
                self.complaint = self.complaint or f"'{one_line(file.name)}' {error}"
            except OSError as error:
                raise ConfigError(
                    f"'{one_line(file)}' cannot be read ({error.strerror}); check the path"
                ) from error

    def _read(self, stream: object) -> Iterator[Recorded]:
        schemas: dict[int, str] = {}
        topics: dict[int, Topic] = {}
        for record in _records(stream):
            if isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel):
                kind = schemas.get(record.schema_id, "")
                topics[record.id] = Topic(record.topic, kind, record.message_encoding)
                self.topics.add(topics[record.id])
            elif isinstance(record, Message):
                topic = topics.get(record.channel_id)
                if topic is None:
                    raise _DamageError("is damaged: a message belongs to no topic")
                if topic.encoding == CDR and record.data.startswith(ZSTD_MAGIC):
                    raise _DamageError(f"has compressed messages; {COMPRESSED}")
                self.num_messages += 1
                sequence = record.sequence or None
                yield Recorded(topic, record.log_time, record.publish_time, sequence, record.data)


class _DamageError(DadsError):
    """What is wrong with a file, as the end of a sentence that begins with its name."""


def _files_of(path: Path) -> list[Path]:
    """Of a recording, in their order. Raises: ConfigError.

    rosbag2's metadata.yaml is not asked: a recorder that was killed leaves none.
    """
    shown = one_line(path)
    if path.is_file():
        if path.suffix == SUFFIX:
            return [path]
        raise ConfigError(f"'{shown}' is no file *{SUFFIX}; {_other(path.suffix)}")
    if not path.is_dir():
        is_there = path.exists()
        raise ConfigError(
            f"'{shown}' {'is neither a file nor a folder' if is_there else 'is not there'}; give "
            f"a file *{SUFFIX}, or the folder that 'ros2 bag record -s mcap' made"
        )
    files = sorted(path.glob(f"*{SUFFIX}"), key=_place)
    if not files:
        others = sorted({file.suffix for file in path.iterdir()} & {".db3", ".zstd"})
        raise ConfigError(f"'{shown}' holds no file *{SUFFIX}; {_other(*others)}")
    return files


def _place(file: Path) -> tuple[int, str]:
    """Of rosbag2's NAME_0.mcap, NAME_1.mcap, ... among each other."""
    number = file.stem.rpartition("_")[2]
    return int(number) if number.isdecimal() else -1, file.name


def _other(suffix: str = "") -> str:
    """What to do about a recording of another kind."""
    if suffix == ".db3":
        return "that storage is not read: convert it to mcap by 'ros2 bag convert'"
    return COMPRESSED if suffix == ".zstd" else "record by 'ros2 bag record -s mcap'"


def _records(stream: object) -> Iterator[McapRecord]:
    """Those of a file, with those of its chunks in their place. Raises: _DamageError."""
    reader = StreamReader(stream, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES)
    try:
        for record in reader.records:
            if not isinstance(record, Chunk):
                yield record
                continue
            inner = BytesIO(_content(record))
            parts = StreamReader(inner, skip_magic=True, record_size_limit=MAX_RECORD_BYTES)
            with contextlib.suppress(EndOfFile):  # a chunk has no other end
                yield from parts.records
    except _DamageError:
        raise
    except EndOfFile as error:
        raise _DamageError(
            "ends in the middle: its recorder was killed, or it is not whole"
        ) from error
    except Exception as error:  # whatever the library makes of bytes that mean nothing
        raise _DamageError(f"is damaged, or no MCAP file ({one_line(error)})") from error


def _content(chunk: Chunk) -> bytes:
    """Of a chunk, no more than it claims and than is allowed. Raises: _DamageError."""
    size = chunk.uncompressed_size
    if size > MAX_RECORD_BYTES:
        raise _DamageError(
            f"has a chunk of {size >> 20} MB; at most {MAX_RECORD_BYTES >> 20} MB are read: "
            "record with smaller ones"
        )
    if chunk.compression == "zstd":
        with zstandard.ZstdDecompressor().stream_reader(chunk.data) as reader:
            content = reader.read(size + 1)
    elif chunk.compression == "lz4":
        content = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
    elif chunk.compression == "":
        content = chunk.data
    else:
        raise _DamageError(f"has chunks of compression '{one_line(chunk.compression)}'")
    crc = chunk.uncompressed_crc
    if len(content) != size or (crc and zlib.crc32(content) != crc):
        raise _DamageError("is damaged: a chunk has not the length or checksum that it says")
    return bytes(content)
