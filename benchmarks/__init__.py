"""Measurements, each a command; docs/performance.md shows what they printed."""
