"""What is raised for bad input: one clear line, naming the input and the remedy."""


class UsageError(ValueError):
    """Input that cannot be used. Its text is one line for the user; the tasks exit with status 2."""
