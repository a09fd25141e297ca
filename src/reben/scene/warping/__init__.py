"""Sources of any reference system, warped to a grid of metres strip by strip."""
