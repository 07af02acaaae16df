"""Shared code of the suites: environment, times, networks, races, results, charts, report."""
