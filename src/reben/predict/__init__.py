"""Models over patches and whole scenes."""
