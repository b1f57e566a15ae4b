"""Tests of the review page in a browser, driven by its keyboard: review/page/.

The browser is a Chromium of the machine. Where there is none they are skipped, unless
KERAS_NCR_REQUIRE_BROWSER=1 says that there has to be one.
"""

import csv
import io
import os
import shutil

import numpy as np
import pandas
import pytest
from playwright.sync_api import sync_playwright

from keras_ncr.datasets import from_arrays
from keras_ncr.files import as_cell, from_cell
from keras_ncr.review import write_review
from keras_ncr.review.corrections import read_corrections

CLASSES = ["cat", "dog", "wild boar", "dolphin"]
HASH = "5eed"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
# What a page may meet as the name of a class or a file.
HOSTILE = [
    "<img src=x onerror=\"document.title='run'\">",
    "</script><script>document.title='run'</script>",
    "a,b",
    'say "hi"',
    "two\nlines\r\nand more",
    " spaces ",
    "__proto__",
    "constructor",
    "日本語 \u202e right to left \u2028 é 🐈",
    "'; DROP TABLE labels; --",
    "=1+1",
    "%s&amp;\\u0041\\",
]


@pytest.fixture(scope="module")
def browser():
    """One headless Chromium for all tests."""
    path = os.environ.get("KERAS_NCR_CHROMIUM")
    path = path or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None and os.environ.get("KERAS_NCR_REQUIRE_BROWSER") != "1":
        pytest.skip("There is no Chromium: set KERAS_NCR_CHROMIUM to its path.")
    assert path, "KERAS_NCR_REQUIRE_BROWSER=1 asks for a Chromium, and there is none."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Review:
    """A page in the browser: what a user does to it, and what is seen."""

    def __init__(self, page, errors):
        self.page = page
        self.errors = errors

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, selector):
        return self.page.locator(selector).first.text_content()

    def badges(self):
        """Returns the decisions that the cards show, by id."""
        return self.page.evaluate(
            "Object.fromEntries([...document.querySelectorAll('.card')].map((card) => "
            "[card.querySelector('.name').textContent, "
            "card.querySelector('.badge').textContent]))"
        )

    def listed(self):
        """Returns the ids that pass the filters, in their order."""
        return self.page.evaluate("listed.map((card) => examples.id[card])")

    def current(self):
        """Returns the id that has the focus."""
        return self.page.evaluate(
            "document.activeElement.querySelector('.name')?.textContent"
        )

    def exported(self, trigger=None):
        """Returns the rows of the downloaded file, without its header."""
        with self.page.expect_download() as download:
            trigger() if trigger else self.press("e")
        assert download.value.suggested_filename == "corrections.csv"
        with open(download.value.path(), newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert header == "id,given_class,action,new_class,dataset_hash".split(",")
        return rows

    def load_file(self, text):
        """Imports a file, and returns what the page says of it."""
        self.page.evaluate("announce('')")
        self.page.set_input_files(
            "#file",
            {"name": "old.csv", "mimeType": "text/csv", "buffer": text.encode()},
        )
        self.page.locator("#status", has_text="mported").wait_for()
        return self.text("#status")

    def settle(self):
        """Waits until the page has drawn what it was told."""
        for _ in range(3):
            self.page.evaluate("new Promise((drawn) => requestAnimationFrame(drawn))")


@pytest.fixture
def open_page(browser):
    """Opens pages from disk, and fails if one asks for more or reports an error."""
    contexts, requests, errors = [], [], []

    def opened(path, script=None, context=None, **options):
        if context is None:
            context = browser.new_context(accept_downloads=True, **options)
            contexts.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning") and errors.append(message.text)
            ),
        )
        page.goto(path.as_uri())
        return Review(page, errors)

    yield opened
    for context in contexts:
        context.close()
    assert not errors
    assert not [url for url in requests if not url.startswith(("file:", "blob:file:"))]


