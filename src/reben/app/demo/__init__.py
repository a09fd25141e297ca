"""The demo page: a model tried on patches and scenes in a browser."""
