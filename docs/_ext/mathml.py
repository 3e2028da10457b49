"""Equations as MathML, made by docutils: browsers draw it themselves, without a script.

Sphinx' own ways need MathJax from another host, or LaTeX.
"""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx


def visit_inline(writer, node: nodes.math) -> None:
    """Write an equation of a line of text."""
    writer.body.append(_mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def visit_block(writer, node: nodes.math_block) -> None:
    """Write an equation of its own."""
    writer.body.append(f'<div class="equation">{_mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(tex: str, *, as_block: bool) -> str:
    return str(tex2mathml(tex, as_block=as_block))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer and choose it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
