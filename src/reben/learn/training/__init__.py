"""The parts of a training: loop, state, optimiser, losses, checkpoints, record, loggers."""
