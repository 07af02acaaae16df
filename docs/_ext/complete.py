"""Checks of the built site: all public names, no dead local links, no files from elsewhere."""

from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.errors import ExtensionError

MODULES = (
    "",
    ".activations",
    ".callbacks",
    ".estimators",
    ".losses",
    ".optimizers",
    ".plotting",
    ".testing",
)
LOADS = ("script", "link", "img", "iframe", "source")  # elements with an address to fetch


class Page(HTMLParser):
    """The anchors and the addresses of a page."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Collect the anchor and the address of an element."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append((tag, value))


def missing_names(app):
    """Yield an error for each public name that is not in the reference."""
    known = app.env.get_domain("py").objects
    for suffix in MODULES:
        module = import_module(f"dagbp{suffix}")
        for name in module.__all__:
            full = f"dagbp{suffix}.{name}"
            if full not in known and full not in app.config.documented_as_modules:
                yield f"{full} is public and not in the reference"
    reference = import_module("dagbp.reference")
    for name, value in vars(reference).items():
        own = getattr(value, "__module__", None) == reference.__name__
        if own and not name.startswith("_") and f"dagbp.reference.{name}" not in known:
            yield f"dagbp.reference.{name} is public and not in the reference"


def dead_links(root):
    """Yield an error for each dead local link, and for each file loaded from elsewhere."""
    pages = {path: Page(path) for path in sorted(root.rglob("*.html"))}
    for path, page in pages.items():
        for tag, link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if tag in LOADS:
                    yield f"{path.relative_to(root)} loads {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{path.relative_to(root)} links to {link}, which does not exist"
            elif parts.fragment and target in pages and tag == "a":
                if unquote(parts.fragment) not in pages[target].anchors:
                    yield f"{path.relative_to(root)} links to {link}, an anchor that does not exist"


def check(app, error):
    """Fail the build if the site has errors."""
    if error is None and app.builder.name == "html":
        wrong = [*missing_names(app), *dead_links(Path(app.outdir).resolve())]
        if wrong:
            raise ExtensionError("the site is not complete:\n" + "\n".join(wrong))


def setup(app):
    """Check the site at the end of a build."""
    app.add_config_value("documented_as_modules", [], "")
    app.connect("build-finished", check)
    return {"parallel_read_safe": True}
