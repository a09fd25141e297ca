"""The verbs that get, make and show data: sample, download, synthesize, encode, inspect."""

import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from reben.app.flags import AsJson, Switch, formerly
from reben.app.terminal import (
    Bar,
    format_bytes,
    print_json,
    print_place,
    print_table,
    print_text,
    progress_bar,
    talk,
)
from reben.errors import ConfigError, EncodeError, StoreError
from reben.spec.patches import PATCH_METRES

if TYPE_CHECKING:
    from reben.data.encoding.report import EncodeReport, Progress
    from reben.data.inspection import StoreSummary, Verification

_SHOWN = 20
Files = Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="")]


def sample(folder: Path, /, *, from_wheel: Path | None = None, as_json: AsJson = False) -> None:
    """Fetch the 24 real patch pairs of BigEarthNet v2.0 into a store.

    They are test data of the package configilm 0.7.1, which pip downloads (55 MB) and whose
    checksum is verified. A second call on the same folder does nothing.

    Args:
        folder: Folder of the store.
        from_wheel: Use this wheel of the package instead of downloading it.
        as_json: Write the result as JSON.
    """
    from reben.data.sample import fetch_sample

    store = fetch_sample(folder, wheel=from_wheel)
    talk("24 real patch pairs of BigEarthNet v2.0; origin and licence are in NOTICE.")
    print_place("store", store, as_json=as_json)


def synthesize(folder: Path, /, *, patches: int, seed: int = 0, as_json: AsJson = False) -> None:
    """Write synthetic patches in the layout of BigEarthNet v2.0: GeoTIFFs, maps and metadata.

    Args:
        folder: A new or empty folder.
        patches: Number of patch pairs.
        seed: The same seed gives the same pixels.
        as_json: Write the result as JSON.
    """
    from reben.data.synthesize import synthesize as make

    with progress_bar("patches") as progress:
        tree = make(folder, num_patches=patches, seed=seed, progress=progress)
    print_place("tree", tree, as_json=as_json)


def inspect(
    store: Path,
    /,
    *,
    metadata: Files = (),
    verify: Switch = False,
    as_json: AsJson = False,
) -> None:
    """Show what a store holds: counts, sizes, shapes, and what is missing.

    Args:
        store: Folder of the store.
        metadata: Metadata tables (parquet) that list its patches. Default: those in it.
        verify: Also read every value, and list those that are damaged.
        as_json: Write the result as JSON.
    """
    from reben.data.inspection import summarise_store

    summary = summarise_store(store, metadata)
    found = _verify(store) if verify else None
    if as_json:
        print_json(summary.to_dict() | ({} if found is None else {"verified": found.to_dict()}))
    else:
        _print_summary(summary)
        if found is not None:
            _print_verification(found)
    if found is not None and found.problems:
        first = found.problems[0]
        raise StoreError(
            f"{found.num_problems} of the {found.num_values} values in {store} are not as they "
            f"should be, the first one {first.name}: {first.reason}. Encode the store again."
        )


def _verify(store: Path) -> "Verification":
    from reben.data.inspection import verify_store

    with progress_bar("values") as progress:
        return verify_store(store, progress)


def _print_verification(found: "Verification") -> None:
    size = format_bytes(found.num_bytes)
    print_text(f"\nVerified: {found.num_values} values, {size}; {found.num_problems} problems")
    if found.problems:
        print_table(("value", "problem"), found.problems[:_SHOWN])
    if found.num_problems > _SHOWN:
        print_text(f"... and {found.num_problems - _SHOWN} more; --json lists them")


