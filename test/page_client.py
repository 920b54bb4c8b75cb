"""What a browser is to the page, without one: it speaks viser's protocol, and keeps all of it."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

import msgspec
import numpy as np
import viser
import zstandard
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from ros_graph import EVENT_S

CAMERA = {
    "wxyz": (1.0, 0.0, 0.0, 0.0),
    "position": (0.0, 0.0, 5.0),
    "fov": 1.0,
    "near": 0.1,
    "far": 100.0,
    "image_height": 480,
    "image_width": 640,
    "look_at": (0.0, 0.0, 0.0),
    "up_direction": (0.0, 0.0, 1.0),
}


class PageClient:
    """Looks on until it is closed."""

    def __init__(self, port: int, **options: Any) -> None:  # noqa: ANN401
        self._socket = connect(
            f"ws://127.0.0.1:{port}",
            subprotocols=[Subprotocol(f"viser-v{viser.__version__}")],
            max_size=None,
            **options,
        )
        self.messages: list[dict[str, Any]] = []
        self.send("ViewerCameraMessage", **CAMERA)  # from then on it counts as one that looks on
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()
        self._thread.join()

    def send(self, kind: str, **fields: object) -> None:
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def click(self, x: float, y: float) -> None:
        """From above, at a place in the scene."""
        self.send(
            "ScenePointerMessage",
            event_type="click",
            ray_origin=(x, y, 9.0),
            ray_direction=(0.0, 0.0, -1.0),
            screen_pos=((0.5, 0.5),),
            modifier=None,
        )

    def press(self, label: str) -> None:
        self.send("GuiUpdateMessage", uuid=self.uuid(label), updates={"value": True})

    def hold(self, label: str, frequency: float) -> None:
        """Once: a browser says so again and again while a button is held down."""
        self.send("GuiButtonHoldMessage", uuid=self.uuid(label), frequency=frequency)

    def set(self, label: str, value: object) -> None:
        self.send("GuiUpdateMessage", uuid=self.uuid(label), updates={"value": value})

    def uuid(self, label: str) -> str:
        """Of what has this label, or had it at first; waits until the page has said so."""

        def known() -> list[str]:
            return [
                str(message["uuid"])
                for message in list(self.messages)
                if message.get("props", {}).get("label") == label
            ]

        self.wait_for(known)
        return known()[-1]

    def options(self, label: str) -> tuple[str, ...]:
        """What can be chosen there."""
        uuid = self.uuid(label)
        said = [m for m in list(self.messages) if m.get("uuid") == uuid]
        changes = [m.get("props", m.get("updates", {})).get("options") for m in said]
        return tuple([options for options in changes if options][-1])

    def has(self, label: str) -> bool:
        """There is something with this label, and it can be seen."""
        shown = None
        for message in list(self.messages):
            if message.get("props", {}).get("label") == label:
                shown, uuid = message["props"]["visible"], message["uuid"]
            elif shown is not None and message.get("uuid") == uuid:
                shown = message.get("updates", {}).get("visible", shown)
        return bool(shown)

    def named(self, name: str, kind: str = "") -> list[dict[str, Any]]:
        """What was said of a node of the scene."""
        return [
            message
            for message in list(self.messages)
            if message.get("name") == name and message["type"].startswith(kind)
        ]

    def shows(self, name: str) -> bool:
        """This node of the scene is there now."""
        said = self.named(name)
        return bool(said) and said[-1]["type"] != "RemoveSceneNodeMessage"

    def position(self, name: str) -> tuple[float, ...]:
        """Where a node of the scene is: at the origin until something else is said."""
        said = self.named(name, "SetPosition")
        return tuple(said[-1]["position"]) if said else (0.0, 0.0, 0.0)

    def titles(self) -> list[str]:
        """Of the plots that there have been."""
        return [
            m["props"]["title"] for m in list(self.messages) if m.get("props", {}).get("title")
        ]

    def text(self) -> str:
        """All HTML that it was told last."""
        texts: dict[str, str] = {}
        for message in list(self.messages):
            content = message.get("updates", message.get("props", {})).get("content")
            if content is not None:
                texts[message["uuid"]] = content
        return "\n".join(texts.values())

    def wait_for(self, claim: Callable[[], object], timeout_s: float = EVENT_S) -> None:
        """For tests without a probe to spin."""
        deadline = time.monotonic() + timeout_s
        while not claim():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    def _receive(self) -> None:
        decompressor = zstandard.ZstdDecompressor()
        try:
            for data in self._socket:
                assert isinstance(data, bytes)
                size = int.from_bytes(data[8:16], "little")
                window = msgspec.msgpack.decode(decompressor.decompress(data[16 : 16 + size]))
                arrays, end = [], 16 + size
                for length in window["binaryBufferLengths"]:
                    begin = -(-end // 8) * 8  # aligned
                    end = begin + length
                    arrays.append(data[begin:end])
                for message in window["messages"]:
                    for name, value in message.get("props", {}).items():
                        if isinstance(value, dict) and "__binary_index" in value:
                            array = np.frombuffer(arrays[value["__binary_index"]], value["dtype"])
                            message["props"][name] = array
                self.messages += window["messages"]
        except ConnectionClosed:
            pass