def frame_of(num_examples, ids=None, class_names=CLASSES, **columns):
    """Returns an audit's frame in which all labels are issues, the first the worst."""
    index = np.arange(num_examples)
    num_classes = len(class_names)
    frame = pandas.DataFrame(
        {
            "id": [f"n{i}" for i in index] if ids is None else ids,
            "given_label": index % num_classes,
            "predicted_label": (index + 1) % num_classes,
            "label_quality": np.linspace(0, 0.5, num_examples, dtype="float32"),
            "is_label_issue": np.ones(num_examples, bool),
            "given_confidence": np.full(num_examples, 0.25, "float32"),
            "predicted_confidence": np.full(num_examples, 0.625, "float32"),
            **columns,
        }
    )
    frame.attrs = {
        "name": "animals",
        "dataset_hash": HASH,
        "class_names": list(class_names),
        "noise_rate": 0.312,
        "noise_rate_bounds": [0.25, 0.4],
        "expected_precision": 0.9,
        "doubts": ["The model is weak.", "A <b>class</b> is not known."],
    }
    return frame


def circle(num_examples, k=3):
    """Returns the neighbors of examples that stand in a circle."""
    return (np.arange(num_examples)[:, None] + np.arange(1, k + 1)) % num_examples


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """A page of eight pictures: n0, given cat, suggested dog; n1, given dog; ..."""
    images = np.arange(8 * 36 * 3, dtype="uint8").reshape(8, 6, 6, 3)
    ids = [f"n{i}" for i in range(8)]
    source = from_arrays(images, np.arange(8) % 4, ids=ids)
    return write_review(
        tmp_path_factory.mktemp("animals") / "out",
        frame_of(8),
        circle(8),
        source,
        verbose=False,
    )


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A page with examples of all three kinds, as a table."""
    flags = np.arange(6)
    frame = frame_of(
        6,
        is_label_issue=flags < 3,
        near_duplicate=[-1, -1, 4, -1, 2, -1],
        is_near_duplicate_issue=[False, False, True, False, True, False],
        outlier_score=[0.9, 0.8, 0.7, 0.04, 0.9, 0.02],
        is_outlier_issue=[False, False, False, True, False, True],
        neighbor_label=[0, 1, 2, 3, 0, 1],
        neighbor_agreement=np.full(6, 0.5),
        issue_probability=np.full(6, 0.75),
    )
    frame.attrs["expected_precision_bounds"] = [0.4, 0.75]
    details = pandas.DataFrame({"legs": [4, 4, 4, 0, 4, 4], "note": ["word " * 99] * 6})
    folder = tmp_path_factory.mktemp("kinds") / "out"
    return write_review(folder, frame, circle(6), details=details)


def test_page_shows_what_the_audit_says(open_page, animals):
    review = open_page(animals)
    assert review.page.title() == "Review labels: animals"
    assert review.text("h1") == "Review labels: animals"
    assert "calls 8 of 8 labels suspicious" in review.text("#summary")
    assert "about 31 % of all labels are wrong" in review.text("#summary")
    assert "Of the suspicious ones about 90 % are expected to be wrong" in (
        review.text("#summary")
    )
    assert "are wrong: between 25 % and 40 %." in review.text("#summary")
    doubts = review.page.locator("#doubts li").all_text_contents()
    assert doubts == [
        "Doubtful: The model is weak.",
        "Doubtful: A <b>class</b> is not known.",
    ]
    assert review.text("#progress-text") == "0 of 8 decided"
    assert review.listed() == [f"n{i}" for i in range(8)]
    card = review.page.locator(".card").first
    assert card.locator(".given").text_content() == "givencat25 %"
    assert card.locator(".suggested .words").first.text_content() == "dog63 %"
    names = card.locator(".neighbor .name").all_text_contents()
    assert names == ["≠ dog", "≠ wild boar", "≠ dolphin"]
    assert review.page.evaluate(
        "[...document.images].every((image) => image.complete"
        " && image.naturalWidth === 6 && image.classList.contains('tiny'))"
    )


def test_every_command_by_keyboard_and_the_exported_file(open_page, animals):
    review = open_page(animals)
    review.press("k", "a", "c")
    assert review.page.locator("#chooser").is_visible()
    review.page.keyboard.type("CA")
    assert review.page.locator("#classes li").all_text_contents() == ["cat"]
    review.press("Enter", "d")
    assert review.current() == "n4"  # The next undecided one, each time.
    assert review.text("#progress-text") == "4 of 8 decided"
    badges = review.badges()
    assert [badges[f"n{i}"] for i in range(5)] == [
        "✓ kept",
        "→ wild boar",
        "→ cat",
        "✕ dropped",
        "",
    ]
    assert review.exported() == [
        ["n0", "cat", "keep", "cat", HASH],
        ["n1", "dog", "relabel", "wild boar", HASH],
        ["n2", "wild boar", "relabel", "cat", HASH],
        ["n3", "dolphin", "drop", "", HASH],
    ]


def test_undo_goes_back_step_by_step_and_after_a_reload(open_page, animals):
    review = open_page(animals)
    review.press("k", "d", "ArrowLeft", "a")  # The drop of n1 becomes a relabeling.
    assert review.badges()["n1"] == "→ wild boar"
    review.page.reload()
    assert review.badges()["n0"] == "✓ kept"
    assert review.badges()["n1"] == "→ wild boar"
    review.press("u")
    assert (review.badges()["n1"], review.current()) == ("✕ dropped", "n1")
    review.press("Control+z")
    assert (review.badges()["n1"], review.badges()["n0"]) == ("", "✓ kept")
    review.press("u")
    assert set(review.badges().values()) == {""}
    assert review.page.locator("#undo").is_disabled()
    review.press("u")
    assert review.text("#status") == "Nothing to undo."


def test_every_command_by_mouse(open_page, animals):
    review = open_page(animals)
    card = review.page.locator(".card")
    card.nth(5).get_by_role("button", name="Accept").click()
    card.nth(2).get_by_role("button", name="Choose").click()
    review.page.locator("#classes li", has_text="dolphin").click()
    card.nth(1).click()
    review.page.locator("#panel").get_by_role("button", name="Drop").click()
    card.nth(0).get_by_role("button", name="Keep").click()
    card.nth(3).get_by_role("button", name="Keep").click()
    review.page.get_by_role("button", name="Undo").click()
    button = review.page.get_by_role("button", name="Export")
    assert review.exported(button.click) == [
        ["n5", "dog", "relabel", "wild boar", HASH],
        ["n2", "wild boar", "relabel", "dolphin", HASH],
        ["n1", "dog", "drop", "", HASH],
        ["n0", "cat", "keep", "cat", HASH],
    ]


def test_moving_and_what_keys_do_not_do(open_page, animals):
    review = open_page(animals, viewport={"width": 1100, "height": 800})
    assert review.page.evaluate("geometry.columns") == 2
    review.press("ArrowRight", "ArrowDown", "ArrowLeft")
    assert review.current() == "n2"
    review.press("End", "ArrowRight", "ArrowDown")
    assert review.current() == "n7"
    review.press("Home", "ArrowUp")
    assert review.current() == "n0"
    review.press("Alt+d", "Control+k", "x")
    review.page.keyboard.down("ArrowRight")
    review.page.keyboard.down("ArrowRight")  # Held down: it goes on.
    review.page.keyboard.up("ArrowRight")
    assert review.current() == "n2"
    review.page.keyboard.down("k")
    review.page.keyboard.down("k")  # Held down: one decision.
    review.page.keyboard.up("k")
    review.press("?", "d", "Escape", "c", "Escape", "/", "d", "k", "Escape")
    assert [id for id, badge in review.badges().items() if badge] == []
    assert review.text("#empty") == "Nothing passes the filters."
    review.page.fill("#search", "n2")
    assert review.badges() == {"n2": "✓ kept"}
    review.press("Enter")
    assert review.current() == "n2"


def test_nothing_decided_is_said_and_nothing_downloaded(open_page, animals):
    review = open_page(animals)
    downloads = []
    review.page.on("download", lambda download: downloads.append(download))
    review.press("e")
    assert review.text("#status").startswith("Nothing is decided yet")
    assert downloads == []


def test_clearing_asks_first_and_can_be_undone(open_page, animals):
    review = open_page(animals)
    review.press("k", "a", "d")
    questions = []
    answers = iter([False, True])

    def answer(dialog):
        questions.append(dialog.message)
        dialog.accept() if next(answers) else dialog.dismiss()

    review.page.on("dialog", answer)
    review.page.click("#clear")
    assert review.text("#progress-text") == "3 of 8 decided"
    review.page.click("#clear")
    assert review.text("#progress-text") == "0 of 8 decided"
    assert all("Clear 3 decisions?" in question for question in questions)
    review.press("u")
    assert review.text("#progress-text") == "3 of 8 decided"


def test_filters(open_page, animals):
    review = open_page(animals)
    options = review.page.locator("#pair option").all_text_contents()
    assert options[0] == "all pairs (4)"
    assert options[1] == "cat → dog (2)"
    review.page.select_option("#pair", label="cat → dog (2)")
    assert review.listed() == ["n0", "n4"]
    assert review.text("#progress-text") == "0 of 8 decided, 2 listed"
    review.page.select_option("#pair", "")
    review.page.focus(".card")
    review.press("d", "k")
    review.page.select_option("#decided", "done")
    assert review.listed() == ["n0", "n1"]
    review.page.select_option("#decided", "open")
    assert review.listed() == [f"n{i}" for i in range(2, 8)]
    review.press("Escape", "k", "k")  # What is decided leaves the list.
    assert review.listed() == [f"n{i}" for i in range(4, 8)]
    assert review.current() == "n4"
    review.press("u")
    assert (review.listed()[0], review.current()) == ("n3", "n3")
    review.page.select_option("#decided", "all")
    review.page.locator("#score-from").fill("0.2")  # Qualities: 0, 1/14, ..., 7/14.
    assert review.listed() == [f"n{i}" for i in range(3, 8)]
    review.page.locator("#score-to").fill("0.3")
    assert review.listed() == ["n3", "n4"]


def test_kinds_and_tables_without_pictures(open_page, kinds):
    review = open_page(kinds)
    # Bounds so far apart stand without a number between them.
    said = "Of the suspicious ones between 40 % and 75 % are expected to be wrong."
    assert said in review.text("#summary")
    assert review.page.locator("#kind option").all_text_contents() == [
        "label issues (3)",
        "near-duplicates (2)",
        "outliers (2)",
        "all (6)",
    ]
    assert review.listed() == ["n0", "n1", "n2"]
    assert review.page.locator("img").count() == 0
    card = review.page.locator(".card").first
    assert card.locator("dd").first.text_content() == "4"
    assert card.locator("dd").nth(1).text_content() == "word " * 99
    assert card.bounding_box()["height"] < 400  # It is cut there, whole in the panel.
    assert "≠ dog: 1" in card.locator(".counts").text_content()
    review.page.select_option("#kind", "near_duplicate")
    assert review.listed() == ["n2", "n4"]
    assert "Nearly the same, with another label" in review.text("#panel-content")
    assert "= " not in review.text("#panel-content .neighbor")
    review.page.select_option("#kind", "outlier")
    assert review.listed() == ["n5", "n3"]
    assert review.text("#score-name") == "Outlier score"
    review.page.select_option("#kind", "all")
    assert review.listed() == [f"n{i}" for i in range(6)]
    facts = review.text("#panel-content .facts")
    for words in ("probably wrong75 %", "that agree50 %", "neighbors saycat", "0.900"):
        assert words in facts


def test_values_of_neighbors_have_room_beside_each_other(open_page, tmp_path):
    pixels = np.zeros((4, 6, 6, 3), "uint8")
    source = from_arrays(pixels, np.arange(4), ids=[f"n{i}" for i in range(4)])
    name = "mean_pressure_over_the_last_twelve_months"
    details = pandas.DataFrame({name: [142.5] * 4, "legs": [4] * 4})
    page = write_review(
        tmp_path / "out",
        frame_of(4),
        circle(4),
        source=source,
        details=details,
        verbose=False,
    )
    review = open_page(page)
    values = "#panel-content .neighbor .details dd"
    texts, widths = review.page.evaluate(
        f"[...document.querySelectorAll('{values}')].map("
        "(node) => [node.textContent, node.clientWidth])"
        ".reduce(([a, b], [c, d]) => [[...a, c], [...b, d]], [[], []])"
    )
    assert texts == ["142.5", "4"] * 3
    assert min(widths) > 60
    title = review.page.locator(".card .details dt").first
    assert title.get_attribute("title") == title.text_content() == name


def test_model_that_agrees_suggests_nothing(open_page, tmp_path):
    frame = frame_of(3, predicted_label=[0, 1, 3])
    review = open_page(write_review(tmp_path / "out", frame))
    review.press("a")
    assert "Nothing to accept" in review.text("#status")
    assert review.badges() == {"n0": "", "n1": "", "n2": ""}
    assert review.page.locator(".card [data-command=accept]").first.is_disabled()


def test_hostile_names_neither_run_nor_break(open_page, tmp_path):
    n = len(HOSTILE)
    details = pandas.DataFrame({HOSTILE[0]: HOSTILE, "x": HOSTILE[::-1]})
    frame = frame_of(n, ids=HOSTILE, class_names=HOSTILE)
    frame.attrs["name"] = HOSTILE[1]
    review = open_page(
        write_review(tmp_path / "out", frame, circle(n), details=details)
    )
    assert review.page.title() == f"Review labels: {HOSTILE[1]}"
    assert review.text("#name") == HOSTILE[1]
    assert sorted(review.listed()) == sorted(HOSTILE)
    review.press("k", *"a" * (n - 2), "c")
    review.page.fill("#query", "__PROTO__")
    review.press("Enter")
    expected = [[HOSTILE[0], HOSTILE[0], "keep", HOSTILE[0], HASH]]
    expected += [
        [HOSTILE[i], HOSTILE[i], "relabel", HOSTILE[i + 1], HASH]
        for i in range(1, n - 1)
    ]
    expected.append([HOSTILE[-1], HOSTILE[-1], "relabel", "__proto__", HASH])
    # A spreadsheet would compute "=1+1".
    expected = [list(map(as_cell, row)) for row in expected]
    assert ["'=1+1", "'=1+1", "relabel", HOSTILE[-1], HASH] in expected
    assert review.exported() == expected
    review.page.reload()
    assert review.exported() == expected
    assert review.page.title() != "run"
    assert review.page.locator("img, script:not([src])").count() == 0


def test_policy_of_the_page_forbids_networks_and_inline_scripts(open_page, animals):
    review = open_page(animals)
    review.page.evaluate("fetch('http://127.0.0.1:9/').catch(() => 0)")
    review.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " { textContent: 'document.title = 1' }))"
    )
    assert review.page.title() == "Review labels: animals"
    for words in ("Connecting to 'http://127.0.0.1:9/'", "Executing inline script"):
        (error,) = [error for error in review.errors if error.startswith(words)]
        assert "violates the following Content Security Policy" in error
    review.errors.clear()


def corrections(*rows, header="id,given_class,action,new_class,dataset_hash"):
    file = io.StringIO()
    csv.writer(file).writerows([header.split(","), *rows])
    return file.getvalue()


def test_exported_file_is_imported_again(open_page, animals):
    review = open_page(animals)
    rows = [
        ["n3", "dolphin", "relabel", "cat", HASH],
        ["n1", "dog", "drop", "", HASH],
        ["of an earlier page", "dog", "keep", "dog", HASH],
    ]
    # As a spreadsheet saves it: with a byte order mark, and an empty line.
    text = "\ufeff" + corrections(*rows) + "\r\n"
    assert review.load_file(text) == "Imported 3 decisions from old.csv."
    assert review.badges()["n3"] == "→ cat"
    assert review.text("#progress-text") == "2 of 8 decided, 1 more from earlier pages"
    review.page.focus(".card")
    review.press("d")
    assert review.exported() == [*rows, ["n0", "cat", "drop", "", HASH]]
    review.press("u", "u")
    assert review.text("#progress-text") == "0 of 8 decided"


def test_what_a_spreadsheet_would_compute_comes_back_as_it_was(open_page, tmp_path):
    ids = ["=1+1.png", "-1", "@a", "'+b", "c"]
    classes = ["=cat", "+dog", "-1", "'@home", "owl"]
    frame = frame_of(5, ids=ids, class_names=classes)
    review = open_page(write_review(tmp_path / "out", frame, circle(5)))
    review.press("k", "a", "a", "k", "d")
    rows = review.exported()
    assert [row[0] for row in rows] == ["'=1+1.png", "-1", "'@a", "''+b", "c"]
    assert rows == [[as_cell(from_cell(cell)) for cell in row] for row in rows]
    (tmp_path / "corrections.csv").write_text(corrections(*rows))
    read = read_corrections(tmp_path / "corrections.csv")
    assert read.ids == tuple(ids)
    assert read.given_classes == tuple(classes)
    assert read.new_classes == ("=cat", "-1", "'@home", "'@home", "")
    badges = review.badges()
    review.press(*"uuuuu")
    assert review.load_file(corrections(*rows)).startswith("Imported 5 decisions")
    assert review.badges() == badges
    assert review.exported() == rows


REFUSED = {
    "other data or other labels": corrections(["n0", "cat", "drop", "", "0ther"]),
    'class "cow" is not known': corrections(["n0", "cat", "relabel", "cow", HASH]),
    'action "eat" is not known': corrections(["n0", "cat", "eat", "cat", HASH]),
    "4 values, not 5": corrections(["n0", "cat", "drop", HASH]),
    "decides twice": corrections(*[["n0", "cat", "drop", "", HASH]] * 2),
    "its first line is not id,given_class": corrections(header="path,label"),
    "its first line is not": "",
    "quotation marks do not pair": 'id,"given',
}


def test_file_that_does_not_fit_is_not_imported(open_page, animals):
    review = open_page(animals)
    for reason, text in REFUSED.items():
        said = review.load_file(text)
        assert said.startswith("old.csv was not imported: ")
        assert reason in said
    assert set(review.badges().values()) == {""}


def test_page_without_storage_warns_and_works(open_page, animals):
    deny = (
        "Object.defineProperty(window, 'localStorage', "
        "{get() { throw new DOMException('denied', 'SecurityError'); }});"
    )
    review = open_page(animals, script=deny)
    assert "closing it loses all decisions" in review.text("#warning")
    assert review.page.locator("#warning").is_visible()
    review.press("k", "d")
    assert [row[2] for row in review.exported()] == ["keep", "drop"]


def test_where_room_is_short_decisions_go_before_undoing(open_page, animals):
    limit = (
        "const setItem = Storage.prototype.setItem;"
        "Storage.prototype.setItem = function (key, value) {"
        " if (value.includes('null')) throw new DOMException('full');"
        " setItem.call(this, key, value); };"
    )
    review = open_page(animals, script=limit)
    review.press("k", "d")
    review.page.reload()
    assert review.text("#progress-text") == "2 of 8 decided"
    assert review.page.locator("#undo").is_disabled()
    assert not review.page.locator("#warning").is_visible()


def test_page_with_storage_does_not_warn(open_page, animals):
    review = open_page(animals)
    review.press("k")
    assert not review.page.locator("#warning").is_visible()


def test_missing_data_is_said(open_page, animals, tmp_path):
    shutil.copytree(animals.parent, tmp_path / "out")
    (tmp_path / "out" / "data.js").write_text("")
    review = open_page(tmp_path / "out" / "index.html")
    assert "keep the folder together" in review.text("#warning")


def test_decisions_are_shared_with_the_next_page_of_the_same_data(open_page, tmp_path):
    first = open_page(write_review(tmp_path / "first", frame_of(3)))
    first.press("a", "d")  # n0 becomes dog, n1 is dropped.
    context = first.page.context
    # The next audit saw the corrected labels, and suspects n0 again.
    frame = frame_of(3, given_label=[1, 1, 2], predicted_label=[2, 2, 3])
    frame["is_label_issue"] = [True, False, True]
    path = write_review(tmp_path / "second", frame, called_only=True)
    second = open_page(path, context=context)
    assert second.badges() == {"n0": "→ dog", "n2": ""}
    assert second.text("#progress-text") == "1 of 2 decided, 1 more from earlier pages"
    second.press("Home", "a")
    # What is corrected is the label as given in the data.
    assert second.exported() == [
        ["n0", "cat", "relabel", "wild boar", HASH],
        ["n1", "dog", "drop", "", HASH],
    ]
    # The first page, still open, has heard of it.
    first.page.locator(".badge", has_text="→ wild boar").wait_for()


STICKING_OUT = """
[...document.querySelectorAll(".card *, .bar *")].filter((node) => {
  const box = node.getBoundingClientRect();
  const outer = node.closest(".card, .bar").getBoundingClientRect();
  return box.right > outer.right + 1 || box.bottom > outer.bottom + 1;
}).map((node) => node.outerHTML)
"""


def test_nothing_sticks_out_at_any_width(open_page, animals, kinds):
    for path in (animals, kinds):
        review = open_page(path)
        for width in (360, 620, 900, 1600):
            review.page.set_viewport_size({"width": width, "height": 800})
            review.settle()
            page_width = "document.documentElement.scrollWidth"
            assert review.page.evaluate(page_width) <= width
            assert review.page.evaluate(STICKING_OUT) == []


def test_narrow_page_opens_the_detail_as_a_sheet(open_page, animals):
    review = open_page(animals, viewport={"width": 360, "height": 700})
    assert not review.page.locator("#panel-content").is_visible()
    review.page.click("#panel-toggle")
    assert review.page.locator("#panel-content").is_visible()
    assert review.page.get_attribute("#panel-toggle", "aria-expanded") == "true"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A page of 100,000 cards without pictures."""
    folder = tmp_path_factory.mktemp("many") / "out"
    frame = frame_of(102_000)
    frame["is_label_issue"] = np.arange(len(frame)) < 300
    return write_review(folder, frame, circle(len(frame), 6))


