"""The device table. The cursor is on a device, not on a row: it follows the device wherever the order takes it."""

from __future__ import annotations

from kehefl.tui import columns, pictures, view
from kehefl.tui.desk import Desk
from kehefl.tui.lines import Line, fill, marked
from kehefl.tui.pane import Pane
from kehefl.tui.records import Device
from kehefl.tui.store import GONE


class DeviceTable(Pane):
    """Rows by `view.arrange`; order and filter are worked out once a tick, rows only for what is in sight."""

    FADES = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "devices")
        self.cursor: str | None = None
        self.top = 0
        self.rows: list[Device] = []
        self._place = 0
        self._page = 1
        #: What the rows were arranged for; None when a device changed since.
        self._arranged: tuple[str, str, bool, int] | None = None

    def take(self, dirty: set[str]) -> None:
        """Names of what changed since the last tick: without a device among them the order stands."""
        if not dirty.isdisjoint(self.desk.store.devices):
            self._arranged = None

    def number(self) -> str:
        return "1"

    def title(self) -> Line:
        devices = self.desk.store.devices
        if not devices:
            return [("Devices", "title")]
        ready = sum(1 for device in devices.values() if device.state not in GONE)
        out = [("Devices ", "title"), (f"{ready}/{len(devices)}", "text")]
        arrow = "▼" if self.desk.descending else ""
        out += [("  sort:", "dim"), (self.desk.sort + arrow, "text")]
        if self.desk.filter:
            out += [("  /", "dim"), (self.desk.filter, "accent"), (f" {len(self.rows)}/{len(devices)}", "text")]
        if self.desk.marked:
            out += [("  marked ", "dim"), (str(len(self.desk.marked)), "warn")]
        return out

    def caption(self) -> Line:
        if len(self.rows) <= self._page:
            return ()
        return [(f"{self.top + 1}-{min(len(self.rows), self.top + self._page)} of {len(self.rows)}", "dim")]

    def paint(self, width: int, height: int) -> list[Line]:
        picture = pictures.of(self.desk)
        if picture is not None:
            return pictures.paint(picture, width, height)
        self.rearrange()
        self._page = max(1, height - 1)
        self._keep_in_sight()
        shown = self.rows[self.top : self.top + self._page]
        fitted = columns.fit_columns(width, (device.name for device in self.desk.store.devices.values()))
        lines: list[Line] = [columns.header(fitted, self.desk.sort)]
        for device in shown:
            line = columns.row(device, fitted, self.desk.now, is_marked=device.name in self.desk.marked)
            if device.name == self.cursor and self.is_focused:
                lines.append(marked(fill(line, width)))
            else:
                lines.append(line)
        if not shown and self.desk.filter:
            lines += [(), [(f"No device matches '{self.desk.filter}'. Esc clears the filter.", "dim")]]
        return lines

    def rearrange(self) -> None:
        """Bring order, filter and cursor up to date."""
        desk = self.desk
        wanted = (desk.filter, desk.sort, desk.descending, len(desk.store.devices))
        if self._arranged != wanted:
            self.rows = view.arrange(desk.store.devices.values(), desk.filter, desk.sort, descending=desk.descending)
            self._arranged = wanted
        desk.marked &= desk.store.devices.keys()
        names = [device.name for device in self.rows]
        if self.cursor in names:
            self._place = names.index(self.cursor)
        elif names and (not desk.filter or self.cursor is None or self.cursor not in desk.store.devices):
            self._place = min(self._place, len(names) - 1)
            self.cursor = names[self._place]
        elif names:
            # The device is filtered out: the cursor goes to the first of those that are left.
            self._place = 0
            self.cursor = names[0]

    def current(self) -> Device | None:
        self.rearrange()
        return self.desk.store.devices.get(self.cursor or "") if self.rows else None

    def move(self, step: int) -> None:
        self.rearrange()
        if self.rows:
            self._place = max(0, min(len(self.rows) - 1, self._place + step))
            self.cursor = self.rows[self._place].name

    def move_page(self, pages: int) -> None:
        self.move(pages * self._page)

    def move_to(self, *, end: bool) -> None:
        self.move(len(self.rows) if end else -len(self.rows))

    def pick_row(self, y: int) -> None:
        """Put the cursor on the row at line `y` of the pane (a click)."""
        index = self.top + y - 2
        if 0 <= index < len(self.rows) and y >= 2:
            self.cursor = self.rows[index].name

    def _keep_in_sight(self) -> None:
        limit = max(0, len(self.rows) - self._page)
        self.top = max(self._place - self._page + 1, min(self.top, self._place, limit), 0)
