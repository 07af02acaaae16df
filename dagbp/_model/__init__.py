"""A network below its public class: `Model`, and all that is a view or a copy of it.

`Model` holds the graph arrays, the plan, the engine, the engine's lock and the state of the last
training run. `views` gives values by label, `summary` describes a model in words, `snapshot` and
`checkpoint` save and restore it. May import `_graph`, `_plan`, `_layout`, `_data`, `_engine`,
`_history`, `_files`, the public records and the base modules.
"""
