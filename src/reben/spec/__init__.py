"""What BigEarthNet v2.0 is: bands, labels, patch names, statistics (standard library only)."""
