"""The picture of a leaderboard: a dot for each model, with its interval."""

from typing import TYPE_CHECKING

from reben.publish.cards.results import METRICS
from reben.publish.compare import ComparableReports, Leaderboard, LeaderboardRow
from reben.publish.markdown import DECIMALS, patches, within_a_sentence
from reben.publish.plots import FAINT, MAIN, dress_rows, figure_style, new_figure, shorten
from reben.spec.bands import BandSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(board: Leaderboard) -> "Figure":
    """Return a picture of the figure that the board is ranked by: dots, with intervals."""
    counts = [len(group.entries) for group in board.groups]
    with figure_style():
        figure = new_figure(8, 1.1 * len(counts) + 0.42 * sum(counts))
        panels = figure.subplots(
            len(counts), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": counts}
        )
        for axes, group in zip(panels[:, 0], board.groups, strict=True):
            _draw_group(axes, board, group)
        name = figure_name(board.mean, board.figure)
        panels[-1, 0].set_xlabel(f"{name}, 95 % intervals where known")
    return figure


def _draw_group(axes: "Axes", board: Leaderboard, group: ComparableReports) -> None:
    for place, row in enumerate(group.entries):
        value = row.figure(board.mean, board.figure)
        interval = row.interval(board.mean, board.figure)
        if interval is not None:
            axes.plot([interval.low, interval.high], [place] * 2, color=FAINT, zorder=1)
        axes.scatter([value], [place], color=MAIN, zorder=2)
        end = value if interval is None else max(value, interval.high)
        axes.annotate(
            f"{value:.{DECIMALS}f}", (end, place), (6, 0), textcoords="offset points",
            va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    names = [f"{row.name} ({shown_bands(row)})" for row in group.entries]
    dress_rows(axes, [shorten(name, 48) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.2)
    axes.set_title(heading(group), loc="left")


def heading(group: ComparableReports) -> str:
    """Return which patches the figures of a group are about."""
    if not group.same_patches:
        return "Different patches, ranked together"
    report = group.entries[0].report
    filters = "".join(f", {key}: {value}" for key, value in report.filters.items())
    where = f"{patches(report.num_patches)} of the {report.split} split{filters}"
    return f"{where} (fingerprint {report.fingerprint[:8]})"


def shown_bands(row: LeaderboardRow) -> str:
    """Return the word of a band set; where it has none, a few bands by name, many by number."""
    names = row.report.bands
    word = BandSet(names).word
    return f"{len(names)} bands" if "," in word and len(names) > 4 else word


def figure_name(mean: str, figure: str) -> str:
    """Return the name of a figure for people, for example ``macro average precision``."""
    return f"{mean} {within_a_sentence(METRICS[figure])}"
