"""Configuration of Sphinx; CONTRIBUTING.md has the command that builds the site."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "_ext")]

import figures  # noqa: E402
import pictures  # noqa: E402

import dagbp  # noqa: E402

project = "dagbp"
version = release = dagbp.__version__
project_copyright = "the dagbp developers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "complete", "formulas", "pictures"]
exclude_patterns = ["_generated"]
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*")]  # single backticks in docstrings also mark parameters

myst_enable_extensions = ["colon_fence", "dollarmath", "substitution"]
myst_heading_anchors = 3
myst_substitutions = figures.substitutions()

default_role = "py:obj"
add_module_names = False
python_maximum_signature_line_length = 80
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"no-value": True}
numpydoc_show_class_members = False
smartquotes = False  # a quoted name is code
documented_as_modules = [
    "dagbp.__version__",
    *(f"dagbp.{name}" for name in ("activations", "callbacks", "losses", "optimizers")),
]

html_theme = "furo"
html_title = "dagbp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_generated/pages"]
html_math_renderer = "mathml"
html_copy_source = False


def find_at_top(app, env, node, contnode):
    """Resolve a name of `dagbp` in a docstring of another module."""
    if node.get("refdomain") != "py" or node["reftarget"].split(".")[0] not in dagbp.__all__:
        return None
    target = f"dagbp.{node['reftarget']}"
    py = env.get_domain("py")
    return py.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], target, node, contnode
    )


def demote_headings(app, what, name, obj, options, lines):
    """Make the heading "Examples" of a module a line in bold, as in the docstrings of functions."""
    if what == "module" and "Examples" in lines:
        k = lines.index("Examples")
        lines[k : k + 2] = [".. rubric:: Examples", ""]


def setup(app):
    """Draw the pictures, and connect the functions for names and headings."""
    pictures.draw_all(HERE / "_generated")
    app.connect("missing-reference", find_at_top)
    app.connect("autodoc-process-docstring", demote_headings, priority=400)  # before numpydoc
