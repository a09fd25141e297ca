"""Tells the documentation that an ``Example:`` in a docstring holds doctests.

Griffe knows the section ``Examples:`` only and would show the doctests of ours as a quotation.
"""

import re

import griffe

_EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class SingularExamples(griffe.Extension):
    """Reads ``Example:`` as ``Examples:``."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rename the section in the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
