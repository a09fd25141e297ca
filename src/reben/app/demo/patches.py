"""A patch as the page shows it, from a store or from an upload."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from reben.app.demo.locator import describe_place, place_of_name
from reben.app.demo.uploads import UploadedPatch
from reben.data.dataset import Dataset
from reben.data.loader import open_dataset
from reben.errors import MissingPatchError, PatchNameError
from reben.spec.patches import Bounds, Sentinel1Patch, Sentinel2Patch

_MOST_CHOICES = 100


@dataclass(frozen=True, eq=False)
class ShownPatch:
    """One patch, with what is known of it.

    Args:
        title: What it is called.
        bands: Band -> [h, w], raw values.
        true_labels: The labels that it really has, or None if nobody knows.
        place: Where it lies, or None if nobody knows.
        facts: Names and values of what else is known.
        notes: What its reader should know.
    """

    title: str
    bands: Mapping[str, NDArray[Any]]
    true_labels: tuple[str, ...] | None
    place: Bounds | None
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()


class Samples:
    """The patches of a store that can be chosen on the page.

    Args:
        store: Folder of the store, with its metadata.

    Raises:
        StoreError: If the folder is not a store.
        MetadataError: If it has no metadata.
    """

    def __init__(self, store: Path) -> None:
        self._dataset: Dataset = open_dataset(store, snow=None, cloud=None)
        table = self._dataset.table
        step = max(1, -(-len(table) // _MOST_CHOICES))
        self._rows = {table.patch_ids[row]: row for row in range(0, len(table), step)}
        countries = table.rows.column("country").to_pylist()
        snow = table.rows.column("contains_seasonal_snow").to_pylist()
        cloud = table.rows.column("contains_cloud_or_shadow").to_pylist()
        self._countries: list[str] = countries
        self._weather = [
            " and ".join(name for name, is_there in (("snow", s), ("cloud", c)) if is_there)
            for s, c in zip(snow, cloud, strict=True)
        ]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Readable names and patch names, in the order of the metadata; evenly spread if many."""
        return [(self._readable(name, row), name) for name, row in self._rows.items()]

    @property
    def first(self) -> str:
        """The patch to begin with: of those with most labels, the first of the test split."""
        table = self._dataset.table
        labels, splits = table.label_names, table.splits

        def rank(name: str) -> tuple[bool, bool, int]:
            row = self._rows[name]
            return bool(self._weather[row]), splits[row] != "test", -len(labels[row])

        return min(self._rows, key=rank)

    def patch(self, name: str) -> ShownPatch:
        """Return the patch with the Sentinel-2 name ``name``.

        Raises:
            MissingPatchError: If it is none of `choices`, or the store lacks it.
        """
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
            notes.append(f"This patch is no measurement: {table.made_up_by} made it up.")
        place = place_of_name(name)
        known = [
            ("Patch", name),
            ("Country", self._countries[row]),
            ("Split", f"{table.splits[row]}{self._weather_note(row)}"),
        ]
        facts = (*known, *_acquired(name), *_acquired(sentinel1), *_where(place))
        labels = tuple(sorted(table.label_names[row]))
        return ShownPatch(name, bands, labels, place, facts, tuple(notes))

    def _weather_note(self, row: int) -> str:
        return f", with {self._weather[row]}" if self._weather[row] else ""

    def _readable(self, name: str, row: int) -> str:
        parsed = Sentinel2Patch.parse(name)
        first, *more = sorted(self._dataset.table.label_names[row], key=len) or ["no label"]
        labels = f"{first} and {len(more)} more" if more else first
        split = f"{self._dataset.table.splits[row]}{self._weather_note(row)}"
        return (
            f"{parsed.tile} {parsed.column}/{parsed.row}, {self._countries[row]} · {labels} · "
            f"{split}"
        )


def patch_of_upload(upload: UploadedPatch) -> ShownPatch:
    """Return an uploaded patch as the page shows it; its labels are unknown."""
    facts: list[tuple[str, str]] = [("Patch", upload.title)]
    facts.append(("Files", f"{len(upload.files)}: {', '.join(upload.bands)}"))
    if upload.left_out:
        facts.append(("Left out", ", ".join(upload.left_out[:5])))
    for name in upload.names.values():
        facts += _acquired(name)
    facts += _where(upload.place)
    notes = () if upload.doubt is None else (upload.doubt,)
    return ShownPatch(upload.title, upload.bands, None, upload.place, tuple(facts), notes)


def _acquired(name: str) -> list[tuple[str, str]]:
    kinds: tuple[tuple[str, type[Sentinel2Patch] | type[Sentinel1Patch]], ...] = (
        ("Sentinel-2", Sentinel2Patch),
        ("Sentinel-1", Sentinel1Patch),
    )
    for mission, kind in kinds:
        try:
            parsed = kind.parse(name)
        except PatchNameError:
            continue
        return [(f"{mission} acquired", f"{parsed.acquired:%Y-%m-%d %H:%M} UTC")]
    return []


def _where(place: Bounds | None) -> list[tuple[str, str]]:
    if place is None:
        return [("Place", "unknown: neither names nor files say it")]
    return describe_place(place)
