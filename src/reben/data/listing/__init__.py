"""Metadata tables as Arrow tables: rows that list patches."""
