"""A leaderboard as files: Markdown, CSV, one page of HTML, and a picture.

::

    leaderboard.md     tables for people, as Hubs and forges show them
    leaderboard.csv    the same for programs: all figures with all their digits
    leaderboard.html   a page that needs no other file and no network
    leaderboard.png    the figure that it is ranked by, with intervals
"""

import csv
import io
from pathlib import Path
from typing import Any

from reben.learn.metrics.bootstrap import Interval
from reben.publish.cards.results import HEADLINE, METRICS, interval_words
from reben.publish.compare import MEANS, ComparableReports, Leaderboard, LeaderboardRow, Mean
from reben.publish.leaderboard.picture import draw, figure_name, heading, shown_bands
from reben.publish.markdown import Markdown, escape, number
from reben.publish.report_page import render_html, save_pictures
from reben.support.atomic import write_text

COLUMNS: tuple[tuple[Mean, str], ...] = tuple((mean, name) for mean in MEANS for name in HEADLINE)
_COSTS = {"parameters": ",", "gflops": ".2f", "images_per_second": ".1f", "device": ""}
"""What a model costs, each with the format in tables."""


def write_leaderboard(board: Leaderboard, out: str | Path, *, picture: bool = True) -> Path:
    """Write all files of a leaderboard into a folder and return it; a picture needs matplotlib."""
    folder = Path(out)
    drawn = draw(board) if picture else None
    write_text(folder / "leaderboard.md", to_markdown(board))
    write_text(folder / "leaderboard.csv", to_csv(board))
    write_text(folder / "leaderboard.html", to_html(board))
    save_pictures({} if drawn is None else {"leaderboard": drawn}, folder)
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
    """Return a leaderboard as CSV: one line per model, figures with all their digits."""
    lines = [
        _csv_line(number, rank, row)
        for number, group in enumerate(board.groups, start=1)
        for rank, row in enumerate(group.entries, start=1)
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, lines[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
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
                "models": [_summarise_row(row) for row in group.entries],
                "differences": [
                    {"first": first, "second": second, "comparison": comparison}
                    for (first, second), comparison in group.comparisons.items()
                ],
            }
            for group in board.groups
        ],
    }


LEGEND = (
    "Row minus column on the same patches, with the 95 % interval of this pair alone. Real means "
    "more than chance at 5 % after Holm's correction for all pairs of the list; it says nothing "
    "about another training seed."
)


def title(board: Leaderboard) -> str:
    """Return what a leaderboard is ranked by, as a title."""
    return f"Leaderboard by {figure_name(board.mean, board.figure)}"


def difference_heading(board: Leaderboard) -> str:
    """Return what the matrix of differences is about."""
    return f"Differences in {figure_name(board.mean, board.figure)}"


def matrix(board: Leaderboard, group: ComparableReports) -> list[list[str]]:
    """Return the differences as a table of texts, headings first."""
    names = [row.name for row in group.entries]

    def cell(first: str, second: str) -> str:
        found = group.difference(first, second, board.mean, board.figure)
        if found is None:
            return "" if first == second else "unknown"
        is_real = group.is_real(first, second, board.mean, board.figure)
        verdict = "real" if is_real else "not real"
        # `z` writes no minus before a difference that rounds to zero.
        return f"{found.value:+z.4f} ({found.low:+z.4f} to {found.high:+z.4f}) {verdict}"

    rows = [[first, *(cell(first, second) for second in names)] for first in names]
    return [["row minus column", *names], *rows]


def _about(row: LeaderboardRow) -> dict[str, Any]:
    """Return what a row says of model and patches."""
    names = ("backbone", "bands", "split", "num_patches", "fingerprint")
    return {"name": row.name, **{name: getattr(row.report, name) for name in names}}


def _costs(row: LeaderboardRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _COSTS}


def _summarise_row(row: LeaderboardRow) -> dict[str, Any]:
    return {
        **_about(row),
        "figures": {mean: {name: row.figure(mean, name) for name in HEADLINE} for mean in MEANS},
        "intervals": {
            mean: {name: row.interval(mean, name) for name in HEADLINE} for mean in MEANS
        },
        **_costs(row),
    }


def _csv_line(group: int, rank: int, row: LeaderboardRow) -> dict[str, Any]:
    about = {name: _inert(value) for name, value in _about(row).items()}
    line = {"group": group, "rank": rank, **about, "bands": " ".join(row.report.bands)}
    for mean, name in COLUMNS:
        interval = row.interval(mean, name)
        line[f"{mean}_{name}"] = row.figure(mean, name)
        line[f"{mean}_{name}_low"] = None if interval is None else interval.low
        line[f"{mean}_{name}_high"] = None if interval is None else interval.high
    return {**line, **_costs(row)}


def _inert(value: object) -> object:
    """Return ``value``, or text that no spreadsheet takes for a formula."""
    risky = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if risky else value


def _table(group: ComparableReports) -> list[list[str]]:
    heads = [f"{METRICS[name]} {mean}" for mean, name in COLUMNS]
    rows = [
        ["#", "Model", "Backbone", "Bands", *heads, "Parameters", "GFLOPs", "Images/s", "Device"]
    ]
    for rank, row in enumerate(group.entries, start=1):
        costs = (
            "" if value is None else format(value, _COSTS[name])
            for name, value in _costs(row).items()
        )
        cells = [_cell(row.figure(*column), row.interval(*column)) for column in COLUMNS]
        names = (row.name, row.report.backbone, shown_bands(row))
        rows.append([str(rank), *names, *cells, *costs])
    return rows


def _cell(value: float, interval: Interval | None) -> str:
    if interval is None:
        return number(value)
    return f"{number(value)} ({interval_words(interval, ' ')})"


def _markdown_table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(map(str, map(escape, row))) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return Markdown("\n".join(lines))
