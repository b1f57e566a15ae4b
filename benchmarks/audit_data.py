"""Data and wrong labels for the sets of `audit_sets.py`: DATA:NOISE:RATE."""

import ast
import pathlib
import sysconfig

import numpy as np

# Installed packages whose docstrings are told apart: text of twelve kinds.
PACKAGES = (
    "numpy scipy sklearn pandas matplotlib keras tensorflow tensorboard cleanlab "
    "tensorflow_datasets keras_hub absl IPython h5py"
).split()


def data_of(name, arguments):
    """Returns features, true labels, and labels by people or `None`."""
    kinds = {
        "digits": lambda: bundled("load_digits"),
        "cancer": lambda: bundled("load_breast_cancer"),
        "wine": lambda: bundled("load_wine"),
        "doc": lambda: docstrings(5000),
        "fashion": lambda: fashion(arguments, 5000),
        "fashion_few": lambda: fashion(arguments, 600, seed=3),
        "fashion_imb": lambda: imbalanced(fashion(arguments, 15_000, seed=2), 100),
        "cifar": lambda: cifar(arguments, slice(5000)),
        "cifarb": lambda: cifar(arguments, slice(5000, 10_000)),
        "cifar4": lambda: four_classes(arguments),
        "cifar600": lambda: cifar(arguments, slice(600), seed=7),
        "cifar_imb": lambda: imbalanced(cifar(arguments, slice(12_000), seed=2), 30),
        "cstrong": lambda: strong(cifar(arguments, slice(5000))),
        "cstrongb": lambda: strong(cifar(arguments, slice(5000, 10_000))),
        "made2": lambda: made(5000, 2, 20, 1.5),
        "made10weak": lambda: made(5000, 10, 20, 1.2),
        "made3imb": lambda: made(6000, 3, 10, 2.0, ratio=30),
        "made100": lambda: made(6000, 100, 64, 5.0),
        "made1000": lambda: made(8000, 1000, 64, 9.0),
    }
    return kinds[name]()


def standardized(x):
    """Returns columns of mean 0 and deviation 1, constant ones as zeros."""
    x = np.asarray(x, "float32")
    deviation = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


def reduced(x, dim):
    """Returns the principal components of the largest variance."""
    centered = x - x.mean(axis=0)
    part = centered[:5000]
    _, vectors = np.linalg.eigh(part.T @ part)
    components = centered @ vectors[:, ::-1][:, :dim]
    return (components / np.sqrt(components.std(axis=0)) / 5).astype("float32")


def bundled(loader):
    """Returns a data set that scikit-learn ships."""
    from sklearn import datasets

    found = getattr(datasets, loader)()
    return standardized(found.data), found.target, None


def docstrings(num_examples, seed=0):
    """Returns docstrings of installed packages as features, by their package."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, labels = all_docstrings()
    vectorizer = TfidfVectorizer(min_df=3, max_features=20_000, sublinear_tf=True)
    words = vectorizer.fit_transform(texts)
    x = TruncatedSVD(200, random_state=0).fit_transform(words)
    chosen = np.random.default_rng(seed).permutation(len(labels))[:num_examples]
    return standardized(x[chosen]), np.array(labels)[chosen], None


def docstring_texts(num_examples, seed=0):
    """Returns docstrings of installed packages, and the numbers of the packages."""
    texts, labels = all_docstrings()
    chosen = np.random.default_rng(seed).permutation(len(labels))[:num_examples]
    return [texts[row] for row in chosen], np.array(labels)[chosen]


def all_docstrings():
    """Returns docstrings of installed packages, package by package."""
    root = pathlib.Path(sysconfig.get_paths()["purelib"])
    texts, labels = [], []
    for package in PACKAGES:
        found = []
        for path in sorted((root / package).rglob("*.py")):
            found += docstrings_in(path, package)
            if len(found) > 4000:
                break
        found = list(dict.fromkeys(found))
        if len(found) > 300:
            np.random.default_rng(0).shuffle(found)
            labels += [len(set(labels))] * len(found[:1200])
            texts += found[:1200]
    return texts, labels


def docstrings_in(path, package):
    """Returns the longer docstrings of a file, without the package's name."""
    try:
        tree = ast.parse(path.read_text(errors="ignore"))
    except (SyntaxError, ValueError):
        return []
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    texts = [ast.get_docstring(node) or "" for node in nodes]
    return [t.lower().replace(package, "")[:600] for t in texts if len(t) > 120]


