"""Bytes to batches: stores, metadata, preprocessing, loading."""
