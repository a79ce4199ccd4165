from ops.backoff import PAUSES, STABLE_SECONDS, Backoff


def test_pauses_grow_while_lives_are_short_and_rewind_after_a_long_one() -> None:
    backoff = Backoff()
    assert [backoff.pause(0.0) for _ in range(8)] == [*PAUSES, PAUSES[-1], PAUSES[-1]]
    assert backoff.pause(STABLE_SECONDS) == PAUSES[0]
    assert backoff.pause(STABLE_SECONDS - 1) == PAUSES[1]
