"""Transition matrices of label noise: P(noisy label given clean label), row by row."""

import numpy as np

from keras_ncr.checks import check_bool, check_integer, check_known, check_rate

# truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog.
_CIFAR10_TARGETS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
# Look-alikes among handwritten digits, as on MNIST.
_DIGITS_TARGETS = {2: 7, 3: 8, 5: 6, 6: 5, 7: 1}
# T-shirt -> shirt, pullover <-> coat, sandal -> sneaker, sneaker -> ankle boot.
_FASHION_MNIST_TARGETS = {0: 6, 2: 4, 4: 2, 5: 7, 7: 9}

# The fine classes of each superclass (https://www.cs.toronto.edu/~kriz/cifar.html), by
# their numbers in alphabetical order.
_CIFAR100_SUPERCLASSES = (
    (4, 30, 55, 72, 95),  # aquatic mammals
    (1, 32, 67, 73, 91),  # fish
    (54, 62, 70, 82, 92),  # flowers
    (9, 10, 16, 28, 61),  # food containers
    (0, 51, 53, 57, 83),  # fruit and vegetables
    (22, 39, 40, 86, 87),  # household electrical devices
    (5, 20, 25, 84, 94),  # household furniture
    (6, 7, 14, 18, 24),  # insects
    (3, 42, 43, 88, 97),  # large carnivores
    (12, 17, 37, 68, 76),  # large man-made outdoor things
    (23, 33, 49, 60, 71),  # large natural outdoor scenes
    (15, 19, 21, 31, 38),  # large omnivores and herbivores
    (34, 63, 64, 66, 75),  # medium-sized mammals
    (26, 45, 77, 79, 99),  # non-insect invertebrates
    (2, 11, 35, 46, 98),  # people
    (27, 29, 44, 78, 93),  # reptiles
    (36, 50, 65, 74, 80),  # small mammals
    (47, 52, 56, 59, 96),  # trees
    (8, 13, 48, 58, 90),  # vehicles 1
    (41, 69, 81, 85, 89),  # vehicles 2
)
# What ELR's code takes for superclasses: numbers in a row.
_CIFAR100_BLOCKS = tuple(tuple(range(i, i + 5)) for i in range(0, 100, 5))


def symmetric(num_classes: int, rate: float, *, include_true: bool) -> np.ndarray:
    """Returns the transition matrix of noise that is uniform over classes.

    Two kinds of noise go by this name in the literature, so `include_true` has no
    default. With C classes:

    - `include_true=True`: a share `rate` of the labels is redrawn from all classes, the
      true one included, so that a share `rate * (C - 1) / C` ends up wrong: 36 % at a
      rate of 0.4 with 10 classes. DivideMix, ELR and the papers after them.
    - `include_true=False`: a share `rate` is redrawn from the other classes, and a
      share `rate` ends up wrong. Co-teaching, MOIT and others.

    Args:
        num_classes: Int, at least 2.
        rate: Float in [0, 1]: share of the labels that is redrawn.
        include_true: Bool. Whether a redrawn label may be the true one.

    Returns:
        Float64 array of shape `(num_classes, num_classes)`. Entry `[i, j]` is the
        probability of label j given clean class i; rows sum to 1. The
        `noise_matrix` of cleanlab is its transpose.

    Raises:
        ValueError: If `num_classes` or `rate` is out of its range.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Table 3.

    Example:
    >>> keras_ncr.noise.symmetric(4, 0.4, include_true=True)[0]
    array([0.7, 0.1, 0.1, 0.1])
    >>> keras_ncr.noise.symmetric(5, 0.4, include_true=False)[0]
    array([0.6, 0.1, 0.1, 0.1, 0.1])
    """
    num_classes = check_integer(num_classes, "num_classes", minimum=2)
    rate = check_rate(rate)
    include_true = check_bool(include_true, "include_true")
    others = rate / num_classes if include_true else rate / (num_classes - 1)
    matrix = np.full((num_classes, num_classes), others)
    np.fill_diagonal(matrix, 1 - rate + others if include_true else 1 - rate)
    return matrix


