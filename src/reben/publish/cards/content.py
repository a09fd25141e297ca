"""The values that fill the template of a card, as plain JSON data."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import metadata, version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from reben.errors import CardError
from reben.learn.report import Report
from reben.publish.branding import Branding, is_https
from reben.publish.cards.data_words import CardPatches, data_values
from reben.publish.cards.example import SEVERAL, Example, example_values
from reben.publish.cards.facts import CardSubject
from reben.publish.cards.recipe import training_values, unrecorded_values
from reben.publish.cards.results import result_values
from reben.publish.cards.user_template import CardTemplate
from reben.publish.markdown import Markdown, escape
from reben.spec.bands import PIXEL_METRES, BandSet, Sensor, native_size, sensor
from reben.spec.labels import LABELS
from reben.spec.patches import PATCH_METRES
from reben.spec.statistics import SOURCE
from reben.support.json_files import check_values
from reben.support.plain_json import to_plain

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

PAPER_URL = "https://arxiv.org/abs/2407.03653"
_UNITS: dict[Sensor, str] = {"Sentinel-1": "dB", "Sentinel-2": "digital number"}


def card_values(
    subject: CardSubject,
    report: Report,
    example: Example,
    patches: CardPatches,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return all values that the template of a card can use; ``about`` is set by `write_card`."""
    model, run = subject.model, subject.run
    values = {
        "reben_version": version("reben"),
        "source_url": source_url(),
        **about,
        "several": SEVERAL,
        **model_values(model),
        **(
            unrecorded_values(model.config, about["stated"])
            if run is None
            else training_values(run, patches)
        ),
        **result_values(model.config, report),
        **example_values(example, model.bands),
        **data_values(patches, report, missions(model.bands)),
    }
    return as_json(values)


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they are after writing them as JSON and reading them back."""
    plain: dict[str, Any] = json.loads(json.dumps(to_plain(values), allow_nan=False))
    return plain


def fill(values: Mapping[str, Any], template: CardTemplate) -> str:
    """Return the text of a card, in Markdown."""
    branding = check_values(
        values["branding"], Branding, "branding in card.json", CardError, "Write the card again."
    )
    shown = {
        "affiliations": branding.row(),
        "gallery": branding.gallery(set(values["sensors"]), official=values["official"]),
        "install": Markdown(branding.install.strip()),
        "own_citations": citations(values["own_citations"]),
        "links": links(values),
        "bibtex_reben": _bibtex("clasen2024refinedbigearthnet"),
        "bibtex_configilm": _bibtex("hackel2024configilm"),
    }
    url = values["source_url"]
    if url is not None and is_https(url):
        shown["source_url"] = Markdown(url)  # for a link, which an escaped address is not
    return template.fill({**values, **shown})


def _bibtex(name: str) -> Markdown:
    file = files("reben.publish") / "templates" / f"{name}.bib"
    return Markdown(file.read_text(encoding="utf-8").strip())


def citations(texts: Sequence[str]) -> Markdown:
    """Return how own data are to be cited: BibTeX in a block, anything else as text."""
    shown = (
        f"```bibtex\n{text.strip().replace('```', '')}\n```"
        if text.lstrip().startswith("@")
        else escape(text)
        for text in texts
        if text.strip()
    )
    return Markdown("\n\n".join(shown))


def links(values: Mapping[str, Any]) -> Markdown:
    """Return links to data, paper and code; an address that is none of a page is left out."""
    paper = [("Paper of BigEarthNet v2.0", PAPER_URL)] if values["cites_official"] else []
    code = [("Code of reben", values["source_url"])] if values["source_url"] else []
    data = [(f"Data: {link['name']}", link["url"]) for link in values["data_links"]]
    shown = [f"[{escape(name)}]({url})" for name, url in (*data, *paper, *code) if is_https(url)]
    return Markdown(", ".join(shown))


def source_url() -> str | None:
    """Return where the code of reben is, from the metadata of its package; None if not stated."""
    links = (text.split(", ", 1) for text in metadata("reben").get_all("Project-URL") or ())
    return next((url for name, url in links if name == "Source"), None)


def model_values(model: "Classifier") -> dict[str, Any]:
    """Return the template values about a model: its size, channels and labels."""
    config = model.config
    return {
        "backbone": config.backbone,
        "num_parameters": sum(weight.numel() for weight in model.parameters()),
        "bands_in_words": in_words(model.bands),
        "channels": _channels(model),
        "sensors": missions(model.bands),
        "upsampling": config.upsampling,
        "image_size": config.image_size,
        "statistics_source": config.statistics.source,
        "published_statistics": config.statistics.source == SOURCE,
        "labels": model.labels,
        "land_cover": set(model.labels).issubset(LABELS),
        "temperature": config.temperature,
        "alphabetical": model.labels == LABELS,
        "patch_metres": PATCH_METRES,
        "image_metres": round(PATCH_METRES / config.image_size, 2),
    }


def missions(bands: BandSet) -> list[str]:
    """Return the missions whose bands a model takes."""
    return sorted({sensor(band) for band in bands})


def in_words(bands: BandSet) -> str:
    """Return the bands of a model in words; more than four of a sensor are counted.

    Example:
        >>> in_words(BandSet.parse("s1")), in_words(BandSet.parse("all"))
        ('Sentinel-1 (VV, VH)', 'Sentinel-1 (VV, VH) and Sentinel-2 (10 bands)')
    """
    parts = []
    for mission in _UNITS:
        names = bands.of_sensor(mission)
        if names:
            listed = ", ".join(names) if len(names) <= 4 else f"{len(names)} bands"
            parts.append(f"{mission} ({listed})")
    return " and ".join(parts)


def _channels(model: "Classifier") -> list[dict[str, Any]]:
    statistics = model.config.statistics
    return [
        {
            "position": position,
            "band": band,
            "sensor": sensor(band),
            "pixel_metres": PIXEL_METRES[band],
            "size": f"{native_size(band)} x {native_size(band)}",
            "unit": _UNITS[sensor(band)],
            "mean": statistics.mean[band],
            "std": statistics.std[band],
        }
        for position, band in enumerate(model.bands)
    ]
