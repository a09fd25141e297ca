"""The picture of a report that shows which labels occur together."""

from typing import TYPE_CHECKING

import numpy as np

from reben.learn.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def draw_co_occurrence(report: Report) -> "Figure":
    """Return which labels go with which: in truth at the left, in prediction at the right.

    Of the patches with the label of a row, a cell has the percentage that also has the label of
    the column. Rows of labels that no patch has are empty.

    Args:
        report: A report with `Report.co_occurrence`.
    """
    from matplotlib.figure import Figure

    counts = report.co_occurrence
    number = len(report.labels)
    side = 0.27 * number + 0.6
    figure = Figure((2 * side + 3.4, side + 0.9), layout="constrained", facecolor="none")
    if counts is None:
        return figure
    truth, prediction = figure.subplots(1, 2, sharey=True)
    for axes, matrix, title in (
        (truth, counts.truth, "labels"),
        (prediction, counts.prediction, f"predictions, scores above {report.threshold:g}"),
    ):
        _draw(axes, np.array(matrix, np.float64))
        axes.set_title(title, pad=8)
        axes.set_xticks(range(number), [str(place + 1) for place in range(number)])
        axes.tick_params(length=0, labeltop=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    names = [
        f"{_short(name)}{' (absent)' if name in report.absent else ''}  {place + 1}"
        for place, name in enumerate(report.labels)
    ]
    truth.set_yticks(range(number), names)
    figure.supxlabel(
        "of the patches with the label of the row, percent that also have that of the column",
        fontsize=9,
    )
    return figure


def _draw(axes: "Axes", counts: "NDArray[np.float64]") -> None:
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("greens", ("#ffffff", "#7cc4a3", "#0b6b48"))
    greens = ramp.with_extremes(bad="#c5ced8")
    own = np.diag(counts)[:, None]
    share = np.where(own > 0, counts / np.maximum(own, 1), np.nan)
    axes.imshow(share, cmap=greens, vmin=0, vmax=1, aspect="equal")
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.005:
            ink = "#ffffff" if value > 0.55 else "#12312a"
            text = f"{100 * value:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=6.2)


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:31].rstrip(' ,')}..."