@pytest.mark.slow
def test_hundred_thousand_cards_stay_few_elements(open_page, many):
    review = open_page(many)
    assert "calls 300 of 102,000" in review.text("#summary")
    assert "This page shows the worst 100,000." in review.text("#summary")
    count_nodes = "document.querySelectorAll('*').length"
    assert review.page.evaluate(count_nodes) < 2_000
    assert review.text("#progress-text") == "0 of 300 decided"
    review.page.select_option("#kind", "all")
    assert review.text("#progress-text") == "0 of 100,000 decided"
    review.page.focus(".card")
    review.press("End")
    assert review.current() == "n19999"
    assert review.page.evaluate(count_nodes) < 2_000
    review.page.evaluate("window.scrollTo(0, document.body.scrollHeight / 2)")
    review.settle()
    assert review.page.evaluate(
        "[...document.querySelectorAll('.card')].some((card) => {"
        " const box = card.getBoundingClientRect();"
        " return box.top > 0 && box.bottom < innerHeight; })"
    )
    review.press("Home", *"kadkad" * 4)
    assert review.text("#progress-text") == "24 of 100,000 decided"
    assert review.page.evaluate(count_nodes) < 2_000


def test_every_part_of_a_long_list_can_be_reached(open_page, many):
    review = open_page(many)
    assert not review.page.locator("#part").is_visible()
    review.page.select_option("#kind", "all")
    options = review.page.locator("#part option").all_text_contents()
    assert options[0] == "1–20,000" and options[-1] == "80,001–100,000"
    review.page.select_option("#part", label="80,001–100,000")
    assert review.page.evaluate("[listed.length, listed[0]]") == [20_000, 80_000]
    review.page.fill("#search", "n99999")
    assert review.listed() == ["n99999"]
    assert not review.page.locator("#part").is_visible()


