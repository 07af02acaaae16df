"""Formulas: elementary functions, activations, losses, optimizers, regularisation and random bits.

Built-in activations, losses and update rules are stated here once. `dagbp.activations`,
`dagbp.losses` and `dagbp.optimizers` read them from the tables `FORMULAS` and the decorated
kernels. The modules import `_checks`, `_compiler`, and of the kernels `vectors`, `frames` and
`signatures`; `regularise` also imports the barrier from `passes`.
"""
