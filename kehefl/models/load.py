"""Finding a model: one that ships with kehefl, one an installed package offers, or the operator's own class.

Importing `module:Class` runs code, so a name is only ever loaded where an operator typed it; a device never imports
what a message names. It takes part in rounds whose model it was given, and refuses others with a reason.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from kehefl.errors import UsageError, nearest
from kehefl.models.base import Model

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
    from importlib.metadata import entry_points  # It costs a device a megabyte, and few need it.

    offered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if spec in offered:
        return _instantiate(offered[spec].value)
    hint = nearest(spec, [*builtin_names(), *offered])
    raise UsageError(f"There is no model '{spec[:60]}'. {hint} One of your own is given as my_module:MyModel.")


def load_models(specs: Iterable[str | Model]) -> dict[str, Model]:
    """Models by the name that manifests use: the spec as typed, or a model object's own `name`."""
    return {spec if isinstance(spec, str) else spec.name: load_model(spec) for spec in specs}


def _instantiate(spec: str) -> Model:
    kind = _class_of(spec)
    try:
        return _named(kind(), spec)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"Model '{spec}' cannot be started ({type(error).__name__}: {error}). Give it every method of "
            "kehefl.Model, and arguments only with defaults."
        ) from error


def _class_of(spec: str) -> type[Model]:
    module_name, _, class_name = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        # A console script does not have the working directory on its path; the operator's module usually lies there.
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module_name:
            raise UsageError(
                f"The module of model '{spec}' cannot be imported: there is none. Start kehefl where {module_name}.py "
                "lies, or install it."
            ) from error
        raise UsageError(
            f"The module of model '{spec}' cannot be imported ({type(error).__name__}: {error}). Mend it, or install "
            "what it needs."
        ) from error
    found = getattr(module, class_name, None)
    if isinstance(found, type) and issubclass(found, Model):
        return found
    known = [name for name, kind in vars(module).items() if isinstance(kind, type) and issubclass(kind, Model)]
    raise UsageError(
        f"Module '{module_name}' has no model '{class_name}'. "
        f"{nearest(class_name, [name for name in known if name != 'Model'])} Derive your class from kehefl.Model."
    )


def _named(model: Model, where: str) -> Model:
    """The model, if runs and records can name it."""
    name = getattr(model, "name", None)
    if isinstance(name, str) and name:
        return model
    raise UsageError(f"Model '{where}' lacks a `name`. Give its class one: name = \"mine\".")
