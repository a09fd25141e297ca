"""Whole Sentinel scenes: products of every form, read in strips."""
