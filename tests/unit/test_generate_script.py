"""What attempts come to in drawn worlds: a function of the seed, also for those that run again."""

from farandole.testing.generate import ATTEMPTS_DOOMED, Script


def outcomes(script: Script, attempt: int, before: int) -> list[bool]:
    """Whether that attempt of a hundred steps succeeds."""
    return [script.result(f"s{n}", -1, attempt, before).output is not None for n in range(100)]


def test_an_attempt_that_runs_again_comes_to_the_same_unless_it_stumbles_over_itself() -> None:
    same, other = Script(1, failing=0.2), Script(1, failing=0.2, again=0.6)

    assert outcomes(same, 1, 1) == outcomes(same, 1, 0) == outcomes(other, 1, 0)
    assert outcomes(other, 1, 1) == outcomes(other, 1, 1) != outcomes(other, 1, 0)
    assert sum(outcomes(other, 1, 1)) < sum(outcomes(other, 1, 0))


def test_what_succeeds_whenever_it_runs_gives_the_same_output() -> None:
    script = Script(1, failing=0.2, again=0.6)

    found = [{script.result(f"s{n}", -1, 1, before).output for before in range(4)} - {None} for n in range(100)]

    assert all(len(each) <= 1 for each in found)


def test_beyond_the_doomed_attempts_all_succeed_however_often_they_run() -> None:
    assert all(outcomes(Script(1, failing=1.0, again=1.0), ATTEMPTS_DOOMED + 1, 3))
