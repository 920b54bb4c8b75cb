"""Page: what people see in their browsers, and what they ask for there."""

import contextlib
import math
import queue
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import viser

from dads_ros.view.ground import ground_point
from dads_ros.view.panel import Panel
from dads_ros.view.scene import WORLD_FRAME, RobotScene
from dads_ros.view.server import start_server

MAX_ASKS = 100
HELD_S, BURST_S = 0.25, 0.03
"""So long ago a button was held down that may since have been let go; what comes faster waited
in a connection that was stalled, and says nothing of now."""
CAMERA, LOOK_AT = (-4.5, -4.5, 3.5), (0.0, 0.0, 0.3)
GROUND_M = 400.0


class Ask(NamedTuple):
    """What somebody wants of the robot that is looked at."""

    what: str
    """goal, cancel, reset, pause, push, skill."""
    robot: str | None
    """Its namespace; None while there is no choice."""
    numbers: tuple[float, ...] = ()
    """Of a goal x, y in metres; of a skill its dimensions."""
    at: float = math.inf
    """When, s; steady clock."""


class Page:
    """Every method but those of the browser's belongs to one thread."""

    def __init__(self, host: str, port: int) -> None:
        """Serve it. Raises: ConfigError."""
        self._asks: queue.Queue[Ask] = queue.Queue(MAX_ASKS)
        self._held: Ask | None = None
        self._held_s = -math.inf
        self._server = server = start_server(host, port)
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{server.get_port()}"
        server.gui.configure_theme(
            show_logo=False, show_share_button=False, control_width="medium"
        )
        server.gui.set_panel_label("dads_ros")
        server.initial_camera.position, server.initial_camera.look_at = CAMERA, LOOK_AT
        server.scene.configure_default_lights(True, cast_shadow=False)
        self._world = server.scene.add_frame(WORLD_FRAME, show_axes=False)
        server.scene.add_grid(
            f"{WORLD_FRAME}/ground",
            GROUND_M,
            GROUND_M,
            cell_size=1.0,
            section_size=5.0,
            fade_distance=60.0,
            shadow_opacity=0.0,
        )
        self.panel = Panel(server.gui, self._ask)
        self._offset = np.zeros(2)

        @server.scene.on_click()
        async def _(event: viser.SceneClickEvent) -> None:
            point = ground_point(np.array(event.ray_origin), np.array(event.ray_direction))
            if point is not None and self.panel.takes_clicks:
                self._ask("goal", *(point + self._offset).tolist())

    @property
    def num_lookers(self) -> int:
        """Browsers that show it."""
        return len(self._server.get_clients())

    def add_robot(self, name: str) -> RobotScene:
        """Make room for the robot of a namespace."""
        return RobotScene(self._server.scene, name)

    def asks(self) -> Iterator[Ask]:
        """What has been asked for since the last time; a skill only while it is held."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._asks.get_nowait()
        held, self._held = self._held, None
        if held is not None and time.monotonic() - held.at < HELD_S:
            yield held

    @contextlib.contextmanager
    def one_picture(self) -> Iterator[None]:
        """All that is shown meanwhile appears at once."""
        with self._server.atomic():
            yield

    def look_at(self, position: np.ndarray) -> None:
        """Keep a place x, y in metres in the middle, if that is wanted. Shape (2,)."""
        if self.panel.follows:
            self._offset = np.array(position, float)
            self._world.position = (*-self._offset, 0.0)

    def close(self) -> None:
        """Serve no longer."""
        self._server.stop()

    def _ask(self, what: str, *numbers: float) -> None:
        """From the server's thread; more than anybody can want is dropped."""
        now = time.monotonic()
        ask = Ask(what, self.panel.robot, numbers, now)
        if what == "skill":
            before, self._held_s = self._held_s, now
            self._held = ask if BURST_S < now - before < HELD_S else None
            return
        with contextlib.suppress(queue.Full):
            self._asks.put_nowait(ask)
