"""Made-up data: places, land cover, images."""
