"""The terminal: data go to stdout, talk goes to stderr. Nothing else in reben prints."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Progress(Protocol):
    """What long work calls: ``(done, total)``, both counted in the same things."""

    def __call__(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` are finished."""


def print_json(value: object) -> None:
    """Write ``value`` to stdout as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_text(text: str) -> None:
    """Write one line of data to stdout, never wrapped."""
    sys.stdout.write(text + "\n")


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str | None = None,
    as_talk: bool = False,
) -> None:
    """Write a table to stdout, or as talk to stderr; numbers stand at the right.

    Args:
        columns: Headings. One that ends with ``>`` has its column aligned at the right.
        rows: As many cells each as there are headings.
        title: What the table shows.
        as_talk: Whether it is talk and not the data that were asked for.
    """
    table = Table(title=escape(title) if title else None, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        name = column.removesuffix(">")
        table.add_column(
            escape(name), justify="right" if name != column else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    stream = sys.stderr if as_talk else sys.stdout
    Console(file=stream, highlight=False, width=_width(stream)).print(table)


def talk(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(text + "\n")


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Write a warning to stderr in one line; takes the place of `warnings.showwarning`."""
    text = " ".join(str(message).split())
    talk(f"{category.__name__}: {text}")


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Show warnings as one line each, and the log of reben on stderr, while the block runs.

    What models tell of themselves whenever they are built is left out.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(
        lambda record: record.levelno > logging.INFO or not record.name.startswith("reben.model")
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("reben")
    level = logger.level
    with warnings.catch_warnings():
        warnings.showwarning = show_warning
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """Yield a function that moves a bar on stderr, or None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(what), total=None)

        def move(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield move


def format_bytes(count: float) -> str:
    """Return a number of bytes in the unit that makes it readable.

    Example:
        >>> format_bytes(6_800_000), format_bytes(512)
        ('6.8 MB', '512 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.1f} TB"


def rows_of(counts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the pairs of a mapping as rows of a table."""
    return list(counts.items())


def ask_yes(question: str) -> bool:
    """Ask on the terminal and tell whether the answer is yes; anything else is no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def can_ask() -> bool:
    """Tell whether somebody sits at a terminal who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _width(stream: TextIO) -> int | None:
    """Return the width of tables: the terminal's, or wide where it goes to a file or a pipe."""
    return None if stream.isatty() else 120
