"""The documentation of the API is whole, and reads as the docstrings were meant."""

import html.parser
import importlib.util
import pathlib
import re
import sys
import urllib.parse

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]


def load_builder():
    """Returns docs/build_api.py, which is no part of a package, as a module."""
    path = REPOSITORY / "docs" / "build_api.py"
    spec = importlib.util.spec_from_file_location("build_api", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_api = load_builder()

PACKAGE = '''"""A package whose `audit` is a function and a package, as ours is."""
from toy_package import audit as audit_package
from toy_package.audit import audit

__all__ = ["Layer", "audit", "noiseless", "undescribed"]

class Layer:
    """Layer that doubles.

    Formula:

        y = x
          + x

    Args:
        factor: Int.

    Call arguments:
        inputs: Any number.
        training: Bool.

    Example:
    Two and two is four.

    >>> 2 + 2
    4
    """

    def __init__(self, factor=2):
        self.factor = factor

    def described(self):
        """Returns nothing."""

    def bare(self):
        pass

    @property
    def bare_property(self):
        return 1

    def __len__(self):
        return 1

class noiseless(Layer):
    """Layer that halves."""

    def described(self):  # The base class says what it does.
        pass

def undescribed():
    pass
'''
AUDIT = '''"""The pages of the package."""
__all__ = ["audit"]

def audit(model):
    """Returns what the function finds."""
'''


@pytest.fixture(scope="module")
def toy_package(tmp_path_factory):
    """A small package, importable."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy_package" / "audit").mkdir(parents=True)
    (folder / "toy_package" / "__init__.py").write_text(PACKAGE)
    (folder / "toy_package" / "audit" / "__init__.py").write_text(AUDIT)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("toy_package")
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def toy_pages(toy_package, tmp_path_factory):
    """The folder with the pages of the small package."""
    folder = tmp_path_factory.mktemp("pages")
    build_api.build(folder, build_api.public_modules(toy_package, beside=()))
    return folder


class Links(html.parser.HTMLParser):
    """Collects what a page links to and loads, and the anchors it has."""

    def __init__(self, page):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif tag in ("script", "link", "img"):
            self.loaded.append(attributes.get("src") or attributes.get("href") or "")


def broken_links(folder):
    """Returns those links between the pages of a folder that lead nowhere."""
    pages = {page.resolve(): Links(page) for page in folder.rglob("*.html")}
    broken = []
    for page, content in pages.items():
        for link in content.links:
            url = urllib.parse.urlsplit(link)
            target = (page.parent / url.path).resolve() if url.path else page
            if not url.scheme and (
                target not in pages
                or (url.fragment and url.fragment not in pages[target].anchors)
            ):
                broken.append((page.name, link))
    return broken


def test_everything_public_has_a_docstring():
    assert build_api.undocumented(build_api.public_modules()) == []


def test_what_programs_use_has_a_page():
    assert {
        "keras_ncr",
        "keras_ncr.experiments.config",
        "keras_ncr.losses",
        "keras_ncr.models",
        "keras_ncr.noise",
    } <= set(build_api.public_modules())


def test_missing_docstrings_are_named(toy_package):
    modules = build_api.public_modules(toy_package, beside=())
    assert build_api.undocumented(modules) == [
        "toy_package.Layer.bare",
        "toy_package.Layer.bare_property",
        "toy_package.undescribed",
    ]


def test_nothing_is_built_while_a_docstring_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(build_api, "REPOSITORY", tmp_path)
    monkeypatch.setattr(build_api, "undocumented", lambda names: ["keras_ncr.f"])
    with pytest.raises(SystemExit, match="without a docstring:\n  keras_ncr.f$"):
        build_api.main()
    assert not list(tmp_path.iterdir())


def test_function_and_module_of_one_name_have_both_their_places(toy_pages):
    package = (toy_pages / "toy_package.html").read_text()
    module = (toy_pages / "toy_package" / "audit.html").read_text()
    assert "Returns what the function finds." in package
    assert "The pages of the package." in module


def test_page_has_sections_as_the_docstring_means_them(toy_pages):
    page = (toy_pages / "toy_package.html").read_text()
    formula = page.index(">Formula:</h6>")
    assert page.index("y = x\n  + x\n</code></pre>") > formula
    assert re.search(r"<li><strong>factor:</strong>\s+Int\.</li>", page)
    assert re.search(r"<li><strong>training:</strong>\s+Bool\.</li>", page)
    example = page.index(">Example:</h6>")
    assert page.index("<p>Two and two is four.</p>") > example
    assert page.index('<span class="gp">&gt;&gt;&gt; </span>') > example


def test_class_shows_its_arguments_and_no_undescribed_member(toy_pages):
    anchors = Links(toy_pages / "toy_package.html").anchors
    assert {"Layer", "Layer.described", "noiseless", "audit"} <= anchors
    assert not {"Layer.__init__", "Layer.factor", "noiseless.described"} & anchors
    page = (toy_pages / "toy_package.html").read_text()
    assert '<span class="n">factor</span><span class="o">=</span>' in page


def test_pages_need_no_network_and_lead_to_each_other(toy_pages):
    assert broken_links(toy_pages) == []
    for page in toy_pages.rglob("*.html"):
        assert not [url for url in Links(page).loaded if url.startswith("http")]


def test_start_page_has_the_readme_and_every_module(toy_pages):
    start = toy_pages / "index.html"
    assert {"toy_package.html", "toy_package/audit.html"} <= set(Links(start).links)
    assert "The pages of the package." in start.read_text()
    for picture in Links(start).loaded:
        assert (toy_pages / picture).exists()


def test_links_to_files_of_the_checkout_become_words():
    text = (
        "A [map](MAP.md), [paper](https://x.org), ![p](p.png)\n## One\na\n## Two\nb\n"
    )
    assert build_api.readme_parts(text) == (
        "A map, [paper](https://x.org), ![p](p.png)\n## One\na\n",
        "## Two\nb\n",
    )


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("keras.src.models.model.Model", "keras.Model"),
        ("keras.src.layers.layer.Layer", "keras.layers.Layer"),
        ("keras_ncr.models.ncr.NCRModel", "keras_ncr.models.ncr.NCRModel"),
        ("Exception", "Exception"),
    ],
)
def test_base_classes_of_keras_have_their_public_names(name, public):
    assert build_api.host_name(name) == public


@pytest.mark.slow
def test_whole_documentation_leads_nowhere_that_is_not_there(tmp_path):
    build_api.build(tmp_path, build_api.public_modules())
    assert broken_links(tmp_path) == []
