"""A report as a folder to look at: page, pictures, figures as JSON, predictions as parquet.

::

    report.json           the report, as Report.load reads it
    report.html           the same as a page that needs no other file and no network
    predictions.parquet   scores and labels, from which every figure can be computed again
    figures/              the pictures, as PNG
"""

import io
import re
from calendar import month_name
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.learn.predictions import Predictions
from reben.learn.report import REPORT_FILE, Report
from reben.publish.cards.results import METRICS
from reben.support.atomic import atomic_file, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_FILE = "report.html"
PREDICTIONS_FILE = "predictions.parquet"
FIGURES_FOLDER = "figures"
_DOTS_PER_INCH = 160
_KINDS = (
    ("country", "Countries", "country"),
    ("month", "Months", "month of acquisition"),
    ("num_labels", "Number of labels", "labels of a patch"),
)


def write_report(
    report: Report,
    out: str | Path,
    *,
    predictions: Predictions | None = None,
    figures: bool = True,
) -> Path:
    """Write the folder of a report and return it; files that stood there are replaced.

    Args:
        report: What to write.
        out: The folder.
        predictions: What the report was computed from, to be kept beside it.
        figures: Whether to draw pictures; without them matplotlib is not needed.

    Raises:
        OutputError: If the folder cannot be written.
        MissingExtraError: If there shall be pictures and matplotlib is not installed.
    """
    from reben.publish.plots import draw_all

    folder = Path(out)
    pictures = draw_all(report) if figures else {}  # before anything is written
    report.save(folder / REPORT_FILE)
    if predictions is not None:
        predictions.save(folder / PREDICTIONS_FILE)
    save_pictures(pictures, folder / FIGURES_FOLDER)
    write_text(folder / PAGE_FILE, render_page(report, pictures))
    return folder


def save_pictures(pictures: "Mapping[str, Figure]", folder: Path) -> None:
    """Write pictures into a folder as PNG, each under its name.

    Raises:
        OutputError: If the folder cannot be written.
    """
    for name, picture in pictures.items():
        with atomic_file(folder / f"{name}.png") as file:
            picture.savefig(file, format="png", dpi=_DOTS_PER_INCH, facecolor="white")


def render_page(report: Report, pictures: "Mapping[str, Figure]") -> str:
    """Return a report as one page of HTML, with the pictures inside.

    Args:
        report: What to show.
        pictures: Name -> picture, as `draw_all` gives them; may be empty.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    drawn = {name: Markup(_to_svg(picture)) for name, picture in pictures.items()}  # noqa: S704
    unit = next((by for by, found in report.intervals.items() if found.macro), None)
    own = report.intervals.get(unit or "")

    def interval(means: str, figure: str) -> str:
        found = None if own is None else getattr(own, means).get(figure)
        return "" if found is None else f"{found.low:.4f} to {found.high:.4f}"

    def label_interval(label: str) -> str:
        found = None if own is None else own.average_precision.get(label)
        return "" if found is None else f"{found.low:.4f} to {found.high:.4f}"

    def picture(name: str) -> Markup:
        if name not in drawn:
            return Markup()
        return Markup('<figure class="wide {}">{}</figure>').format(name, drawn[name])

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=_number, thousands=lambda value: f"{value:,}", within_a_sentence=_within_a_sentence
    )
    template = files("reben.publish") / "templates" / "report.html.jinja"
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        report=report,
        names=METRICS,
        kinds=_KINDS,
        unit=unit,
        cautions=_cautions(report),
        interval=interval,
        label_interval=label_interval,
        group_name=_group_name,
        picture=picture,
        pictures=drawn,
    )


def _cautions(report: Report) -> list[str]:
    """Return why intervals are missing or not to be trusted."""
    sentences = []
    for by, found in report.intervals.items():
        if found.reason is not None:
            sentences.append(f"There are no intervals by {by}: {found.reason}")
        if found.caution is not None:
            sentences.append(found.caution)
    return sentences


def _group_name(kind: str, name: str) -> str:
    return month_name[int(name)] if kind == "month" else name


def _within_a_sentence(name: str) -> str:
    return name if name[1:2].isupper() or name[1:2].isdigit() else name[0].lower() + name[1:]


def _number(value: Any) -> str:  # noqa: ANN401 - a figure, None, or what a report lacks
    return f"{value:.4f}" if isinstance(value, float | int) else ""


def _to_svg(picture: "Figure") -> str:
    """Return a picture as SVG whose ink and lines take the colours of the page around it."""
    from reben.publish.plots import FAINT, INK, TRACK

    buffer = io.StringIO()
    picture.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The page scales it, so its own size would only be in the way.
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    for colour, variable in ((INK, "--ink"), (FAINT, "--faint"), (TRACK, "--track")):
        text = text.replace(colour, f"var({variable})")
    return text
