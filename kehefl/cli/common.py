"""What all commands share: exit statuses, errors as sentences, options that mean the same everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, ParamSpec, TypeVar

import click

from kehefl.errors import KeheflError, UsageError

FAILED: Final = 1
BAD_USAGE: Final = 2
INTERRUPTED: Final = 130

P = ParamSpec("P")
T = TypeVar("T")
Decorated = Callable[P, T]


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn kehefl's errors into one sentence on stderr and the exit status of the contract."""
    try:
        yield
    except KeheflError as error:
        click.echo(f"kehefl: {error}", err=True)
        raise SystemExit(BAD_USAGE if isinstance(error, UsageError) else FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def run_until_signal(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`asyncio.run`, with SIGTERM and SIGHUP ending it in good order like Ctrl+C does."""

    async def main() -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel if task else sys.exit)
        return await work()

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def broker_options(command: Callable[P, T]) -> Callable[P, T]:
    """--broker, --federation and --prefix."""

    @click.option(
        "--broker", metavar="URL", help="mqtt://[USER:PASSWORD@]HOST[:PORT] or mqtts://... [env: KEHEFL_BROKER]"
    )
    @click.option("--federation", metavar="NAME", help="which federation on the broker")
    @click.option("--prefix", metavar="TOPIC", default="kehefl", show_default=True, help="first levels of all topics")
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        return command(*args, **kwargs)

    return wrapped


def state_option(command: Callable[P, T]) -> Callable[P, T]:
    """--state."""

    @click.option("--state", metavar="DIR", help="run log and checkpoints [env: KEHEFL_STATE]")
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        return command(*args, **kwargs)

    return wrapped


def split_names(text: str | None) -> tuple[str, ...]:
    """`a,b` as names."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()