def _print_summary(summary: "StoreSummary") -> None:
    print_text(f"{summary.path}: {format_bytes(summary.num_bytes)}")
    if summary.own:
        print_text(f"{summary.own}.")
    samples = {
        kind: ", ".join(f"{t.name} {'x'.join(map(str, t.shape))} {t.dtype}" for t in tensors)
        for kind, tensors in summary.samples.items()
    }
    values = [(kind, count, samples[kind]) for kind, count in summary.values.items()]
    print_table(("kind", "values>", "the first one's tensors"), values, title="In the store")
    if not summary.metadata:
        talk("There is no metadata table in the folder: splits and labels are unknown.")
        return
    files = ", ".join(summary.metadata)
    print_text(f"\n{summary.num_patches} patches are listed in {files}.")
    splits = [(name, count, summary.clear_splits[name]) for name, count in summary.splits.items()]
    print_table(("split", "patches>", "without snow, cloud, shadow>"), splits)
    near = ", ".join(f"{count} of {name}" for name, count in (summary.neighbours or {}).items())
    if near:
        print_text(f"Less than {PATCH_METRES} m from a patch of another split: {near}")
    print_table(("country", "patches>"), list(summary.countries.items()))
    print_table(("label", "patches>"), list(summary.labels.items()))
    for mission, names in (
        ("Sentinel-2", summary.missing_sentinel2),
        ("Sentinel-1", summary.missing_sentinel1),
    ):
        first = f", the first one {names[0]}" if names else ""
        print_text(f"Listed there but missing in the store, {mission}: {len(names)}{first}")
    print_text(f"In the store but not listed there, Sentinel-2: {summary.num_unlisted}")


