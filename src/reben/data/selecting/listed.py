"""The tables that list the patches of a store: in its folder, beside it, or of one's own."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE, PatchTable
from reben.data.store import Store
from reben.errors import MetadataError

_logger = logging.getLogger(__name__)


def read_listed(
    store: Store,
    files: Sequence[Path],
    labels: Sequence[str] | None,
    label_table: str | Path | None,
) -> PatchTable:
    """Return the patches that metadata files or a table of own labels list; see `open_dataset`."""
    if label_table is not None:
        from reben.data.selecting.label_table import read_label_table

        known = PatchTable.read(*files, labels=None) if files else None
        own = read_label_table(label_table, known, labels=labels)
        left_out = 0 if known is None else len(set(known.patch_ids).difference(own.patch_ids))
        if left_out:
            _logger.warning(
                "%s does not list %d of the %d patches in the metadata; they are left out.",
                *(label_table, left_out, len(known or ())),
            )
        return own
    if not files:
        raise MetadataError(
            f"The store {store.path} holds no {METADATA_FILE}, which lists patches and labels. "
            "Pass metadata= (--metadata FILE), or copy the file into the store."
        )
    return PatchTable.read(*files, labels=labels)


def stored_metadata(store: Store) -> list[Path]:
    """Return the metadata files in the folder of a store."""
    stored = (store.path / name for name in (METADATA_FILE, SNOW_CLOUD_FILE))
    return [file for file in stored if file.is_file()]


def metadata_files(store: Store, metadata: str | Path | Iterable[str | Path] | None) -> list[Path]:
    """Return the metadata files that were given, or else those in the store."""
    if metadata is None:
        return stored_metadata(store)
    files = [Path(f) for f in ([metadata] if isinstance(metadata, str | Path) else metadata)]
    if not files:
        raise MetadataError(
            "No metadata file was given. Name at least one, or leave metadata= out."
        )
    return files
