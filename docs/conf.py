"""How the pages are built: `uv run sphinx-build -W -n -b dirhtml docs docs/_build`; see CONTRIBUTING.md.

Every reference must lead somewhere: a broken link, an anchor that is not there, a page outside the navigation and a
type in a signature that is not documented are errors.
"""

from __future__ import annotations

import builtins
import collections.abc
import contextlib
import importlib
import inspect
import types
import typing
from typing import TYPE_CHECKING, Any

import starlette.applications
import starlette.background
import typing_extensions
from becket.events import EventBase
from sphinx import addnodes
from sphinx.domains.python import PyXRefRole
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.inspect import stringify_signature
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "becket"
author = "the becket authors"
copyright = ""  # noqa: A001  Sphinx's own name for it; the LICENSE file says it
html_show_copyright = False
html_show_sphinx = False

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "attrs_inline"]

# Docstrings are plain text with `names` in backticks. Each is shown as code, and leads to the name's own entry where
# it has one.
default_role = "becket"
highlight_language = "text"  # of blocks that name none

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
add_module_names = False
add_function_parentheses = False
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "becket"
html_copy_source = False
html_show_sourcelink = False
html_static_path: list[str] = ["_static"]
html_css_files = ["becket.css"]

_GOOGLE = Config(napoleon_use_rtype=False, napoleon_custom_sections=[("Attributes", "params_style")])
_TOP = ("class", "exception", "function", "data", "type")
_OUTSIDE = (
    builtins,
    typing,
    typing_extensions,
    collections.abc,
    contextlib,
    types,
    starlette.applications,
    starlette.background,
)


class _Name(PyXRefRole):
    """A name in backticks, as it stands: no `~`, `.` or `text <target>` of Sphinx's own means anything in it."""

    def __init__(self) -> None:
        super().__init__(warn_dangling=False)

    def create_xref_node(self) -> Any:
        self.has_explicit_title, self.title, self.target = False, self.text, self.text
        self.disabled = not self.text.replace(".", "").replace("_", "").isalnum()
        self.refdomain, self.reftype = "py", "obj"
        self.classes = ["xref", "py", "py-obj"]
        if self.disabled:
            self.text = f"!{self.text}"  # Sphinx's mark for it, which it takes off again
            return self.create_non_xref_node()
        return super().create_xref_node()

    def process_link(
        self, env: BuildEnvironment, refnode: Any, has_explicit_title: bool, title: str, target: str
    ) -> Any:
        """The text, unchanged."""
        refnode["becket-maybe"] = True
        return title, super().process_link(env, refnode, has_explicit_title, title, target)[1]


def _resolve(app: Sphinx, env: BuildEnvironment, node: Any, contnode: nodes.Element) -> nodes.Element | None:
    """A name that Sphinx did not find: documented under its public name, or from outside and known to exist.

    What begins with an underscore, or is one letter (a type variable), has no entry and needs none.
    """
    target: str = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    module, _, name = target.rpartition(".")
    if not module or module.startswith("becket"):
        known = env.domains.python_domain.objects
        full = [key for key, entry in known.items() if key.rpartition(".")[2] == name and entry.objtype in _TOP]
        package = (module or node.get("py:module") or "becket").partition(".")[0]
        for key in sorted(full, key=lambda key: key.partition(".")[0] != package):  # its own package's, if it has one
            return make_refnode(app.builder, node["refdoc"], known[key].docname, known[key].node_id, contnode, key)
    if node.get("becket-maybe") or name.startswith("_") or len(name) == 1 or _is_outside(target):
        return contnode
    return None


def _is_outside(target: str) -> bool:
    """Whether a name is Python's own or another distribution's; there is nothing of theirs here to link to."""
    module, _, name = target.rpartition(".")
    if not module:
        return any(hasattr(home, name) for home in _OUTSIDE)
    if module.startswith("becket"):
        return False
    with contextlib.suppress(ImportError):
        return hasattr(importlib.import_module(module), name)
    return False


def _exact(app: Sphinx, doctree: nodes.document) -> None:
    """Look for the names in signatures as they stand, and not for whatever ends in them."""
    for node in doctree.findall(addnodes.pending_xref):
        node.attributes.pop("refspecific", None)


def _read_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Google's style, as napoleon reads it; but the colon in a property's first line ends no type."""
    kind = "method" if what in {"attribute", "data", "property"} else what
    lines[:] = GoogleDocstring(lines, _GOOGLE, app, kind, name, obj, options).lines()


def _signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None] | None:
    """An event is shown with its own fields; those that the run stamps are said once, at their base.

    A default that is made anew for each object is shown as `...`: Sphinx cannot read what `dataclass` has for it.
    """
    if isinstance(obj, type) and issubclass(obj, EventBase) and obj is not EventBase:
        made = inspect.signature(obj)
        own = [one for key, one in made.parameters.items() if key not in EventBase.__dataclass_fields__]
        signature = stringify_signature(
            made.replace(parameters=own, return_annotation=made.empty), unqualified_typehints=True
        )
    return signature and signature.replace("<factory>", "..."), returns


def setup(app: Sphinx) -> None:
    """What the pages need besides the extensions above."""
    app.add_role("becket", _Name())
    app.connect("autodoc-process-docstring", _read_docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("doctree-read", _exact)
    app.connect("missing-reference", _resolve)
