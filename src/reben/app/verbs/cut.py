"""The verb that cuts patches out of scenes: cut."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reben.app.flags import AsJson, Share, Switch
from reben.app.terminal import print_json, print_text, progress_bar, talk
from reben.app.verbs.scene import OpeningFlags

_NO_FLAGS = OpeningFlags()
_SHOWN = 10


def cut(  # noqa: PLR0913 - all but the first are flags
    product: str,
    /,
    *,
    at: Path,
    out: Path,
    size: int = 1200,
    within: Switch = False,
    id_column: Annotated[str | None, Parameter(name="--id")] = None,
    labels: str = "labels",
    max_bad: Share = 0.25,
    sentinel1: str | None = None,
    opening: OpeningFlags = _NO_FLAGS,
    as_json: AsJson = False,
) -> None:
    """Cut patches out of a scene by points or polygons, as folders that encode and predict take.

    Nothing is resampled: a point gives the patch around it, moved by up to 30 m onto pixels of 60
    m; a polygon gives the patches that it touches of a grid from the scene's upper left corner.

    Args:
        product: A Sentinel-2 product, or one of Sentinel-1, as predict-scene takes it.
        at: Points or polygons: GeoJSON, GeoPackage, shapefile or WKT.
        out: The folder to write, new or empty: S2 and S1 hold the patches, labels.csv their labels.
        size: Side length of the patches in metres, a multiple of 60; 1200 for the published models.
        within: Only patches that lie in their polygon as a whole.
        id_column: Column of --at that names the patches. Default: they are numbered.
        labels: Column of --at with labels, separated by semicolons.
        max_bad: Share of pixels without data, under clouds or in shadow above which a patch is left
            out.
        sentinel1: A Sentinel-1 product of the same place, to be cut at the same spots.
        opening: How products are opened.
        as_json: Write the result as JSON.
    """
    from reben.scene.cut import cut_patches

    with progress_bar("patches") as progress:
        found = cut_patches(
            product,
            at,
            out,
            size=size,
            within=within,
            id_column=id_column,
            labels_column=labels,
            max_bad=max_bad,
            sentinel1=sentinel1,
            opening=opening.opening,
            progress=progress,
        )
    talk(f"{len(found.names)} patches, {len(found.left_out)} left out.")
    for name, reason in list(found.left_out.items())[:_SHOWN]:
        talk(f"Left out: {name}: {reason}.")
    if len(found.left_out) > _SHOWN:
        talk(f"... and {len(found.left_out) - _SHOWN} more; all are in {out / 'cut.json'}.")
    if as_json:
        print_json(found.to_dict())
        return
    print_text(str(out))
