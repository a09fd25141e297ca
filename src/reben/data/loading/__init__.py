"""The parts of loading: order of an epoch, memory of batches, compiled loops, threads."""
