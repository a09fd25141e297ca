"""A patch as the page shows it, from a store or from an upload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from reben.app.demo.locator import describe_place
from reben.app.demo.uploads import UploadedPatch
from reben.data.dataset import Dataset
from reben.errors import MissingPatchError, PatchNameError
from reben.spec.labels import LABELS
from reben.spec.patches import Bounds, Sentinel1Patch, Sentinel2Patch, place_of_name

_MOST_CHOICES = 100


@dataclass(frozen=True, eq=False)
class ShownPatch:
    """One patch, and what is known about it."""

    title: str
    bands: Mapping[str, NDArray[Any]]
    """Band -> [h, w], raw values."""
    true_labels: tuple[str, ...] | None
    """None if they are unknown."""
    place: Bounds | None
    """Where it lies, or None if that is unknown."""
    facts: tuple[tuple[str, str], ...]
    """Names and values of what else is known."""
    notes: tuple[str, ...] = ()
    """What its reader should know."""


class Samples:
    """The patches of a store that can be chosen on the page.

    Args:
        dataset: The patches; their own labels are the truth.
        labels: The labels of the model; by default the 19. The truth is shown where the store has
            no others.
    """

    def __init__(self, dataset: Dataset, labels: Sequence[str] = LABELS) -> None:
        self._dataset = dataset
        self._foreign = sorted(set(self._dataset.table.labels).difference(labels))
        table = self._dataset.table
        step = max(1, -(-len(table) // _MOST_CHOICES))
        self._rows = {table.patch_ids[row]: row for row in range(0, len(table), step)}
        columns = ("country", "contains_seasonal_snow", "contains_cloud_or_shadow")
        self._countries, snow, cloud = (table.rows.column(name).to_pylist() for name in columns)
        self._weather = [
            " and ".join(name for name, is_there in (("snow", s), ("cloud", c)) if is_there)
            for s, c in zip(snow, cloud, strict=True)
        ]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Readable names and patch names, in the order of the metadata; evenly spread if many."""
        return [(self._describe(name, row), name) for name, row in self._rows.items()]

    @property
    def first(self) -> str:
        """The patch to begin with: the first of the test split with the most labels."""
        table = self._dataset.table
        labels, splits = table.label_names, table.splits

        def rank(name: str) -> tuple[bool, bool, int]:
            row = self._rows[name]
            return bool(self._weather[row]), splits[row] != "test", -len(labels[row])

        return min(self._rows, key=rank)

    def patch(self, name: str) -> ShownPatch:
        """Return the patch with the Sentinel-2 name ``name``."""
        if name not in self._rows:
            raise MissingPatchError(f"{name} is not one of the patches to choose from.")
        row, table = self._rows[name], self._dataset.table
        sentinel1 = table.s1_names[row]
        bands = dict(self._dataset.store.get(name))
        notes = []
        try:
            bands |= self._dataset.store.get(sentinel1)
        except MissingPatchError:
            notes.append(f"The store lacks the Sentinel-1 partner of this patch, {sentinel1}.")
        if table.made_up_by is not None:
            notes.append(f"This patch was not measured; {table.made_up_by} made it up.")
        place = place_of_name(name)
        facts = (
            ("Patch", name),
            ("Country", self._countries[row]),
            ("Split", self._split(row)),
            *_describe_time(name),
            *_describe_time(sentinel1),
            *_describe_place(place),
        )
        labels = None if self._foreign else tuple(sorted(table.label_names[row]))
        if self._foreign:
            notes.append(
                f"The store has labels that the model lacks, such as {self._foreign[0]}, so no "
                "truth is shown. Name the store of the model's labels: --data STORE."
            )
        return ShownPatch(name, bands, labels, place, facts, tuple(notes))

    def _split(self, row: int) -> str:
        weather = self._weather[row]
        return self._dataset.table.splits[row] + (f", with {weather}" if weather else "")

    def _describe(self, name: str, row: int) -> str:
        parsed = Sentinel2Patch.parse(name)
        first, *more = sorted(self._dataset.table.label_names[row], key=len) or ["no label"]
        labels = f"{first} and {len(more)} more" if more else first
        place = f"{parsed.tile} {parsed.column}/{parsed.row}, {self._countries[row]}"
        return f"{place} · {labels} · {self._split(row)}"


def patch_of_upload(upload: UploadedPatch) -> ShownPatch:
    """Return an uploaded patch as the page shows it; its labels are unknown."""
    facts = [("Patch", upload.title), ("Files", f"{len(upload.files)}: {', '.join(upload.bands)}")]
    if upload.left_out:
        facts.append(("Left out", ", ".join(upload.left_out[:5])))
    for name in upload.names.values():
        facts += _describe_time(name)
    facts += _describe_place(upload.place)
    notes = () if upload.doubt is None else (upload.doubt,)
    return ShownPatch(upload.title, upload.bands, None, upload.place, tuple(facts), notes)


def _describe_time(name: str) -> list[tuple[str, str]]:
    for mission, kind in (("Sentinel-2", Sentinel2Patch), ("Sentinel-1", Sentinel1Patch)):
        try:
            acquired = kind.parse(name).acquired
        except PatchNameError:
            continue
        return [(f"{mission} acquired", f"{acquired:%Y-%m-%d %H:%M} UTC")]
    return []


def _describe_place(place: Bounds | None) -> list[tuple[str, str]]:
    if place is None:
        return [("Place", "unknown: neither names nor files say it")]
    return describe_place(place)
