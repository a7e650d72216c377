"""What `minirl list` shows."""

import textwrap
from collections.abc import Iterator, Sequence

import gymnasium

from minirl.cli.console import writable
from minirl.errors import UserError
from minirl.runs.listing import Listed, what_differs


def env_ids(words: Sequence[str]) -> list[str]:
    """The ids of the registered environments that contain all of these words."""
    import minirl.envs  # noqa: F401  # registers its own

    found = [name for name in sorted(gymnasium.registry) if all(word.lower() in name.lower() for word in words)]
    if not found:
        raise UserError(f"no environment id contains {' '.join(words)!r}")
    return found


def run_lines(runs: Sequence[Listed], columns: int) -> Iterator[str]:
    """A line for each run: its name, last return and steps, and the settings in which it differs from another one."""
    first = max(len(writable(run.name)) for run in runs)
    title = "what differs" if len(runs) > 1 and first + 40 <= columns else ""
    yield f"{'run':{first}}  {'last return':>11}  {'steps':>11}  {title}".rstrip()
    for run, differs in zip(runs, what_differs(runs), strict=True):
        text = run.unreadable or " ".join(each.replace(" = ", "=", 1) for each in differs)
        line = f"{writable(run.name):{first}}  {run.last_return:>11}  {run.steps:>11}  "
        indent = " " * (len(line) if len(line) + 20 <= columns else 4)
        room, narrow = columns - len(indent), columns < 60
        rest = textwrap.wrap(writable(text), room, break_on_hyphens=False, break_long_words=narrow) or [""]
        yield (line + (rest.pop(0) if len(indent) > 4 else "")).rstrip()
        yield from (indent + each for each in rest)
