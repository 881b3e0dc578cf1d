"""The commands of `python -m cache`, one a file: a dataclass of its arguments, whose `run` yields lines to print.

`run` is a generator; what it returns is the exit code.
"""