def test_pair_above_a_quality_is_accepted_at_once_and_undone_at_once(
    open_page, animals
):
    review = open_page(animals)
    button = review.page.locator("#accept-all")
    assert button.is_disabled()
    review.page.select_option("#pair", label="cat → dog (2)")
    assert button.text_content() == "Accept all 2…"
    review.page.select_option("#pair", "")
    review.page.locator("#score-from").fill("0.2")  # n0 has 0, n4 has 4/14.
    review.page.select_option("#pair", label="cat → dog (2)")
    assert button.text_content() == "Accept all 1…"
    questions, answers = [], iter([False, True])

    def answer(dialog):
        questions.append(dialog.message)
        dialog.accept() if next(answers) else dialog.dismiss()

    review.page.on("dialog", answer)
    button.click()
    assert review.text("#progress-text") == "0 of 8 decided, 1 listed"
    button.click()
    assert review.text("#progress-text") == "1 of 8 decided, 1 listed"
    assert "cat → dog for 1 undecided example, label quality 0.20–0.50" in questions[0]
    review.page.focus(".card")
    assert review.exported() == [["n4", "cat", "relabel", "dog", HASH]]
    review.press("u")
    assert review.text("#progress-text").startswith("0 of 8 decided")


def test_accepting_many_says_first_where_the_audit_cannot_say(open_page, tmp_path):
    frame = frame_of(8)
    frame.attrs["expected_precision_bounds"] = [0.1, 0.9]
    review = open_page(write_review(tmp_path / "out", frame))
    questions = []
    review.page.on("dialog", lambda one: (questions.append(one.message), one.dismiss()))
    review.page.select_option("#pair", label="cat → dog (2)")
    review.page.locator("#accept-all").click()
    assert questions[0].startswith("The audit cannot say how many of its suggestions")
    assert "Accept cat → dog for 2 undecided examples" in questions[0]


