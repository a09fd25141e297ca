"""Figures of a report, drawn with matplotlib: bars, curves, dots, matrices.

All of them are ink on a transparent ground, so that a page can show them on white or on black.
Labels that no patch has are named in each of them.
"""

import textwrap
from calendar import month_name
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from reben.errors import MissingExtraError
from reben.learn.metrics.breakdown import CoOccurrence, Slice
from reben.learn.metrics.curves import NUM_BINS, Reliability
from reben.learn.report import Report
from reben.publish.markdown import patches, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

INK, FAINT, TRACK = "#1f2933", "#7b8794", "#c5ced8"
MAIN, OTHER = "#0b8a5a", "#d9822b"
_STYLE = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.color": TRACK,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "reben",
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a label is no formula
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of reben's figures while the block runs."""
    try:
        from matplotlib import rc_context
    except ImportError:
        raise MissingExtraError(
            "Figures are drawn with matplotlib, which is not installed. Run: pip install "
            "matplotlib, or leave them out: --no-figures"
        ) from None
    with rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def draw_all(report: Report, only: Collection[str] | None = None) -> "dict[str, Figure]":
    """Return name -> figure, for all sections that a report has, or for ``only`` these."""
    drawers: dict[str, Callable[[], Figure]] = {"average_precision": partial(draw_bars, report)}
    if report.curves:
        drawers["precision_recall"] = partial(draw_curves, report)
    if report.reliability is not None:
        drawers["reliability"] = partial(draw_reliability, report, report.reliability)
    if report.co_occurrence is not None:
        drawers["co_occurrence"] = partial(draw_co_occurrence, report, report.co_occurrence)
    for kind in ("country", "month", "num_labels"):
        slices = getattr(report.breakdowns, kind, None)
        if slices:
            drawers[kind] = partial(draw_slices, slices, kind)
    with figure_style():
        return {name: draw() for name, draw in drawers.items() if only is None or name in only}


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of this size in inches, which arranges its parts itself."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained", facecolor="none")


def draw_bars(report: Report) -> "Figure":
    """Return the average precision of each label, best first, with intervals and support."""
    per_class = report.per_class
    names = sorted(per_class, key=lambda name: (per_class[name].support > 0, _ap(report, name)))
    figure = new_figure(8, 1 + 0.3 * len(names))
    axes = figure.add_subplot()
    places = range(len(names))
    values = [_ap(report, name) for name in names]
    axes.barh(list(places), values, 0.62, color=MAIN)
    own = report.best_intervals
    intervals = own.average_precision if own else {}
    for place, name in zip(places, names, strict=True):
        interval = intervals.get(name)
        if interval is not None:
            axes.plot([interval.low, interval.high], [place, place], color=INK, linewidth=1.4)
        if not per_class[name].support:
            axes.text(0.012, place, "no patch has it", va="center", color=FAINT)
    mean = report.macro.average_precision
    axes.plot([mean, mean], [-0.6, len(names) - 0.5], color=OTHER, linewidth=1.2, linestyle="--")
    axes.text(mean, len(names) - 0.4, f"macro {mean:.3f}", color=OTHER, ha="center", va="bottom")
    dress_rows(axes, [_two_lines(name) for name in names], [_support(report, n) for n in names])
    _bounded(axes, (0, 1), (-0.6, len(names) + 0.4))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel(f"average precision{f', 95 % interval by {own.unit}' if own else ''}")
    return figure


