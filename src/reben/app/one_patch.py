"""One patch on the command line: read from wherever it is, shown with its highest scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reben.app.terminal import print_table, print_text
from reben.errors import ConfigError
from reben.spec.bands import BandSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reben.data.multiband import Resample
    from reben.model.scores import Scores


class _FileFlags(Protocol):
    """How files are read."""

    @property
    def s1(self) -> Path | None:
        """Folder of Sentinel-1 patches."""

    @property
    def metadata(self) -> tuple[Path, ...]:
        """Tables that pair them."""

    @property
    def band_names(self) -> str | None:
        """Names of bands."""

    @property
    def resample(self) -> "Resample":
        """How bands get their size back."""


def read_one(
    inputs: tuple[Path, ...], patch: str | None, bands: BandSet, flags: _FileFlags
) -> tuple[dict[str, "NDArray[Any]"], list[str] | None]:
    """Return the raw values of one patch, and its true labels where they are known.

    Raises:
        ConfigError: If the inputs are not one patch.
        RebenError: If it cannot be read.
    """
    from reben.data.store import DATA_FILE

    if not inputs:
        raise ConfigError("There is nothing to predict. Name a patch folder, or a store.")
    if (inputs[0] / DATA_FILE).is_file():
        if len(inputs) > 1:
            raise ConfigError(f"{inputs[0]} is a store; it is the only input there can be.")
        return _read_from_store(inputs[0], patch, bands)
    if patch is not None:
        raise ConfigError(
            f"--patch {patch} names a patch of a store, but {inputs[0]} is none (it holds no "
            f"{DATA_FILE}). Leave --patch out for a patch folder."
        )
    if inputs[0].is_file() and len(inputs) == 1:
        from reben.data.multiband import read_multiband

        names = None if flags.band_names is None else flags.band_names.split(",")
        return read_multiband(inputs[0], bands, names=names, resample=flags.resample), None
    return _read_folders(inputs, bands, flags), None


def _read_folders(
    inputs: tuple[Path, ...], bands: BandSet, flags: _FileFlags
) -> dict[str, "NDArray[Any]"]:
    """Return the bands of the folders of one patch."""
    from reben.data.patch_folder import read_patch_folder

    if flags.s1 is None and not flags.metadata:
        return read_patch_folder(*inputs)
    from reben.data.patch_tree import PatchTree

    places = list(PatchTree(inputs[:1], bands, flags.s1, flags.metadata))
    if len(places) != 1 or len(inputs) != 1:
        raise ConfigError(
            f"There are {len(places)} patches in {inputs[0]}. Name one, or a table: --out FILE."
        )
    if places[0].problem is not None:
        raise places[0].problem
    return read_patch_folder(*places[0].paths)


def _read_from_store(
    store: Path, patch: str | None, bands: BandSet
) -> tuple[dict[str, "NDArray[Any]"], list[str]]:
    from reben.data.loader import open_dataset

    dataset = open_dataset(store, bands, snow=None, cloud=None, labels=None)
    if patch is None:
        raise ConfigError(
            f"{store} is a store of {len(dataset)} patches. Name one with --patch, for example "
            f"--patch {dataset.table.patch_ids[0]}, or a table for all: --out FILE."
        )
    row = dataset.table.position(patch)
    return dataset.patch(row), sorted(dataset.table.label_names[row])


def print_scores(
    scores: "Scores", top: int, threshold: float | None, true_labels: list[str] | None
) -> None:
    """Write the highest scores of a patch as a table."""
    above = set(scores.above(threshold))
    rows = [
        (label, f"{score:.4f}", "yes" if label in above else "")
        + (() if true_labels is None else ("yes" if label in true_labels else "",))
        for label, score in scores.top(top)
    ]
    columns = ("label", "score>", "above threshold")
    print_table(columns if true_labels is None else (*columns, "true label"), rows)
    if true_labels is not None:
        print_text(f"True labels: {'; '.join(true_labels) or 'none'}")
