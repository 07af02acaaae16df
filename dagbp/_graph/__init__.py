"""The graph as the user gave it."""
