"""Archives as streams: joined parts, decompression, the members of a tar file."""
