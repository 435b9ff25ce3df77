"""Settings of the documentation: `make docs`."""

from tenfold import __version__

project = "Tenfold"
copyright = "the Tenfold contributors"  # noqa: A001 - Sphinx asks for this name
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"Tenfold {__version__}"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
default_role = "code"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
