"""The inputs in one folder: the one that `reben.download` fills, or an unpacked tree."""

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reben.data.archives.stream import archive_names
from reben.data.downloading.session import PARTS
from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE
from reben.data.patch_folders.tree import Folder, FolderWalk, holds_maps_alone
from reben.data.storage.value import REFERENCE_MAP, SENTINEL1, SENTINEL2
from reben.errors import ConfigError, EncodeError
from reben.spec.patches import is_sentinel1_name, is_sentinel2_name

_KINDS = {
    PARTS["s2"]: SENTINEL2.name,
    PARTS["s1"]: SENTINEL1.name,
    PARTS["reference_maps"]: REFERENCE_MAP.name,
}
"""Published name -> kind."""
_FLAGS = {
    SENTINEL2.name: "--s2",
    SENTINEL1.name: "--s1",
    REFERENCE_MAP.name: "--reference-maps",
}

_TABLES = (METADATA_FILE, SNOW_CLOUD_FILE)

_log = logging.getLogger(__name__)


class FoundInputs(NamedTuple):
    """What a folder holds to be encoded."""

    inputs: dict[str, Path]
    """Kind -> folder or archive."""
    metadata: list[Path]


def find_inputs(
    folder: Path, given: Collection[str], *, needs_metadata: bool = True
) -> FoundInputs:
    """Return the inputs at or below a folder, and log them.

    Archives and folders with the published names are taken first; without them, the folder in
    which all patches of a kind lie. Kinds that are ``given`` are not looked for.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is not a folder. Pass one that holds archives or patches, or name each "
            f"input: {', '.join(_FLAGS.values())}."
        )
    for part in folder.glob(".*.part"):
        raise ConfigError(
            f"The download of {part.name[1:-5]} into {folder} is not finished. Finish it with: "
            f"reben download {folder}"
        )
    search = _Search()
    search.look_through(folder)
    inputs = {
        kind: _only(kind, found, folder)
        for kind in _FLAGS
        if kind not in given and (found := search.published[kind] or search.common_folder(kind))
    }
    if not inputs and not given:
        raise ConfigError(
            f"{folder} holds no patches and no archives of the data set. It should hold "
            f"{', '.join(_KINDS)}, as folders or as archives."
        )
    _require_apart(inputs, folder)
    tables = [search.tables[name][0] for name in _TABLES if search.tables[name]]
    tables = tables if needs_metadata else []
    for kind, path in (*inputs.items(), *(("metadata", table) for table in tables)):
        _log.info("Found %s: %s", kind, path)
    return FoundInputs(inputs, tables)


def _only(kind: str, found: Sequence[Path], folder: Path) -> Path:
    if len(found) > 1:
        listed = ", ".join(os.path.relpath(path, folder) for path in found)
        raise ConfigError(
            f"{folder} holds more than one {kind} input: {listed}. Name one: {_FLAGS[kind]} PATH"
        )
    return found[0]


class _Search:
    """What was seen in a folder, by kind."""

    def __init__(self) -> None:
        self.published: defaultdict[str, list[Path]] = defaultdict(list)
        self.tables: defaultdict[str, list[Path]] = defaultdict(list)
        self._patches: defaultdict[str, set[str]] = defaultdict(set)

    def look_through(self, folder: Path) -> None:
        """Note archives, tables, folders with a published name, and folders of patches."""
        for found in FolderWalk(_is_not_entered, EncodeError).below(folder):
            path = Path(found.path)
            if found.files is not None:
                self._note_files(path, found.files)
            elif found.name in _KINDS:
                has_archives = self._note_files(path, [file.name for file in path.iterdir()])
                if not has_archives:
                    self.published[_KINDS[found.name]].append(path)
            else:
                self._note_patch(found)

    def common_folder(self, kind: str) -> list[Path]:
        """Return the folder in which all patches of a kind lie, if there are any."""
        return [Path(os.path.commonpath(self._patches[kind]))] if self._patches[kind] else []

    def _note_files(self, folder: Path, files: Sequence[str]) -> bool:
        """Note tables and archives among files; tell whether there are archives."""
        archives = archive_names(files)
        for name in archives:
            for start, kind in _KINDS.items():
                if name.startswith(start):
                    self.published[kind].append(folder / name)
        for name in _TABLES:
            if name in files:
                self.tables[name].append(folder / name)
        return bool(archives)

    def _note_patch(self, found: Folder) -> None:
        above = os.path.dirname(found.path)  # noqa: PTH120 - many times
        if is_sentinel1_name(found.name):
            self._patches[SENTINEL1.name].add(above)
        elif not any(above in self._patches[kind.name] for kind in (SENTINEL2, REFERENCE_MAP)):
            kind = REFERENCE_MAP if holds_maps_alone(found.path) else SENTINEL2
            self._patches[kind.name].add(above)


def _is_not_entered(name: str) -> bool:
    return name in _KINDS or is_sentinel1_name(name) or is_sentinel2_name(name)


def _require_apart(inputs: Mapping[str, Path], folder: Path) -> None:
    """Return unless patches and maps, whose folders have the same names, would be mixed up."""
    pair = [inputs[kind] for kind in (SENTINEL2.name, REFERENCE_MAP.name) if kind in inputs]
    if len(pair) == 2 and (pair[0].is_relative_to(pair[1]) or pair[1].is_relative_to(pair[0])):
        raise ConfigError(
            f"Sentinel-2 patches and reference maps lie among each other in {folder}. Put them "
            "into two folders, and name these: --s2 DIR --reference-maps DIR"
        )
