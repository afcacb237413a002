"""The broker ladder: the one that was named, one that answers here, mosquitto as our child, the embedded one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Literal

from kehefl.errors import BrokerError
from kehefl.transport.address import PORT, BrokerAddress
from kehefl.transport.probe import answers

BrokerKind = Literal["given", "found", "mosquitto", "embedded"]

_NO_BROKER: Final = (
    "There is no MQTT broker. Install mosquitto (apt install mosquitto, brew install mosquitto), or the embedded one "
    "(pip install 'kehefl[embedded]'), or name a broker with --broker mqtt://HOST:1883."
)


class BrokerHandle:
    """A broker to use. `description` says on the screen which one it is and what that means."""

    def __init__(
        self,
        address: BrokerAddress,
        kind: BrokerKind,
        description: str,
        stop: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.address = address
        self.kind = kind
        self.description = description
        self._stop = stop

    async def stop(self) -> None:
        """End the broker if it is ours. Safe to call more than once."""
        stop, self._stop = self._stop, None
        if stop is not None:
            await stop()


async def obtain_broker(
    url: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    state_dir: Path | None = None,
    port: int | None = None,
    exclude: Collection[BrokerKind] = (),
) -> BrokerHandle:
    """The first broker of the ladder that is to be had. `port` is where one of ours listens (a free one by default).

    KEHEFL_BROKER names one like `url`; KEHEFL_MOSQUITTO names the mosquitto program (empty: none). BrokerError names
    the ways to get a broker when there is none.
    """
    del state_dir  # Our children keep their files to themselves.
    given = url or environ.get("KEHEFL_BROKER")
    if given:
        address = BrokerAddress.parse(given)
        return BrokerHandle(address, "given", f"Using the broker at {address.url}.")
    if "found" not in exclude and port is None:
        here = BrokerAddress(host="127.0.0.1", port=PORT)
        if await answers(here):
            return BrokerHandle(here, "found", f"Using the broker that already answers at {here.url}.")
    if "mosquitto" not in exclude:
        from kehefl.transport.mosquitto import find_mosquitto, start_mosquitto

        program = await asyncio.to_thread(find_mosquitto, environ)
        if program is not None:
            address, stop = await start_mosquitto(program, port)
            text = f"Started mosquitto at {address.url}, on this machine only; it ends with kehefl."
            return BrokerHandle(address, "mosquitto", text, stop)
    if "embedded" not in exclude:
        from kehefl.transport.embedded import embedded_is_installed, start_embedded

        if embedded_is_installed():
            address, stop = await start_embedded(port)
            text = (
                f"Started the embedded broker at {address.url}, on this machine only. It is for trying things out: no "
                "access rules, and a round takes at least 44 ms. Install mosquitto for real work."
            )
            return BrokerHandle(address, "embedded", text, stop)
    raise BrokerError(_NO_BROKER)
