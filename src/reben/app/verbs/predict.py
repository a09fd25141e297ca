"""The verbs that put models to use on patches: predict, embed.

One patch on the command line: read from wherever it is, shown with its highest scores.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from cyclopts import Parameter

from reben.app.flags import AsJson, AtLeastOne, AtLeastZero, Share, Switch
from reben.app.terminal import print_json, print_table, print_text, progress_bar, talk
from reben.errors import ConfigError
from reben.spec.bands import BandSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reben.data.dataset import Dataset
    from reben.data.patch_folders.multiband import Resample
    from reben.model.classifier import Classifier
    from reben.model.scores import Scores
    from reben.predict.patch_inputs import PatchSource
    from reben.predict.patch_options import PredictOutcome


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
    from reben.data.storage.environment import DATA_FILE

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
        from reben.data.patch_folders.multiband import read_multiband

        names = None if flags.band_names is None else flags.band_names.split(",")
        return read_multiband(inputs[0], bands, names=names, resample=flags.resample), None
    return _read_folders(inputs, bands, flags), None


def _read_folders(
    inputs: tuple[Path, ...], bands: BandSet, flags: _FileFlags
) -> dict[str, "NDArray[Any]"]:
    """Return the bands of the folders of one patch."""
    from reben.data.patch_folders.folder import read_patch_folder

    if flags.s1 is None and not flags.metadata:
        return read_patch_folder(*inputs)
    from reben.data.patch_folders.tree import PatchTree

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


_Paths = Annotated[tuple[Path, ...], Parameter(negative="")]
_Names = Annotated[tuple[str, ...], Parameter(negative="")]
_TOP = 5


@Parameter(name="*")
@dataclass(frozen=True)
class FileFlags:
    """How files are read."""

    s1: Path | None = None
    """Folder of the Sentinel-1 patches, for a model of both sensors; with --metadata."""
    metadata: _Paths = ()
    """Metadata that say which Sentinel-1 patch belongs to which Sentinel-2 patch; once a file."""
    band_names: str | None = None
    """Names of the bands of a multi-band TIFF in its order, with commas; - for one to leave out.
    Default: the descriptions in the file."""
    resample: Literal["exact", "mean", "centre"] = "exact"
    """How 20 m and 60 m bands in a multi-band TIFF of 10 m get their size back: exact only if
    pixels are repeated; mean of the pixels that become one; or the one at their centre."""


@Parameter(name="*")
@dataclass(frozen=True)
class StoreFlags:
    """Which patches of a store are meant."""

    split: str | None = None
    """Of a store, predict this split only: train, validation or test."""
    country: _Names = ()
    """Of a store, predict patches of this country only; may be given several times."""
    covered: Switch = False
    """Of a store, predict also the patches with snow, cloud or shadow."""


@Parameter(name="*")
@dataclass(frozen=True)
class TableFlags:
    """How a table is made."""

    geometry: bool = True
    """Whether the table says where patches lie, in longitude and latitude."""
    batch_size: AtLeastOne = 32
    """Patches that go through the network together."""
    devices: AtLeastOne = 1
    """Processes that share the work, each on an accelerator of its own if there are several."""
    workers: AtLeastZero = 2
    """Threads of each process that read ahead."""
    strict: Switch = False
    """Stop at the first bad patch, instead of leaving it out and saying so at the end."""
    overwrite: Switch = False
    """Replace FILE if it is there."""
    restart: Switch = False
    """Begin anew where an interrupted command left parts, instead of going on."""


_NO_FILE_FLAGS, _NO_STORE_FLAGS, _NO_TABLE_FLAGS = FileFlags(), StoreFlags(), TableFlags()


def predict(  # noqa: PLR0913 - all but the first two are flags
    model: str,
    /,
    *inputs: Path,
    out: Path | None = None,
    patch: str | None = None,
    top: AtLeastOne = _TOP,
    threshold: Share | None = None,
    bands: str | None = None,
    device: str = "auto",
    files: FileFlags = _NO_FILE_FLAGS,
    store: StoreFlags = _NO_STORE_FLAGS,
    table: TableFlags = _NO_TABLE_FLAGS,
    as_json: AsJson = False,
) -> None:
    """Predict patches: with --out many into a table, without it one onto the screen.

    The inputs are patch folders of TIFFs, folders of those to any depth (an unpacked
    BigEarthNet-S2), TIFFs of several bands, or a store. Without --out, the highest scores of one
    patch are shown, beside the true labels where they are known.

    An interrupted command goes on when it is given again. Patches that cannot be used are left
    out and named, and the exit code is 2.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        inputs: What to predict. For one patch of both sensors: its Sentinel-2 folder and its
            Sentinel-1 folder.
        out: File to write, one row a patch; its ending says the format: .parquet (GeoParquet),
            .geoparquet, .csv, .geojson, .jsonl.
        patch: Without --out: Sentinel-2 name of a patch in the store.
        top: Without --out: how many scores to show.
        threshold: One threshold for all labels. Default: those of the model.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        files: How files are read.
        store: Which patches of a store.
        table: How the table is made.
        as_json: Write the result as JSON.
    """
    from reben.model.open import name_of, open_model

    if out is not None:
        _require_unset("Leave it out with --out, which writes all scores.", patch=patch)
        _require_unset("Leave it out with --out.", top=None if top == _TOP else top)

        def write(classifier: "Classifier", what: Any, **how: Any) -> "PredictOutcome":  # noqa: ANN401
            from reben.predict.patches import predict_patches

            return predict_patches(classifier, what, out, threshold=threshold, **how)

        classifier = open_model(model, device, bands=bands)
        _write_table(classifier, name_of(model), inputs, (files, store, table), write, as_json)
        return
    for flags in (store, table):
        changed = {
            one.name: getattr(flags, one.name)
            for one in fields(flags)
            if getattr(flags, one.name) != one.default
        }
        _require_unset("It is for tables: name one with --out FILE.", **changed)
    classifier = open_model(model, device, bands=bands)
    values, true_labels = read_one(inputs, patch, classifier.bands, files)
    scores = classifier.predict(values)
    if as_json:
        rows = [{"label": label, "score": score} for label, score in scores.top(top)]
        above = scores.above(threshold)
        print_json({"scores": rows, "above": above, "true_labels": true_labels})
    else:
        print_scores(scores, top, threshold, true_labels)


def embed(  # noqa: PLR0913 - all but the first two are flags
    model: str,
    /,
    *inputs: Path,
    out: Path,
    bands: str | None = None,
    device: str = "auto",
    files: FileFlags = _NO_FILE_FLAGS,
    store: StoreFlags = _NO_STORE_FLAGS,
    table: TableFlags = _NO_TABLE_FLAGS,
    as_json: AsJson = False,
) -> None:
    """Write the features that a model has of patches before its head, to find similar ones by.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        inputs: Patches, as reben predict takes them.
        out: Parquet file to write, one row a patch: id, geometry, embedding.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        files: How files are read.
        store: Which patches of a store.
        table: How the table is made.
        as_json: Write the result as JSON.
    """
    from reben.model.open import name_of, open_model

    def write(classifier: "Classifier", what: Any, **how: Any) -> "PredictOutcome":  # noqa: ANN401
        from reben.predict.patches import embed_patches

        return embed_patches(classifier, what, out, **how)

    classifier = open_model(model, device, bands=bands)
    _write_table(classifier, name_of(model), inputs, (files, store, table), write, as_json)


def _write_table(
    classifier: "Classifier",
    name: str,
    inputs: tuple[Path, ...],
    flags: tuple[FileFlags, StoreFlags, TableFlags],
    write: "Callable[..., PredictOutcome]",
    as_json: bool,
) -> None:
    """Write a table, and say what came of it."""
    from reben.predict.patch_options import PredictOptions

    files, store, table = flags
    what = _patches_in(inputs, classifier, files, store)
    options = PredictOptions(
        batch_size=table.batch_size,
        devices=table.devices,
        num_workers=table.workers,
        geometry=table.geometry,
        strict=table.strict,
        overwrite=table.overwrite,
        restart=table.restart,
        name=name,
    )
    with progress_bar("patches") as progress:
        outcome = write(classifier, what, options=options, progress=progress)
    if outcome.num_resumed:
        talk(f"{outcome.num_resumed} patches were done by an earlier call.")
    if as_json:
        bad = [one._asdict() for one in outcome.bad]
        print_json(
            {
                "out": str(outcome.out),
                "num_patches": outcome.num_patches,
                "num_resumed": outcome.num_resumed,
                "num_bad": outcome.num_bad,
                "bad": bad,
                "bad_file": None if outcome.bad_file is None else str(outcome.bad_file),
            }
        )
    else:
        print_text(f"{outcome.out}: {outcome.num_patches} patches")
    outcome.require_all()


def _patches_in(
    inputs: tuple[Path, ...], classifier: "Classifier", files: FileFlags, store: StoreFlags
) -> "Dataset | PatchSource":
    """Return the patches that the inputs are."""
    from reben.data.storage.environment import DATA_FILE

    if not inputs:
        raise ConfigError("There is nothing to predict. Name patch folders, TIFFs, or a store.")
    if any((path / DATA_FILE).is_file() for path in inputs):
        if len(inputs) > 1:
            raise ConfigError("A store is the only input there can be. Make a table of each.")
        if files != _NO_FILE_FLAGS:
            raise ConfigError(
                f"{inputs[0]} is a store, which holds bands by name, and both sensors. Leave --s1, "
                "--metadata, --band-names and --resample out."
            )
        return _patches_of_store(inputs[0], classifier, store)
    if store != _NO_STORE_FLAGS:
        raise ConfigError(
            f"--split, --country and --covered choose patches of a store, and {inputs[0]} is none "
            f"(it holds no {DATA_FILE}). Leave them out, or encode the files into a store."
        )
    from reben.predict.patches import find_patches

    return find_patches(
        inputs,
        classifier.bands,
        s1=files.s1,
        metadata=files.metadata,
        band_names=None if files.band_names is None else files.band_names.split(","),
        resample=files.resample,
    )


def _patches_of_store(path: Path, classifier: "Classifier", store: StoreFlags) -> "Dataset":
    from reben.data.loader import open_dataset

    weather = None if store.covered else False
    dataset = open_dataset(
        path,
        classifier.bands,
        countries=store.country or None,
        snow=weather,
        cloud=weather,
        labels=None,
    )
    return dataset if store.split is None else dataset[store.split]


def _require_unset(cure: str, **flags: object) -> None:
    """Refuse flags that would have no effect."""
    for name, value in flags.items():
        if value is not None:
            raise ConfigError(f"--{name.replace('_', '-')} has no effect here. {cure}")
