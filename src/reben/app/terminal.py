"""The terminal: data go to stdout, messages to stderr. Nothing else in reben prints.

Messages, warnings, log lines and the progress bar share one console: while a bar is shown, lines
appear above it.
"""

import errno
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text


class Bar(Protocol):
    """Moves a progress bar."""

    def __call__(
        self, done: int, total: int | None, *, what: str | None = None, note: str = ""
    ) -> None:
        """Show that ``done`` of ``total`` are finished.

        Args:
            done: How many are finished.
            total: How many there are, or None while that is unknown.
            what: The new name at the left of the bar.
            note: Text at the right of the bar, for example a rate.
        """


def print_json(value: object) -> None:
    """Write ``value`` to stdout as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_place(what: str, place: object, *, as_json: bool) -> None:
    """Write where a result is to stdout: one line, or JSON with the name ``what``."""
    if as_json:
        print_json({what: str(place)})
    else:
        print_text(str(place))


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
    """Write a table to stdout, or to stderr where it is only a message.

    Args:
        columns: Headings. A ``>`` at the end aligns the column to the right.
        rows: One cell for each heading.
        title: What the table shows.
        as_talk: Write to stderr.
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
    """Write a message to stderr; while a bar is shown, above it.

    Once a terminal is closed, nobody reads it, and work goes on or ends without it.
    """
    try:
        sys.stderr.write(text + "\n")  # a bar puts itself in the place of sys.stderr
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


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


class _LogLines(logging.Handler):
    """Writes what reben logs as messages, but for what models log whenever they are built."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if record.levelno > logging.INFO or not record.name.startswith("reben.model"):
            talk(record.getMessage())


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Write warnings, one line each, and the log of reben to stderr while the block runs."""
    handler = _LogLines()
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
def progress_bar(what: str, *, in_bytes: bool = False) -> Iterator[Bar | None]:
    """Yield a function that moves a bar on stderr, or None where stderr is not a terminal.

    Args:
        what: The name at the left of the bar, for example of the things that are counted.
        in_bytes: Count bytes, and show how many a second.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress

    count: tuple[progress.ProgressColumn, ...] = (progress.MofNCompleteColumn(),)
    if in_bytes:
        count = progress.DownloadColumn(), progress.TransferSpeedColumn()

    class Note(progress.ProgressColumn):
        """The text at the right, cut off where the terminal ends."""

        def render(self, task: progress.Task) -> Text:
            return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")

    console = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=min(40, max(12, console.width - 80))),
        *count,
        progress.TimeRemainingColumn(),
        Note(),
    )
    with progress.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(escape(what), total=None, note="")

        def move(done: int, total: int | None, *, what: str | None = None, note: str = "") -> None:
            name = None if what is None else escape(what)
            bar.update(task, completed=done, total=total, description=name, note=note)

        yield move


def format_bytes(count: float) -> str:
    """Return a number of bytes in a readable unit.

    Example:
        >>> format_bytes(6_800_000), format_bytes(512)
        ('6.8 MB', '512 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.1f} TB"


def format_figure(value: float | None) -> str:
    """Return a figure of a report with four digits, or a dash if there is none."""
    return "-" if value is None else f"{value:.4f}"


def ask_yes(question: str) -> bool:
    """Ask a question on the terminal and return whether the answer is yes."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def can_ask() -> bool:
    """Return whether there is a terminal to ask at."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _width(stream: TextIO) -> int | None:
    """Return the width of tables: None for the terminal's own, wide for a file or a pipe."""
    return None if stream.isatty() else 120
