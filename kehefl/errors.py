"""What can go wrong, in words an operator can act on. Each message is a sentence that ends with what to do."""

from __future__ import annotations

from collections.abc import Iterable


class KeheflError(Exception):
    """Anything kehefl reports to a person; `str(error)` is what is shown."""


class UsageError(KeheflError):
    """An option, a command or a name that does not exist or does not fit (exit status 2)."""


class DataError(KeheflError):
    """Rows that are missing, torn, or not those that were asked for."""


class BrokerError(KeheflError):
    """A broker that is not there, refuses, or cannot be started."""


class ProtocolError(KeheflError):
    """A message that breaks protocol v1; it is counted and never acted on."""


class RefusedError(KeheflError):
    """A well-formed request that cannot be carried out now, with the reason."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'? "`-style hint for an unknown word, followed by what there is. Empty when nothing is known.

    >>> nearest("medain", ["fedavg", "median"])
    "Did you mean 'median'? Known: fedavg, median."
    """
    import difflib  # Few processes ever need a hint, and a device has little memory.

    names = sorted(known)
    if not names:
        return ""
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return f"{hint}Known: {', '.join(names)}."
