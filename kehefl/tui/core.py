"""What the console needs of a server core: `kehefl.server.core.Server`, a remote or a replayed one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from kehefl.server.events import Stamped


class Core(Protocol):
    """Events out, command lines in: nothing else passes between a face and the core."""

    def subscribe(self, callback: Callable[[Stamped], None]) -> Callable[[], None]:
        """Call `callback` on the event loop for each event from now on. Returns how to stop it."""
        ...

    def snapshot(self) -> tuple[Stamped, ...]:
        """Events that bring a newcomer up to date; free of races when taken in the loop tick of `subscribe`."""
        ...

    async def submit(self, line: str, *, origin: str = "console", marked: Collection[str] = ()) -> str:
        """Carry out one command line and return the text to show. Raises KeheflError with a sentence."""
        ...

    def known(self, kind: str) -> Collection[str]:
        """Present names of a kind (`devices`, `run`, ...), for completion."""
        ...
