"""The summary of an audit in one file of HTML, without scripts, that can be mailed."""

import base64
import html

import numpy as np

from keras_ncr.review.page_checks import id_texts
from keras_ncr.review.page_data import WIDE, flags_of, text_of
from keras_ncr.review.page_folder import THUMBNAILS

_MOST_EXAMPLES = 50
# A larger matrix is a list of its largest cells.
_MOST_CLASSES = 20
_MOST_PAIRS = 30
_LONGEST_TEXT = 300
_KINDS = {
    "label": "labels called wrong",
    "near_duplicate": "copies with another label",
    "outlier": "outliers",
}
_STYLE = """
:root { color-scheme: light dark }
body { max-width: 60rem; margin: 1rem auto; padding: 0 1rem;
  font: 0.95rem/1.4 system-ui, sans-serif }
table { border-collapse: collapse; margin: 0.5rem 0 }
.wide { overflow-x: auto }
th, td { max-width: 30rem; padding: 0.25rem 0.6rem; border: 1px solid #8888;
  text-align: left; overflow-wrap: break-word; vertical-align: top }
td.data { min-width: 15rem }
td.number { text-align: right }
td.called { background: #d55e0033 }
img { width: 5rem; height: 5rem; object-fit: contain }
img.small { image-rendering: pixelated }
.doubt { padding: 0.4rem 0.7rem; border-left: 4px solid #d55e00 }
"""


def write_summary(path, frame, pictures=None, details=None):
    """Writes the summary; `pictures` has the names of thumbnails beside it by index."""
    attributes = frame.attrs
    name = html.escape(str(attributes["name"]))
    parts = [
        f"<h1>Labels of {name}</h1>",
        *(
            f'<p class="doubt">Doubtful: {html.escape(str(doubt))}</p>'
            for doubt in attributes.get("doubts", [])
        ),
        *_counts(frame),
        *_matrix(frame),
        *_worst(frame, path.parent / THUMBNAILS, pictures or {}, details),
    ]
    text = "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" content="default-src '
            "'none'; img-src data:; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Labels of {name}</title><style>{_STYLE}</style></head><body>",
            *parts,
            "</body></html>\n",
        ]
    )
    path.write_text(text, encoding="utf-8")


def _counts(frame):
    """Returns what was found, in numbers."""
    rows = [("examples", f"{len(frame):,}")]
    rows += [
        (_KINDS[kind], f"{int(is_issue.sum()):,}")
        for kind, is_issue in flags_of(frame).items()
    ]
    for key, words in (
        ("noise_rate", "wrong labels, estimated"),
        ("expected_precision", "wrong ones among the called, estimated"),
    ):
        value, bounds = frame.attrs.get(key), frame.attrs.get(f"{key}_bounds")
        if value is not None and np.isfinite(value):
            rows.append((words, _share(value, bounds)))
    return _table([], rows)


def _share(value, bounds):
    """Returns a share with its bounds, or these alone if they are wide."""
    if bounds is None:
        return f"{value:.0%}"
    between = f"{bounds[0]:.0%} to {bounds[1]:.0%}"
    return between if bounds[1] - bounds[0] > WIDE else f"{value:.0%} ({between})"


def _matrix(frame):
    """Returns how many labels of each class are called another."""
    names = [str(name) for name in frame.attrs["class_names"]]
    called = frame[frame["is_label_issue"].to_numpy(bool)]
    counts = np.zeros((len(names), len(names)), int)
    given, suggested = (called[f"{kind}_label"] for kind in ("given", "predicted"))
    np.add.at(counts, (given.to_numpy(), suggested.to_numpy()), 1)
    title = "<h2>Labels called wrong: given, and suggested</h2>"
    if not counts.any():
        return [title, "<p>None.</p>"]
    if len(names) > _MOST_CLASSES:
        order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_PAIRS]
        pairs = [np.unravel_index(cell, counts.shape) for cell in order]
        rows = [(names[g], names[s], counts[g, s]) for g, s in pairs if counts[g, s]]
        return [title, *_table(["given", "suggested", "labels"], rows)]
    rows = [(name, *row) for name, row in zip(names, counts.tolist(), strict=True)]
    return [title, *_table(["given \\ suggested", *names], rows)]


def _worst(frame, folder, pictures, details):
    """Returns the examples of lowest quality, with their pictures or texts."""
    order = np.argsort(frame["label_quality"].to_numpy(), kind="stable")
    order = order[:_MOST_EXAMPLES]
    names = [str(name) for name in frame.attrs["class_names"]]
    ids = id_texts(frame["id"])
    rows = []
    for index in order.tolist():
        row = frame.iloc[index]
        rows.append(
            (
                *([_picture(folder, pictures.get(index))] if pictures else []),
                ids[index],
                names[row["given_label"]],
                names[row["predicted_label"]],
                f"{row['label_quality']:.3f}",
                *([] if details is None else [_words(details.iloc[index])]),
            )
        )
    head = [""] if pictures else []
    head += ["id", "given", "suggested", "label quality"]
    head += [] if details is None else ["data"]
    return [f"<h2>The worst {len(rows)}</h2>", *_table(head, rows)]


class _Html(str):
    """A whole cell of a table, as HTML."""


def _picture(folder, file):
    """Returns a thumbnail as part of the page, or nothing."""
    if not file:
        return ""
    kind = "png" if file.endswith("png") else "jpeg"
    data = base64.b64encode((folder / file).read_bytes()).decode("ascii")
    small = ' class="small"' if kind == "png" else ""
    return _Html(f'<td><img alt=""{small} src="data:image/{kind};base64,{data}"></td>')


def _words(row):
    """Returns the values of an example, cut to a length."""
    texts = {
        name: "–" if is_missing else text_of(value, _LONGEST_TEXT)
        for (name, value), is_missing in zip(row.items(), row.isna(), strict=True)
    }
    words = [one if len(row) == 1 else f"{name}: {one}" for name, one in texts.items()]
    text = text_of("; ".join(words), _LONGEST_TEXT)
    return _Html(f'<td class="data">{html.escape(text)}</td>')


def _table(head, rows):
    """Returns the lines of a table of HTML, whatever the cells hold."""
    lines = ['<div class="wide"><table>']
    if head:
        cells = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in head)
        lines.append(f"<tr>{cells}</tr>")
    lines += [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    return [*lines, "</table></div>"]


def _cell(value):
    """Returns a cell of a table of HTML."""
    if isinstance(value, _Html):
        return value
    if isinstance(value, int | np.integer):
        is_called = ' class="number called"' if value else ' class="number"'
        return f"<td{is_called}>{value:,}</td>"
    return f"<td>{html.escape(str(value))}</td>"
