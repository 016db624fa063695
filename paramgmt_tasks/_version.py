"""The version of this package: what a build reads without importing anything else."""

__version__ = "0.1.0"
