"""What all commands share: exit statuses, errors as sentences, options that mean the same everywhere."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import click

from kehefl.cli.signals import BAD_USAGE, FAILED, INTERRUPTED
from kehefl.errors import KeheflError, UsageError

P = ParamSpec("P")
T = TypeVar("T")


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