def fashion(arguments, num_examples, seed=0):
    """Returns Fashion-MNIST as principal components."""
    import tensorflow_datasets as tfds

    read = tfds.load(
        "fashion_mnist",
        split="train[:20000]",
        batch_size=-1,
        data_dir=arguments.data_dir,
    )
    x, labels = read["image"].numpy().reshape(-1, 784), read["label"].numpy()
    chosen = np.random.default_rng(seed).permutation(len(labels))[:num_examples]
    x = reduced(standardized(x[chosen] / 255.0), 100)
    return x, labels[chosen].astype(int), None


def cifar(arguments, part, seed=0):
    """Returns pretrained features of CIFAR-10, and labels by people."""
    arrays = np.load(arguments.features)
    order = np.random.default_rng(seed).permutation(12_000)[part]
    numbers = np.array([int(i.split("_")[1]) for i in arrays["ids"][order]])
    people = np.load(arguments.human_labels)
    labels = arrays["labels"][order].astype(int)
    assert np.array_equal(people["clean_label"][numbers], labels)
    x = reduced(standardized(arrays["features"][order]), 200)
    return x, labels, people["noisy_label"][numbers].astype(int)


def four_classes(arguments, num_of_each=150):
    """Returns features of the first birds, deer, frogs and trucks, as many of each."""
    arrays = np.load(arguments.features)
    classes = np.array([2, 4, 6, 9])
    rows = np.concatenate(
        [np.flatnonzero(arrays["labels"] == c)[:num_of_each] for c in classes]
    )
    rows = np.random.default_rng(0).permutation(rows)
    labels = np.searchsorted(classes, arrays["labels"][rows])
    return reduced(standardized(arrays["features"][rows]), 200), labels, None


def strong(data, scale=1.6):
    """Returns features as of a strong network: most of the true class is added."""
    x, labels, people = data
    rng = np.random.default_rng(1)
    strength = rng.gamma(3, 1 / 3, len(labels)) * scale
    centers = rng.normal(size=(labels.max() + 1, 64))
    added = centers[labels] * strength[:, None] + rng.normal(size=(len(labels), 64))
    return np.concatenate([x, 2 * added], axis=1).astype("float32"), labels, people


def made(num_examples, num_classes, dim, distance, ratio=1.0, seed=0):
    """Returns Gaussian classes, the last `ratio` times as rare as the first."""
    rng = np.random.default_rng(seed)
    shares = np.geomspace(1, 1 / ratio, num_classes)
    labels = rng.choice(num_classes, num_examples, p=shares / shares.sum())
    centers = rng.normal(size=(num_classes, dim)) * distance / np.sqrt(dim)
    x = centers[labels] + rng.normal(size=(num_examples, dim))
    return standardized(x), labels, None


def imbalanced(data, ratio, seed=0):
    """Returns a part in which the last class is `ratio` times as rare."""
    x, labels, people = data
    shares = np.geomspace(1, 1 / ratio, labels.max() + 1)
    kept = np.random.default_rng(seed).random(len(labels)) < shares[labels]
    return x[kept], labels[kept], None if people is None else people[kept]


def with_noise(kind, rate, data, seed=0):
    """Returns the given labels: of each kind of noise, some wrong."""
    x, labels, people = data
    rng = np.random.default_rng(seed + 1)
    num_classes, num_examples = labels.max() + 1, len(labels)
    if kind in ("clean", "human"):
        return labels.copy() if kind == "clean" else people
    if kind == "instance":
        return with_hard_wrong(rate, x, labels, rng)
    chance = rng.random(num_examples)
    step = np.ones(num_examples, int)  # pair: to the next class.
    is_wrong = chance < rate
    if kind == "symmetric":
        step = rng.integers(1, num_classes, num_examples)
    elif kind == "oneway":  # Half of the classes lose labels to the next one.
        is_wrong = (chance < 2 * rate) & (labels % 2 == 0)
    return np.where(is_wrong, (labels + step) % num_classes, labels)


def with_hard_wrong(rate, x, labels, rng):
    """Returns labels that are wrong where a linear model of some columns wavers."""
    from scipy.optimize import brentq
    from sklearn.linear_model import LogisticRegression

    rows = np.arange(len(labels))
    columns = rng.permutation(x.shape[1])[: max(min(x.shape[1] // 4, 100), 5)]
    model = LogisticRegression(max_iter=60, C=0.1).fit(x[:, columns], labels)
    others = model.predict_proba(x[:, columns])
    hardness = 1.02 - others[rows, labels]
    others[rows, labels] = 0
    others /= np.maximum(others.sum(axis=1, keepdims=True), 1e-12)
    other = (others.cumsum(axis=1) > rng.random((len(labels), 1))).argmax(axis=1)
    factor = brentq(lambda k: np.minimum(k * hardness, 0.9).mean() - rate, 0, 1e4)
    is_wrong = rng.random(len(labels)) < np.minimum(factor * hardness, 0.9)
    return np.where(is_wrong, other, labels)
