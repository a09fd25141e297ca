"""What loading is made of: the order of an epoch, batch memory, compiled loops, threads."""
