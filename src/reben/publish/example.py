"""The example on a card: which patch, its true labels, and what the model says."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from reben.data.loader import Dataset
from reben.data.metadata import PatchTable
from reben.model.classifier import Classifier
from reben.publish.figures import Bar, colour_patch, draw_example
from reben.spec.bands import RGB, S1, BandSet, Sensor

SEVERAL = 3
"""How many labels an example has at least, where any patch has as many."""


@dataclass(frozen=True)
class Example:
    """One patch with all scores.

    Args:
        names: Sensor -> name of its patch.
        split: The split that it is from.
        bars: Label, score and truth of every label, highest score first.
        true_labels: The labels that it really has.
    """

    names: Mapping[Sensor, str]
    split: str
    bars: tuple[Bar, ...]
    true_labels: tuple[str, ...]

    @property
    def patch_id(self) -> str:
        """The Sentinel-2 patch name, which the metadata call it by."""
        return self.names["Sentinel-2"]

    def top(self, k: int = 5) -> tuple[Bar, ...]:
        """Return the ``k`` labels with the highest scores."""
        return self.bars[:k]


def choose_example(table: PatchTable, seed: int = 0) -> str:
    """Return the name of the patch that a card shows, by a rule that never sees a score.

    Of all patches with three labels or more (or, where there is none, with as many labels as any
    patch has), it is the one whose SHA-256 of ``seed:patch name`` is the smallest. So the choice
    depends on names, numbers of labels and the seed, not on the order of the table.
    """
    num_labels = dict(zip(table.patch_ids, map(len, table.label_names), strict=True))
    enough = min(SEVERAL, max(num_labels.values()))
    candidates = [name for name, number in num_labels.items() if number >= enough]
    return min(candidates, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def predict_example(model: Classifier, dataset: Dataset, patch_id: str) -> Example:
    """Return what ``model`` says about one patch of ``dataset``, from its raw bands.

    Raises:
        MissingPatchError: If the table or the store lacks the patch.
        BandsMismatchError: If the patch lacks a band that the model needs.
    """
    scores = model.predict(dataset.with_bands(model.bands).patch(patch_id))
    row = dataset.table.position(patch_id)
    true_labels = dataset.table.label_names[row]
    thresholds = dict(zip(scores.labels, scores.thresholds, strict=True))
    bars = tuple(
        Bar(label, score, label in true_labels, thresholds[label])
        for label, score in scores.top(len(scores.labels))
    )
    names: dict[Sensor, str] = {"Sentinel-2": patch_id, "Sentinel-1": dataset.table.s1_names[row]}
    return Example(names, dataset.table.splits[row], bars, tuple(sorted(true_labels)))


def picture_bands(bands: BandSet) -> BandSet:
    """Return the bands that the picture of a patch is made of.

    A model that takes any Sentinel-2 band is shown with the true colour of the patch, also where
    it does not take all of B04, B03, B02 itself; a model of Sentinel-1 alone with the radar.
    """
    return RGB if bands.of_sensor("Sentinel-2") else S1


def draw(example: Example, dataset: Dataset, bands: BandSet) -> tuple[bytes, str]:
    """Return the picture of an example as the bytes of a PNG, and how its colours were made.

    Args:
        example: What to draw.
        dataset: Where its pixels are.
        bands: The bands that the model takes.
    """
    from io import BytesIO

    pixels = dataset.with_bands(picture_bands(bands)).patch(example.patch_id)
    patch, caption = colour_patch(pixels)
    picture = draw_example(patch, example.bars, title=example.patch_id, caption=caption)
    file = BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue(), caption
