"""Panel: status, buttons, pad and plots beside the scene. Shapes: D skill dimensions."""

import html
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import viser
from numpy.typing import NDArray

Array = NDArray[np.floating]
MAX_DIMENSIONS = 8
"""Of a skill that is set by hand; one slider each."""
MAX_LINES, MAX_TEXT = 20, 300
ROOT = "/"
"""How the robot without a namespace is named."""
HOLD_HZ = 10.0
NUM_SAMPLES = 240
PLOT_HEIGHT = 110
COLOURS = ("#1c7ed6", "#e8590c", "#2f9e44", "#9c36b5", "#f08c00", "#0c8599", "#e03131", "#495057")
LEVELS = (("●", "#2f9e44"), ("▲", "#e8590c"), ("■", "#e03131"), ("◌", "#868e96"))
"""Sign and colour of a status: well, warning, error, silent. Told apart without colours too."""


class StatusLine(NamedTuple):
    """What a node says of itself."""

    node: str
    level: int
    """0 well, 1 warning, 2 error, 3 silent."""
    text: str


class Panel:
    """One for all who look on: what one of them sets, the others see."""

    def __init__(self, gui: viser.GuiApi, ask: Callable[..., None]) -> None:
        """Empty but for the status.

        Args:
            gui: of the server.
            ask: called with what a user wants, and its numbers, from any thread.
        """
        self._gui, self._ask = gui, ask
        self._status = gui.add_html("")
        self._robot: viser.GuiDropdownHandle[str] | None = None
        self._follow = gui.add_checkbox("Follow the robot", True)
        self._clicks = gui.add_checkbox(
            "A click on the ground is a goal", True, hint="Published on goal_pose."
        )
        self._buttons: dict[str, viser.GuiButtonHandle] = {}
        for what, label, hint in (
            ("cancel", "Cancel the task", "The robot stands: ~/cancel of the planner."),
            ("reset", "Reset the world", "simulator/reset_world"),
            ("pause", "Pause", "simulator/set_pause"),
            ("push", "Push", "Sideways, on simulator/push: as fast as 1 m/s."),
        ):
            self._buttons[what] = self._add_button(what, label, hint)
        self._pad = gui.add_folder("Skill by hand", visible=False)
        self._sliders: list[viser.GuiSliderHandle[float]] = []
        self._add_pad()
        self._plots: dict[str, _Plot] = {}

    @property
    def follows(self) -> bool:
        """The scene moves with the robot."""
        return bool(self._follow.value)

    @property
    def takes_clicks(self) -> bool:
        """A click on the ground is a goal."""
        return bool(self._clicks.value)

    @property
    def robot(self) -> str | None:
        """Namespace of the robot that is looked at; None while there is no choice."""
        return None if self._robot is None else str(self._robot.value).removeprefix(ROOT)

    @property
    def skill(self) -> list[float]:
        """What the sliders say. Length D."""
        return [float(slider.value) for slider in self._sliders]

    def offer_robots(self, names: Sequence[str], chosen: str) -> None:
        """Let one of these namespaces be chosen; the first time ``chosen`` is."""
        labels = tuple(name or ROOT for name in names)
        if self._robot is None:
            self._robot = self._gui.add_dropdown(
                "Robot", labels, initial_value=chosen or ROOT, order=0.5
            )
        elif self._robot.options != labels:
            self._robot.options = labels

    def offer(self, **offered: bool) -> None:
        """Show those buttons that lead somewhere."""
        for what, is_offered in offered.items():
            self._buttons[what].visible = is_offered

    def show_pause(self, is_paused: bool) -> None:
        """Name the button by what it does."""
        self._buttons["pause"].label = "Go on" if is_paused else "Pause"

    def show_status(self, lines: Sequence[StatusLine]) -> None:
        """The worst first."""
        rows = []
        for line in sorted(lines, key=lambda line: -line.level)[:MAX_LINES]:
            sign, colour = LEVELS[min(max(line.level, 0), len(LEVELS) - 1)]
            node, text = (html.escape(part[:MAX_TEXT]) for part in (line.node, line.text))
            rows.append(
                f'<div><span style="color:{colour}">{sign}</span> <b>{node}</b> {text}</div>'
            )
        if len(lines) > MAX_LINES:
            rows.append(f"<div>and {len(lines) - MAX_LINES} more</div>")
        style = "font-size:0.85em;line-height:1.35;padding:0 0.8em;overflow-wrap:anywhere"
        self._status.content = f'<div style="{style}">{"".join(rows)}</div>'

    def offer_skills(self, dim: int) -> None:
        """A slider for each dimension; none for 0 and for more than anybody can set by hand."""
        dim = dim if 0 < dim <= MAX_DIMENSIONS else 0
        self._pad.visible = dim > 0
        if dim == len(self._sliders):
            return
        for slider in self._sliders:
            slider.remove()
        with self._pad:
            self._sliders = [
                self._gui.add_slider(f"z{axis + 1}", -1.0, 1.0, 0.01, 0.0, order=float(axis))
                for axis in range(dim)
            ]

    def plot(self, title: str, names: Sequence[str], values: Sequence[float], at: float) -> None:
        """Add a sample to a plot, which is made with its first.

        Args:
            title: above it, with the unit.
            names: of its lines.
            values: one for each; NaN leaves a gap.
            at: s.
        """
        plot = self._plots.get(title)
        if plot is None or plot.names != tuple(names):
            if plot is not None:
                plot.remove()
            plot = self._plots[title] = _Plot(self._gui, title, tuple(names))
        plot.add(at, values)

    def clear_plots(self) -> None:
        """Another robot is looked at."""
        for plot in self._plots.values():
            plot.remove()
        self._plots.clear()

    def _add_button(self, what: str, label: str, hint: str) -> viser.GuiButtonHandle:
        button = self._gui.add_button(label, hint=hint, visible=False)

        @button.on_click
        async def _(_: object) -> None:
            self._ask(what)

        return button

    def _add_pad(self) -> None:
        """Messages come only while its button is held down: a page that is lost sends none."""
        with self._pad:
            button = self._gui.add_button(
                "Hold to drive",
                hint="The planner does not plan meanwhile, and nothing looks out for obstacles.",
                order=100.0,
            )

        @button.on_hold(callback_hz=HOLD_HZ)
        async def _(_: object) -> None:
            self._ask("skill", *self.skill)


class _Plot:
    """The last samples over time."""

    def __init__(self, gui: viser.GuiApi, title: str, names: tuple[str, ...]) -> None:
        self.names = names
        self._samples: deque[tuple[float, ...]] = deque(maxlen=NUM_SAMPLES)
        lines = [
            {"label": name, "stroke": COLOURS[index % len(COLOURS)], "width": 1.5}
            for index, name in enumerate(names)
        ]
        nothing = tuple(np.zeros(1) for _ in range(len(names) + 1))
        self._chart = gui.add_uplot(
            nothing,
            ({"label": "s"}, *lines),
            title=title,
            scales={"x": {"time": False}},
            legend={"show": False},
            height=PLOT_HEIGHT,
        )

    def add(self, at: float, values: Sequence[float]) -> None:
        self._samples.append((at, *values))
        columns = np.array(self._samples, float).T
        columns[0] -= at
        self._chart.data = tuple(np.ascontiguousarray(column) for column in columns)

    def remove(self) -> None:
        self._chart.remove()
