"""TIFF files of one band: pixels, tags, writing."""

from reben.data.tiff.read import parse_tiff, read_tiff
from reben.data.tiff.write import GeoTransform, encode_geotiff

__all__ = ["GeoTransform", "encode_geotiff", "parse_tiff", "read_tiff"]
