"""MCAP files as rosbag2 writes them, of real messages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mcap.writer import CompressionType, Writer
from rclpy.serialization import serialize_message


class Logged(NamedTuple):
    """A message, and when the recorder got it."""

    topic: str
    message: Any
    log_ns: int


def write_mcap(
    path: Path,
    logged: Sequence[Logged],
    compression: CompressionType = CompressionType.ZSTD,
    **options: Any,  # noqa: ANN401
) -> Path:
    """One channel for each topic, no sequence numbers."""
    with path.open("wb") as stream:
        writer = Writer(stream, compression=compression, chunk_size=1 << 16, **options)
        writer.start(profile="ros2", library="test")
        channels: dict[str, int] = {}
        for one in logged:
            if one.topic not in channels:
                module, name = type(one.message).__module__.split(".")[0], type(one.message)
                schema = writer.register_schema(f"{module}/msg/{name.__name__}", "ros2msg", b"")
                channels[one.topic] = writer.register_channel(one.topic, "cdr", schema)
            data = serialize_message(one.message)
            writer.add_message(channels[one.topic], one.log_ns, data, one.log_ns)
        writer.finish()
    return path
