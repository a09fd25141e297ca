"""Whether the example of a card is what the model says: scores, widget, picture."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reben.data.preprocess import SuspiciousInputWarning, check_bands
from reben.errors import RebenError
from reben.model.classifier import Classifier
from reben.publish.cards.example import Example, picture_bands, unpack
from reben.publish.cards.figures import colour_patch, patch_of_picture
from reben.publish.cards.front_matter import WIDGET_LABELS
from reben.publish.checks.numbers import agrees
from reben.publish.checks.page import CARD, HEAD, widgets
from reben.publish.checks.parse import CardText, Problem, Table

EXAMPLE_FILE = "example.safetensors"
PICTURE_FILE = "example.png"
TOLERANCE = 1e-3
"""How far scores may be from those on the card: other machines round otherwise."""
_SAME_PICTURE = 8  # mean difference of colours, of 255; other versions of Pillow resize otherwise


def check_example(folder: Path, card: CardText, model: Classifier | None) -> Iterator[Problem]:
    """Yield what is wrong with the example: table, widget, and what the model says of its bands."""
    table = card.find_table("Score", "Label")
    where = f"{CARD}, table of the example"
    if table is None:
        yield Problem(where, "there is none with columns Score and Label to compare")
    else:
        yield from _check_order(where, table)
    yield from _check_widget(card, table)
    file = folder / EXAMPLE_FILE
    if not file.is_file():
        yield Problem(EXAMPLE_FILE, "it is not there, so the example cannot be predicted again")
        return
    if model is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SuspiciousInputWarning)
            example = unpack(file, model)
    except RebenError as error:
        yield Problem(EXAMPLE_FILE, f"the example cannot be predicted again: {error}")
        return
    if table is not None:
        yield from _check_scores(where, table, example, model)
    if example.patch_id not in card.without_tables:
        yield Problem(f"{CARD}, text", f"it does not name the patch {example.patch_id}")
    yield from _check_picture(folder / PICTURE_FILE, example, model)


def _check_order(where: str, table: Table) -> Iterator[Problem]:
    scores = _scores(table)
    if None in scores:
        yield Problem(where, "a score is no number from 0 to 1")
        return
    if scores != sorted(scores, key=lambda score: -(score or 0)):
        yield Problem(where, "it is not sorted by score, highest first")
    labels = table.column("Label")
    if len(set(labels)) != len(labels):
        yield Problem(where, "a label stands there twice")


def _scores(table: Table) -> list[float | None]:
    values: list[float | None] = []
    for cell in table.column("Score"):
        try:
            value = float(cell)
        except ValueError:
            value = -1.0
        values.append(value if 0 <= value <= 1 else None)
    return values


def _check_widget(card: CardText, table: Table | None) -> Iterator[Problem]:
    where = f"{HEAD}, widget"
    for entry in widgets(card):
        output = entry.get("output")
        if not isinstance(output, list) or not all(isinstance(row, dict) for row in output):
            yield Problem(where, "it shows no scores")
            continue
        shown = [(row.get("label"), row.get("score")) for row in output]
        if table is None:
            continue
        right = list(zip(table.column("Label"), _scores(table), strict=True))[:WIDGET_LABELS]
        if len(shown) != len(right) or any(
            label != best or score is None or not agrees(there, score)
            for (label, there), (best, score) in zip(shown, right, strict=True)
        ):
            names = "; ".join(str(label) for label, _ in right)
            yield Problem(where, f"it does not show the highest scores of the example: {names}")


def _check_scores(
    where: str, table: Table, example: Example, model: Classifier
) -> Iterator[Problem]:
    right = {bar.label: bar.score for bar in example.bars}
    shown = dict(zip(table.column("Label"), _scores(table), strict=True))
    if set(shown) != set(right):
        yield Problem(where, "its labels are not those of the model")
        return
    far = {label: abs((shown[label] or 0) - score) for label, score in right.items()}
    worst = max(far, key=far.__getitem__)
    if far[worst] > TOLERANCE:
        yield Problem(
            where,
            f"the score of {worst} is {shown[worst]}; the model says {right[worst]:.4f} of the raw "
            f"bands in {EXAMPLE_FILE}{_diagnosis(shown, example, model)}",
        )
    if "True" in table.columns:
        marked = {row["Label"] for row in table.dicts() if row["True"]}
        if marked != set(example.true_labels):
            truth = "; ".join(example.true_labels)
            yield Problem(where, f"the labels marked as true are not those of the patch: {truth}")


def _diagnosis(shown: dict[str, float | None], example: Example, model: Classifier) -> str:
    """Return in words where wrong scores are from, if that is the mistake that others made."""
    import torch

    tensors = check_bands({name: example.bands[name] for name in model.bands}, model.bands)
    with torch.inference_mode():
        images = model.preprocess(tensors)
        raw = images * model.preprocess.std + model.preprocess.mean
        scores = (model(raw).float() / model.config.temperature).sigmoid().numpy()[0]
    there = np.array([shown[label] or 0 for label in model.labels])
    same = np.abs(there - scores).max() <= TOLERANCE
    return ". The card has the scores of bands that were not normalised" if same else ""


def _check_picture(file: Path, example: Example, model: Classifier) -> Iterator[Problem]:
    """Yield whether the picture shows another patch than the one that is told of."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            found = np.asarray(patch_of_picture(picture.convert("RGB")), np.int16)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return  # that it is no picture is told elsewhere
    try:
        pixels = {name: example.bands[name] for name in picture_bands(model.bands)}
        patch = colour_patch(pixels)[0]
    except (KeyError, ValueError) as error:
        yield Problem(EXAMPLE_FILE, f"its bands give no picture: {type(error).__name__} {error}")
        return
    shown = patch.resize((found.shape[1], found.shape[0]), Image.Resampling.BICUBIC)
    if np.abs(found - np.asarray(shown, np.int16)).mean() > _SAME_PICTURE:
        yield Problem(PICTURE_FILE, f"it does not show the patch of {EXAMPLE_FILE}")