def asymmetric(mapping, rate: float, *, num_classes: int | None = None) -> np.ndarray:
    """Returns the transition matrix of noise from each source class to one target.

    `"cifar10"` is the usual map between look-alikes: truck to automobile, bird to
    airplane, deer to horse, cat to dog and dog to cat. Half of the classes have no
    target, so a rate of 0.4 makes 20 % of all labels wrong.

    Published figures for "asymmetric 40 %" on CIFAR-100 mix at least five tasks, of
    which two have a name here. `"cifar100"` goes round within each of the 20
    superclasses, in the order of the fine class numbers, from the last to the first
    (MOIT, GJS). `"cifar100_blocks"` goes round within blocks of five consecutive
    numbers, `i -> 5 * (i // 5) + (i + 1) % 5`, of which 6 of 100 steps stay within a
    superclass: classes are numbered by their names (ELR, ELR+, UNICON). The others are
    a random other member of the superclass (C2D); one swapped pair in each such block,
    some 16 % wrong labels (SOP); the next of all classes (DISC; `pair_flip`).

    `"digits"` is the map of look-alikes that is used on MNIST: 2 to 7, 3 to 8, 5 to 6
    and back, 7 to 1. For `"fashion_mnist"` there is no usual one; ours is
    T-shirt to shirt, pullover to coat and back, sandal to sneaker and sneaker to ankle
    boot: half of the classes, as on CIFAR-10.

    Args:
        mapping: `"cifar10"`, `"cifar100"`, `"cifar100_blocks"`, `"digits"`,
            `"fashion_mnist"`, or a dict from source to target class. Classes that are
            no source keep their labels.
        rate: Float in [0, 1]: share of the labels of each source class that changes.
        num_classes: Int, at least 2. Needed with a dict, and only then.

    Returns:
        Float64 array as of `symmetric`.

    Raises:
        ValueError: If `mapping` is an unknown name, maps a class to itself or is out of
            range, or another argument is missing or out of its range.

    Reference:
        - [Patrini et al., 2017](https://arxiv.org/abs/1609.03683), for the maps of
          CIFAR-10 and of digits.
        - [Liu et al., 2020](https://arxiv.org/abs/2007.00151), the released code, for
          the blocks of CIFAR-100.

    Example:
    >>> keras_ncr.noise.asymmetric({0: 2}, 0.25, num_classes=3)
    array([[0.75, 0.  , 0.25],
           [0.  , 1.  , 0.  ],
           [0.  , 0.  , 1.  ]])
    """
    rate = check_rate(rate)
    if isinstance(mapping, str):
        mapping, num_classes = _named_mapping(mapping, num_classes)
    elif not isinstance(mapping, dict):
        raise ValueError(f"`mapping` must be a name or a dict. Received: {mapping!r}.")
    num_classes = check_integer(num_classes, "num_classes", minimum=2)
    matrix = np.eye(num_classes)
    for source, target in mapping.items():
        if not {source, target} <= set(range(num_classes)) or source == target:
            raise ValueError(
                "`mapping` must map classes to other classes, all in "
                f"0..{num_classes - 1}. Received: {source} -> {target}."
            )
        matrix[source, source] = 1 - rate
        matrix[source, target] = rate
    return matrix


def pair_flip(num_classes: int, rate: float) -> np.ndarray:
    """Returns the transition matrix of noise from each class to the next.

    Args:
        num_classes: Int, at least 2. The last class goes to class 0.
        rate: Float in [0, 1]: share of the labels that changes. Co-teaching uses 0.45.

    Returns:
        Float64 array as of `symmetric`.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Han et al., 2018](https://arxiv.org/abs/1804.06872).

    Example:
    >>> keras_ncr.noise.pair_flip(3, 0.25)
    array([[0.75, 0.25, 0.  ],
           [0.  , 0.75, 0.25],
           [0.25, 0.  , 0.75]])
    """
    num_classes = check_integer(num_classes, "num_classes", minimum=2)
    following = {i: (i + 1) % num_classes for i in range(num_classes)}
    return asymmetric(following, rate, num_classes=num_classes)


def _named_mapping(name, num_classes):
    """Returns a data set's mapping and its number of classes."""
    known = {
        "cifar10": (_CIFAR10_TARGETS, 10),
        "cifar100": (_next_within(_CIFAR100_SUPERCLASSES), 100),
        "cifar100_blocks": (_next_within(_CIFAR100_BLOCKS), 100),
        "digits": (_DIGITS_TARGETS, 10),
        "fashion_mnist": (_FASHION_MNIST_TARGETS, 10),
    }
    check_known(name, known, "mapping", " or a dict from source to target class")
    if num_classes not in (None, known[name][1]):
        raise ValueError(
            f"`num_classes` must be left out with mapping={name!r}, which has "
            f"{known[name][1]} classes. Received: num_classes={num_classes}."
        )
    return known[name]


def _next_within(groups):
    """Returns the next class within its group, for each class."""
    return {
        source: target
        for members in groups
        for source, target in zip(members, members[1:] + members[:1], strict=True)
    }
