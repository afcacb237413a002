"""Finding a model: one that ships with kehefl, one an installed package offers, or the operator's own class.

Importing `module:Class` runs code, so a name is only ever loaded where an operator typed it; a device never imports
what a message names. It takes part in rounds whose model it was given, and refuses others with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable

from kehefl.errors import UsageError, nearest
from kehefl.models.base import Model
from kehefl.plugins import find_class, offered

ENTRY_POINTS = "kehefl.models"


def builtin_names() -> tuple[str, ...]:
    """Names of the models that ship with kehefl."""
    return ("linear",)


def load_model(spec: str | Model) -> Model:
    """The model for a name, `module:Class`, or a Model itself. UsageError says which there are, or what is wrong
    with the operator's own."""
    if isinstance(spec, Model):
        return _named(spec, type(spec).__name__)
    if spec == "linear":
        from kehefl.models.linear import Linear

        return Linear()
    if ":" in spec:
        return _instantiate(spec)
    others = offered(ENTRY_POINTS)
    if spec in others:
        return _instantiate(others[spec])
    hint = nearest(spec, [*builtin_names(), *others])
    raise UsageError(f"There is no model '{spec[:60]}'. {hint} One of your own is given as my_module:MyModel.")


def load_models(specs: Iterable[str | Model]) -> dict[str, Model]:
    """Models by the name that manifests use: the spec as typed, or a model object's own `name`."""
    return {spec if isinstance(spec, str) else spec.name: load_model(spec) for spec in specs}


def _instantiate(spec: str) -> Model:
    kind = find_class(spec, "model", base=Model)
    try:
        return _named(kind(), spec)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"Model '{spec}' cannot be started ({type(error).__name__}: {error}). Give it every method of "
            "kehefl.Model, and arguments only with defaults."
        ) from error


def _named(model: Model, where: str) -> Model:
    """The model, if runs and records can name it."""
    name = getattr(model, "name", None)
    if isinstance(name, str) and name:
        return model
    raise UsageError(f"Model '{where}' lacks a `name`. Give its class one: name = \"mine\".")
