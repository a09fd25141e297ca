"""A report as a folder to look at: page, figures, numbers as JSON, predictions as parquet.

::

    report.json           the report, as Report.load reads it
    report.html           the same as a page that needs no other file and no network
    predictions.parquet   scores and labels, from which every figure can be computed again
    figures/              the figures of the page, as PNG
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
from reben.publish.cards.results import METRICS, interval_words
from reben.publish.markdown import DECIMALS, within_a_sentence
from reben.publish.plots import FAINT, INK, TRACK, draw_all, figure_style
from reben.support.atomic import atomic_file, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_FILE = "report.html"
PREDICTIONS_FILE = "predictions.parquet"
FIGURES_FOLDER = "figures"
UNDEFINED = "-"
"""What tables show for a figure that is undefined, such as those of a label without patches."""
DOTS_PER_INCH = 160
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
    """Write the folder of a report and return it; its files are replaced.

    Args:
        report: What to write.
        out: The folder.
        predictions: What the report was computed from, to keep beside it.
        figures: Whether to draw figures, with matplotlib.

    Raises:
        OutputError: If the folder cannot be written.
        MissingExtraError: If matplotlib is needed and not installed.
    """
    folder = Path(out)
    pictures = draw_all(report) if figures else {}  # before anything is written
    report.save(folder / REPORT_FILE)
    if predictions is not None:
        predictions.save(folder / PREDICTIONS_FILE)
    save_pictures(pictures, folder / FIGURES_FOLDER)
    write_text(folder / PAGE_FILE, render_page(report, pictures))
    return folder


def save_pictures(pictures: "Mapping[str, Figure]", folder: Path) -> None:
    """Write figures into a folder as PNG, each under its name."""
    for name, picture in pictures.items():
        with atomic_file(folder / f"{name}.png") as file, figure_style():
            picture.savefig(file, format="png", dpi=DOTS_PER_INCH, facecolor="white")


def render_page(report: Report, pictures: "Mapping[str, Figure]") -> str:
    """Return a report as one page of HTML, with the figures of `draw_all` inside."""
    from markupsafe import Markup

    drawn = {name: Markup(_to_svg(picture)) for name, picture in pictures.items()}  # noqa: S704
    own = report.best_intervals

    def picture(name: str) -> Markup:
        if name not in drawn:
            return Markup()
        return Markup('<figure class="wide {}">{}</figure>').format(name, drawn[name])

    return render_html(
        "report.html.jinja",
        report=report,
        names=METRICS,
        kinds=_KINDS,
        own=own,
        cautions=report.cautions,
        interval=lambda mean, figure: own and getattr(own, mean).get(figure),
        label_interval=lambda label: own and own.average_precision.get(label),
        slice_name=lambda kind, name: month_name[int(name)] if kind == "month" else name,
        picture=picture,
        pictures=drawn,
    )


def render_html(template: str, **values: object) -> str:
    """Return a page from a template of reben; all text in ``values`` is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=_number,
        signed=lambda value: f"{value:+.{DECIMALS}f}",
        range=lambda found: interval_words(found, " "),
        thousands=lambda value: f"{value:,}",
        within_a_sentence=within_a_sentence,
    )
    source = files("reben.publish") / "templates" / template
    return environment.from_string(source.read_text(encoding="utf-8")).render(values)


def _number(value: Any) -> str:  # noqa: ANN401 - a figure, None if undefined, or none of these
    if value is None:
        return UNDEFINED
    return f"{value:.{DECIMALS}f}" if isinstance(value, float | int) else ""


def _to_svg(picture: "Figure") -> str:
    """Return a figure as SVG whose ink and lines take the colours of the page around it."""
    buffer = io.StringIO()
    with figure_style():  # gives the parts of the file the same names each time
        picture.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The page scales it, so its own size would only be in the way.
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    for colour, variable in ((INK, "--ink"), (FAINT, "--faint"), (TRACK, "--track")):
        text = text.replace(colour, f"var({variable})")
    return text
