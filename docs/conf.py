"""Sphinx's settings; ``.ci/checks docs`` builds the site."""

from importlib.metadata import version as version_of

project = "robaudit"
author = "the robaudit authors"
copyright = "the robaudit authors"
release = version = version_of("robaudit")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "attrs_inline"]
nitpicky = True
smartquotes = False  # they turn the -- of options into a dash

html_theme = "furo"
html_title = f"robaudit {release}"
html_show_sphinx = False
html_copy_source = False
