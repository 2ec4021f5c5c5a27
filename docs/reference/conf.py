"""Sphinx: the API reference, from the docstrings of the package."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import TYPE_CHECKING

import cloudburst

if TYPE_CHECKING:
    from types import ModuleType

    from sphinx.application import Sphinx

project = "CloudBurst"
version = release = cloudburst.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "CloudBurst: Python API"
html_copy_source = False
html_show_copyright = False

# A name between single backticks is a reference; one that leads nowhere fails the build.
default_role = "py:obj"
nitpicky = True
# Python's own documentation is not at hand while this is built.
nitpick_ignore_regex = [(r"py:.*", r"(asyncio|collections\.abc|os|pathlib|types)\..*")]
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80


def import_types(module: ModuleType) -> None:
    """Import what a module imports for type checkers alone, so that annotations have links."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            imports = [one for one in node.body if isinstance(one, ast.ImportFrom)]
            code = compile(ast.Module(imports, []), str(module.__file__), "exec")
            exec(code, vars(module))  # noqa: S102 - the project's own source


def setup(app: Sphinx) -> None:
    """Connect to Sphinx's events."""
    app.connect("autodoc-process-signature", without_factories)


def without_factories(*described: object) -> tuple[str, str] | None:
    """Return a signature that can be parsed: a dataclass's default factory is no expression."""
    signature, result = described[-2:]
    if not isinstance(signature, str) or "<factory>" not in signature:
        return None
    return signature.replace("<factory>", "{}"), str(result or "")


for public in cloudburst.__all__:
    getattr(cloudburst, public)
for name, module in list(sys.modules.items()):
    if name.startswith("cloudburst."):
        import_types(module)
