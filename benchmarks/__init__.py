"""Benchmarks, each a command; docs/performance.md has their output."""
