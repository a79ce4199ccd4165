from django.core import signing
from django.test import override_settings

from ops.stacks.secret import DjangoKey


def sign(key: DjangoKey) -> str:
    with override_settings(
        SECRET_KEY=key.key, SECRET_KEY_FALLBACKS=list(key.fallbacks)
    ):
        return signing.Signer(salt="users.cursor").sign("cursor")


def accepts(key: DjangoKey, signed: str) -> bool:
    with override_settings(
        SECRET_KEY=key.key, SECRET_KEY_FALLBACKS=list(key.fallbacks)
    ):
        try:
            signing.Signer(salt="users.cursor").unsign(signed)
        except signing.BadSignature:
            return False
    return True


def test_the_next_key_accepts_what_this_one_signed_and_nothing_older() -> None:
    first = DjangoKey("o" * 50)
    second = first.next()
    third = second.next()
    assert second.key != first.key
    assert len(second.key) >= 50
    assert accepts(second, sign(first))
    assert accepts(third, sign(second))
    assert not accepts(third, sign(first))


def test_the_function_gets_the_key_and_what_else_is_accepted() -> None:
    assert DjangoKey("a", ("b",)).variables() == {
        "DJANGO_SECRET_KEY": "a",
        "DJANGO_SECRET_KEY_FALLBACKS": "b",
    }
    # An empty value replaces what an earlier deployment set.
    assert DjangoKey("a").variables()["DJANGO_SECRET_KEY_FALLBACKS"] == ""
