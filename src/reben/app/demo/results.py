"""Results to take away: JSON, CSV, and a picture of the patch beside its scores."""

import csv
import json
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from PIL import Image, ImageDraw

import reben
from reben.app.demo.answers import LabelScore, PatchResult
from reben.app.demo.locator import centre_of
from reben.app.demo.patches import ShownPatch
from reben.app.demo.pictures import PatchView, colours_of, draw_views, png_bytes
from reben.data.pictures import fit_font, load_font, wrap

_KEPT = 60
_PREFIX = "result-"
_WIDTH, _MARGIN, _ROW = 1600, 48, 38
_LARGE, _SMALL, _GAP = 540, 258, 24
_PAPER, _INK, _SOFT, _TRACK = "#ffffff", "#16202b", "#5b6876", "#e9eef2"
_ABOVE, _BELOW = "#0b6b45", "#9fb0c0"
_LABEL, _BAR = 480, 300


def write_results(
    root: Path, patch: ShownPatch, result: PatchResult, model: Mapping[str, str]
) -> tuple[str, str, str]:
    """Write a result as JSON, CSV and PNG into a new folder in ``root``; return the three paths.

    Only the newest results are kept, so a page that runs for a long time does not fill the disk.
    """
    old = sorted(root.glob(f"{_PREFIX}*"), key=lambda path: path.stat().st_mtime)
    for folder in old[:-_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
    folder = Path(mkdtemp(prefix=_PREFIX, dir=root))
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", patch.title)[:100].strip("_") or "patch"
    views = draw_views(patch.bands, patch.title)
    contents = {
        "json": result_as_json(patch, result, model).encode(),
        "csv": result_as_csv(patch, result).encode(),
        "png": png_bytes(_draw_result(views, result, patch, model["name"])),
    }
    paths = [folder / f"reben-{stem}.{ending}" for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return str(paths[0]), str(paths[1]), str(paths[2])


def result_as_json(patch: ShownPatch, result: PatchResult, model: Mapping[str, str]) -> str:
    """Return a result, and what is known about its model, as JSON text."""
    longitude, latitude = (None, None) if patch.place is None else centre_of(patch.place)
    content: dict[str, Any] = {
        "patch": patch.title,
        "longitude": longitude,
        "latitude": latitude,
        "model": dict(model),
        "reben_version": reben.__version__,
        "switched_off": list(result.switched_off),
        "true_labels": None if patch.true_labels is None else list(patch.true_labels),
        "above": result.above,
        "scores": _rows(patch, result),
        "warnings": list(result.warnings),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def result_as_csv(patch: ShownPatch, result: PatchResult) -> str:
    """Return a result as CSV text: one label a row, the highest score with every band first."""
    rows = _rows(patch, result)
    file = StringIO(newline="")
    writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _rows(patch: ShownPatch, result: PatchResult) -> list[dict[str, Any]]:
    return [
        {
            "label": row.label,
            "score": round(row.score, 6),
            "score_with_every_band": round(row.full, 6),
            "threshold": row.threshold,
            "above": row.is_above,
            "true": None if patch.true_labels is None else row.label in patch.true_labels,
        }
        for row in result.rows
    ]


def _draw_result(
    views: Sequence[PatchView], result: PatchResult, patch: ShownPatch, model: str
) -> Image.Image:
    """Return the views of a patch, those that are there, beside the scores of its labels."""
    height = _MARGIN * 2 + 100 + max(len(result.labels) * _ROW, _LARGE + _GAP + _SMALL + 60)
    card = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(card)
    if result.switched_off:
        model += f", without {', '.join(result.switched_off)}"
    for y, text, size, colour in ((-8, patch.title, 30, _INK), (38, model, 22, _SOFT)):
        font = fit_font(text, size, _WIDTH - 2 * _MARGIN, smallest=10)
        draw.text((_MARGIN, _MARGIN + y), text, colour, font)
    top = _MARGIN + 100
    _draw_views(card, [view for view in views if view.image is not None], top)
    left = _MARGIN + _LARGE + 56
    true_labels: Collection[str] = patch.true_labels or ()
    colours = colours_of(result.labels)
    for position, row in enumerate(result.rows):
        middle = top + position * _ROW + _ROW // 2
        is_true = row.label in true_labels
        _draw_row(draw, row, colours[row.label], (left, middle), is_true=is_true)
    foot = "dashed: threshold" + ("" if patch.true_labels is None else "; T: true label")
    draw.text((left, top + len(result.labels) * _ROW + 10), foot, _SOFT, load_font(18))
    return card


def _draw_views(card: Image.Image, views: Sequence[PatchView], top: int) -> None:
    """Put the first picture large, the others small below it."""
    draw = ImageDraw.Draw(card)
    left = _MARGIN
    for number, view in enumerate(views):
        side = _SMALL if number else _LARGE
        if view.image is not None:
            card.paste(view.image.resize((side, side), Image.Resampling.BICUBIC), (left, top))
        caption = f"{view.title}: {view.caption}"
        draw.text((left, top + side + 6), caption, _SOFT, fit_font(caption, 17, side, smallest=10))
        if number == 0:
            top += _LARGE + _GAP + 14
        else:
            left += _SMALL + _GAP


def _draw_row(
    draw: ImageDraw.ImageDraw,
    row: LabelScore,
    colour: str,
    place: tuple[int, int],
    *,
    is_true: bool,
) -> None:
    left, middle = place
    ink, fill = (_INK, _ABOVE) if row.is_above else (_SOFT, _BELOW)
    swatch = (left, middle - 9, left + 18, middle + 9)
    draw.rounded_rectangle(swatch, 3, colour, "#00000060")
    lines = wrap(row.label, load_font(20), _LABEL - 40)
    font = load_font(20 if len(lines) == 1 else 16)
    for number, line in enumerate(lines):
        y = middle + round((number - (len(lines) - 1) / 2) * 18)
        draw.text((left + 30, y), line, ink, font, anchor="lm")
    start = left + _LABEL
    for length, ground in ((_BAR, _TRACK), (round(_BAR * row.score), fill)):
        if length > 1:
            bar = (start, middle - 9, start + length, middle + 9)
            draw.rounded_rectangle(bar, min(4, length // 2), ground)
    mark = start + round(_BAR * row.threshold)
    for y in range(middle - 13, middle + 13, 6):
        draw.line((mark, y, mark, y + 3), _INK, 2)
    draw.text((start + _BAR + 76, middle), f"{row.score:.3f}", ink, load_font(20), anchor="rm")
    if is_true:
        draw.text((start + _BAR + 96, middle), "T", _ABOVE, load_font(20), anchor="lm")
