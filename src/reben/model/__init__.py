"""Batches to logits: the classifier, its config, its scores."""
