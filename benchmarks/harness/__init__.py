"""What all suites share: environment, times, networks, races, results, charts and the report."""
