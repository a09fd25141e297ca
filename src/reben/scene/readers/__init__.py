"""Readers of products: each turns one form into bands."""
