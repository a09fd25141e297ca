"""Helpers without a subject: atomic files, processes, JSON; the standard library only."""
