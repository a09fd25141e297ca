"""Folders of patches of one's own as inputs of an encoding."""

import logging
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from reben.data.encoding.inputs import EncodeInput
from reben.data.encoding.jobs import NameSet
from reben.data.encoding.own import (
    OwnFiles,
    OwnJob,
    OwnOptions,
    OwnScan,
    find_own,
    key,
    sensor_of,
    squares,
)
from reben.data.encoding.own_table import (
    Labelling,
    label_patches,
    make_table,
    tell_unmatched,
)
from reben.data.encoding.v1 import DATA_TOML, NAME, is_v1_name
from reben.data.identity import DATA_FILE as DESCRIPTION_FILE
from reben.data.metadata import METADATA_FILE, PatchTable
from reben.data.patch_folders.multiband import read_layers, to_native
from reben.data.storage.environment import stored_names
from reben.data.storage.record import OwnPatches, StoreRecord
from reben.data.storage.value import KINDS, OWN_SENTINEL1_SUFFIX, SENTINEL1, SENTINEL2, own_kind
from reben.errors import ConfigError, EncodeError, MetadataError, RebenError, StoreError
from reben.spec.bands import sensor
from reben.support.atomic import atomic_file, write_text

logger = logging.getLogger(__name__)

_MOST_TRIED = 10


@dataclass(frozen=True, eq=False)
class OwnInput(EncodeInput):
    """A folder of patches of one's own, of one sensor."""

    found: Mapping[str, OwnFiles] = field(default_factory=dict)
    twice: tuple[OwnFiles, ...] = ()
    options: OwnOptions = field(default_factory=OwnOptions)
    last: str = ""

    def scan(self, wanted: Container[str] | None, there: NameSet, num_processes: int) -> OwnScan:
        """Return the jobs that encode it."""
        job = OwnJob(self.kind.name, [], how=self.options, own=self.kind)
        return OwnScan(job, [*self.found.values(), *self.twice], self.last, there, wanted)


class OwnEncoding(NamedTuple):
    """Patches of one's own that are to be encoded."""

    inputs: list[EncodeInput]
    record: OwnPatches
    table: PatchTable | None


def plan_own(
    paths: Mapping[str, Path],
    folder: Path | None,
    options: OwnOptions,
    labelling: Labelling,
    *,
    strict: bool,
) -> OwnEncoding:
    """Return what is to be encoded.

    What the patches of a store are like, their first one tells.

    Args:
        paths: Kind -> folder.
        folder: A folder of the patches of either sensor, or of both.
        options: How values are made of files.
        labelling: Where labels come from.
        strict: Whether to refuse patches without labels, and labels without a patch.

    Raises:
        ConfigError: If there is no patch.
        MetadataError: If the labels cannot be used.
        EncodeError: If no patch can be read.
    """
    inputs = _inputs(paths, folder, options)
    firsts = {one.kind.name: _first(one) for one in inputs}
    first = firsts[inputs[0].kind.name]
    if len({one.size for one in firsts.values()}) > 1:
        sizes = " and ".join(str(one.size) for one in firsts.values())
        raise EncodeError(
            f"The first patches of both sensors have {sizes} pixels of 10 m; they must be of one "
            "size. Cut them alike."
        )
    if first.left_over:
        logger.warning(
            "Each patch is cut into %d tiles; %d pixels of 10 m at its right and bottom are left "
            "over and dropped.", len(first.endings), first.left_over,
        )  # fmt: skip
    table = _table(inputs, first.endings, labelling, strict=strict)
    record = OwnPatches(
        first.size,
        {kind: list(one.bands) for kind, one in firsts.items()},
        NAME if any(map(is_v1_name, inputs[0].found)) else "own",
        options.to_dict(),
    )
    if record.scheme == NAME:
        record.options["labels"] = labelling.scheme or "43"
    kinds = {kind: own_kind(kind, names, first.size) for kind, names in record.bands.items()}
    ready = [replace(one, kind=kinds[one.kind.name], last=first.endings[-1]) for one in inputs]
    if table is not None:
        ready = [_listed(one, first.endings, table) for one in ready]
    return OwnEncoding(list(ready), record, table)


def _inputs(paths: Mapping[str, Path], folder: Path | None, options: OwnOptions) -> list[OwnInput]:
    for path in [*paths.values(), *([] if folder is None else [folder])]:
        if not path.is_dir():
            raise ConfigError(f"{path} is no folder. Unpack it; patches of one's own lie in one.")
    if unknown := paths.keys() - {SENTINEL1.name, SENTINEL2.name}:
        raise ConfigError(f"Patches of one's own have no {unknown.pop()}. Leave that input out.")
    roots = {kind: paths.get(kind, folder) for kind in (SENTINEL2.name, SENTINEL1.name)}
    inputs = [
        one
        for kind, root in roots.items()
        if root is not None and (one := _input(kind, root, options)) is not None
    ]
    if not inputs:
        given = ", ".join(map(str, [*paths.values(), *([] if folder is None else [folder])]))
        raise ConfigError(
            f"There are no patches in {given or 'nothing'}. Name a folder with one folder for each "
            "patch (farm_1/farm_1_B02.tif), with files such as farm_1_B02.tif, or with TIFFs of "
            "several bands (farm_1.tif)."
        )
    return inputs


