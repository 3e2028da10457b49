"""How Sphinx builds the site: ``make docs``, offline; warnings are errors."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))
# The gallery maps a scene while the site is built, and starts no window.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

import gssm  # noqa: E402

project = "gssm"
author = "The gssm developers"
copyright = f"{datetime.now(UTC):%Y}, {author}. Apache-2.0"
version = release = gssm.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "made",  # docs/_ext: tables and pictures that are made from the code
    "mathml",  # docs/_ext: equations without a script of another host
]
exclude_patterns = ["_build", "_made", "Thumbs.db", ".DS_Store"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
root_doc = "index"
language = "en"
default_role = "py:obj"

myst_enable_extensions = ["dollarmath", "attrs_block"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_generate_overwrite = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = "gssm"
html_static_path = ["_static"]
html_css_files = ["gssm.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "gssm"},
    "show_toc_level": 2,
    # The whole tree of pages stands at the side, under its headings.
    "navbar_center": [],
    "navbar_persistent": [],
    "navbar_end": ["search-button-field", "theme-switcher"],
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"**": ["globaltoc.html"]}


def setup(app):
    """Show what a dataclass makes by itself as `...`, since `<factory>` is no Python."""

    def readable(app, what, name, obj, options, signature, returned):
        return signature and signature.replace("<factory>", "..."), returned

    app.connect("autodoc-process-signature", readable)
