"""The front matter of a card, built with huggingface_hub's own classes, and the Hub's licences."""

import difflib
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from reben.errors import ConfigError
from reben.publish.cards.example import PICTURE_FILE
from reben.publish.cards.results import HEADLINE, METRICS
from reben.publish.markdown import DECIMALS

_WIDGET_LABELS = 5  # those with the highest scores


def front_matter(values: Mapping[str, Any]) -> str:
    """Return the front matter of a card as YAML, its figures rounded like those on the card."""
    sensors = [name.lower() for name in values["sensors"]]
    optional = {"base_model": values["base_model"], "thumbnail": values["branding"]["thumbnail"]}
    tags = [
        values["backbone"],
        *([values["trained_on"]] if values["trained_on"] else []),
        "remote-sensing",
        "classification",
        "multilabel",
        *(["multispectral"] if "sentinel-2" in sensors else []),
        *sensors,
        "configilm",
    ]
    author = values.get("author", {"head": {}, "tags": []})  # cards of 0.1.0 have no such entry
    fields = {
        "library_name": "reben",
        "pipeline_tag": "image-classification",
        "tags": tags,
        "datasets": values["datasets"] or None,
        "metrics": list(HEADLINE),
        "widget": [_widget(values["example"])],
        **{name: value for name, value in optional.items() if value is not None},
        **author["head"],
    }
    fields["tags"] = list(dict.fromkeys([*fields["tags"], *author["tags"]]))
    data = ModelCardData(
        license=values["licence"],
        model_name=values["name"],
        eval_results=_eval_results(values),
        **fields,
    )
    return data.to_yaml()


def _widget(example: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "src": PICTURE_FILE,
        "example_title": f"{example['patch_id']} ({example['split']})",
        "output": [
            {"label": bar["label"], "score": round(bar["score"], DECIMALS)}
            for bar in example["bars"][:_WIDGET_LABELS]
        ],
    }


def _eval_results(values: Mapping[str, Any]) -> list[EvalResult]:
    report, data = values["report"], values["measured_data"]
    return [
        EvalResult(
            task_type="image-classification",
            task_name="Multi-label classification",
            dataset_type=data["type"],
            dataset_name=data["name"],
            dataset_split=report["split"],
            dataset_args=data["args"],
            metric_type=metric,
            metric_name=f"{METRICS[metric]} ({means})",
            metric_value=round(report[means][metric], DECIMALS),
            metric_args={"average": means, "threshold": report["threshold"]},
        )
        for metric in HEADLINE
        for means in ("macro", "micro")
    ]


_NAMES = """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
    bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause
    bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
    cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
    cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0
    epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl
    gpl gpl-2.0 gpl-3.0 h-research intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2
    llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1
    openmdw-1.0 openrail openrail++ osl-3.0 other pddl postgresql unknown unlicense
    wtfpl zlib
"""
LICENCES = frozenset(_NAMES.split())
"""The identifiers that the field ``license`` of a card may have.

Source: documentation of the Hub, "Licenses", and the licences that its search of models offers.
"""


class _Default(str):
    """A default that can be told from an equal value that a caller passes."""

    __slots__ = ()


DEFAULT_LICENCE = _Default("mit")


def one_licence(licence: str | None, license: str | None) -> str:
    """Return the licence that was given in British or in American spelling."""
    if license is not None and not isinstance(licence, _Default | None):
        raise ConfigError(
            f"licence {licence!r} and license {license!r} are two spellings of one setting. Pass "
            "only one of them."
        )
    found = licence if license is None else license
    if found is None:
        raise ConfigError(
            "The licence of the weights is missing. Pass it, for example licence='mit'."
        )
    return found


def is_default(licence: str) -> bool:
    """Tell whether nobody chose a licence."""
    return isinstance(licence, _Default)


def require_licence(name: str) -> str:
    """Return ``name`` if the Hub knows a licence of that identifier.

    Example:
        >>> require_licence("mit")
        'mit'
        >>> require_licence("apache2")
        Traceback (most recent call last):
        reben.errors.ConfigError: The Hub knows no licence 'apache2'. Did you mean apache-2.0?...
    """
    if name in LICENCES:
        return name
    similar = difflib.get_close_matches(name.lower(), LICENCES, n=3)
    hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
    raise ConfigError(
        f"The Hub knows no licence {name!r}.{hint} Use one of its identifiers, such as mit, "
        "apache-2.0 or cc-by-4.0, or 'other'."
    )