def test_model_that_knows_no_class_has_nothing_accepted_at_once(open_page, tmp_path):
    frame = frame_of(8)
    frame.attrs["knows_classes"] = False
    review = open_page(write_review(tmp_path / "out", frame))
    review.page.select_option("#pair", label="cat → dog (2)")
    assert not review.page.locator("#accept-all").is_visible()
    review.press("Escape", "a")  # One after the other they still are.
    assert review.text("#progress-text") == "1 of 8 decided, 2 listed"


def test_messages_cover_no_button(open_page, animals):
    for width in (360, 900, 1600):
        review = open_page(animals, viewport={"width": width, "height": 800})
        before = review.page.evaluate("byId('bar').offsetHeight")
        review.press("k")
        assert "to go" in review.text("#status")
        assert review.page.evaluate("byId('bar').offsetHeight") == before
        assert review.page.evaluate(
            "[...document.querySelectorAll('#status')].every((status) => {"
            " const box = status.getBoundingClientRect();"
            " return [...document.querySelectorAll('button')].every((button) => {"
            "  const b = button.getBoundingClientRect();"
            "  const inBar = byId('bar').contains(button);"
            "  return !inBar || b.right <= box.left || b.left >= box.right"
            "   || b.bottom <= box.top + 1 || b.top >= box.bottom - 1; }); })"
        )


def test_bar_of_a_phone_follows_the_card_in_view(open_page, animals):
    review = open_page(animals, viewport={"width": 360, "height": 700})
    assert review.text("#panel-title").startswith("n0: ")
    review.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    review.settle()
    assert review.text("#panel-title").startswith("n7: ")
    review.page.evaluate("window.scrollTo(0, 0)")
    review.settle()
    assert review.text("#panel-title")[:3] in ("n0:", "n1:")


def test_page_leads_to_the_summary(open_page, animals):
    review = open_page(animals)
    review.page.get_by_role("link", name="Summary").click()
    assert review.text("h1") == "Labels of animals"
    assert review.page.evaluate(
        "[...document.images].length === 8"
        " && [...document.images].every((image) => image.naturalWidth === 6)"
    )
