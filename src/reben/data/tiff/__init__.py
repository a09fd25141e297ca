"""TIFF files of one band: pixels, tags, writing."""

from reben.data.tiff.read import parse_tiff, read_tiff
from reben.data.tiff.write import GeoTransform, write_geotiff

__all__ = ["GeoTransform", "parse_tiff", "read_tiff", "write_geotiff"]
