"""What training is made of: task, optimiser, checkpoints, records."""
