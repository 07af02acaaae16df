"""Samples, targets, losses, checked."""
