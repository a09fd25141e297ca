"""Patches as one TIFF of several bands, written by rasterio."""

import numpy as np
import rasterio
from rasterio.transform import Affine

from reben.spec.bands import native_size


def write_multiband(path, bands, *, side=120, descriptions=None, metres=10, **profile):
    """Write named bands at one pixel size, coarser ones repeated; described by their names."""
    names = list(bands)
    layers = [np.kron(bands[name], np.ones([side // native_size(name)] * 2)) for name in names]
    dtype = profile.pop("dtype", "float32")
    tags = profile.pop("scales", None)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=len(names),
        dtype=dtype,
        crs=profile.pop("crs", "EPSG:32633"),
        transform=profile.pop("transform", Affine(metres, 0, 331_200, 0, -metres, 5_331_600)),
        **profile,
    ) as image:
        for place, layer in enumerate(layers, start=1):
            image.write(layer.astype(dtype), place)
        if descriptions is not False:
            image.descriptions = tuple(descriptions or names)
        if tags:
            image.scales = tags
    return path
