"""Tells the documentation what it cannot read from the source of a docstring alone.

Griffe knows the section ``Examples:`` only and would show the doctests of an ``Example:`` as a
quotation; and the arguments of `TrainConfig` stand in the metadata of its fields.
"""

import dataclasses
import inspect
import re

import griffe

from reben.learn.config import TrainConfig

_EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
_SETTINGS = f"{TrainConfig.__module__}.{TrainConfig.__name__}"


class SingularExamples(griffe.Extension):
    """Reads ``Example:`` as ``Examples:``."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rename the section in the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", obj.docstring.value)


class Settings(griffe.Extension):
    """Gives `TrainConfig` its docstring and its defaults as they are once it is imported."""

    def on_class_members(self, *, cls: griffe.Class, **_: object) -> None:
        """Replace the docstring, and the value of each setting."""
        if cls.path != _SETTINGS:
            return
        cls.docstring.value = inspect.cleandoc(TrainConfig.__doc__)
        for field in dataclasses.fields(TrainConfig):
            cls.members[field.name].value = repr(field.default)
