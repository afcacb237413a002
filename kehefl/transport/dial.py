"""How a connection is opened: name, TCP, TLS, all on the event loop.

No thread of a pool waits for a host that does not answer, so a thousand links to a broker that is away hold nobody up.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from kehefl.transport.address import BrokerAddress

if TYPE_CHECKING:
    import ssl


class DialError(Exception):
    """No connection; the text is a part of a sentence, without a period. `final`: trying again is pointless."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Dialer:
    """Opens connections to one address; certificates are read once."""

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        self._context: ssl.SSLContext | None = None

    async def dial(self) -> socket.socket:
        """A connected non-blocking socket without Nagle's delay, encrypted if the address says so. DialError if not."""
        context = await self._tls_context() if self._address.tls else None
        sock = await self._connect()
        if context is None:
            return sock
        try:
            return await self._encrypt(sock, context)
        except BaseException:
            sock.close()
            raise

    async def _connect(self) -> socket.socket:
        loop, host = asyncio.get_running_loop(), self._address.host
        # As bytes, a plain host name does not pull in the IDNA tables: half a megabyte of a device's memory.
        name: Any = host.encode() if host.isascii() else host
        try:
            found = await loop.getaddrinfo(name, self._address.port, type=socket.SOCK_STREAM)
        except OSError:
            raise DialError(f"the host name '{host}' is not known; check its spelling, or give its address") from None
        except ValueError:
            raise DialError(f"'{host}' cannot be a host name", final=True) from None
        reason = DialError(f"the host name '{host}' has no address")
        for family, kind, protocol, _, where in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(sock, where)
            except OSError as error:
                sock.close()
                reason = _in_words(error)
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise reason

    async def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            import ssl

            address = self._address

            def load() -> ssl.SSLContext:
                context = ssl.create_default_context(cafile=address.ca_file)
                if address.cert_file:
                    context.load_cert_chain(address.cert_file, address.key_file)
                return context

            try:
                self._context = await asyncio.to_thread(load)
            except (OSError, ssl.SSLError) as error:
                raise DialError(
                    f"its certificate files cannot be used ({error}); check the CA, certificate and key", final=True
                ) from None
        return self._context

    async def _encrypt(self, sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        import ssl

        try:
            secured = context.wrap_socket(sock, server_hostname=self._address.host, do_handshake_on_connect=False)
            try:
                while True:
                    try:
                        secured.do_handshake()
                    except ssl.SSLWantReadError:
                        await _readable(secured)
                    except ssl.SSLWantWriteError:
                        await _writable(secured)
                    else:
                        return secured
            except BaseException:
                secured.close()
                raise
        except ssl.SSLCertVerificationError as error:
            raise DialError(
                f"its certificate is not trusted ({error.verify_message}); give the CA that signed it, the name it is "
                "made out to, and check this machine's clock"
            ) from None
        except (ssl.SSLError, OSError) as error:
            said = getattr(error, "reason", None) or error.strerror or "the connection was closed"
            raise DialError(
                f"TLS could not be agreed on ({str(said).lower().replace('_', ' ')}); is it the TLS port, and does the "
                "broker ask for a client certificate?"
            ) from None


def _in_words(error: OSError) -> DialError:
    if isinstance(error, ConnectionRefusedError):
        return DialError("nothing listens there (connection refused)")
    return DialError((error.strerror or str(error)).lower())


async def _readable(sock: socket.socket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


async def _writable(sock: socket.socket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock)
