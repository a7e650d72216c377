"""The library's messages name fields, as Python knows them; at the command line the same sentences name flags."""

import re

from minirl.cli.commands import COMMANDS
from minirl.cli.flags import flags_of
from minirl.cli.train import Output
from minirl.methods import every

OPEN, CLOSE = r"(?<![\w.'\"/-])", r"(?![\w.'\"/-])"  # a field's name within quotes, a path or a longer word is no field


def in_flags(message: str) -> str:
    """`num_envs = 0: takes …; set check_env to False` -> `--num-envs = 0: takes …; set --no-check-env`."""
    kinds = [a.config for a in every().values()] + [kind for kind, _ in COMMANDS.values()]
    names = {flag.field: flag.name for flag in flags_of(*kinds, Output).values()}
    any_field = "|".join(names)
    alone = "|".join(field for field in names if "_" in field)  # an English word is one only where the sentence says so
    message = re.sub(rf"\bset ({any_field}) to False{CLOSE}", lambda m: f"set --no-{names[m[1]][2:]}", message)
    message = re.sub(rf"\bset ({any_field}) to True{CLOSE}", lambda m: f"set {names[m[1]]}", message)
    said = (
        rf"`({any_field})`",
        rf"{OPEN}({any_field})(?= = )",
        rf"{OPEN}(?<=set )({any_field}){CLOSE}",
        rf"{OPEN}({alone}){CLOSE}",
    )
    for field in said:
        message = re.sub(field, lambda m: names[m[1]], message)
    return message
