"""What the planner's worker process does with messages that may be long."""

from collections.abc import Mapping, Sequence
from typing import Any

from nav_msgs.msg import OccupancyGrid, Path
from rclpy.serialization import deserialize_message

from dads_ros.nodes.conversions import grid_of, path_of
from dads_ros.planning.way_process import measure_map
from dads_ros.transform import Transform

READ_PATH, READ_MAP = f"{__name__}:read_path", f"{__name__}:read_map"


def read_path(data: memoryview, transform: Sequence[float]) -> Mapping[str, Any]:
    """A serialised nav_msgs/Path as points (M, 2) in odom, m. Raises: MessageError."""
    return {"points": path_of(deserialize_message(bytes(data), Path), Transform(*transform))}


def read_map(data: memoryview, transform: Sequence[float]) -> Mapping[str, Any]:
    """A serialised nav_msgs/OccupancyGrid, measured, with the part of it that is obstacles.

    Raises: MessageError, PlanningError.
    """
    message = deserialize_message(bytes(data), OccupancyGrid)
    origin = grid_of(message, Transform(*transform))
    info = message.info
    cells = memoryview(message.data).cast("B")
    found = measure_map(cells, info.height, info.width, info.resolution, origin)
    return {**found, "filled": float(found["is_lethal"].mean())}
