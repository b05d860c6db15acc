"""What a check says of a subject."""

from exercises.checks import __main__ as checks

ONE, TWO, THREE = checks.EXERCISES


def verdict(exercise: checks.Exercise, subject: object) -> tuple[str, str]:
    """Return the step at which a subject fails, and what is said of it."""
    *_, (step, wrong) = checks.steps(exercise, subject)
    return (step, str(wrong)) if wrong else ("", "")
