"""Sentinel-1: what backscatter is, and how it comes to lie on the grid of a scene."""
