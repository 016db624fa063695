"""What is raised for bad input, one clear line naming the input and the remedy, and errors in words."""


class UsageError(ValueError):
    """Input that cannot be used. Its text is one line for the user; the tasks exit with status 2."""


def words(error: OSError) -> str:
    """What the system says of an error, as it stands in a line of ours.

    >>> words(FileNotFoundError(2, "No such file or directory"))
    'no such file or directory'
    """
    return (error.strerror or str(error) or type(error).__name__).lower()
