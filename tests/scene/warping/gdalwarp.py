#!/usr/bin/env python
"""Stands in for gdalwarp where there is none: warps with rasterio by the same arguments."""

import argparse

import rasterio
from rasterio.warp import Resampling, reproject, transform_bounds

RESAMPLINGS = {"near": Resampling.nearest, "bilinear": Resampling.bilinear}


def warp(given):
    (across, down), crs = given.tr, given.t_srs
    with rasterio.open(given.source) as image:
        edges = given.te
        if edges is None:
            assert given.tap
            found = transform_bounds(image.crs, crs, *image.bounds)
            left, bottom, right, top = (edge // across * across for edge in found)
            edges = left, bottom, right + across, top + down
        left, bottom, right, top = edges
        width, height = round((right - left) / across), round((top - bottom) / down)
        place = {"crs": crs, "transform": rasterio.Affine(across, 0, left, 0, -down, top)}
        profile = image.profile | place | {"driver": "GTiff", "width": width, "height": height}
        with rasterio.open(given.out, "w", **profile) as warped:
            for band in range(1, image.count + 1):
                reproject(
                    rasterio.band(image, band),
                    rasterio.band(warped, band),
                    resampling=RESAMPLINGS[given.r],
                )
            warped.descriptions = image.descriptions


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-t_srs", required=True)
    parser.add_argument("-tr", nargs=2, type=float, required=True)
    parser.add_argument("-te", nargs=4, type=float)
    parser.add_argument("-tap", action="store_true")
    parser.add_argument("-r", required=True)
    parser.add_argument("source")
    parser.add_argument("out")
    warp(parser.parse_args())
