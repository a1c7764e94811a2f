"""The one kind of error that is the user's to mend."""


class UserError(ValueError):
    """A mistake that the user can mend, told in one line.

    The text names the argument, the rule, what was got and what to type instead.
    The command line prints it without a traceback and exits with code 2.
    """
