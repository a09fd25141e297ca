"""What a model says of one patch, and how much of it hangs on which bands."""

import threading
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.data.preprocess import SuspiciousInputWarning, check_bands
from reben.errors import RebenError
from reben.model.classifier import Classifier
from reben.spec.bands import BandSet, native_size, sensor

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Sentinel-1": ("VV", "VH"),
    "Visible": ("B01", "B02", "B03", "B04"),
    "Red edge": ("B05", "B06", "B07"),
    "Near infrared": ("B08", "B8A", "B09"),
    "Short-wave infrared": ("B11", "B12"),
}
"""Bands that belong together, which can be switched off together."""

_ONE_AT_A_TIME = threading.Lock()
"""Warnings are caught for the whole process, so one patch is predicted after the other."""

Bands = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Answer:
    """Scores of one patch.

    Args:
        labels: Names of the labels.
        thresholds: For each label, the score above which it counts as present.
        full: The scores with every band, in the order of ``labels``.
        scores: The scores with what is switched off; those of ``full`` if nothing is.
        switched_off: Groups that are switched off.
        moves: Group -> the label whose score moves most when this group alone is switched off,
            and by how much.
        warnings: What looks odd about the values.
    """

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    full: tuple[float, ...]
    scores: tuple[float, ...]
    switched_off: tuple[str, ...]
    moves: Mapping[str, tuple[str, float]]
    warnings: tuple[str, ...]

    @property
    def order(self) -> list[int]:
        """Positions of the labels, the highest score with every band first."""
        return sorted(range(len(self.labels)), key=lambda k: -self.full[k])

    def is_above(self, k: int) -> bool:
        """Tell whether the model says that the patch has label number ``k``."""
        return self.scores[k] > self.thresholds[k]

    def changed(self) -> list[str]:
        """Return the labels that switching off moved over their threshold, either way."""
        return [
            self.labels[k]
            for k in self.order
            if (self.full[k] > self.thresholds[k]) != self.is_above(k)
        ]


def groups_of(bands: BandSet) -> dict[str, tuple[str, ...]]:
    """Return the groups that a model with ``bands`` takes something of, with what it takes."""
    taken = {name: tuple(b for b in bands if b in members) for name, members in GROUPS.items()}
    return {name: members for name, members in taken.items() if members}


def ask(model: Classifier, bands: Bands, off: Collection[str] = ()) -> Answer:
    """Return what ``model`` says of a patch.

    A band is switched off by giving it its mean over the training patches in every pixel, which
    is 0 after normalisation: the model learns nothing from it. A model was never trained on such
    input, so this shows what it looks at, not how good it would be without these bands.

    Args:
        model: The model.
        bands: Band -> [h, w], raw values.
        off: Groups to switch off.

    Raises:
        RebenError: If the bands are not those that the model needs; see `Classifier.predict`.
    """
    groups = groups_of(model.bands)
    off = [name for name in groups if name in off]
    wanted: list[list[str]] = [[], *([name] for name in groups), off]
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SuspiciousInputWarning)
        check_bands(dict(bands), model.bands)
        stacked = {
            name: np.stack([_switch(model, name, bands, _members(groups, g)) for g in wanted])
            for name in model.bands
        }
        full = model.predict({name: bands[name] for name in model.bands}).values
        said = [str(w.message) for w in caught if issubclass(w.category, SuspiciousInputWarning)]
        values = model.predict(stacked).values
    moves = {}
    for name, scores in zip(groups, values[1:-1], strict=True):
        k = int(np.argmax(np.abs(scores - full)))
        moves[name] = model.labels[k], float(scores[k] - full[k])
    return Answer(
        labels=model.labels,
        thresholds=model.config.thresholds,
        full=tuple(map(float, full)),
        scores=tuple(map(float, values[-1] if off else full)),
        switched_off=tuple(off),
        moves=moves,
        warnings=tuple(said),
    )


def _members(groups: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> set[str]:
    return {band for name in names for band in groups[name]}


def _switch(model: Classifier, name: str, bands: Bands, off: set[str]) -> NDArray[Any]:
    if name not in off:
        return np.asarray(bands[name], np.float32)
    return np.full(np.shape(bands[name]), model.config.statistics.mean[name], np.float32)


@dataclass(frozen=True)
class BandRow:
    """One band: what the model expects and what came.

    Args:
        position: Its channel, counted from 0, or None if the model does not take it.
        name: The band.
        sensor: Which mission measures it.
        expected: Its side length in pixels.
        got: The size that came, for example ``60 x 60``, or None if it did not come.
        dtype: The dtype that came.
        values: Smallest value, median and largest value, as far as they are numbers.
        problem: What is wrong, or None.
    """

    position: int | None
    name: str
    sensor: str
    expected: int
    got: str | None
    dtype: str | None
    values: tuple[float, float, float] | None
    problem: str | None

    @property
    def status(self) -> str:
        """``OK``, ``not used``, or what is wrong."""
        return self.problem or ("OK" if self.position is not None else "not used")


def compare_bands(needed: BandSet, bands: Bands) -> list[BandRow]:
    """Return what the model expects beside what it got: its channels first, then other bands."""
    problems = _problems(needed, bands)
    names = [*needed, *(name for name in bands if name not in needed)]
    return [_row(name, needed, bands.get(name), problems.get(name)) for name in names]


def _problems(needed: BandSet, bands: Bands) -> dict[str, str]:
    try:
        check_bands(dict(bands), needed)
    except RebenError:
        pass
    else:
        return {}
    found = {}
    for name in needed:
        try:
            if name in bands:
                check_bands({name: bands[name]}, BandSet((name,)))
            else:
                found[name] = "missing"
        except RebenError as error:
            found[name] = str(error)
    return found


def _row(name: str, needed: BandSet, pixels: NDArray[Any] | None, problem: str | None) -> BandRow:
    finite = None if pixels is None else pixels[np.isfinite(pixels)]
    values = None
    if finite is not None and finite.size:
        values = float(finite.min()), float(np.median(finite)), float(finite.max())
    return BandRow(
        position=needed.index(name) if name in needed else None,
        name=name,
        sensor=sensor(name),
        expected=native_size(name),
        got=None if pixels is None else f"{pixels.shape[0]} x {pixels.shape[1]}",
        dtype=None if pixels is None else str(pixels.dtype),
        values=values,
        problem=problem,
    )
