"""paho's socket on the event loop, with less work a packet. All is done on the instance; paho itself stays as it is.

Left to itself, paho reads a packet in at least three system calls, one byte at a time for its head, reserves the whole
remaining length at each read, builds two property tables a message, and is woken through a socket pair for each write.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

import aiomqtt
from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import MQTTErrorCode

#: Read from the socket in one go; packets that are larger are read in pieces of at most the second size.
READ_BYTES: Final = 64 << 10
READ_MOST_BYTES: Final = 256 << 10

#: (topic, payload, qos, retain, packet identifier, bytes of the property list)
Receive = Callable[[str, memoryview, int, bool, int, int], None]


class Wire:
    """Takes over reading, writing and the decoding of PUBLISH packets of one aiomqtt client.

    TLS sockets buffer by themselves; for them only decoding is taken over.
    """

    def __init__(self, client: aiomqtt.Client, receive: Receive, *, five: bool, tls: bool) -> None:
        self._paho: Paho = client._client
        self._disconnected = client._disconnected
        self._receive = receive
        self._five = five
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._buffer = b""
        self._position = 0
        self._write_scheduled = False
        self._writer_fd: int | None = None
        paho: Any = self._paho
        self._decode_by_paho = paho._handle_publish
        paho._handle_publish = self._handle_publish
        if tls:
            return
        self._open_by_aiomqtt = paho.on_socket_open
        paho.on_socket_open = self._on_socket_open
        paho.on_socket_register_write = self._on_register_write
        paho.on_socket_unregister_write = self._on_unregister_write
        paho._sock_recv = self._recv

    # Reading -------------------------------------------------------------------------------------------------------

    def _on_socket_open(self, paho: Paho, userdata: Any, sock: socket.socket) -> None:
        self._open_by_aiomqtt(paho, userdata, sock)
        # After aiomqtt's own reader was added: replaces it.
        self._loop.call_soon_threadsafe(self._loop.add_reader, sock.fileno(), self._read)

    def _recv(self, size: int) -> bytes:
        if self._position == len(self._buffer):
            sock: socket.socket | None = self._paho._sock  # type: ignore[assignment]
            if sock is None:
                raise ConnectionError("the socket is closed")
            if size > READ_BYTES:
                return sock.recv(min(size, READ_MOST_BYTES))
            self._buffer = sock.recv(READ_BYTES)
            self._position = 0
        begin = self._position
        self._position = min(len(self._buffer), begin + size)
        return self._buffer[begin : self._position]

    def _read(self) -> None:
        try:
            while True:
                self._paho.loop_read()
                if self._position == len(self._buffer) or self._paho._sock is None:
                    return
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection cannot go on
            self._fail(error)

    def _handle_publish(self) -> MQTTErrorCode:
        packet: dict[str, Any] = self._paho._in_packet  # type: ignore[assignment]
        head, data = packet["command"], packet["packet"]
        qos = (head & 0x06) >> 1
        topic_end = 2 + int.from_bytes(data[:2], "big")
        start = topic_end + (2 if qos else 0)
        plain = len(data) >= start + (1 if self._five else 0) and (not self._five or data[start] == 0)
        if qos == 2 or not plain:
            # Properties, or a packet that is not as it should be: paho knows.
            code: MQTTErrorCode = self._decode_by_paho()
            return code
        try:
            topic = data[2:topic_end].decode()
        except UnicodeDecodeError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        mid = int.from_bytes(data[topic_end:start], "big") if qos else 0
        properties = 1 if self._five else 0
        self._receive(topic, memoryview(data)[start + properties :], qos, bool(head & 0x01), mid, properties)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    # Writing -------------------------------------------------------------------------------------------------------

    def _on_register_write(self, _: Paho, __: Any, ___: socket.socket) -> None:
        if self._write_scheduled:
            return
        self._write_scheduled = True
        if threading.get_ident() == self._thread:
            # All that is said in this turn of the loop goes out at its end, without asking the selector first.
            self._loop.call_soon(self._write)
        else:
            self._loop.call_soon_threadsafe(self._write)

    def _on_unregister_write(self, _: Paho, __: Any, sock: socket.socket) -> None:
        del sock  # It may be closed already; what was added is known by its number.
        if self._writer_fd is not None:
            self._loop.remove_writer(self._writer_fd)
            self._writer_fd = None

    def _write(self) -> None:
        self._write_scheduled = False
        paho = self._paho
        try:
            paho.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection cannot go on
            self._fail(error)
            return
        sock = paho.socket()
        if sock is not None and paho.want_write() and self._writer_fd is None:
            # The line is full: now the selector says when it goes on.
            self._writer_fd = sock.fileno()
            self._loop.add_writer(self._writer_fd, self._write)

    def _fail(self, error: Exception) -> None:
        if not self._disconnected.done():
            self._disconnected.set_exception(error)
        self._paho._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
