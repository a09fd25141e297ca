"""The import path that published model cards name: re-exports, nothing else."""
