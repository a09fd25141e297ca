"""What stands on a model card: every value from the run, its report, or the model."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from reben.learn.report import Report
from reben.model.classifier import Classifier
from reben.publish.cards.example import SEVERAL
from reben.publish.cards.facts import DATASET, MADE_UP, Facts
from reben.publish.cards.recipe import differences, environment, recipe, recipe_of_config, unknown
from reben.publish.cards.results import (
    calibration_sentences,
    commonest_and_rarest,
    has_own_thresholds,
    how_sure,
    label_rows,
    overall_rows,
    threshold_rows,
    tuned_rows,
    uncertainty,
)
from reben.publish.markdown import patches, render, thousands
from reben.spec.bands import PIXEL_METRES, BandSet, Sensor, native_size, sensor
from reben.spec.labels import LABELS
from reben.spec.patches import PATCH_METRES

OFFICIAL_TRAIN_PATCHES = 237_871
"""Patches in the official train split. Source: metadata.parquet of Zenodo record 10891137."""
OFFICIAL_TEST_PATCHES = 119_825
"""Patches in the official test split. Source: as above."""
_UNITS: dict[Sensor, str] = {"Sentinel-1": "dB", "Sentinel-2": "digital number"}


def warning(
    num_train: int | None, report: Report, dataset: tuple[str, str] = DATASET
) -> tuple[str, ...]:
    """Return the sentences of the box on top of a card; none for a run in earnest.

    The rule: a run is a toy if it was trained on fewer than half of the patches of the official
    train split; its figures are a toy's if they are from fewer than half of those of the official
    test split. Patches that are made up are said to be so, however many they are.
    """
    if dataset == MADE_UP:
        return (
            f"This model was trained or measured on {MADE_UP[1]}, not on satellite images. It "
            "shows that the programs work and is of no other use.",
        )
    measured_on_few = 2 * report.num_patches < OFFICIAL_TEST_PATCHES
    sentences = []
    if num_train is not None and 2 * num_train < OFFICIAL_TRAIN_PATCHES:
        sentences.append(
            f"This is a toy run: it was trained on {patches(num_train)}, where the official "
            f"train split has {thousands(OFFICIAL_TRAIN_PATCHES)}. Do not rely on its scores."
        )
    if measured_on_few:
        sentences.append(
            f"The figures below were measured on {patches(report.num_patches)}, where the "
            f"official test split has {thousands(OFFICIAL_TEST_PATCHES)}. Do not compare them "
            "with published ones."
        )
    return tuple(sentences)


def in_words(bands: BandSet) -> str:
    """Return the bands of a model in words; more than four of a sensor are only counted.

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


def body(facts: Facts, template: str | None = None) -> str:
    """Return the text of a card, in Markdown.

    Args:
        facts: What stands on it.
        template: A Jinja template to be filled; by default reben's own.

    Raises:
        ConfigError: If the template is none, or names a value that there is not.
        RunError: If the record of the run is not complete.
    """
    if template is None:
        own = files("reben.publish") / "templates" / "card.md.jinja"
        template = own.read_text(encoding="utf-8")
    return render(template, values(facts))


def values(facts: Facts) -> dict[str, Any]:
    """Return every value that the template of a card can use, by name."""
    model, example = facts.source.model, facts.example
    missions = {sensor(band) for band in model.bands}
    official = facts.dataset == DATASET
    return {
        "reben_version": version("reben"),
        "name": facts.name,
        "model_id": facts.hub_id or facts.name,
        "hub_id": facts.hub_id,
        "origin": facts.origin,
        "licence": facts.licence,
        "affiliations": facts.branding.row(),
        "gallery": facts.branding.gallery(set(missions), official=official),
        "warning": warning(facts.num_train, facts.report, facts.dataset),
        "dataset": facts.dataset[1],
        "official": official,
        "official_train": OFFICIAL_TRAIN_PATCHES,
        "figures": facts.figures,
        **_model_values(model),
        **_training_values(facts),
        **_result_values(facts),
        "example": example,
        "caption": facts.caption,
        "seed": facts.seed,
        "several": SEVERAL,
        "folders": [example.names[mission] for mission in sorted(missions, reverse=True)],
    }


def channels(model: Classifier) -> list[dict[str, Any]]:
    """Return the rows of the table of channels, in channel order."""
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


def _model_values(model: Classifier) -> dict[str, Any]:
    return {
        "backbone": model.config.backbone,
        "num_parameters": sum(weight.numel() for weight in model.parameters()),
        "bands_in_words": in_words(model.bands),
        "channels": channels(model),
        "sensors": {sensor(band) for band in model.bands},
        "upsampling": model.config.upsampling,
        "image_size": model.config.image_size,
        "statistics_source": model.config.statistics.source,
        "labels": model.labels,
        "alphabetical": model.labels == LABELS,
        "patch_metres": PATCH_METRES,
    }


def _training_values(facts: Facts) -> Mapping[str, Any]:
    run = facts.source.run
    if run is None:
        config = facts.source.model.config
        return {
            "run": None,
            "config": None,
            "recipe": recipe_of_config(config, facts.stated),
            "unknown": unknown(facts.stated),
            "differences": [],
            "environment": [],
        }
    return {
        "run": dict(run.summary),
        "config": asdict(run.config),
        "recipe": recipe(run),
        "unknown": "",
        "differences": differences(run),
        "environment": environment(run),
    }


def _result_values(facts: Facts) -> Mapping[str, Any]:
    report, config = facts.report, facts.source.model.config
    tuned = None if report.calibrated is None else report.calibrated.metrics
    return {
        "report": report,
        "filters": "; ".join(f"{key}: {value}" for key, value in report.filters.items()),
        "uncertainty": uncertainty(report),
        "how_sure": how_sure(report),
        "overall": overall_rows(report),
        "per_class": label_rows(report),
        "tuned_on": config.tuned_on,
        "calibration": calibration_sentences(config, report),
        "own_thresholds": has_own_thresholds(config),
        "thresholds": threshold_rows(config, tuned),
        "tuned": None if tuned is None else tuned_rows(tuned),
        "extremes": commonest_and_rarest(report),
    }
