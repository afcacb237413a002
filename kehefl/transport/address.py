"""Where a broker is and how to enter it."""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from kehefl.errors import UsageError

PORT: Final = 1883
TLS_PORT: Final = 8883


class BrokerAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A broker's address. Neither `repr` nor `url` shows the password."""

    host: str
    port: int = PORT
    tls: bool = False
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    mqtt: Literal["auto", "5", "3.1.1"] = "auto"

    @classmethod
    def parse(cls, url: str, **overrides: Any) -> BrokerAddress:
        """From `mqtt://[USER:PASSWORD@]HOST[:PORT]`, `mqtts://...` or `HOST[:PORT]`. UsageError says what is wrong."""
        wrong = f"'{_without_password(url)}' is not a broker's address. Write mqtt://HOST:1883 or mqtts://HOST:8883."
        try:
            parts = urlsplit(url if "://" in url else f"mqtt://{url}")
            port = parts.port
        except ValueError:
            raise UsageError(wrong) from None
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or parts.path not in {"", "/"} or parts.query:
            raise UsageError(wrong)
        tls = parts.scheme == "mqtts"
        return cls(
            host=parts.hostname,
            port=port or (TLS_PORT if tls else PORT),
            tls=tls,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            **overrides,
        )

    @property
    def url(self) -> str:
        """The address as it is shown: without the password."""
        user = f"{self.username}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{host}:{self.port}"

    def __repr__(self) -> str:
        return f"BrokerAddress({self.url})"

    __str__ = __repr__


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"[:120] if "@" in url else url[:120]
