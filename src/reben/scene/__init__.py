"""Whole Sentinel scenes: nothing yet but their place in the house."""
