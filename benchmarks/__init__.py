"""Benchmarks of dagbp. ``python -m benchmarks NAME`` runs a suite; see README.md in this folder.

``suites`` holds one module a suite, ``harness`` what all suites share, ``peers`` the libraries that
dagbp is compared with, and ``results`` the figures by processor. Importing a module changes neither
the environment nor the process.
"""
