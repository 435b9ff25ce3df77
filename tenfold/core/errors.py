"""The one exception for mistakes a person can mend: the command line prints its sentence and exits with code 2."""


class UsageError(ValueError):
    """One sentence that says what was given and what is allowed."""
