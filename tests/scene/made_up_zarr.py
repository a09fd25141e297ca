"""Products of ESA's EOPF in Zarr, in as far as anything reads them."""

import shutil
from pathlib import Path

import numpy as np
import zarr

from scene.made_up_product import PIXEL_METRES, TIME, Made, numbers, scene_classes

NAME = f"S2A_MSIL2A_{TIME}_N0511_R022_T33UUP_20230822T021825"
GROUPS = {10: "r10m", 20: "r20m", 60: "r60m"}


def make_zarr(
    folder,
    *,
    zarr_format=2,
    bands=tuple(PIXEL_METRES),
    width=240,
    height=180,
    left=300_000,
    top=5_900_040,
    epsg=32633,
    scale=0.0001,
    offset=-0.1,
    baseline="05.11",
    level="L2A",
    cloudy_columns=60,
    chunks=(100, 240),
    attributes=None,
    consolidated=True,
    **properties,
):
    """Write a product and return it; ``attributes`` are put over those of each band."""
    name = NAME.replace("L2A", level)
    made = Made(Path(folder) / f"{name}.zarr")
    root = zarr.open_group(str(made.path), mode="w", zarr_format=zarr_format)
    root.attrs.update(
        {
            "other_metadata": {"horizontal_CRS_code": f"EPSG:{epsg}"},
            "stac_discovery": {
                "type": "Feature",
                "id": f"{name}.SAFE",
                "properties": {
                    "platform": "sentinel-2a", "constellation": "sentinel-2",
                    "mission": "copernicus", "instrument": "msi", "datetime": None,
                    "start_datetime": "2023-08-21T10:10:31.024000+00:00",
                    "eopf:baseline": baseline, "processing:level": level,
                    "processing:version": "", "product:type": f"S02MSI{level}",
                    "proj:epsg": epsg, **properties,
                },
            },
        }
    )  # fmt: skip

    def add(path, values, metres, told):
        group = root.require_group(path.rpartition("/")[0])
        if "x" not in group:
            for axis, size, first, step in (
                ("x", values.shape[1], left, metres), ("y", values.shape[0], top, -metres),
            ):  # fmt: skip
                centres = first + step // 2 + step * np.arange(size)
                group.create_array(
                    axis, data=centres.astype(np.int64), **named(zarr_format, [axis])
                )
        place = {
            "proj:epsg": epsg, "proj:shape": list(values.shape),
            "proj:transform": [float(metres), 0.0, left, 0.0, -float(metres), top, 0.0, 0.0, 1.0],
        }  # fmt: skip
        told = {**place, **told}
        array = group.create_array(
            path.rpartition("/")[2], shape=values.shape, dtype=values.dtype,
            chunks=tuple(map(min, chunks, values.shape)), fill_value=0,
            **named(zarr_format, ["y", "x"], told),
        )  # fmt: skip
        array[:] = values

    for band in bands:
        native = PIXEL_METRES[band]
        made.stored[band] = numbers(band, width, height)
        told = {"units": "digital_counts", "fill_value": 0, "valid_min": 1, "dtype": "<u2"}
        told |= {key: value for key, value in (("scale_factor", scale), ("add_offset", offset))
                 if value is not None}  # fmt: skip
        told = {"_eopf_attrs": dict(told), **told, **(attributes or {})}
        path = f"measurements/reflectance/{GROUPS[native]}/{band.lower()}"
        add(path, made.stored[band], native, told)
        if native == 10:  # coarser copies, of other numbers
            coarse = np.full((height // 2, width // 2), 7, np.uint16)
            add(f"measurements/reflectance/r20m/{band.lower()}", coarse, 20, told)
    made.scl = scene_classes(width, height, cloudy_columns=cloudy_columns)
    add("conditions/mask/l2a_classification/r20m/scl", made.scl, 20, {"_eopf_attrs": {}})
    if consolidated:
        zarr.consolidate_metadata(str(made.path), zarr_format=zarr_format)
    return made


def named(zarr_format, axes, told=None):
    """Arguments that give an array its attributes, and its axes their names for xarray."""
    if zarr_format == 2:
        return {"attributes": {"_ARRAY_DIMENSIONS": axes, **(told or {})}}
    return {"attributes": told or {}, "dimension_names": axes}


def zip_zarr(made, path, inside=True):
    """Zip a product, with its folder at the top or without."""
    root = made.path.parent if inside else made.path
    base = made.path.name if inside else "."
    return Path(shutil.make_archive(str(path.with_suffix("")), "zip", root, base))
