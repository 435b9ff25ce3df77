"""Public names of a package that are imported when first used: reading a method's settings must not load torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, home: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` (PEP 562) of a package whose public names live in its modules.

    Args:
        package: the package's `__name__`.
        home: each public name -> the module of the package that has it; one beginning with dots is relative to the package, as in an
            import of its `__init__`: `..core.atari`.
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = home[name]
        return getattr(import_module(module if module.startswith(".") else f".{module}", package), name)

    return get, lambda: sorted(home)
