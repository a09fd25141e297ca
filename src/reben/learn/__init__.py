"""Logits to numbers: training, metrics, evaluation."""
