"""Results to take away: JSON, CSV, and a picture.

The picture of a result, to keep or to send: the views of a patch beside its scores.
"""

import csv
import json
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from PIL import Image, ImageDraw, ImageFont

import reben
from reben.app.demo.answers import LabelScore, PatchResult
from reben.app.demo.locator import centre_of
from reben.app.demo.patches import ShownPatch
from reben.app.demo.pictures import PatchView, draw_views, png_bytes
from reben.spec.labels import COLOURS

_WIDTH, _MARGIN, _ROW = 1600, 48, 38
_LARGE, _SMALL, _GAP = 540, 258, 24
_PAPER, _INK, _SOFT, _TRACK = "#ffffff", "#16202b", "#5b6876", "#e9eef2"
_ABOVE, _BELOW = "#0b6b45", "#9fb0c0"
_LABEL, _BAR = 480, 300


def draw_card(
    pictures: Sequence[PatchView],
    result: PatchResult,
    true_labels: Collection[str] | None,
    *,
    title: str,
    model: str,
) -> Image.Image:
    """Return the picture of a result.

    Args:
        pictures: The views of the patch; those that are not there are left out.
        result: What the model says.
        true_labels: The labels that the patch really has, if that is known.
        title: Which patch it is.
        model: Which model says so.
    """
    height = _MARGIN * 2 + 100 + max(len(result.labels) * _ROW, _LARGE + _GAP + _SMALL + 60)
    card = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(card)
    _text(draw, (_MARGIN, _MARGIN - 8), title, 30, width=_WIDTH - 2 * _MARGIN)
    said = f"{model}{_without(result)}"
    _text(draw, (_MARGIN, _MARGIN + 38), said, 22, _SOFT, width=_WIDTH - 2 * _MARGIN)
    top = _MARGIN + 100
    _draw_pictures(card, [picture for picture in pictures if picture.image is not None], top)
    left = _MARGIN + _LARGE + 56
    for position, row in enumerate(result.rows):
        is_true = true_labels is not None and row.label in true_labels
        _draw_row(draw, row, is_true, left=left, top=top + position * _ROW)
    foot = "dashed: threshold" + ("" if true_labels is None else "; T: true label")
    _text(draw, (left, top + len(result.labels) * _ROW + 10), foot, 18, _SOFT)
    return card


def _without(result: PatchResult) -> str:
    return f", without {', '.join(result.switched_off)}" if result.switched_off else ""


def _draw_pictures(card: Image.Image, pictures: Sequence[PatchView], top: int) -> None:
    """Put the first picture large, the others small below it."""
    draw = ImageDraw.Draw(card)
    left = _MARGIN
    for number, picture in enumerate(pictures[:3]):
        side = _LARGE if number == 0 else _SMALL
        if picture.image is not None:
            card.paste(picture.image.resize((side, side), Image.Resampling.BICUBIC), (left, top))
        caption = f"{picture.title}: {picture.caption}"
        _text(draw, (left, top + side + 6), caption, 17, _SOFT, width=side)
        if number == 0:
            top += _LARGE + _GAP + 14
        else:
            left += _SMALL + _GAP


def _draw_row(
    draw: ImageDraw.ImageDraw, row: LabelScore, is_true: bool, *, left: int, top: int
) -> None:
    label, score, above = row.label, row.score, row.is_above
    middle = top + _ROW // 2
    ink = _INK if above else _SOFT
    box = (left, middle - 9, left + 18, middle + 9)
    draw.rounded_rectangle(box, 3, fill=COLOURS.get(label, _TRACK), outline="#00000060")
    lines = _wrap(label, _LABEL - 40)
    size = 20 if len(lines) == 1 else 16
    for number, line in enumerate(lines):
        offset = round((number - (len(lines) - 1) / 2) * 18)
        draw.text((left + 30, middle + offset), line, ink, _font(size), anchor="lm")
    start = left + _LABEL
    draw.rounded_rectangle((start, middle - 9, start + _BAR, middle + 9), 4, fill=_TRACK)
    length = round(_BAR * score)
    if length > 1:
        fill = _ABOVE if above else _BELOW
        box = (start, middle - 9, start + length, middle + 9)
        draw.rounded_rectangle(box, min(4, length // 2), fill=fill)
    mark = start + round(_BAR * row.threshold)
    for y in range(middle - 13, middle + 13, 6):
        draw.line((mark, y, mark, y + 3), fill=_INK, width=2)
    draw.text((start + _BAR + 76, middle), f"{score:.3f}", ink, _font(20), anchor="rm")
    if is_true:
        draw.text((start + _BAR + 96, middle), "T", _ABOVE, _font(20), anchor="lm")


def _wrap(text: str, width: int) -> list[str]:
    """Return a label as one line where it fits, else as two of about the same length."""
    if _font(20).getlength(text) <= width:
        return [text]
    words = text.split()
    cuts = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return list(min(cuts, key=lambda lines: max(map(len, lines)), default=(text,)))


def _text(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    colour: str = _INK,
    width: int = _WIDTH,
) -> None:
    draw.text(place, text, colour, _fitting(text, size, width))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitting(text: str, size: int, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of ``size``, or the largest smaller one in which the text fits."""
    sizes = range(size, 10, -1)
    return next((_font(s) for s in sizes if _font(s).getlength(text) <= width), _font(10))


_KEPT = 60
_PREFIX = "result-"


def result_as_json(patch: ShownPatch, result: PatchResult, model: Mapping[str, str]) -> str:
    """Return a result as JSON text.

    Args:
        patch: The patch.
        result: What the model says of it.
        model: What is known of the model.
    """
    place = patch.place
    longitude, latitude = (None, None) if place is None else centre_of(place)
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


def write_results(
    root: Path, patch: ShownPatch, result: PatchResult, model: Mapping[str, str]
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
        result,
        patch.true_labels,
        title=patch.title,
        model=model["name"],
    )
    contents = {
        "json": result_as_json(patch, result, model).encode(),
        "csv": result_as_csv(patch, result).encode(),
        "png": png_bytes(card),
    }
    paths = {ending: folder / f"reben-{stem}.{ending}" for ending in contents}
    for ending, content in contents.items():
        paths[ending].write_bytes(content)
    return str(paths["json"]), str(paths["csv"]), str(paths["png"])
