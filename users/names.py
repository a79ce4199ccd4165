"""Which characters a name may have, by Unicode category (UAX 44)."""

import re
import unicodedata

from config.api.fields import CONTROLS

MAX_NAME = 100
# Fillers of Hangul and Khitan, the blanks of Braille, of musical notation and of hieroglyphs:
# they show nothing, and their categories are those of visible characters.
BLANK = frozenset(
    "\u115f\u1160\u2800\u3164\uffa0\U00016fe4\U0001d159\U00013441\U00013442"
)
# They show nothing by themselves, but scripts and emoji need them behind a character: joiners
# and variation selectors.
MODIFIER = re.compile(
    "[\u034f\u17b4\u17b5\u180b-\u180f\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
ZWJ = "\u200d"
JOINERS = {"\u200c", ZWJ, "\u180e"}  # non-joiner, joiner, Mongolian vowel separator
EMOJI_STYLE, KEYCAP = "\ufe0f", "\u20e3"
VIRAMA = 9  # combining class; a joiner behind it shapes the consonant before
CASED = {"Lu", "Ll", "Lt"}  # scripts with two cases need no modifier


def find_fault(name: str) -> str:
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
    before, char, after = name[at - 1 : at], name[at], name[at + 1 : at + 2]
    if (char, after) == (EMOJI_STYLE, KEYCAP):
        return before != "" and before in "0123456789#*"
    if not _takes_modifiers(before):
        return False
    if MODIFIER.match(before) and (before, char) != (EMOJI_STYLE, ZWJ):
        return False  # a row of them shows nothing either
    if char not in JOINERS or unicodedata.combining(before) == VIRAMA:
        return True
    return _takes_modifiers(after)


def _takes_modifiers(char: str) -> bool:
    category = unicodedata.category(char) if char else "Zs"
    return not char.isascii() and category[0] in "LMNPS" and category not in CASED


def _described(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".rstrip()
