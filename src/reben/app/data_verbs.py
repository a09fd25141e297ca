"""The verbs that make and show data: sample, synthesize, inspect."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reben.app.terminal import (
    format_bytes,
    print_json,
    print_table,
    print_text,
    progress_bar,
    rows_of,
    talk,
)
from reben.errors import StoreError

if TYPE_CHECKING:
    from reben.data.inspection import StoreSummary
    from reben.data.verification import Verification

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
"""The flag that every verb has."""
Verify = Annotated[bool, Parameter(negative="")]
_SHOWN = 20


def sample(folder: Path, /, *, from_wheel: Path | None = None, as_json: AsJson = False) -> None:
    """Fetch the 24 real patch pairs of BigEarthNet v2.0 into a store.

    They come out of the package configilm 0.7.1, which pip downloads alone (55 MB) and whose
    checksum is verified. A second call on the same folder does nothing.

    Args:
        folder: Where the store shall lie.
        from_wheel: Take this file of the package instead of downloading it.
        as_json: Write the result as JSON.
    """
    from reben.data.sample import fetch_sample

    store = fetch_sample(folder, wheel=from_wheel)
    talk("24 real patch pairs of BigEarthNet v2.0; origin and licence are in NOTICE.")
    _print_place("store", store, as_json=as_json)


def synthesize(folder: Path, /, *, patches: int, seed: int = 0, as_json: AsJson = False) -> None:
    """Write made-up patches in the layout of BigEarthNet v2.0: GeoTIFFs, maps and metadata.

    Args:
        folder: Where the tree shall lie.
        patches: How many patch pairs to make.
        seed: The same seed gives the same pixels.
        as_json: Write the result as JSON.
    """
    from reben.data.synthesize import synthesize as make

    with progress_bar("patches") as progress:
        tree = make(folder, num_patches=patches, seed=seed, progress=progress)
    _print_place("tree", tree, as_json=as_json)


def inspect(store: Path, /, *, verify: Verify = False, as_json: AsJson = False) -> None:
    """Show what a store holds: counts, sizes, shapes, and what is missing.

    Args:
        store: Folder of the store.
        verify: Also read every value, and say which are not as they should be.
        as_json: Write the result as JSON.
    """
    from reben.data.inspection import summarise_store

    summary = summarise_store(store)
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
            f"should be, the first one {first.name}: {first.reason}. Encode the store anew."
        )


def _verify(store: Path) -> "Verification":
    from reben.data.verification import verify_store

    with progress_bar("values") as progress:
        return verify_store(store, progress)


def _print_verification(found: "Verification") -> None:
    size = format_bytes(found.num_bytes)
    print_text(f"\nVerified: {found.num_values} values, {size}; {found.num_problems} problems")
    if found.problems:
        print_table(("value", "problem"), found.problems[:_SHOWN])
    if found.num_problems > _SHOWN:
        print_text(f"... and {found.num_problems - _SHOWN} more; --json lists them")


def _print_place(what: str, folder: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({what: str(folder)})
    else:
        print_text(str(folder))


def _print_summary(summary: "StoreSummary") -> None:
    print_text(f"{summary.path}: {format_bytes(summary.num_bytes)}")
    samples = {
        kind: ", ".join(f"{t.name} {'x'.join(map(str, t.shape))} {t.dtype}" for t in tensors)
        for kind, tensors in summary.samples.items()
    }
    values = [(kind, count, samples[kind]) for kind, count in summary.values.items()]
    print_table(("kind", "values>", "the first one's tensors"), values, title="In the store")
    if not summary.metadata:
        talk("No metadata table lies in the folder, so nothing is known of splits and labels.")
        return
    files = ", ".join(summary.metadata)
    print_text(f"\n{summary.num_patches} patches are named in {files}.")
    splits = [(name, count, summary.clear_splits[name]) for name, count in summary.splits.items()]
    print_table(("split", "patches>", "without snow, cloud, shadow>"), splits)
    print_table(("country", "patches>"), rows_of(summary.countries))
    print_table(("label", "patches>"), rows_of(summary.labels))
    for mission, names in (
        ("Sentinel-2", summary.missing_sentinel2),
        ("Sentinel-1", summary.missing_sentinel1),
    ):
        first = f", the first one {names[0]}" if names else ""
        print_text(f"Named there but missing in the store, {mission}: {len(names)}{first}")
    print_text(f"In the store but not named there, Sentinel-2: {summary.num_unlisted}")
