"""Checks the arrays of the user: `problem` calls `features`, and both call `arrays`.

Imports `losses`, the names of a plan, and strata below them; compiles nothing.
"""
