"""The plan as kernels read it."""
