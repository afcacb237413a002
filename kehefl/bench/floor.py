"""The floor: a federated round with nothing but aiomqtt and numpy. No validation, no log, no quorum, no errors.

    python -m kehefl.bench.floor HOST PORT TOPIC DEVICES

is the process with its devices.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time

import aiomqtt
import numpy as np

from kehefl.transport.address import BrokerAddress

NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


def client(address: BrokerAddress) -> aiomqtt.Client:
    """A plain MQTT 3.1.1 client, the cheaper version on the wire."""
    return aiomqtt.Client(address.host, address.port, socket_options=NODELAY, max_inflight_messages=1000)


async def server(address: BrokerAddress, topic: str, devices: int, parameters: int, rounds: int) -> list[float]:
    """Milliseconds of each of `rounds` rounds with `devices` devices and `parameters` float32 parameters."""
    model = np.zeros(parameters, np.float32)
    times = []
    async with client(address) as link:
        await link.subscribe(f"{topic}/up/+", qos=1)
        await link.subscribe(f"{topic}/ready/+", qos=1)
        messages = aiter(link.messages)
        ready: set[str] = set()
        while len(ready) < devices:
            ready.add((await anext(messages)).topic.value)
        for _ in range(rounds):
            began = time.perf_counter()
            await link.publish(f"{topic}/round", model.tobytes(), qos=1)
            total = np.zeros(parameters, np.float64)
            for _ in range(devices):
                message = await anext(messages)
                total += np.frombuffer(message.payload, np.float32)
            model = (total / devices).astype(np.float32)
            times.append(1000 * (time.perf_counter() - began))
    return times


async def device(address: BrokerAddress, topic: str, name: str) -> None:
    """Sends back what it gets."""
    async with client(address) as link:
        await link.subscribe(f"{topic}/round", qos=1)
        await link.publish(f"{topic}/ready/{name}", b"", qos=1)
        async for message in link.messages:
            vector = np.frombuffer(message.payload, np.float32)
            await link.publish(f"{topic}/up/{name}", vector.tobytes(), qos=1)


async def _devices(address: BrokerAddress, topic: str, number: int) -> None:
    async with asyncio.TaskGroup() as group:
        for index in range(number):
            group.create_task(device(address, topic, str(index)))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_devices(BrokerAddress(host=sys.argv[1], port=int(sys.argv[2])), sys.argv[3], int(sys.argv[4])))
