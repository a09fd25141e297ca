"""What stands on a model card: every value from the run, its report, or the model."""

from dataclasses import asdict
from importlib.resources import files
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from reben.learn.report import Report
from reben.learn.run import Run
from reben.model.classifier import Classifier
from reben.publish.example import SEVERAL, Example
from reben.publish.markdown import DECIMALS, patches, render, thousands
from reben.publish.recipe import differences, recipe
from reben.spec.bands import PIXEL_METRES, BandSet, Sensor, sensor
from reben.spec.patches import PATCH_METRES

OFFICIAL_TRAIN_PATCHES = 237_871
"""Patches in the official train split. Source: metadata.parquet of Zenodo record 10891137."""
OFFICIAL_TEST_PATCHES = 119_825
"""Patches in the official test split. Source: as above."""
DATASET = ("bigearthnet-v2.0", "BigEarthNet v2.0")
"""The data set's name for machines, and for people."""
MADE_UP = ("made-up", "made-up patches in the layout of BigEarthNet v2.0")
"""What takes its place where the patches of training or test are no measurements."""

METRICS = {
    "average_precision": "Average precision",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "accuracy": "Accuracy",
    "auroc": "AUROC",
}
"""The figures of a report, each with its name for people."""
_HEADLINE = ("average_precision", "f1", "precision")
_UNITS: dict[Sensor, str] = {"Sentinel-1": "dB", "Sentinel-2": "digital number"}


def front_matter(
    model: Classifier,
    report: Report,
    example: Example,
    *,
    name: str,
    licence: str,
    dataset: tuple[str, str] = DATASET,
) -> str:
    """Return the YAML at the head of a card, which the Hub reads.

    The figures of the model-index are rounded like all figures on the card.
    """
    sensors = sorted({sensor(band).lower() for band in model.bands})
    data = ModelCardData(
        license=licence,
        library_name="reben",
        pipeline_tag="image-classification",
        tags=[
            model.config.backbone,
            dataset[1],
            "remote-sensing",
            "classification",
            "multilabel",
            *(["multispectral"] if "sentinel-2" in sensors else []),
            *sensors,
            "configilm",
        ],
        datasets=[dataset[0]],
        metrics=list(_HEADLINE),
        model_name=name,
        eval_results=_eval_results(report, dataset),
        widget=[
            {
                "src": "example.png",
                "example_title": f"{example.patch_id} ({example.split})",
                "output": [
                    {"label": bar.label, "score": round(bar.score, DECIMALS)}
                    for bar in example.top(5)
                ],
            }
        ],
    )
    return data.to_yaml()


def warning(num_train: int, report: Report, dataset: tuple[str, str] = DATASET) -> tuple[str, ...]:
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
    trained_on_few = 2 * num_train < OFFICIAL_TRAIN_PATCHES
    measured_on_few = 2 * report.num_patches < OFFICIAL_TEST_PATCHES
    sentences = []
    if trained_on_few:
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


def body(  # noqa: PLR0913 - all after the fourth are named
    run: Run,
    report: Report,
    model: Classifier,
    example: Example,
    *,
    name: str,
    caption: str,
    licence: str,
    seed: int,
    dataset: tuple[str, str] = DATASET,
) -> str:
    """Return the text of a card, in Markdown.

    Args:
        run: Where the model is from.
        report: What it reached.
        model: The model itself.
        example: The patch that the card shows.
        name: The model's name.
        caption: How the colours of the picture were made.
        licence: Licence of the weights.
        seed: What the example was chosen by.
        dataset: The data set's name for machines, and for people.
    """
    template = files("reben.publish") / "templates" / "card.md.jinja"
    missions = {sensor(band) for band in model.bands}
    values = {
        "name": name,
        "licence": licence,
        "config": asdict(run.config),
        "run": dict(run.summary),
        "report": report,
        "warning": warning(run.summary["num_train"], report, dataset),
        "dataset": dataset[1],
        "official": dataset == DATASET,
        "official_train": OFFICIAL_TRAIN_PATCHES,
        "backbone": model.config.backbone,
        "num_parameters": sum(weight.numel() for weight in model.parameters()),
        "bands_in_words": in_words(model.bands),
        "channels": channels(model),
        "sensors": missions,
        "upsampling": model.config.upsampling,
        "image_size": model.config.image_size,
        "statistics_source": model.config.statistics.source,
        "labels": model.labels,
        "patch_metres": PATCH_METRES,
        "recipe": recipe(run),
        "differences": differences(run),
        "metrics": METRICS,
        "example": example,
        "caption": caption,
        "seed": seed,
        "several": SEVERAL,
        "folders": [example.names[mission] for mission in sorted(missions, reverse=True)],
    }
    return render(template.read_text(encoding="utf-8"), values)


def channels(model: Classifier) -> list[dict[str, Any]]:
    """Return the rows of the table of channels, in channel order."""
    statistics = model.config.statistics
    return [
        {
            "position": position,
            "band": band,
            "sensor": sensor(band),
            "pixel_metres": PIXEL_METRES[band],
            "unit": _UNITS[sensor(band)],
            "mean": statistics.mean[band],
            "std": statistics.std[band],
        }
        for position, band in enumerate(model.bands)
    ]


def _eval_results(report: Report, dataset: tuple[str, str]) -> list[EvalResult]:
    """Return the headline figures as the Hub's model-index has them."""
    return [
        EvalResult(
            task_type="image-classification",
            task_name="Multi-label classification",
            dataset_type=dataset[0],
            dataset_name=dataset[1],
            dataset_split=report.split,
            metric_type=metric,
            metric_name=f"{METRICS[metric]} ({means})",
            metric_value=round(getattr(figures, metric), DECIMALS),
            metric_args={"average": means, "threshold": report.threshold},
        )
        for metric in _HEADLINE
        for means, figures in (("macro", report.macro), ("micro", report.micro))
    ]
