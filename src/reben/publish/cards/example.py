"""The example on a card: which patch, its true labels, and the scores of the model.

Its raw bands are kept beside the card, in ``example.safetensors``, so that anybody who has the
folder can predict it again.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from reben.data.dataset import Dataset
from reben.data.metadata import PatchTable
from reben.data.values import SuspiciousInputWarning
from reben.errors import ModelFolderError
from reben.publish.cards.figures import RADAR, TRUE_COLOUR, Bar, colour_patch, draw_example
from reben.spec.bands import RGB, S1, BandSet, Sensor
from reben.support.json_files import parse_json

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

EXAMPLE_FILE = "example.safetensors"
PICTURE_FILE = "example.png"
SEVERAL = 3
"""The fewest labels that an example has, if any patch has that many."""
_ABOUT = "example"


@dataclass(frozen=True)
class Example:
    """One patch with all its scores."""

    names: Mapping[Sensor, str]  # sensor -> name of its patch
    split: str
    bars: tuple[Bar, ...]  # score and truth of every label, highest score first
    true_labels: tuple[str, ...]
    bands: Mapping[str, NDArray[Any]]  # the raw bands of the model and of the picture

    @property
    def patch_id(self) -> str:
        """The Sentinel-2 name of the patch, its key in the metadata."""
        return self.names["Sentinel-2"]


@dataclass(frozen=True)
class _About:
    """The header of the file."""

    patch_id: str
    s1_name: str
    split: str
    true_labels: tuple[str, ...]


def choose_example(table: PatchTable, seed: int = 0) -> str:
    """Return the name of the patch that a card shows, by a rule that never sees a score.

    Of the patches with at least three labels (or with the most that any patch has, if none has
    three), it is the one with the smallest SHA-256 of ``seed:name``. So the choice depends on
    names, label counts and the seed, not on the order of the table.
    """
    num_labels = dict(zip(table.patch_ids, map(len, table.label_names), strict=True))
    enough = min(SEVERAL, max(num_labels.values()))
    candidates = [name for name, number in num_labels.items() if number >= enough]
    return min(candidates, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def predict_example(model: "Classifier", dataset: Dataset, patch_id: str) -> Example:
    """Return what ``model`` predicts for one patch of ``dataset``, from its raw bands."""
    shown = [name for name in picture_bands(model.bands) if name not in model.bands]
    both = BandSet((*model.bands, *shown))
    bands = dataset.with_bands(both).patch(patch_id)
    row = dataset.table.position(patch_id)
    true_labels = tuple(sorted(dataset.table.label_names[row]))
    about = _About(patch_id, dataset.table.s1_names[row], dataset.table.splits[row], true_labels)
    return _scored(model, about, bands)


def _scored(model: "Classifier", about: "_About", bands: Mapping[str, NDArray[Any]]) -> Example:
    """Return the example with the scores of ``model`` for its raw bands."""
    scores = model.predict({name: bands[name] for name in model.bands if name in bands})
    thresholds = dict(zip(scores.labels, scores.thresholds, strict=True))
    bars = tuple(
        Bar(label, score, label in about.true_labels, thresholds[label])
        for label, score in scores.top(len(scores.labels))
    )
    names: dict[Sensor, str] = {"Sentinel-2": about.patch_id, "Sentinel-1": about.s1_name}
    return Example(names, about.split, bars, about.true_labels, bands)


def picture_bands(bands: BandSet) -> BandSet:
    """Return the bands that the picture of a patch needs.

    For a model with any Sentinel-2 band this is true colour, even if it does not take B04, B03 and
    B02 itself; for a model with Sentinel-1 bands only, radar.
    """
    return RGB if bands.of_sensor("Sentinel-2") else S1


def example_values(example: Example, bands: BandSet) -> dict[str, Any]:
    """Return the template values about an example, for a model that takes ``bands``."""
    return {
        "example": {
            "patch_id": example.patch_id,
            "names": example.names,
            "split": example.split,
            "true_labels": example.true_labels,
            "bars": [
                {"label": bar.label, "score": bar.score, "is_true": bar.is_true}
                for bar in example.bars
            ],
        },
        "caption": TRUE_COLOUR if picture_bands(bands) == RGB else RADAR,
        "folders": [name for mission, name in example.names.items() if bands.of_sensor(mission)],
    }


def draw(example: Example, bands: BandSet) -> bytes:
    """Return the picture of an example as PNG, for a model that takes ``bands``."""
    from io import BytesIO

    pixels = {name: example.bands[name] for name in picture_bands(bands)}
    patch, caption = colour_patch(pixels)
    picture = draw_example(patch, example.bars, title=example.patch_id, caption=caption)
    file = BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def pack(example: Example) -> bytes:
    """Return the raw bands, names and true labels of an example as safetensors."""
    from safetensors.numpy import save

    about = _About(
        example.patch_id, example.names["Sentinel-1"], example.split, example.true_labels
    )
    # One entry, since safetensors writes several in arbitrary order.
    entry = {_ABOUT: json.dumps(asdict(about), ensure_ascii=False, sort_keys=True)}
    return save({name: example.bands[name].copy() for name in sorted(example.bands)}, entry)


def unpack(path: Path, model: "Classifier") -> Example:
    """Return the example in a file that `pack` wrote, predicted again by ``model``."""
    from safetensors import SafetensorError, safe_open

    cure = "Write the card again."
    try:
        with safe_open(path, framework="np") as file:
            header = (file.metadata() or {})[_ABOUT]
            bands = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise ModelFolderError(
            f"{path} holds no example patch: {type(error).__name__} {error}. {cure}"
        ) from None
    about = parse_json(header, _About, f"The header of {path}", ModelFolderError, cure)
    # What is suspicious was warned of when the card was written.
    with warnings.catch_warnings(action="ignore", category=SuspiciousInputWarning):
        return _scored(model, about, bands)
