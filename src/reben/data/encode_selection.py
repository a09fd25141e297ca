"""Which patches to encode, by the metadata; and the metadata that a store keeps."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.data.files import write_bytes
from reben.data.name_set import NameSet
from reben.data.value import REFERENCE_MAP, SENTINEL1, SENTINEL2, KindName
from reben.errors import ConfigError, MetadataError

if TYPE_CHECKING:
    from reben.data.metadata import PatchTable

_AT_ONCE = 10_000


@dataclass(frozen=True)
class Selection:
    """What to encode.

    Args:
        wanted: Kind -> names of patch folders; empty if everything is wanted.
        asked: The filters, as the store's record keeps them.
    """

    wanted: dict[KindName, NameSet] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)


def keep_metadata(files: Iterable[str | Path], store: Path) -> list[Path]:
    """Copy metadata files into a store's folder; return all the metadata files there.

    A file called like one of the two of the data set keeps its name; one that is called
    otherwise becomes ``metadata.parquet``.

    Raises:
        MetadataError: If a file is no metadata table, if two would get the same name, or if the
            store has another one of that name.
        OutputError: If a file cannot be written.
    """
    paths = [Path(file) for file in files]
    if not paths and not any(store.glob("*.parquet")):
        return []
    from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE, PatchTable

    given: dict[str, Path] = {}
    for path in paths:
        name = path.name if path.name in (METADATA_FILE, SNOW_CLOUD_FILE) else METADATA_FILE
        if name in given and given[name] != path:
            raise MetadataError(
                f"{given[name].name} and {path.name} would both become {name} in the store. "
                f"Name one {METADATA_FILE} or one {SNOW_CLOUD_FILE}, as the data set does."
            )
        given[name] = path
    if given:
        PatchTable.read(*given.values(), labels=None)  # own ones are none of its business
    for name, path in given.items():
        content, there = path.read_bytes(), store / name
        if not there.exists():
            write_bytes(there, content)
        elif there.read_bytes() != content:
            raise MetadataError(
                f"The store {store} has another {name} than {path}. Choose another store, or "
                "remove that file first if the new one is right."
            )
    return [store / name for name in (METADATA_FILE, SNOW_CLOUD_FILE) if (store / name).exists()]


def select(
    files: Sequence[Path],
    split: str | None,
    countries: Sequence[str] | None,
    limit: int | None,
) -> Selection:
    """Return what is asked for; everything if there is no filter.

    Args:
        files: Metadata files.
        split: Only this split.
        countries: Only these countries.
        limit: Only this many patches, the first ones of the tables that pass the other filters.

    Raises:
        ConfigError: If there are filters and no metadata, or the limit is below one.
        MetadataError: If no patch is left, or a filter has an impossible value.
    """
    asked = {"split": split, "countries": countries and list(countries), "limit": limit}
    asked = {name: value for name, value in asked.items() if value is not None}
    if not asked:
        return Selection()
    if not files:
        raise ConfigError(
            f"{', '.join(asked)} cannot be applied without metadata. Pass the data set's "
            "metadata.parquet as well."
        )
    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be at least 1, and it is {limit}.")
    from reben.data.metadata import PatchTable

    table = PatchTable.read(*files, labels=None).filter(split=split, countries=countries)
    if limit is not None:
        table = table.take(range(min(limit, len(table))))
    sentinel2 = NameSet(_texts(table, "patch_id"))
    wanted = {
        SENTINEL2.name: sentinel2,
        SENTINEL1.name: NameSet(_texts(table, "s1_name")),
        REFERENCE_MAP.name: sentinel2,
    }
    return Selection(wanted, asked)


def _texts(table: "PatchTable", column: str) -> Iterator[str]:
    """Yield the texts of a column, few of them at a time as Python objects."""
    texts = table.rows.column(column)
    for start in range(0, len(texts), _AT_ONCE):
        yield from texts.slice(start, _AT_ONCE).to_pylist()
