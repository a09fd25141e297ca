"""Results to take away: JSON, CSV, and a picture."""

import csv
import json
import re
import shutil
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import reben
from reben.app.demo.answers import Answer
from reben.app.demo.card import draw_card
from reben.app.demo.patches import ShownPatch
from reben.app.demo.pictures import draw_views, png_bytes

_KEPT = 60
_PREFIX = "result-"


def result_as_json(patch: ShownPatch, answer: Answer, model: Mapping[str, str]) -> str:
    """Return a result as JSON text.

    Args:
        patch: The patch.
        answer: What the model says of it.
        model: What is known of the model.
    """
    place = patch.place
    longitude, latitude = (None, None) if place is None else place.centre
    content: dict[str, Any] = {
        "patch": patch.title,
        "longitude": longitude,
        "latitude": latitude,
        "model": dict(model),
        "reben_version": reben.__version__,
        "switched_off": list(answer.switched_off),
        "true_labels": None if patch.true_labels is None else list(patch.true_labels),
        "above": [answer.labels[k] for k in answer.order if answer.is_above(k)],
        "scores": _rows(patch, answer),
        "warnings": list(answer.warnings),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def result_as_csv(patch: ShownPatch, answer: Answer) -> str:
    """Return a result as CSV text: one label a row, the highest score with every band first."""
    rows = _rows(patch, answer)
    file = StringIO(newline="")
    writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _rows(patch: ShownPatch, answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "label": answer.labels[k],
            "score": round(answer.scores[k], 6),
            "score_with_every_band": round(answer.full[k], 6),
            "threshold": answer.thresholds[k],
            "above": answer.is_above(k),
            "true": None if patch.true_labels is None else answer.labels[k] in patch.true_labels,
        }
        for k in answer.order
    ]


def write_results(
    root: Path, patch: ShownPatch, answer: Answer, model: Mapping[str, str]
) -> tuple[str, str, str]:
    """Write a result as JSON, CSV and PNG into a new folder in ``root``; return the three paths.

    Only the newest results are kept, so that a page that runs for long does not fill a disk.
    """
    old = sorted(root.glob(f"{_PREFIX}*"), key=lambda path: path.stat().st_mtime)
    for folder in old[:-_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
    folder = Path(mkdtemp(prefix=_PREFIX, dir=root))
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", patch.title)[:100].strip("_") or "patch"
    card = draw_card(
        draw_views(patch.bands, patch.title),
        answer,
        patch.true_labels,
        title=patch.title,
        model=model["name"],
    )
    contents = {
        "json": result_as_json(patch, answer, model).encode(),
        "csv": result_as_csv(patch, answer).encode(),
        "png": png_bytes(card),
    }
    paths = {ending: folder / f"reben-{stem}.{ending}" for ending in contents}
    for ending, content in contents.items():
        paths[ending].write_bytes(content)
    return str(paths["json"]), str(paths["csv"]), str(paths["png"])