def download(
    folder: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    only: str | None = None,
    record: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Download the archives of BigEarthNet v2.0 from Zenodo; resume an earlier download.

    Names, sizes and MD5 sums are read from the record, and every file is verified.

    Args:
        folder: Folder for the files. A single dash writes one file to stdout as it arrives, for a
            pipe: reben download - --only s2 | reben encode --s2 - --out STORE
        only: Parts to download, separated by commas: s1, s2, reference_maps, metadata.
        record: URL of another record's JSON.
        as_json: Write the result as JSON.
    """
    from reben.data.download import RECORD_URL, stream
    from reben.data.download import download as fetch

    parts = None if only is None else only.split(",")
    address = record or RECORD_URL
    with progress_bar("archives", in_bytes=True) as bar:
        progress = None if bar is None else _show_download(bar)
        if str(folder) == "-":
            if as_json or parts is None:
                raise ConfigError("A pipe takes one part: name it with --only, without --json.")
            stream(sys.stdout.buffer, only=parts, record_url=address, progress=progress)
            return
        paths = fetch(folder, only=parts, record_url=address, progress=progress)
    talk(f"{format_bytes(sum(path.stat().st_size for path in paths))} verified.")
    if as_json:
        print_json({"files": [str(path) for path in paths]})
    else:
        for path in paths:
            print_text(str(path))


def _show_download(bar: Bar) -> Callable[[str, int, int], None]:
    return lambda name, done, size: bar(done, size, what=name)


_ONE = validators.Number(gte=1)
Processes = Annotated[int | None, formerly("--workers"), Parameter(validator=_ONE)]
Input = Annotated[Path | None, Parameter(allow_leading_hyphen=True)]
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]
_SHOWN_LEFT_OUT = 10


def encode(  # noqa: PLR0913 - one for each flag
    folder: Path | None = None,
    /,
    *,
    out: Path,
    s1: Input = None,
    s2: Input = None,
    reference_maps: Input = None,
    metadata: Files = (),
    processes: Processes = None,
    split: str | None = None,
    country: Names = (),
    limit: Annotated[int | None, Parameter(validator=_ONE)] = None,
    labels: Path | None = None,
    split_by: Literal["tile", "block", "random"] | None = None,
    split_seed: int = 0,
    band_names: str | None = None,
    resample: Literal["auto", "exact", "mean", "centre"] = "exact",
    crop: Annotated[int | None, Parameter(validator=_ONE)] = None,
    tile: Annotated[int | None, Parameter(validator=_ONE)] = None,
    scheme: Literal["43", "19"] | None = None,
    strict: Switch = False,
    as_json: AsJson = False,
) -> None:
    """Write patches from folders or archives into a store.

    An input is an unpacked folder; an archive as published (.tar, .tar.gz, .tar.zst); the first
    part of a split archive; or - for an archive on stdin. Archives are read as streams. The store
    is valid at any moment: the same command resumes one that was stopped, and another command may
    add other inputs to the same store.

    Args:
        folder: The folder that reben download filled, or an unpacked tree. Sentinel-1, Sentinel-2,
            reference maps and metadata are found in it, unless a flag names them.
        out: Folder of the store.
        s1: Sentinel-1 patches.
        s2: Sentinel-2 patches.
        reference_maps: Reference maps.
        metadata: Metadata tables (parquet), which are copied into the store.
        processes: Number of processes; by default the usable cores.
        split: Encode only this split, by the metadata: train, validation or test.
        country: Encode only patches of these countries.
        limit: Encode only the first so many patches of the metadata.
        labels: The labels of patches of your own, of any name and size: a CSV or parquet file, by
            the column patch_id, or GeoJSON or GeoPackage, by patch_id or by place.
        split_by: Share patches of your own out to splits, by tile, block or at random, if the file
            of labels has no column split.
        split_seed: Another seed gives other splits.
        band_names: Names of the bands of TIFFs of several, separated by commas, - for one to skip;
            by default their descriptions.
        resample: How bands of 20 m and 60 m on a grid of 10 m are brought to their own pixels, as
            for predict.
        crop: Keep a square of so many pixels of 10 m in the middle of each patch.
        tile: Cut each patch into squares of so many pixels of 10 m, called NAME_r0_c0.
        scheme: The labels of BigEarthNet v1: its 43, or the 19 that v2.0 has. Default: 43.
        strict: Stop at the first patch that would be left out, and fail if patches listed in the
            metadata are missing.
        as_json: Write the report as JSON.
    """
    from reben.data.encode import encode as make

    try:
        with progress_bar("patches") as bar:
            report = make(
                out,
                s1=s1,
                s2=s2,
                reference_maps=reference_maps,
                metadata=metadata,
                workers=processes,
                split=split,
                countries=country or None,
                limit=limit,
                strict=strict,
                folder=folder,
                labels=labels,
                split_by=split_by,
                split_seed=split_seed,
                band_names=None if band_names is None else band_names.split(","),
                resample=resample,
                crop=crop,
                tile=tile,
                scheme=scheme,
                progress=None if bar is None else _show_encoding(bar),
            )
    except EncodeError as error:
        if error.report is not None:
            _print_report(error.report, as_json=as_json)
        raise
    _print_report(report, as_json=as_json)


def _print_report(report: "EncodeReport", *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
        return
    rows = [
        (kind, count, report.there[kind], report.same[kind], report.failed[kind])
        for kind, count in report.new.items()
    ]
    columns = ("kind", "new>", "there before>", "twice, the same>", "left out>")
    print_table(columns, rows, title=f"Store {report.store}")
    rate = sum(report.new.values()) / max(report.seconds, 1e-9)
    talk(f"{format_bytes(report.num_bytes)} in {report.seconds:.1f} s, {rate:.0f} patches/s.")
    for kind, count in report.filled.items():
        if count:
            talk(
                f"{kind}: {count} patches had a few pixels without data, which were filled with "
                "the median of their band."
            )
    for kind, count in report.absent.items():
        if count:
            first = ", ".join(report.absent_names[kind])
            more = ", ..." if count > len(report.absent_names[kind]) else ""
            talk(f"Listed in the metadata but missing, {kind}: {count} ({first}{more})")
    for failure in report.failures[:_SHOWN_LEFT_OUT]:
        talk(f"Left out: {failure.kind} {failure.name}: {failure.reason}.")
    num_failed = sum(report.failed.values())
    if num_failed > _SHOWN_LEFT_OUT:
        talk(f"... and {num_failed - _SHOWN_LEFT_OUT} more.")


def _show_encoding(bar: Bar) -> "Progress":
    started = monotonic()

    def show(done: int, total: int | None, num_bytes: int) -> None:
        seconds = max(monotonic() - started, 1e-9)
        bar(done, total, note=f"{done / seconds:.0f}/s {format_bytes(num_bytes / seconds)}/s")

    return show
