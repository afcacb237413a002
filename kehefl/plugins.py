"""Classes of the operator's own: by `module:Class`, or by the name under which an installed package offers one.

Importing a module runs code: call this only with what an operator typed, never with what came in a message.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from kehefl.errors import UsageError, nearest


def offered(group: str) -> dict[str, str]:
    """What installed packages offer as entry points of `group`: `module:Class` by name."""
    from importlib.metadata import entry_points  # It costs a device a megabyte, and few need it.

    return {entry.name: entry.value for entry in entry_points(group=group)}


def find_class(place: str, what: str, *, base: type = object) -> type:
    """The class at `place` (`module:Class`), which is to be a `what` and derive from `base`.

    UsageError when there is no such module, when importing it fails, or when it has no such class.
    """
    module_name, _, class_name = place.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        # A console script does not have the working directory on its path; the operator's module usually lies there.
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module_name:
            raise UsageError(
                f"The module of {what} '{place}' cannot be imported: there is none. Start kehefl where "
                f"{module_name}.py lies, or install it."
            ) from error
        raise UsageError(
            f"The module of {what} '{place}' cannot be imported ({type(error).__name__}: {error}). Mend it, or install "
            "what it needs."
        ) from error
    found = getattr(module, class_name, None)
    if isinstance(found, type) and issubclass(found, base):
        return found
    known = [name for name, kind in vars(module).items() if isinstance(kind, type) and issubclass(kind, base)]
    hint = nearest(class_name, [name for name in known if name != base.__name__])
    derive = "" if base is object else f" Derive your class from kehefl.{base.__name__}."
    raise UsageError(f"Module '{module_name}' has no {what} '{class_name}'. {hint}{derive}")
