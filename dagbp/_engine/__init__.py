"""Runs kernels."""
