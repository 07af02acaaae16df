"""The file format. It knows nothing about networks.

`container` writes and reads a file of arrays behind a JSON header, with a checksum. `values`
encodes Python values as JSON. May import the base modules alone.
"""
