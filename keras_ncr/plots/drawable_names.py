"""Class names as figures can show them: of any length, in any script."""


def shortened(name, length):
    """Returns a name of at most `length` characters."""
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def drawable(class_names, numbers=None):
    """Returns names that can be drawn, and the font families that can draw them."""
    # Where a font lacks a character, Matplotlib draws a box and warns. So other
    # installed fonts are added, and where none helps, the number of the class replaces
    # its name.
    names = [" ".join(str(name).split()) for name in class_names]
    # The shortening adds a character of its own.
    wanted = {ord(character) for name in [*names, "…"] for character in name}
    families, missing = _families(wanted)
    numbers = range(len(names)) if numbers is None else numbers
    drawn = [
        name if name and missing.isdisjoint(map(ord, name)) else f"#{number}"
        for name, number in zip(names, numbers, strict=True)
    ]
    return drawn, families


def _families(missing):
    """Returns font families for characters, and the characters that none has."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, fontManager
    from matplotlib.ft2font import FT2Font

    families = list(rcParams["font.family"])
    missing = missing - set(FT2Font(findfont(FontProperties())).get_charmap())
    for font in fontManager.ttflist:
        # "Last Resort" fonts have the same box for all characters of a script.
        if missing and "Last Resort" not in font.name and font.name not in families:
            found = missing & set(FT2Font(font.fname).get_charmap())
            if found:  # Drawn is the regular font of the family, which may have less.
                regular = findfont(FontProperties(family=font.name))
                found &= set(FT2Font(regular).get_charmap())
            families += [font.name] if found else []
            missing = missing - found
    return families, missing
