"""Convert TeX to MathML at the build. Browsers show MathML without a script or a font."""

import re

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError

# A real prime, a visible hat, and large sums and fractions on every line.
BETTER = {
    "<mo>'</mo>": "<mo>′</mo>",
    '<mo stretchy="false">ˆ</mo>': '<mo stretchy="false">^</mo>',
    "<mtable": '<mtable displaystyle="true"',
}


def mathml(translator, node, as_block):
    """Return the MathML of a formula; each paragraph of a displayed formula is a line."""
    tex = node.astext().strip()
    if as_block:
        tex = r" \\ ".join(part.strip() for part in re.split(r"\n\s*\n", tex))
    try:
        markup = tex2mathml(tex, as_block=as_block)
    except Exception as error:
        page = translator.builder.current_docname
        raise ExtensionError(f"{page}: no MathML for the formula {tex!r}: {error}") from error
    for found, better in BETTER.items():
        markup = markup.replace(found, better)
    return markup


def visit_inline(translator, node):
    """Write an inline formula."""
    translator.body.append(mathml(translator, node, as_block=False))
    raise SkipNode


def visit_block(translator, node):
    """Write a displayed formula."""
    formula = mathml(translator, node, as_block=True)
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise SkipNode


def setup(app):
    """Register the renderer that `html_math_renderer` names."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True}
