"""Reports to model cards."""