def _listed(one: OwnInput, endings: Sequence[str], table: PatchTable) -> OwnInput:
    """Return an input with the patches that a table lists."""
    kind = one.kind.name
    listed = set(table.s1_names if kind == SENTINEL1.name else table.patch_ids)
    found = {n: files for n, files in one.found.items() if key(kind, n + endings[0]) in listed}
    return replace(one, found=found, twice=tuple(f for f in one.twice if f.name in found))


def _input(kind: str, root: Path, options: OwnOptions) -> OwnInput | None:
    found: dict[str, OwnFiles] = {}
    twice: list[OwnFiles] = []
    has_whole: bool | None = None
    for files in find_own(root):
        if files.file:
            if has_whole is None:
                has_whole = _has_sensor(files, kind, options)
            is_of_kind = has_whole
        else:
            is_of_kind = any(sensor(band) == kind for band in files.bands)
        if not is_of_kind:
            continue
        if files.name.endswith(OWN_SENTINEL1_SUFFIX):
            raise ConfigError(
                f"A patch is called {files.name}; names that end in {OWN_SENTINEL1_SUFFIX} are "
                "those of Sentinel-1 values in a store. Call it otherwise."
            )
        if files.name in found:
            twice.append(files)
        else:
            found[files.name] = files
    if not found:
        return None
    name = root.resolve().name
    return OwnInput(KINDS[kind], name, root, found=found, twice=tuple(twice), options=options)


def _has_sensor(files: OwnFiles, kind: str, options: OwnOptions) -> bool:
    pixels, _ = read_layers(files.file, options.band_names)
    return any(sensor(band) == kind for band in pixels)


class _First(NamedTuple):
    """What the first patch that can be read is like."""

    bands: tuple[str, ...]
    size: int
    """Of its values, in pixels of 10 m."""
    endings: list[str]
    """Of the names of its values."""
    left_over: int
    """Pixels of 10 m that are in no tile."""


def _first(one: OwnInput) -> _First:
    problem: Exception | None = None
    how = one.options
    for files in islice(one.found.values(), _MOST_TRIED):
        try:
            layers = files.read(sensor_of(one.kind), how)
            size = layers.size()
            cuts = squares(size, how, layers.step(size))
            side = how.tile or how.crop or size
            native = to_native(layers.what, layers.cut(*cuts[0][1:], side, size), "centre", side)
        except RebenError as error:
            problem = problem or error
            continue
        left_over = size % how.tile if how.tile else 0
        return _First(tuple(sorted(native)), side, [ending for ending, _, _ in cuts], left_over)
    reason = str(problem).rstrip(".")
    raise EncodeError(f"No patch in {one.name} can be used, the first one since: {reason}.")


def _table(
    inputs: Sequence[OwnInput], endings: Sequence[str], how: Labelling, *, strict: bool
) -> PatchTable | None:
    main, others = inputs[0].found, [one.found for one in inputs[1:]]
    found = {name: files for of_kind in (*others, main) for name, files in of_kind.items()}
    labelled = label_patches(found, how)
    if labelled is None:
        if how.split_by is not None:
            raise ConfigError("--split-by shares out labelled patches. Pass --labels FILE as well.")
        logger.warning(
            "Nothing tells the labels of these patches, so the store can be predicted on, but not "
            "trained or evaluated on. Pass --labels FILE for that."
        )
        return None
    labelled.keep(main)
    tell_unmatched(labelled, strict=strict)
    if not labelled.rows:
        raise MetadataError(
            f"No patch has labels: there are {', '.join(list(main)[:3])}, and the labels are of "
            f"{', '.join(labelled.without_patch[:3]) or 'none'}. Names must be the same."
        )
    with_s1 = {name for one in inputs if one.kind.name == SENTINEL1.name for name in one.found}
    return make_table(labelled, main, endings, how, with_s1)


def keep_own(store: Path, planned: OwnEncoding, before: StoreRecord) -> list[Path]:
    """Write the table into the folder of a store; return the metadata files there.

    Raises:
        StoreError: If the store holds patches of another kind.
        MetadataError: If it has another table.
    """
    is_empty = next(iter(stored_names(store)), None) is None  # a first try may have left out all
    if before.sources and before.own != planned.record and not is_empty:
        raise StoreError(
            f"The store {store} holds other patches: {_what(before.own)}; these are "
            f"{_what(planned.record)}. All of a store are alike; encode into another folder."
        )
    path = store / METADATA_FILE
    if planned.table is not None:
        if path.exists():
            if not PatchTable.read(path, labels=None).rows.equals(planned.table.rows):
                raise MetadataError(
                    f"The store {store} has another {METADATA_FILE} than these labels make. Encode "
                    "into another folder, or remove that file first if the new labels are right."
                )
        else:
            with atomic_file(path) as temporary:
                pq.write_table(planned.table.rows, temporary)
    if planned.record.scheme == NAME and not (store / DESCRIPTION_FILE).exists():
        scheme = planned.record.options["labels"]
        write_text(store / DESCRIPTION_FILE, DATA_TOML.format(labels=scheme))
    return [path] if path.exists() else []


def _what(own: OwnPatches | None) -> str:
    if own is None:
        return "those of BigEarthNet v2.0, 120 x 120"
    bands = "; ".join(",".join(names) for names in own.bands.values())
    return f"{own.scheme}, {own.size} x {own.size}, {bands}, {own.options}"
