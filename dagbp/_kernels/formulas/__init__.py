"""Formulas: elementary functions, activations, losses, optimizers, regularisation and random bits.

Built-in activations, losses and update rules are stated here once. `dagbp.activations` and
`dagbp.losses` read the tables `FORMULAS`. An optimizer needs two parts: a kernel in `update`, and a
record in `dagbp.optimizers` that names it. The modules import `_checks`, `_compiler`, and of the
kernels `vectors`, `frames` and `signatures`; `regularise` also imports the barrier from `passes`.
"""
