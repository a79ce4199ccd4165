"""Which characters a name may have."""

import pytest
from django.test import Client

from tests.users.test_api import ADA, send
from users import names
from users.models import User

SEEN = {
    "accents": "José Ångström",
    "a combining accent": "Ada\u0301",
    "punctuation": "Jean-Luc O\u2019Brien, Jr.",
    "an emoji": "Ada \U0001f600",
    "an emoji of several": "\U0001f469\U0001f3fd\u200d\U0001f680",
    "an emoji in its style": "\u2764\ufe0f\u200d\U0001f525",
    "Persian with a non-joiner": "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
    "Malayalam with a final joiner": "\u0d05\u0d35\u0d28\u0d4d\u200d",
    "Japanese with a variant": "\u8fbb\U000e0100 \u592a\u90ce",
    "a no-break space": "Ada\u00a0Lovelace",
    "a keycap": "Agent 7\ufe0f\u20e3",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a flag of a rainbow": "\U0001f3f3\ufe0f\u200d\U0001f308",
    "Kannada with a joiner": "\u0cb0\u200d\u0ccd\u0cafa",
    "Mongolian with a separator": "\u1820\u180e\u1820",
    "Hangul": "\ud64d\uae38\ub3d9",
    "digits alone": "42",
}
UNSEEN = {
    "zero-width space": "\u200b",
    "zero-width space inside": "Ada\u200bLovelace",
    "word joiner": "Ada\u2060",
    "byte order mark": "\ufeffAda",
    "soft hyphen": "Ada\u00ad",
    "joiner alone": "\u200d",
    "joiner in Latin": "A\u200dda",
    "joiner in accented Latin": "\u00e9\u200d\u00e9",
    "non-joiner in Cyrillic": "\u0418\u200c\u0432\u0430\u043d",
    "variation selector behind a letter": "Jos\u00e9\ufe0f",
    "variation selector behind a digit": "Agent 7\ufe0f",
    "keycap of nothing": "\ufe0f\u20e3",
    "Mongolian separator": "Ada\u180e",
    "joiner behind an emoji": "\U0001f600\u200d",
    "joiner at the end": "\u00e9\u200d",
    "non-joiner before a space": "\u0639\u200c \u0639",
    "variation selector alone": "\ufe0f",
    "a row of variation selectors": "\u2764\ufe0f\ufe0f\ufe0f",
    "Hangul filler": "\u3164",
    "Hangul filler inside": "\ud64d\u3164\uae38",
    "Hangul choseong filler": "\u115f",
    "Hangul jungseong filler": "\u1160",
    "halfwidth Hangul filler": "\uffa0",
    "Braille blank": "\u2800",
    "Khitan filler": "\U00018b00\U00016fe4",
    "null notehead": "\U0001d159",
    "Khmer inherent vowel": "\u17b4",
    "grapheme joiner": "Ada\u034f",
    "tag characters": "Ada\U000e0041",
    "line separator": "Ada\u2028Lovelace",
    "paragraph separator": "Ada\u2029Lovelace",
    "accent alone": "\u0301",
    "private use": "\ue000",
    "noncharacter": "Ada\U0010ffff",
    "unassigned": "Ada\U0001fffd",
    "interlinear annotation": "\ufff9Ada",
}
# All that have the property Bidi_Control (UAX 9).
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("name", SEEN.values(), ids=SEEN)
def test_a_name_of_visible_characters_is_taken(name: str) -> None:
    assert names.find_fault(name) == ""


@pytest.mark.parametrize("name", UNSEEN.values(), ids=UNSEEN)
def test_what_shows_nothing_is_refused(name: str) -> None:
    assert names.find_fault(name)


@pytest.mark.parametrize("control", BIDI, ids=lambda char: f"{ord(char):04X}")
def test_a_control_of_text_direction_is_refused_by_its_number(control: str) -> None:
    for name in (control, f"Ada{control}Lovelace", f"\u05d0{control}\u05d1"):
        assert f"U+{ord(control):04X}" in names.find_fault(name)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["\u200b", "Ada\u202e", "\u3164", "\u2800"])
def test_a_refused_name_is_pointed_at(client: Client, name: str) -> None:
    response = send(client, "POST", "/users", {**ADA, "name": name})
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["pointer"] == "/name"
    assert f"U+{ord(name[-1]):04X}" in error["reason"]


@pytest.mark.django_db
def test_characters_count_as_code_points_when_white_space_around_them_is_gone(
    client: Client,
) -> None:
    name = "\U0001f600" * 100
    response = send(client, "POST", "/users", {**ADA, "name": f" \u00a0{name}\u3000 "})
    assert response.status_code == 201
    assert User.objects.get().name == name
    response = send(client, "POST", "/users", {**ADA, "name": name + "x"})
    assert response.json()["errors"] == [
        {"pointer": "/name", "reason": "Has 101 characters; at most 100 are allowed."}
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("around", ["\n", "\x1f", "\x85", "\t"])
@pytest.mark.parametrize("field", ["name", "email"])
def test_a_control_character_is_no_white_space(
    client: Client, field: str, around: str
) -> None:
    for text in (around + ADA[field], ADA[field] + around):
        response = send(client, "POST", "/users", {**ADA, field: text})
        assert response.status_code == 400
        assert "control" in response.json()["errors"][0]["reason"]
