"""A leaderboard as files: Markdown, CSV, one page of HTML, and a picture.

::

    leaderboard.md     tables for people, as Hubs and forges show them
    leaderboard.csv    the same for programs: all figures with all their digits
    leaderboard.html   a page that needs no other file and no network
    leaderboard.png    the figure that it is ranked by, with intervals
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from reben.learn.metrics.bootstrap import Interval
from reben.publish.cards.results import METRICS
from reben.publish.compare import MEANS, ComparableReports, Leaderboard, LeaderboardRow, Mean
from reben.publish.leaderboard.picture import draw, figure_name, heading, shown_bands
from reben.publish.markdown import Markdown, escape
from reben.publish.report_page import DOTS_PER_INCH, render_html
from reben.support.atomic import atomic_file, write_text

MARKDOWN_FILE, CSV_FILE = "leaderboard.md", "leaderboard.csv"
PAGE_FILE, PICTURE_FILE = "leaderboard.html", "leaderboard.png"
HEADLINE = ("average_precision", "f1", "precision")
"""The figures that are shown, macro and micro each."""
COLUMNS: tuple[tuple[Mean, str], ...] = tuple((mean, name) for mean in MEANS for name in HEADLINE)


def write_leaderboard(board: Leaderboard, out: str | Path, *, picture: bool = True) -> Path:
    """Write all files of a leaderboard into a folder and return it.

    Args:
        board: The leaderboard.
        out: The folder; files of these names in it are replaced.
        picture: Whether to draw it; without one matplotlib is not needed.

    Raises:
        OutputError: If the folder cannot be written.
        MissingExtraError: If there shall be a picture and matplotlib is not installed.
    """
    folder = Path(out)
    drawn = draw(board) if picture else None
    write_text(folder / MARKDOWN_FILE, to_markdown(board))
    write_text(folder / CSV_FILE, to_csv(board))
    write_text(folder / PAGE_FILE, to_html(board))
    if drawn is not None:
        with atomic_file(folder / PICTURE_FILE) as file:
            drawn.savefig(file, format="png", dpi=DOTS_PER_INCH, facecolor="white")
    return folder


def to_markdown(board: Leaderboard) -> str:
    """Return a leaderboard as Markdown."""
    parts = [f"# {title(board)}", *(str(escape(note)) for note in board.notes)]
    for group in board.groups:
        parts += [f"## {escape(heading(group))}", _markdown_table(_table(group))]
        if group.comparisons:
            parts += [
                f"### {escape(difference_heading(board))}",
                _markdown_table(matrix(board, group)),
                str(escape(LEGEND)),
            ]
    return "\n\n".join(parts) + "\n"


def to_csv(board: Leaderboard) -> str:
    """Return a leaderboard as CSV: one line a model, figures with all their digits."""
    figures = [f"{mean}_{name}" for mean, name in COLUMNS]
    columns = [
        "group", "rank", "name", "backbone", "bands", "split", "num_patches", "fingerprint",
        *(column for name in figures for column in (name, f"{name}_low", f"{name}_high")),
        "parameters", "gflops", "images_per_second", "device",
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for number, group in enumerate(board.groups, start=1):
        for rank, entry in enumerate(group.entries, start=1):
            report = entry.report
            about = (_inert(entry.name), _inert(report.backbone), " ".join(report.bands))
            patches = (_inert(report.split), report.num_patches, report.fingerprint)
            cost = (entry.parameters, entry.gflops, entry.images_per_second, entry.device)
            writer.writerow([number, rank, *about, *patches, *_figures(entry), *cost])
    return text.getvalue()


def to_html(board: Leaderboard) -> str:
    """Return a leaderboard as one page of HTML that needs no other file."""
    return render_html(
        "leaderboard.html.jinja",
        board=board,
        title=title(board),
        names=METRICS,
        columns=COLUMNS,
        bands=shown_bands,
        heading=heading,
        difference_heading=difference_heading(board),
        legend=LEGEND,
    )


def summarise(board: Leaderboard) -> dict[str, object]:
    """Return a leaderboard as plain values, as JSON has them."""
    return {
        "mean": board.mean,
        "figure": board.figure,
        "notes": board.notes,
        "groups": [
            {
                "same_patches": group.same_patches,
                "models": [_summarise_entry(entry) for entry in group.entries],
                "differences": [
                    {"first": first, "second": second, "comparison": comparison}
                    for (first, second), comparison in group.comparisons.items()
                ],
            }
            for group in board.groups
        ],
    }


LEGEND = (
    "Row minus column on the same patches, with its 95 % interval. Real means that the interval "
    "leaves out 0; it says nothing of other seeds of the training."
)


def title(board: Leaderboard) -> str:
    """Return what a leaderboard is ranked by, as a title."""
    return f"Leaderboard by {figure_name(board.mean, board.figure)}"


def difference_heading(board: Leaderboard) -> str:
    """Return what the matrix of differences is about."""
    return f"Differences in {figure_name(board.mean, board.figure)}"


def matrix(board: Leaderboard, group: ComparableReports) -> list[list[str]]:
    """Return the differences as a table of texts, its headings first."""
    names = [entry.name for entry in group.entries]
    rows = [["row minus column", *names]]
    for first in names:
        cells = []
        for second in names:
            found = group.difference(first, second, board.mean, board.figure)
            if found is None:
                cells.append("" if first == second else "not known")
            else:
                verdict = "real" if found.is_real else "not real"
                cells.append(
                    f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f}) {verdict}"
                )
        rows.append([first, *cells])
    return rows


def _summarise_entry(entry: LeaderboardRow) -> dict[str, object]:
    report = entry.report
    return {
        "name": entry.name,
        "backbone": report.backbone,
        "bands": report.bands,
        "split": report.split,
        "num_patches": report.num_patches,
        "fingerprint": report.fingerprint,
        "figures": {mean: {name: entry.figure(mean, name) for name in HEADLINE} for mean in MEANS},
        "intervals": {
            mean: {name: entry.interval(mean, name) for name in HEADLINE} for mean in MEANS
        },
        "parameters": entry.parameters,
        "gflops": entry.gflops,
        "images_per_second": entry.images_per_second,
        "device": entry.device,
    }


def _table(group: ComparableReports) -> list[list[str]]:
    heads = [f"{METRICS[name]} {mean}" for mean, name in COLUMNS]
    rows = [
        ["#", "Model", "Backbone", "Bands", *heads, "Parameters", "GFLOPs", "Images/s", "Device"]
    ]
    for rank, entry in enumerate(group.entries, start=1):
        known = (
            ("" if entry.parameters is None else f"{entry.parameters:,}"),
            ("" if entry.gflops is None else f"{entry.gflops:.2f}"),
            ("" if entry.images_per_second is None else f"{entry.images_per_second:.1f}"),
            entry.device or "",
        )
        cells = [_cell(entry.figure(*c), entry.interval(*c)) for c in COLUMNS]
        names = (entry.name, entry.report.backbone, shown_bands(entry))
        rows.append([str(rank), *names, *cells, *known])
    return rows


def _cell(value: float, interval: Interval | None) -> str:
    if interval is None:
        return f"{value:.4f}"
    return f"{value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _markdown_table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(map(str, map(escape, row))) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return Markdown("\n".join(lines))


def _figures(entry: LeaderboardRow) -> Iterator[float | None]:
    for mean, name in COLUMNS:
        interval = entry.interval(mean, name)
        yield entry.figure(mean, name)
        yield from (None, None) if interval is None else (interval.low, interval.high)


def _inert(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
