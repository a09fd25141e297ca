"""TIFF files of one band: reading, tags, writing."""
