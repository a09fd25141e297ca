"""The picture of a leaderboard: a dot for each model, with its interval."""

from typing import TYPE_CHECKING

from reben.errors import MissingExtraError
from reben.publish.cards.results import METRICS
from reben.publish.compare import ComparableReports, Leaderboard, LeaderboardRow
from reben.publish.markdown import DECIMALS
from reben.spec.bands import BandSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(board: Leaderboard) -> "Figure":
    """Return a picture of the figure that the board is ranked by: dots, with intervals.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            "The picture of a leaderboard needs matplotlib. Install it with: pip install "
            "matplotlib, or leave the picture out: --no-figures."
        ) from None
    counts = [len(group.entries) for group in board.groups]
    figure = Figure((8, 1.1 * len(counts) + 0.42 * sum(counts)), layout="constrained")
    panels = figure.subplots(
        len(counts), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": counts}
    )
    for axes, group in zip(panels[:, 0], board.groups, strict=True):
        for place, entry in enumerate(group.entries):
            value = entry.figure(board.mean, board.figure)
            interval = entry.interval(board.mean, board.figure)
            if interval is not None:
                axes.plot([interval.low, interval.high], [place] * 2, color="#7b8794", zorder=1)
            axes.scatter([value], [place], color="#0b8a5a", zorder=2)
            end = value if interval is None else max(value, interval.high)
            axes.annotate(
                f"{value:.{DECIMALS}f}", (end, place), (6, 0), textcoords="offset points",
                va="center", fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
        # A dollar would start a formula.
        names = [_short(f"{e.name} ({shown_bands(e)})").replace("$", r"\$") for e in group.entries]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.margins(x=0.2)
        axes.set_title(heading(group), loc="left", fontsize=10)
        axes.set_axisbelow(True)
        axes.grid(axis="x", color="#c5ced8", linewidth=0.6)
        axes.spines[["right", "top", "left"]].set_visible(False)
        axes.spines["bottom"].set_color("#7b8794")
        axes.tick_params(axis="y", length=0)
    panels[-1, 0].set_xlabel(f"{figure_name(board.mean, board.figure)}, 95 % intervals where known")
    return figure


def heading(group: ComparableReports) -> str:
    """Return which patches the figures of a group are about."""
    if not group.same_patches:
        return "Different patches, ranked together"
    report = group.entries[0].report
    filters = "".join(f", {key}: {value}" for key, value in report.filters.items())
    patches = f"{report.num_patches:,} {'patch' if report.num_patches == 1 else 'patches'}"
    return f"{patches} of the {report.split} split{filters} (fingerprint {report.fingerprint[:8]})"


def shown_bands(entry: LeaderboardRow) -> str:
    """Return the word of a band set; where it has none, a few bands by name, many by number."""
    names = entry.report.bands
    word = BandSet(names).word
    return f"{len(names)} bands" if "," in word and len(names) > 4 else word


def figure_name(mean: str, figure: str) -> str:
    """Return the name of a figure for people, for example ``macro average precision``."""
    name = METRICS[figure]
    return f"{mean} {name if name.isupper() else name.lower()}"


def _short(text: str, most: int = 48) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
