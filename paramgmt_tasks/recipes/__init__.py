"""Benchmarks composed of operations."""
