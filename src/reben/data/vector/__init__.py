"""Vector files: their features, and the areas that they outline."""
