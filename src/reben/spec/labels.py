"""The 19 labels, their two published orders, CORINE codes and colours.

Two orders are in use. The published classifiers have their outputs in alphabetical order; the
paper lists the classes in another one. Mixing them up gives wrong labels without an error, so reben
always states which order it means, and `LABELS`, the alphabetical one, is the only default.

Source: names from arXiv:2407.03653; orders from ConfigILM 0.7.1; CORINE codes and colours from
the CORINE Land Cover nomenclature, as torchgeo's BigEarthNetV2 lists them; two colours are our own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from reben.errors import LabelsError, UnknownLabelError

_TABLE: Mapping[str, tuple[tuple[int, ...], str]] = {
    "Urban fabric": ((111, 112), "#e6004d"),
    "Industrial or commercial units": ((121,), "#cc4df2"),
    "Arable land": ((211, 212, 213), "#ffffa8"),
    "Permanent crops": ((221, 222, 223, 241), "#e68000"),
    "Pastures": ((231,), "#e6e64d"),
    "Complex cultivation patterns": ((242,), "#ffe64d"),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        (243,),
        "#e6cc4d",
    ),
    "Agro-forestry areas": ((244,), "#f2cca6"),
    "Broad-leaved forest": ((311,), "#80ff00"),
    "Coniferous forest": ((312,), "#00a600"),
    "Mixed forest": ((313,), "#4dff00"),
    "Natural grassland and sparsely vegetated areas": ((321, 333), "#ccf24d"),
    "Moors, heathland and sclerophyllous vegetation": ((322, 323), "#a6ff80"),
    "Transitional woodland, shrub": ((324,), "#a6f200"),
    "Beaches, dunes, sands": ((331,), "#c9a26b"),
    "Inland wetlands": ((411, 412), "#a6a6ff"),
    "Coastal wetlands": ((421, 422), "#ccccff"),
    "Inland waters": ((511, 512), "#80f2e6"),
    "Marine waters": ((521, 522, 523), "#3d8bd9"),
}
"""Label -> its CORINE codes, and its colour; in the order of the paper's tables. Colours are those
of CORINE maps but for beaches and marine waters, whose near white looked like masked places."""

PAPER_LABELS: tuple[str, ...] = tuple(_TABLE)
"""The labels in the order of the paper's tables. No classifier's outputs are in this order."""
LABELS: tuple[str, ...] = tuple(sorted(_TABLE))
"""The labels in alphabetical order: the order of every published classifier's outputs."""
CORINE_TO_LABEL: Mapping[int, str] = MappingProxyType(
    {code: label for label, (codes, _) in _TABLE.items() for code in codes}
)
"""CORINE 2018 level-3 code -> label. Other codes are unlabelled."""
MOST_LABELS = 10_000
"""How many labels a model or a data set may have."""
_LONGEST, _SHOWN = 200, 60
_OF_A_LABEL: Mapping[str, Callable[[Any], bool]] = {
    "is no text": lambda name: isinstance(name, str),
    "is empty": lambda name: bool(name.strip()),
    "begins or ends with a space": lambda name: name == name.strip(),
    "holds a line break or another character that cannot be printed": str.isprintable,
    f"is longer than {_LONGEST} characters": lambda name: len(name) <= _LONGEST,
}
"""What is said of a label that does not pass."""
COLOURS: Mapping[str, str] = MappingProxyType({label: _TABLE[label][1] for label in LABELS})
"""Label -> its colour on maps, as ``#rrggbb``."""


def fault_of_labels(names: Sequence[str]) -> str | None:
    """Return why these cannot be the labels of a model or a data set, or None if they can.

    Example:
        >>> fault_of_labels(["Forest", " Forest"])
        "' Forest' begins or ends with a space"
    """
    if isinstance(names, str):
        return f"they must be a list of names, not the text {names!r}"
    if not 1 <= len(names) <= MOST_LABELS:
        return f"there must be 1 to {MOST_LABELS:,} of them, not {len(names):,}"
    if len(set(names)) < len(names):
        return f"{next(name for name in names if list(names).count(name) > 1)!r} is there twice"
    for name in names:
        fault = next((said for said, is_right in _OF_A_LABEL.items() if not is_right(name)), None)
        if fault is not None:
            shown = repr(name) if len(repr(name)) <= _SHOWN else f"{repr(name)[:_SHOWN]}..."
            return f"{shown} {fault}"
    return None


def to_multi_hot(names: Iterable[str], order: Sequence[str] = LABELS) -> tuple[int, ...]:
    """Return a 0/1 vector that marks ``names`` in ``order``.

    Args:
        names: Label names, in any order; repeats count once.
        order: The labels that the vector's positions stand for.

    Raises:
        UnknownLabelError: If a name is not in ``order``; the message names it.

    Example:
        >>> sum(to_multi_hot(["Pastures", "Arable land"]))
        2
        >>> to_multi_hot(["Arable land"])[:3], to_multi_hot(["Arable land"], PAPER_LABELS)[:3]
        ((0, 1, 0), (0, 0, 1))
    """
    if isinstance(names, str):
        raise LabelsError(f"Labels must be a list of names, not the text {names!r}.")
    present = set(names)
    unknown = sorted(present.difference(order))
    if unknown:
        raise UnknownLabelError(
            f"Unknown label {', '.join(map(repr, unknown))}. Labels: {'; '.join(order)}."
        )
    return tuple(int(label in present) for label in order)


def from_multi_hot(vector: Iterable[object], order: Sequence[str] = LABELS) -> tuple[str, ...]:
    """Return the names that a 0/1 vector marks, in the order of the vector.

    Args:
        vector: As many zeros and ones (or booleans) as ``order`` has labels.
        order: The labels that the vector's positions stand for.

    Raises:
        LabelsError: If the length differs or a value is neither 0 nor 1.

    Example:
        >>> from_multi_hot(to_multi_hot(["Pastures", "Arable land"]))
        ('Arable land', 'Pastures')
    """
    values = list(vector)
    if len(values) != len(order):
        raise LabelsError(f"A vector of {len(values)} values cannot mark {len(order)} labels.")
    other = [value for value in values if value not in (0, 1)]
    if other:
        raise LabelsError(f"A multi-hot vector holds only 0 and 1; this one holds {other[0]!r}.")
    return tuple(label for label, value in zip(order, values, strict=True) if value)


def labels_of_codes(codes: Iterable[int]) -> tuple[str, ...]:
    """Return the labels of a reference map's CORINE codes, alphabetically.

    The rule of the data set: a patch has the label of every code that occurs in its reference
    map; codes without a label do not count.

    Example:
        >>> labels_of_codes([211, 231, 311, 313, 999])
        ('Arable land', 'Broad-leaved forest', 'Mixed forest', 'Pastures')
    """
    present = {CORINE_TO_LABEL[code] for code in codes if code in CORINE_TO_LABEL}
    return tuple(sorted(present))
