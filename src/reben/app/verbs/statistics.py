"""The verb that measures mean and deviation of the bands of a store: statistics."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from reben.app.flags import AsJson
from reben.app.terminal import print_json, print_table, progress_bar, talk
from reben.spec.statistics import LARGEST_SIDE, Upsampling

_Side = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=LARGEST_SIDE))]


def statistics(  # noqa: PLR0913 - all are flags
    store: Path,
    /,
    *,
    split: str = "train",
    bands: str = "all_full",
    image_size: _Side = 120,
    upsampling: Upsampling = "nearest",
    metadata: Path | None = None,
    out: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Measure mean and standard deviation of each band over a split of a store, exactly.

    The file that --out names is what reben train --statistics takes. Pixels without data do not
    count. Patches with snow, cloud or shadow are left out, as in training.

    Args:
        store: Folder of the store.
        split: train, validation or test.
        bands: Bands: s1, s2, all, s2_full, all_full, rgb, 10m, or B08,B04,...
        image_size: Side length in pixels that the bands are brought to first, as a model does.
        upsampling: How bands of 20 m and 60 m are resampled to that size.
        metadata: The metadata file, if it is not in the store.
        out: File to write, for example statistics.json.
        as_json: Write the result as JSON.
    """
    from reben.data.opening import open_dataset

    dataset = open_dataset(store, bands, metadata=metadata, labels=None)[split]
    # Not before: it imports what takes seconds.
    from reben.data.statistics import measure_statistics, write_statistics

    with progress_bar("patches") as progress:
        found = measure_statistics(
            dataset, size=image_size, upsampling=upsampling, progress=progress
        )
    talk(f"{found.statistics.source[0].upper()}{found.statistics.source[1:]}.")
    if out is not None:
        talk(f"Written to {write_statistics(found, out)}; to train with: --statistics {out}")
    if as_json:
        print_json(found.to_dict())
        return
    size = f"{image_size} px {upsampling}"
    print_table(
        ("band", "mean>", "deviation>", f"mean, {size}>", f"deviation, {size}>", "no data>"),
        [
            (
                name,
                *(f"{figure:.4f}" for figure in found.native[name]),
                f"{found.statistics.mean[name]:.4f}",
                f"{found.statistics.std[name]:.4f}",
                found.num_excluded[name],
            )
            for name in found.native
        ],
    )
