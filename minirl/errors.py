"""What can go wrong, by whose mistake: one sentence that names the field, the value and the remedy.

It names fields as Python does, never as flags: `field = value`, "set field to …", or the name in backticks. The command
line prints it, and makes flags of these.
"""


class MinirlError(Exception):
    """Base of every error that minirl raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class UserError(MinirlError, ValueError):
    """The user's mistake: the command line prints the sentence and exits with 2."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration field has a value that makes no sense."""


class EnvError(UserError):
    """An environment that does not exist, or that does not keep gymnasium's contract."""


class EnvRaisedError(EnvError):
    """An environment raised while it was played: not a mistake at the command line."""

    exit_code = 1


class EnvProcessError(EnvRaisedError):
    """The process of an environment has died or hangs. env: which;  step;  exitcode: −9 for SIGKILL, None: it hung."""

    def __init__(self, message: str, env: int = 0, step: int = 0, exitcode: int | None = None):
        super().__init__(message)
        self.env, self.step, self.exitcode = env, step, exitcode


class SpaceError(UserError):
    """An observation or action space that minirl has no code for."""


class FileError(UserError):
    """A file or run directory that is missing, unwritable, or not what it should be."""


class RunInUseError(MinirlError):
    """Another process is writing to this run directory."""

    exit_code = 3


class NonFiniteError(MinirlError, FloatingPointError):
    """NaN or infinity in training: raised before it reaches the parameters, which keep their last finite values."""

    def __init__(self, what: str, remedy: str, env: int | None = None, step: int | None = None):
        where = "".join(f", {name}={value}" for name, value in (("env", env), ("step", step)) if value is not None)
        super().__init__(f"{what} is not finite{where}: {remedy}")
        self.what, self.env, self.step = what, env, step


def shorten(text: str, columns: int = 120) -> str:
    """A text on one line, cut where it is longer: what a notebook or prompt shows of an object."""
    line = " ".join(text.split())
    return line if len(line) <= columns else f"{line[: columns - 1]}…"


def reason(why: BaseException) -> str:
    """What an error says: one of the system's by its text alone, without the number and the name of the file."""
    return why.strerror if isinstance(why, OSError) and why.strerror else str(why)
