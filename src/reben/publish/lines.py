"""Lines of the tables on a card."""

from typing import NamedTuple


class Line(NamedTuple):
    """One line of a table."""

    name: str
    value: object


class DifferenceLine(NamedTuple):
    """One setting that is not the paper's."""

    name: str
    paper: object
    own: object
