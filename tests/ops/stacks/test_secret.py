from itertools import pairwise

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


def test_while_a_rotation_spreads_each_region_accepts_what_the_other_signs() -> None:
    steps = [DjangoKey("o" * 50)]
    for _ in range(3):
        steps.append(steps[-1].next())
    for before, after in pairwise(steps):
        assert accepts(after, sign(before))
        assert accepts(before, sign(after))


def test_three_steps_end_with_a_new_key_alone() -> None:
    old = DjangoKey("o" * 50)
    end = old.next().next().next()
    assert end.key != old.key
    assert end.fallbacks == ()
    assert not accepts(end, sign(old))


def test_the_function_gets_the_key_and_what_else_is_accepted() -> None:
    assert DjangoKey("a", ("b",)).variables() == {
        "DJANGO_SECRET_KEY": "a",
        "DJANGO_SECRET_KEY_FALLBACKS": "b",
    }
    # An empty value replaces what an earlier deployment set.
    assert DjangoKey("a").variables()["DJANGO_SECRET_KEY_FALLBACKS"] == ""
