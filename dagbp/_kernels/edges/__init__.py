"""Sums over edges: sparse, in dense panels, by source blocks, and rows that mix these."""
