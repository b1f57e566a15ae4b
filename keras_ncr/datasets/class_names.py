"""What names of classes must be, wherever a user gives them."""


def check_class_names(class_names):
    """Returns `class_names` as a tuple, or raises.

    Args:
        class_names: Strings, at least two, all different: name i is that of class i.

    Returns:
        Tuple of strings.

    Raises:
        ValueError: If they are something else.

    Example:
    >>> from keras_ncr.datasets.class_names import check_class_names
    >>> check_class_names(["cat", "dog"])
    ('cat', 'dog')
    """
    # A string would pass as the names of its letters.
    names = () if isinstance(class_names, str) else tuple(class_names)
    if len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(
            "`class_names` must be at least two strings, one for each class. "
            f"Received: class_names={class_names!r}."
        )
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            "`class_names` must be all different. "
            f"Received: {repeated!r} {names.count(repeated)} times."
        )
    return names
