"""The head of a card: YAML that the Hub reads, made with huggingface_hub's own classes."""

from huggingface_hub import EvalResult, ModelCardData

from reben.learn.report import Report
from reben.publish.facts import Facts
from reben.publish.markdown import DECIMALS
from reben.publish.recipe import base_model
from reben.publish.results import HEADLINE, METRICS
from reben.spec.bands import sensor

WIDGET_LABELS = 5
"""How many labels the widget shows: those with the highest scores."""


def front_matter(facts: Facts) -> str:
    """Return the YAML at the head of a card, without the lines of dashes.

    The figures of the model-index are rounded like all figures on the card.
    """
    model, example = facts.source.model, facts.example
    sensors = sorted({sensor(band).lower() for band in model.bands})
    run = facts.source.run
    optional = {
        "base_model": None if run is None else base_model(run.config),
        "thumbnail": facts.branding.thumbnail,
    }
    data = ModelCardData(
        license=facts.licence,
        library_name="reben",
        pipeline_tag="image-classification",
        tags=[
            model.config.backbone,
            facts.dataset[1],
            "remote-sensing",
            "classification",
            "multilabel",
            *(["multispectral"] if "sentinel-2" in sensors else []),
            *sensors,
            "configilm",
        ],
        datasets=[facts.dataset[0]],
        metrics=list(HEADLINE),
        model_name=facts.name,
        eval_results=eval_results(facts.report, facts.dataset),
        widget=[
            {
                "src": "example.png",
                "example_title": f"{example.patch_id} ({example.split})",
                "output": [
                    {"label": bar.label, "score": round(bar.score, DECIMALS)}
                    for bar in example.top(WIDGET_LABELS)
                ],
            }
        ],
        **{name: value for name, value in optional.items() if value is not None},  # type: ignore[arg-type]
    )
    return data.to_yaml()


def eval_results(report: Report, dataset: tuple[str, str]) -> list[EvalResult]:
    """Return the headline figures of a report as the Hub's model-index has them.

    Args:
        report: The report.
        dataset: The data set's name for machines, and for people.
    """
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
        for metric in HEADLINE
        for means, figures in (("macro", report.macro), ("micro", report.micro))
    ]
