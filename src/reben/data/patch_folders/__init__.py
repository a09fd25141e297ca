"""Patches in folders: finding them, telling their files apart, reading them."""
