"""Vector types for Numba, and intrinsics that load, compute and store vectors."""
