"""Whether a card says of its model what the model is: bands, statistics, labels, thresholds."""

from collections.abc import Iterator
from typing import Any

from reben.learn.report import Report
from reben.model.classifier import Classifier
from reben.publish.cards.content import channels
from reben.publish.checks.numbers import agrees
from reben.publish.checks.page import CARD, HEAD
from reben.publish.checks.parse import CardText, Problem, Table
from reben.publish.markdown import number
from reben.spec.bands import sensor

_CONFIG = "config.json"


def check_report_of_model(model: Classifier, report: Report) -> Iterator[Problem]:
    """Yield in what a report is about another model."""
    config = model.config
    for what, ours, theirs in (
        ("backbone", config.backbone, report.backbone),
        ("bands", ", ".join(model.bands), ", ".join(report.bands)),
        ("labels", "; ".join(model.labels), "; ".join(report.labels)),
    ):
        if ours != theirs:
            yield Problem(
                "report.json", f"it is about a model with {what} {theirs}; this one has {ours}"
            )
    if report.calibrated is not None:
        tuned = report.calibrated.calibration
        if (tuned.temperature, tuned.thresholds) != (config.temperature, config.thresholds):
            yield Problem(_CONFIG, "temperature or thresholds are not those of the report")


def check_model_text(card: CardText, model: Classifier) -> Iterator[Problem]:
    """Yield what the card says otherwise than the model: tags, channels, labels, thresholds."""
    tags = card.head.get("tags")
    if isinstance(tags, list):
        yield from _check_tags(tags, model)
    yield from _check_channels(card.find_table("Band", "Mean", "Standard deviation"), model)
    if not card.numbered:
        yield Problem(f"{CARD}, labels", "there is no list of them, counted from 0, to compare")
    elif card.numbered != model.labels:
        yield Problem(f"{CARD}, labels", "they are not those of config.json, or in another order")
    table = card.find_table("Label", "Threshold")
    right = {
        label: number(limit)
        for label, limit in zip(model.labels, model.config.thresholds, strict=True)
    }
    if table is not None:
        shown = dict(zip(table.column("Label"), table.column("Threshold"), strict=True))
        if shown != right:
            yield Problem(f"{CARD}, table of thresholds", "they are not those of config.json")


def _check_tags(tags: list[Any], model: Classifier) -> Iterator[Problem]:
    used = {sensor(band).lower() for band in model.bands}
    for tag in (model.config.backbone, *sorted(used)):
        if tag not in tags:
            yield Problem(HEAD, f"there is no tag {tag}")
    for tag in sorted({"sentinel-1", "sentinel-2"} - used):
        if tag in tags:
            yield Problem(HEAD, f"there is a tag {tag}, and the model takes no band of it")


def _check_channels(table: Table | None, model: Classifier) -> Iterator[Problem]:
    where = f"{CARD}, table of channels"
    if table is None:
        yield Problem(where, "there is none with Band, Mean and Standard deviation to compare")
        return
    bands = tuple(table.column("Band"))
    if bands != model.bands.names:
        yield Problem(
            where, f"the bands are {', '.join(bands)}; config.json has {', '.join(model.bands)}"
        )
    rows = {row["Band"]: row for row in table.dicts()}
    for channel in channels(model):
        if channel["band"] in rows:
            yield from _check_channel(where, rows[channel["band"]], channel)


def _check_channel(where: str, row: dict[str, str], channel: dict[str, Any]) -> Iterator[Problem]:
    for column, right in (
        ("Position", channel["position"]),
        ("Mean", channel["mean"]),
        ("Standard deviation", channel["std"]),
        ("Pixel (m)", channel["pixel_metres"]),
    ):
        if column in row and not agrees(row[column], right):
            yield Problem(
                where, f"{column} of {channel['band']} is {row[column]}; config.json: {right:g}"
            )
    for column in ("Sensor", "Unit"):
        if column in row and row[column] != channel[column.lower()]:
            yield Problem(where, f"{column} of {channel['band']} is not {channel[column.lower()]}")