def draw_curves(report: Report) -> "Figure":
    """Return precision against recall, one panel a label, in the order of the model."""
    columns = 5
    rows = -(-len(report.labels) // columns)
    figure = new_figure(10, 2.25 * rows + 0.3)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(report.labels):
            axes.set_visible(False)
            grid.flat[place - columns].tick_params(labelbottom=True)
            continue
        name = report.labels[place]
        curve = report.curves.get(name)
        figures = "" if curve is None else f"\nAP {_ap(report, name):.3f}"
        axes.set_title(_two_lines(name, 26) + figures, fontsize=8, loc="left")
        axes.grid()
        if curve is None:
            axes.text(0.5, 0.5, "no patch has it", ha="center", va="center", color=FAINT)
            continue
        share = report.per_class[name].support / report.num_patches
        axes.axhline(share, color=FAINT, linewidth=1, linestyle=":")
        # The steps that average precision sums up: a precision holds from the recall before.
        recall, precision = (0.0, *curve.recall), (curve.precision[0], *curve.precision)
        axes.step(recall, precision, where="pre", color=MAIN, linewidth=1.6)
        _bounded(axes, (-0.02, 1.02), (-0.02, 1.04))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    return figure


def draw_reliability(report: Report, reliability: Reliability) -> "Figure":
    """Return how often labels are right against their scores, and how often scores occur."""
    figure = new_figure(6.4, 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    lines = [("as trained", MAIN, reliability)]
    if report.calibrated is not None:
        warmth = report.calibrated.calibration.temperature
        lines.append((f"temperature {warmth:.2f}", OTHER, report.calibrated.reliability))
    for name, colour, measured in lines:
        points = [
            (score, share)
            for score, share in zip(measured.score, measured.share, strict=True)
            if share is not None
        ]
        label = f"{name}: expected error {measured.expected_error:.4f}"
        above.plot(*zip(*points, strict=True), "o-", color=colour, label=label, markersize=4)
        below.stairs(measured.count, np.linspace(0, 1, NUM_BINS + 1), color=colour, linewidth=1.4)
    above.legend(loc="upper left")
    above.set_ylabel("share that is right")
    below.set_ylabel("decisions")
    below.set_xlabel(f"score, {NUM_BINS} bins of equal width")
    below.set_yscale("log")
    below.yaxis.set_major_formatter("{x:,.0f}")
    below.yaxis.set_minor_formatter("")
    _bounded(above, (0, 1), (0, 1.02))
    for axes in (above, below):
        axes.grid()
    return figure


def draw_slices(slices: Mapping[str, Slice], kind: str) -> "Figure":
    """Return the average precision of slices: macro over the labels that occur, and micro."""
    names = sorted(slices, key=str if kind == "country" else int, reverse=True)
    figure = new_figure(8, 1.1 + 0.36 * len(names))
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        macro, micro = slices[name].macro_average_precision, slices[name].micro_average_precision
        if macro is None or micro is None:
            continue  # without labels there is nothing to find
        axes.plot([macro, micro], [place, place], color=TRACK, linewidth=3, zorder=1)
        # Marks at 0 and 1 are drawn whole.
        axes.plot(macro, place, "o", color=MAIN, markersize=7, clip_on=False)
        axes.plot(micro, place, "D", color=OTHER, markersize=6, clip_on=False)
    rows = [_slice_name(name, kind) for name in names]
    dress_rows(axes, rows, [_in_numbers(slices[name]) for name in names], grid="both")
    axes.plot([], [], "o", color=MAIN, label="macro, over the labels that occur")
    axes.plot([], [], "D", color=OTHER, label="micro")
    figure.legend(loc="outside upper left", ncols=2)
    _bounded(axes, (0, 1), (-0.6, len(names) - 0.4))
    axes.set_xlabel("average precision")
    return figure


def draw_co_occurrence(report: Report, counts: CoOccurrence) -> "Figure":
    """Return which labels go together: in truth on the left, in prediction on the right.

    Of the patches with the label of a row, a cell has the percentage that also has the label of
    the column. Rows of labels that no patch has are empty.
    """
    number = len(report.labels)
    side = 0.27 * number + 0.6
    figure = new_figure(2 * side + 3.4, side + 0.9)
    truth, prediction = figure.subplots(1, 2, sharey=True)
    for axes, matrix, title in (
        (truth, counts.truth, "labels"),
        (prediction, counts.prediction, f"predictions, scores above {report.threshold:g}"),
    ):
        _draw_matrix(axes, np.array(matrix, np.float64))
        axes.set_title(title, pad=8)
        axes.set_xticks(range(number), [str(place + 1) for place in range(number)])
        axes.tick_params(length=0, labeltop=False)
        axes.spines[:].set_visible(False)
    names = [
        f"{shorten(name, 34)}{' (absent)' if name in report.absent else ''}  {place + 1}"
        for place, name in enumerate(report.labels)
    ]
    truth.set_yticks(range(number), names)
    figure.supxlabel(
        "of the patches with the label of the row, percent that also have that of the column",
        fontsize=9,
    )
    return figure


def _draw_matrix(axes: "Axes", counts: "NDArray[np.float64]") -> None:
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("greens", ("#ffffff", "#7cc4a3", "#0b6b48"))
    own = np.diag(counts)[:, None]
    share = np.where(own > 0, counts / np.maximum(own, 1), np.nan)
    axes.imshow(share, cmap=ramp.with_extremes(bad=TRACK), vmin=0, vmax=1, aspect="equal")
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.005:
            ink = "#ffffff" if value > 0.55 else "#12312a"
            text = f"{100 * value:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=6.2)


def dress_rows(
    axes: "Axes", left: Sequence[str], right: Sequence[str] = (), *, grid: str = "x"
) -> None:
    """Name the rows of a figure, from the bottom up, and leave only what helps to read it."""
    axes.set_yticks(range(len(left)), list(left))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_axisbelow(True)  # else the grid runs over the marks
    axes.grid(axis=grid)  # type: ignore[arg-type]
    if right:
        other = axes.secondary_yaxis("right")
        other.set_yticks(range(len(right)), list(right))
        other.tick_params(length=0, pad=9)  # clear of a mark at 1
        other.spines["right"].set_visible(False)


def shorten(text: str, most: int) -> str:
    """Return ``text`` on one line, with at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1].rstrip(' ,')}…"


def _ap(report: Report, name: str) -> float:
    return report.per_class[name].average_precision


def _support(report: Report, name: str) -> str:
    support = report.per_class[name].support
    return f"{_ap(report, name):.3f}  of {patches(support)}" if support else "absent"


def _in_numbers(part: Slice) -> str:
    absent = len(part.absent)
    words = f", {absent} {plural(absent, 'label')} absent" if absent else ""
    return patches(part.num_patches) + words


def _slice_name(name: str, kind: str) -> str:
    if kind == "month":
        return month_name[int(name)]
    return name if kind == "country" else f"{name} label{'' if name == '1' else 's'}"


def _two_lines(name: str, width: int = 40) -> str:
    return "\n".join(textwrap.wrap(name, width, max_lines=2, placeholder=" ..."))


def _bounded(axes: "Axes", x: Sequence[float], y: Sequence[float]) -> None:
    axes.set_xlim(*x)
    axes.set_ylim(*y)
