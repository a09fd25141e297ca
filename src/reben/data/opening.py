"""Opening: a store and its metadata become a dataset, with the patches that filters leave."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from reben.data.dataset import Dataset
from reben.data.identity import StoredPart, read_description
from reben.data.selecting.filters import SEASONS, Filters, FractionBy, filters_of
from reben.data.selecting.listed import metadata_files, read_listed, stored_metadata
from reben.data.selecting.names import table_of_names
from reben.data.selecting.stored import keep_stored, why_part
from reben.data.storage.record import StoreRecord
from reben.data.store import Store
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS

__all__ = ["SEASONS", "filters_of", "open_dataset", "open_unlisted", "stored_metadata"]

_logger = logging.getLogger(__name__)


def open_dataset(  # noqa: PLR0913 - all after the second are named
    path: str | Path,
    bands: BandSet | str = "all_full",
    *,
    metadata: str | Path | Iterable[str | Path] | None = None,
    countries: Iterable[str] | None = None,
    months: Iterable[int] | None = None,
    snow: bool | None = False,
    cloud: bool | None = False,
    labels: Sequence[str] | None = LABELS,
    label_table: str | Path | None = None,
    fraction: float | None = None,
    fraction_by: FractionBy = "tile",
    fraction_seed: int = 0,
    limit: int | None = None,
) -> Dataset:
    """Return the patches of a store.

    Where the store holds a part of the patches that the metadata list, the others are left out, and
    the log says how many; `Dataset.require_whole` refuses that.

    A file ``data.toml`` beside the label table, beside the metadata or in the store says what data
    set the patches are of, see `reben.data.identity`.

    Args:
        path: Folder of the store.
        bands: The bands to read: a band set, its word, or names separated by commas.
        metadata: One or several parquet files that list the patches; by default those inside the
            store.
        countries: Keep only patches of these countries.
        months: Keep only patches acquired in these months, 1 to 12.
        snow: Keep patches with (True) or without (False) seasonal snow, or both (None).
        cloud: Keep patches with (True) or without (False) cloud or shadow, or both (None). The
            official splits have neither snow nor cloud, hence the defaults.
        labels: The labels that patches may have, if not the 19. None takes the 19 if patches have
            no others, and otherwise the names that occur; so do the 19 for patches of one's own.
        label_table: A CSV or parquet file with your own labels, see
            `reben.data.selecting.label_table`; patches that it does not list are left out.
        fraction: Share of the train split, drawn from the patches that pass all that is above.
        fraction_by: ``tile``: whole tiles until the share is reached; ``label``: patches, such that
            each combination of labels keeps its share.
        fraction_seed: Another seed draws others; the same one draws the same on every machine.
        limit: Only the first so many patches of each split.

    Raises:
        StoreError: If the folder is not a store, or its ``store.json`` tells that the machine went
            down while it was written, or cannot be read.
        MetadataError: If there is no metadata, a filter names an unknown value, or the label table
            is unusable.
        UnknownLabelError: If a patch has a label that is not in ``labels``.
        EmptySplitError: If the filters leave no patch.
        MissingPatchError: If the store holds none of the patches.
        ConfigError: If a fraction or limit cannot be.

    Example:
        >>> data = open_dataset("store/", "s2", countries=["Austria"])  # doctest: +SKIP
        >>> data["test"].patch(0)["B02"].shape  # doctest: +SKIP
        (120, 120)
    """
    store = Store.open(path)
    record = StoreRecord.read(store.path)  # may tell that the store cannot be relied on
    if record.own is not None and labels is not None and tuple(labels) == LABELS:
        labels = None  # patches of one's own have labels of their own
    files = metadata_files(store, metadata)
    table = read_listed(store, files, labels, label_table)
    countries = countries if isinstance(countries, str | None) else tuple(countries)
    months = None if months is None else tuple(months)
    filters = Filters(countries, months, snow, cloud, fraction, fraction_by, fraction_seed, limit)
    file = None if label_table is None else Path(label_table)
    beside = [*([] if file is None else [file]), *files]
    data = Dataset(
        store,
        filters.keep(table),
        BandSet.parse(bands),
        filters.told(),
        file,
        read_description([*(place.parent for place in beside), store.path]),
        tuple(files),
        own=record.own,
    )
    kept = keep_stored(store, data.table, data.bands)
    if len(kept) < len(data):
        _logger.warning(
            "The store %s holds %s of the %s patches that the metadata list; the others are left "
            "out.%s",
            *(store.path, f"{len(kept):,}", f"{len(data):,}", why_part(store.path)),
        )
    drawn_table, drawn = filters.draw(kept)
    if drawn is not None:
        _logger.info(
            "The fraction drawn is %s of %s patches of the train split%s.",
            f"{drawn.num_patches:,}",
            f"{drawn.num_before:,}",
            f", in {len(drawn.tiles)} whole tiles" if drawn.tiles else "",
        )
    num_stored = kept.counts("split")
    parts = {
        split: StoredPart(num_stored.get(split, 0), number)
        for split, number in data.table.counts("split").items()
    }
    return replace(data, table=drawn_table, parts=parts, drawn=drawn)


def open_unlisted(store: Store, bands: BandSet) -> Dataset:
    """Return the patches of a store that holds no metadata, by their names, without labels.

    Raises:
        MetadataError: If the bands are of both missions: only metadata tell which patches pair.
        MissingPatchError: If the store holds no patch of the mission.
        StoreError: If its ``store.json`` tells that it cannot be relied on.
    """
    own = StoreRecord.read(store.path).own
    return Dataset(store, table_of_names(store, bands), bands, own=own)
