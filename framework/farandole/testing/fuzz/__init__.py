"""Bad input, tried where it can do no harm: a child process with limits on memory and time serves case after case.

    with Sandbox() as sandbox:
        assert sandbox.run("cel", b"1 +").is_fine

A case is fine if the target takes it or refuses it with a named error of ours; it is not if another
exception escapes, if the process dies or takes more memory than a bound, or if no answer comes in time.
"""

from farandole.testing.fuzz.sandbox import Answer, Sandbox, Verdict

__all__ = ["Answer", "Sandbox", "Verdict"]
