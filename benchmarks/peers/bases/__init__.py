"""Base classes of peers, and helpers that several peers use."""
