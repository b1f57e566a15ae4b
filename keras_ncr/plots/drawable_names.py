"""Class names as a picture can show them: they are of any length, and in any script."""


def shortened(name, length):
    """Returns a name of at most so many characters."""
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def drawable(class_names, numbers=None):
    """Returns names that can be drawn, and the font families that can draw them.

    A font that lacks a character draws a box in its place, and Matplotlib warns. Other
    installed fonts are asked first; where none helps, the number of the class is drawn.
    """
    names = [" ".join(str(name).split()) for name in class_names]
    wanted = {ord(character) for name in names for character in name}
    families, missing = _families(wanted)
    numbers = range(len(names)) if numbers is None else numbers
    drawn = [
        name if name and missing.isdisjoint(map(ord, name)) else f"#{number}"
        for name, number in zip(names, numbers, strict=True)
    ]
    return drawn, families


def _families(characters):
    """Returns font families for code points, and the code points that none has."""
    from matplotlib import font_manager, rcParams
    from matplotlib.ft2font import FT2Font

    families = list(rcParams["font.family"])
    default = font_manager.findfont(font_manager.FontProperties())
    # The shortening adds a character of its own.
    missing = (characters | {ord("…")}) - set(FT2Font(default).get_charmap())
    for font in font_manager.fontManager.ttflist:
        if not missing:
            break
        # Its glyphs are the same box for all characters of a script.
        if "Last Resort" in font.name or font.name in families:
            continue
        found = missing & set(FT2Font(font.fname).get_charmap())
        if found:
            # Of a family, the regular font is drawn with; it may have less.
            regular = font_manager.findfont(
                font_manager.FontProperties(family=font.name)
            )
            found &= set(FT2Font(regular).get_charmap())
        if found:
            families.append(font.name)
            missing -= found
    return families, missing
