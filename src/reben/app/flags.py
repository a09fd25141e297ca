"""What the flags of several verbs have in common: their types, and old names that still work."""

from typing import Annotated

from cyclopts import Parameter, validators

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
"""The flag that every verb has."""
Switch = Annotated[bool, Parameter(negative="")]
"""A flag without a value that is off by default; there is no ``--no-...``."""
AtLeastOne = Annotated[int, Parameter(validator=validators.Number(gte=1))]
AtLeastZero = Annotated[int, Parameter(validator=validators.Number(gte=0))]
Share = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))]
"""From 0 to 1."""


def formerly(*names: str) -> Parameter:
    """Return the mark of a flag that was renamed: its old names work, and --help hides them.

    Example:
        A flag ``--processes`` that was called ``--workers`` before:

        >>> Processes = Annotated[int | None, formerly("--workers")]
    """
    return Parameter(alias=names)
