"""The files that predictions are written into: maps, tables, pictures."""
