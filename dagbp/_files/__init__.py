"""The container of a checkpoint file and its encoding of values, independent of networks.

`container` writes and reads a file of arrays behind a JSON header, with a checksum. `values`
encodes Python values as JSON. `_model.checkpoint` defines the keys of the header. If these keys
change, `container.FORMAT` must be raised. May import the base modules only.
"""
