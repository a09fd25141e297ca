"""Figures of predictions: classification metrics, intervals, breakdowns, curves."""
