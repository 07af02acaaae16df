"""The file format: arrays behind a JSON header (`container`), and Python values in it (`values`).

Imports only `_errors` and `_memory`.
"""
