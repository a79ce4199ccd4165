from ops.backoff import CALM_SECONDS, PAUSES, Backoff


def test_pauses_grow_while_lives_are_short_and_begin_anew_after_a_long_one() -> None:
    backoff = Backoff()
    assert [backoff.pause(0.0) for _ in range(8)] == [*PAUSES, PAUSES[-1], PAUSES[-1]]
    assert backoff.pause(CALM_SECONDS) == PAUSES[0]
    assert backoff.pause(CALM_SECONDS - 1) == PAUSES[1]
