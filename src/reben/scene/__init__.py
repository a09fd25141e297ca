"""A Sentinel product, opened: bands, grid, mask; no model in it."""
