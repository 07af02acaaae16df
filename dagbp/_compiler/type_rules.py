"""Typing rules for the kernels' own Numba types, in terms of plain functions.

`numba.extending` has public functions for attributes and for operators. They are not used:
`overload_attribute` compiles a function for each field, and with `type_callable` a vector times a
number finds no implementation.
"""

from collections.abc import Callable
from typing import Any

from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
)


def type_attributes(kind: type[Any], resolve: Callable[[Any, str], Any]) -> None:
    """Let `resolve(value_type, name)` give the types of the attributes of a Numba type."""

    @infer_getattr
    class Attributes(AttributeTemplate):
        key = kind

        def generic_resolve(self, value: Any, name: str) -> Any:  # type: ignore[override]
            return resolve(value, name)


def type_operator(symbol: Callable[..., Any], signature_of: Callable[..., Any]) -> None:
    """Let `signature_of(*argument_types)` give an operator's signature, or None if none fits."""

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            return None if kws else signature_of(*args)

    infer_global(symbol)(Template)
