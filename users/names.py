"""Which characters a name may have, by Unicode category (UAX 44)."""

import re
import unicodedata

MAX_NAME = 100
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
CONTROLS = "Must be without control characters."
# Fillers of Hangul and Khitan, the blanks of Braille, of musical notation and of hieroglyphs:
# they show nothing, and their categories are those of visible characters.
BLANK = frozenset(
    "\u115f\u1160\u2800\u3164\uffa0\U00016fe4\U0001d159\U00013441\U00013442"
)
# They show nothing by themselves, but scripts and emoji need them behind a character: joiners
# and variation selectors.
MODIFIER = re.compile(
    "[\u034f\u17b4\u17b5\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
JOINERS = ZWNJ, ZWJ = "\u200c", "\u200d"
EMOJI_STYLE = "\ufe0f"
VIRAMA = 9  # combining class; a joiner behind it shapes the consonant before


def fault(name: str) -> str:
    """Why the name, white space around it removed, is refused; "" when it is not.

    The length comes first: what follows takes time for each character.
    """
    if len(name) > MAX_NAME:
        return f"Has {len(name)} characters; at most {MAX_NAME} are allowed."
    if name.isascii() and name.isprintable():
        return ""
    visible = False
    for at, char in enumerate(name):
        category = unicodedata.category(char)
        if category == "Cc":
            return CONTROLS
        if MODIFIER.match(char):
            allowed = _modifies(name, at)
        else:
            allowed = category[0] in "LMNPS" or category == "Zs"
        if not allowed or char in BLANK:
            return (
                f"Has {_described(char)}; a name is of visible characters and spaces."
            )
        visible |= category[0] in "LNPS"
    return "" if visible else "Must have a visible character."


def _modifies(name: str, at: int) -> bool:
    """Whether the modifier has something to modify, and a joiner something to join."""
    before, after = name[at - 1 : at], name[at + 1 : at + 2]
    if not before or before.isascii() or unicodedata.category(before)[0] not in "LMNPS":
        return False
    if MODIFIER.match(before) and (before, name[at]) != (EMOJI_STYLE, ZWJ):
        return False  # a row of them shows nothing either
    if name[at] not in JOINERS or unicodedata.combining(before) == VIRAMA:
        return True
    return after != "" and not after.isascii() and not after.isspace()


def _described(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".rstrip()
