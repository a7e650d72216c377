"""Files made to hurt, M01 to M44, in every place where minirl reads one: a policy, a team's, a league's, config.json,
metrics.csv. Nothing in them runs, nothing is imported, no process started, nothing read or written elsewhere, and all
of them end within a second in one sentence and exit code 2 (`list --runs` says it in the line of that run).

One process plays `minirl eval`, `play`, `league`, `plot` and `list` on all of them, with an audit hook and a canary.
"""

import base64
import io
import json
import os
import pickle
import re
import shutil
import sys
import zipfile

import numpy as np
import pytest
from processes import SMALL, cli, one_sentence, python

import minirl
from minirl.deploy import policy_file
from minirl.errors import ConfigError, FileError, MinirlError
from minirl.files import safetensors, tree
from minirl.files.strict_json import read_json
from minirl.runs.checkpoints import KIND
from minirl.runs.curves import MAX_FOLDERS
from minirl.runs.metrics_reading import read_csv

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and links in the file system")

ABSENT = {  # what has no parser here, and where it is looked at
    "M43": "league.json is written and never read; the pool in a checkpoint: tests/runs/test_resume.py",
    "M44": "there is no server",
}
CANARY = "canary"  # what the code inside the files would make, in the current directory


class Bites:
    """Pickled, it makes the canary where it is loaded."""

    def __reduce__(self):
        return os.system, (f"touch {CANARY}",)


BITE = pickle.dumps(Bites())
CODE = f"__import__('os').system('touch {CANARY}')"
YAML = f"!!python/object/apply:os.system ['touch {CANARY}']\n"


def zipped(members, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in members:
            file.writestr(zipfile.ZipInfo(name), content, compression)
    return out.getvalue()


def npz(array, allow_pickle=True):
    out = io.BytesIO()
    np.savez(out, theta=array)
    return out.getvalue()


def overlapping(count=200):
    """A zip whose entries all name the same bytes."""
    data = zipped([("a", b"0" * 10_000)], zipfile.ZIP_DEFLATED)
    at = data.rindex(b"PK\1\2")
    entry, end = data[at : data.rindex(b"PK\5\6")], bytearray(data[data.rindex(b"PK\5\6") :])
    end[8:12] = count.to_bytes(2, "little") * 2
    end[12:16] = (len(entry) * count).to_bytes(4, "little")
    return data[:at] + entry * count + bytes(end)


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype, shape, low, high, data=b"\0" * 8, **more):
    return raw({"theta": {"dtype": dtype, "shape": shape, "data_offsets": [low, high], **more}}, data)


SB3 = zipped(
    [("data", json.dumps({"policy_class": {":serialized:": base64.b64encode(BITE).decode()}})), ("p.pth", BITE)]
)
OBJECTS = np.array([Bites()], dtype=object)
STRUCTURED = np.zeros(1, dtype=[("a", "O"), ("b", "f4")])
STRUCTURED["a"][0] = Bites()

ANY_FILE = {  # for every place
    "M01 pickle": BITE,
    "M02 a zip with pickles": SB3,
    "M03 objects in an npz": npz(OBJECTS),
    "M04 objects in a record": npz(STRUCTURED),
    "M19 deflate bomb": zipped([("a", b"\0" * (1 << 24))], zipfile.ZIP_DEFLATED),
    "M20 overlapping zip": overlapping(),
    "M21 zip that leads elsewhere": zipped([("../../canary", b"x"), ("/tmp/canary", b"x"), ("a\\..\\canary", b"x")]),
    "M22 deep JSON": b"[" * 100_000,
    "M22 deep objects": b'{"a":' * 100_000,
    "M23 5000 digits": b'{"algorithm": "ppo", "config": ' + b"9" * 5000 + b"}",
    "M24 NaN": b'{"algorithm": NaN, "config": {}}',
    "M24 infinity": b'{"algorithm": "ppo", "config": {"seed": -Infinity}}',
    "M24 1e999": b'{"algorithm": "ppo", "config": {"seed": 1e999}}',
    "M25 invalid UTF-8": b'{"algorithm": "\xff"}',
    "M25 byte order mark": b'\xef\xbb\xbf{"algorithm": "ppo", "config": {"env": "E", "seed": 0}}',
    "M25 UTF-16": '{"algorithm": "ppo"}'.encode("utf-16"),
    "M36 a link to a file": lambda path: path.symlink_to(path.parents[1] / "secret"),
    "M37 pipe": os.mkfifo,
    "M37 /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "M37 /dev/tty": lambda path: path.symlink_to("/dev/tty"),
    "M37 a folder": os.mkdir,
    "M37 a link to itself": lambda path: path.symlink_to(path.name),
    "M37 nothing in it": b"",
    "M37 1 TB without a byte": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
    "M39 YAML": YAML.encode(),
    "M39 TOML": b"".join(b"a%d = 1\n" % i for i in range(100_000)),
    "code": CODE.encode(),
}
POLICY = {  # files that are no policy
    "M05 header of 2^40 bytes": (1 << 40).to_bytes(8, "little") + b"{}",
    "M06 header longer than the file": (3).to_bytes(8, "little") + b"{}",
    "M07 shape 2^40": tensor("F32", [1 << 40], 0, 1 << 42),
    "M08 shape that overflows": tensor("F32", [2, 1 << 63], 0, 8),
    "M09 shape that wraps to 0": tensor("F32", [1 << 32, 1 << 32], 0, 0, b""),
    "M10 negative": tensor("F32", [-2, -1], 0, 8),
    "M11 bool": tensor("F32", [True, 2], 0, 8),
    "M11 float": tensor("F32", [2.0], 0, 8),
    "M11 text": tensor("F32", ["2"], 0, 8),
    "M12 V0": tensor("V0", [10**12], 0, 0, b""),
    "M13 65 dimensions": tensor("F32", [1] * 65, 0, 4, b"\0" * 4),
    "M14 overlap": raw({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, b"\0" * 8),
    "M15 hole": tensor("F32", [2], 4, 12, b"\0" * 12),
    "M16 with a program behind it": tensor("F32", [2], 0, 8, b"\0" * 8 + b"\x7fELF"),
    "M16 with a zip behind it": tensor("F32", [2], 0, 8, b"\0" * 8 + SB3),
    "M17 a name twice": raw(b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{}}'),
    "M18 many names for a few bytes": raw(
        {f"x{i}": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for i in range(9999)}, b"\0" * 16
    ),
    "M18 ten million names": raw(b"{" + b",".join(b'"%d":{}' % i for i in range(90_000)) + b"}"),
    "M25 lone surrogate": raw(b'{"__metadata__":{"a":"\\ud800"}}'),
    "M37 1 TB that its header promises": lambda path: sparse(path, 1 << 40),
    "M37 1 GB that its header promises": lambda path: sparse(path, 1 << 30),
}


def sparse(path, size):
    path.write_bytes(tensor("U8", [size], 0, size, b""))
    os.truncate(path, path.stat().st_size + size)


def changed(**changes):
    """The description with other values, sealed again."""
    return lambda arrays, about: (arrays, about | changes)


def others(**changes):
    """Other arrays, sealed again; None takes one away."""

    def change(arrays, about):
        new = {name: make(arrays.get(name)) for name, make in changes.items()}
        return {name: x for name, x in (arrays | new).items() if x is not None}, about

    return change


def obs(**changes):
    return lambda arrays, about: (arrays, about | {"obs": about["obs"] | changes})


HUGE = 10**30
SEALED = {  # policies whose checksum is right: arrays and description -> arrays and description
    "M26 NaN weights": others(theta=lambda x: np.full_like(x, np.nan)),
    "M26 infinite weights": others(theta=lambda x: np.full_like(x, np.inf)),
    "M26 NaN statistics": others(obs_mean=lambda x: np.full(4, np.nan)),
    **{f"M31 format {v!r}": changed(format=v) for v in (10**9, -1, 0, 3, "1", True, None, 1.0, [1], HUGE)},
    "M32 other sizes": changed(hidden=[7]),
    "M32 no width": changed(hidden=[0]),
    "M32 10^6 layers": changed(hidden=[1] * 200_000),
    "M32 a layer of 10^30": changed(hidden=[HUGE]),
    "M32 layers that are text": changed(hidden="88"),
    "M32 fewer weights": others(theta=lambda x: x[:-1]),
    "M32 weights as a matrix": others(theta=lambda x: x[None]),
    "M32 whole numbers as weights": others(theta=lambda x: x.astype(np.int32)),
    "M32 half a weight": others(theta=lambda x: x.astype(np.float16)),
    "M32 flags as weights": others(theta=lambda x: x > 0),
    "M33 os.system": changed(activation="os.system"),
    "M33 __class__": changed(activation="__class__"),
    "M33 family": changed(family="os.system"),
    "M33 a family of code": changed(family=CODE),
    "M33 dtype of objects": changed(dtype="object"),
    "M33 kind": obs(kind="__import__"),
    "M34 a module": changed(env="evilmod:Foo-v0"),
    "M34 a module with dots": changed(env="os.path:join"),
    "M34 a spec": changed(env='{"id": "Foo-v0", "entry_point": "evilmod:Foo", "kwargs": {}}'),
    "M34 by another library's id": changed(env="GymV26Environment-v0", env_kwargs={"env_id": "evilmod:Foo-v0"}),
    "M34 by another library's older id": changed(env="GymV21Environment-v0", env_kwargs={"env_id": "evilmod:Foo"}),
    "M34 in a package": changed(env="pettingzoo/../evilmod", algorithm="selfplay"),
    "M34 in a package of several": changed(env="mpe2/../evilmod", algorithm="ippo"),
    "M34 no text": changed(env=["evilmod:Foo"]),
    "M34 a file": changed(env="file:///etc/passwd"),
    "M35 a path": changed(env="../../../etc/passwd"),
    "M38 system": changed(env='x; system("id")'),
    "M38 a comment's end": changed(env="*/ int main(){"),
    "M38 an include": changed(env='"\n#include'),
    "M38 an escape": changed(env="\x1b[2J"),
    "M40 negative variance": others(
        obs_mean=lambda x: np.zeros(4), obs_m2=lambda x: -np.ones(4), obs_count=lambda x: np.array(9.0)
    ),
    "M40 negative count": others(
        obs_mean=lambda x: np.zeros(4), obs_m2=lambda x: np.ones(4), obs_count=lambda x: np.array(-1.0)
    ),
    "M40 no count": others(obs_mean=lambda x: np.zeros(4), obs_m2=lambda x: np.ones(4), obs_count=lambda x: None),
    "arguments that are a list": changed(env_kwargs=["x"]),
    "a shape of 2^62": obs(shape=[1 << 62]),
    "a shape of many": obs(shape=[1 << 10] * 32),
    "a description of its own": lambda arrays, about: (arrays, [about]),
    "no description": lambda arrays, about: (arrays, None),
}
CONFIG = {  # config.json beside a good policy and good metrics
    "M17 a key twice": b'{"algorithm": "ppo", "config": {"env": "E", "env": "F", "seed": 0}}',
    "M25 lone surrogate for a name": b'{"algorithm": "ppo", "\\ud800": ',
    "M34 environment of a list": b'{"algorithm": "ppo", "config": {"env": ["evilmod:Foo"], "seed": {"a": NaN}}}',
}
METRICS = {
    "M23 5000 digits of a step": b"update,global_step,charts/episodic_return\n1," + b"9" * 5000 + b",1\n",
    "M24 infinite": b"update,global_step,charts/episodic_return\n1,1e999,1\n",
    "M35 a formula": b"update,global_step,charts/episodic_return\n1,=cmd|' /C calc'!A0,=1+1\n",
    "a long field": b'update,global_step,charts/episodic_return\n1,2,"' + b"a" * 900_000 + b'"\n',
    "escapes": b"update,global_step,charts/episodic_return\n1,\x1b[2J,\x1b]0;x\x07\n",
}

PLAYER = """
import contextlib, io, json, os, signal, sys, time, traceback
from minirl.cli import main

watching, seen = False, []
CODE = {"import", "exec", "compile", "ctypes.dlopen", "pickle.find_class", "marshal.loads", "code.__new__", "open"}
START = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.", "socket.", "pty.", "shutil.",
         "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate")

def hook(event, args):
    if watching and (event in CODE or event.startswith(START)):
        seen.append((event, *map(str, args[:3])))

def play(words):
    global watching
    sys.stdin, out, err = io.StringIO(""), io.StringIO(), io.StringIO()
    seen.clear()
    began, watching = time.process_time(), True
    try:
        signal.alarm(60)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except BaseException:
        code = traceback.format_exc()
    finally:
        signal.alarm(0)
        watching = False
    return code, out.getvalue(), err.getvalue(), time.process_time() - began, list(seen)

def late(*_):
    raise RuntimeError("it hangs")

signal.signal(signal.SIGALRM, late)
plan = json.load(sys.stdin)
for words in plan["good"]:  # once: modules, fonts and the like
    code, out, err, *_ = play(words)
    assert code == (2 if "nowhere" in words else 0), (words, code, out, err)
sys.addaudithook(hook)
print(json.dumps({" ".join(words): play(words) for words in plan["bad"]}))
"""


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    content(path) if callable(content) else path.write_bytes(content)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A run on CartPole, and one of self-play."""
    cwd = tmp_path_factory.mktemp("good")
    assert cli("train", "ppo", "--total-timesteps", 128, "--run", "one", *SMALL, cwd=cwd).returncode == 0
    flags = ("--env", "minirl/TicTacToe-v0", "--total-timesteps", 2000, "--hidden", 8, "--eval-episodes", 0)
    done = cli("train", "selfplay", *flags, "--pool-every", 1, "--run", "game", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd


def policies(policy):
    """Every file that is no policy, as bytes or as what makes it."""
    arrays, metadata = safetensors.read(policy, any_value=policy_file.BOUNDS)
    about = json.loads(metadata["minirl"])
    cases = ANY_FILE | POLICY
    for name, change in SEALED.items():
        tensors, said = change(arrays, about)
        text = {} if said is None else {"minirl": json.dumps(said)}
        cases[name] = safetensors.encode(tensors, text, any_value=tensors)
    data = policy.read_bytes()
    cases["M27 big-endian"] = big_endian(data)
    cases |= {f"M28 cut at {n}": data[: len(data) * n // 7] for n in range(7)}
    cases |= {f"M29 bit {bit}": flipped(data, bit) for bit in range(0, 8 * len(data), len(data) // 3)}
    cases["M30 another checksum"] = data.replace(metadata["sha256"].encode(), b"0" * 64)
    cases["M30 no checksum"] = data.replace(b'"sha256"', b'"sha255"')
    return cases


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def big_endian(data):
    at = 8 + int.from_bytes(data[:8], "little")
    return data[:at] + np.frombuffer(data[at : at + (len(data) - at) // 4 * 4], "<f4").astype(">f4").tobytes()


@pytest.fixture(scope="module")
def outcomes(good, tmp_path_factory):
    """Every command on every case: {place: {case: {command: (code, stdout, stderr, seconds, events)}}}."""
    cwd = tmp_path_factory.mktemp("malicious")
    (cwd / "secret").write_text("not to be read")
    (cwd / "evilmod.py").write_text(f"open({str(cwd / CANARY)!r}, 'w')\n")
    plan, commands = [], {}

    def case(place, name, lines):
        commands[place, name] = lines
        plan.extend(lines)

    one, metrics = good / "one" / "policy.safetensors", (good / "one" / "metrics.csv").read_bytes()
    config = (good / "one" / "config.json").read_bytes()
    for i, (name, content) in enumerate(policies(one).items()):
        run, team, league = f"p{i}", f"t{i}", f"l{i}"
        put(cwd / run / "policy.safetensors", content)
        put(cwd / team / "policies" / "a.safetensors", content)
        put(cwd / league / "league" / "8.safetensors", content)
        lines = [
            ["eval", run],
            ["eval", f"{run}/policy.safetensors"],
            ["play", run],
            ["eval", team],
            ["league", league],
        ]
        case("policy", name, lines[:-1] if name[:3] in ("M34", "M35", "M38") else lines)
        if name[:3] in ("M34", "M35", "M38"):
            case("league of another game", name, lines[-1:])
    for i, (name, content) in enumerate((ANY_FILE | CONFIG).items()):
        put(cwd / f"c{i}" / "config.json", content)
        put(cwd / f"c{i}" / "metrics.csv", metrics)
        put(cwd / f"c{i}" / "policy.safetensors", one.read_bytes())
        case("config", name, [["eval", f"c{i}"], ["plot", f"c{i}"], ["list", "--runs", f"c{i}"]])
    for i, (name, content) in enumerate((ANY_FILE | METRICS).items()):
        put(cwd / f"m{i}" / "config.json", config)
        put(cwd / f"m{i}" / "metrics.csv", content)
        case("metrics", name, [["plot", f"m{i}"], ["list", "--runs", f"m{i}"]])
    before = sorted(cwd.rglob("*"))
    fine = [["eval", str(good / "one")], ["plot", str(good / "one")], ["list", "--runs", str(good)]]
    fine += [["play", str(good / "game")], ["league", str(good / "game"), "--games", "2"], ["eval", "nowhere"]]
    done = python("-c", PLAYER, cwd=cwd, input=json.dumps({"good": fine, "bad": plan}))
    assert done.returncode == 0, done.stderr
    assert sorted(cwd.rglob("*")) == before, "something was made or removed"
    played = json.loads(done.stdout)
    by_case = {key: {" ".join(line): played[" ".join(line)] for line in lines} for key, lines in commands.items()}
    return by_case, cwd


def allowed(event, cwd):
    """Reading one of the files that were put there: the only thing that may happen."""
    kind, path, mode = (*event, "", "")[:3]
    inside = os.path.join(str(cwd), path)
    known = (inside.startswith(f"{cwd}/") and "secret" not in inside) or inside.startswith("/sys/fs/cgroup/memory")
    return kind == "open" and mode in ("r", "rb", "None") and known  # how much memory there is is asked for too


def judged(outcomes, place):
    by_case, cwd = outcomes
    cases = {name: lines for (where, name), lines in by_case.items() if where == place}
    assert cases
    for name, lines in cases.items():
        for line, (code, out, err, seconds, events) in lines.items():
            what = f"{name}: minirl {line}: {code} {out[:300]} {err[:300]}"
            assert not [event for event in events if not allowed(event, cwd)], (what, events)
            assert seconds < 1, what
            yield line, code, out, err, what
    assert not (cwd / CANARY).exists()


@pytest.mark.parametrize("place", ["policy", "league of another game"])
def test_m01_to_m40_as_a_policy(place, outcomes):
    for _, code, out, err, what in judged(outcomes, place):
        assert code == 2 and out == "" and len(one_sentence(err)) < 1000 and err.strip().isprintable(), what


@pytest.mark.parametrize("place", ["config", "metrics"])
def test_m01_to_m40_as_a_configuration_and_as_metrics(place, outcomes):
    for line, code, out, err, what in judged(outcomes, place):
        if line.startswith("list"):  # one run that cannot be read is no reason to hide the others
            said = re.search("cannot be read|is no configuration|no metrics:| – +– ", out)
            assert code == 0 and err == "" and said and out.replace("\n", "").isprintable(), what
        else:
            assert code == 2 and out == "" and len(one_sentence(err)) < 1000, what


def test_every_input_is_there_or_has_a_reason():
    text = (
        " ".join([*ANY_FILE, *POLICY, *SEALED, *CONFIG, *METRICS, *STATES]) + " M27 M28 M29 M30"
    )  # made of a good file
    for n in range(1, 45):
        assert (f"M{n:02}" in text) != (f"M{n:02}" in ABSENT), f"M{n:02}"


@pytest.mark.parametrize("read", [minirl.load, read_json, read_csv, safetensors.read])
def test_m01_to_m39_are_one_family_of_errors_in_python(read, tmp_path):
    (tmp_path / "secret").write_text("")
    for i, (name, content) in enumerate((ANY_FILE | POLICY).items()):
        put(tmp_path / f"{i}" / "file", content)
        own = (OSError, ValueError) if read is read_csv else FileError  # who calls read_csv makes one sentence of it
        try:
            read(tmp_path / f"{i}" / "file")
        except own as why:
            assert issubclass(FileError, MinirlError) and str(why)
        else:
            assert read in (read_csv, read_json) or name == "a folder", name


@pytest.mark.parametrize("env", ["evilmod:Foo-v0", "os.path:join", "GymV26Environment-v0"])
def test_m34_a_file_does_not_say_what_is_imported(env, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evilmod.py").write_text(f"open({CANARY!r}, 'w')\n")
    minirl.save(minirl.load(good / "one"), tmp_path / "p", env)
    for path in (tmp_path / "p", "p"):
        with pytest.raises(
            ConfigError, match=rf"{re.escape(env)}.* would import a module; if you trust it, set env to"
        ):
            minirl.evaluate(path)
    assert sorted(os.listdir(tmp_path)) == ["evilmod.py", "p"] and "evilmod" not in sys.modules


def test_m28_m29_of_a_policy_at_every_second_byte(good, tmp_path):
    """Cut there, and a bit flipped; at each bit of a smaller file: tests/files."""
    data = (good / "one" / "policy.safetensors").read_bytes()
    for at in range(0, len(data), 2):
        for damaged in (data[:at], flipped(data, 8 * at + at * 5 % 8)):
            (tmp_path / "damaged").write_bytes(damaged)
            with pytest.raises(FileError):
                policy_file.load(tmp_path / "damaged")


# --------------------------------------------------------------------------------------------------------- checkpoints


def at(state, *path):
    """The dict or list that holds the last part of the path."""
    for key in path[:-1]:
        state = state[key]
    return state


def put_at(*path, value):
    def change(state):
        at(state, *path)[path[-1]] = value(at(state, *path)[path[-1]]) if callable(value) else value

    return change


LOCKING = {"open", "os.mkdir", "os.remove", "os.rename", "os.truncate", "socket.gethostname"}  # what a run's lock takes
ADAM, RNG = ("learner", "algorithm", "adam"), ("learner", "updates_stream")
STATES = {  # checkpoints whose checksum is right
    "M41 step -1": put_at(*ADAM, "t", value=-1),
    "M41 half a step": put_at(*ADAM, "t", value=0.5),
    "M41 a step of text": put_at(*ADAM, "t", value=CODE),
    "M41 moments of another shape": put_at(*ADAM, "m", value=lambda m: m[:-1]),
    "M41 moments as a matrix": put_at(*ADAM, "v", value=lambda v: v[None]),
    "M41 moments of another type": put_at(*ADAM, "v", value=lambda v: v.astype(np.int64)),
    "M41 no moments": put_at(*ADAM, "m", value=None),
    "M41 no optimiser": put_at(*ADAM, value={}),
    "M41 other weights": put_at("learner", "algorithm", "theta_pi", value=lambda x: x[:-1]),
    "M42 another generator": put_at(*RNG, "bit_generator", value="MT19937"),
    "M42 a generator of code": put_at(*RNG, "bit_generator", value="os.system"),
    "M42 beyond its range": put_at(*RNG, "state", "state", value=1 << 200),
    "M42 below its range": put_at(*RNG, "state", "inc", value=-1),
    "M42 no number": put_at(*RNG, "state", "state", value="1"),
    "M42 no state": put_at(*RNG, "state", value=[]),
    "M32 no learner": put_at("learner", value=None),
    "M32 counters below 0": put_at("learner", "counters", "updates", value=-1),
    "M32 counters that are none": put_at("learner", "counters", value=[1, 2]),
    "M40 negative count": put_at("learner", "normalizer", "count", value="-1"),
    "M34 another environment": put_at("config", "env", value="evilmod:Foo-v0"),
    "M31 no configuration": put_at("config", value=3),
}


def test_m01_to_m42_as_a_checkpoint(good, tmp_path):
    """Each is the only one of its run: the run is refused, and nothing in it is run."""
    (tmp_path / "secret").write_text("not to be read")
    newest = max((good / "one" / "checkpoints").iterdir())
    cases, lines = list((ANY_FILE | POLICY | STATES).items()), []
    for i, (name, content) in enumerate(cases):
        shutil.copytree(good / "one", tmp_path / f"r{i}")
        shutil.rmtree(tmp_path / f"r{i}" / "checkpoints")
        path = tmp_path / f"r{i}" / "checkpoints" / newest.name
        if name in STATES:
            state = tree.read(newest, KIND)
            content(state)
            path.parent.mkdir()
            tree.write(path, KIND, state)
        else:
            put(path, content)
        lines.append(["resume", f"r{i}", "--total-timesteps", "1000"])
    shutil.copytree(good / "one", tmp_path / "fine")
    before = sorted(os.listdir(tmp_path))
    plan = {"good": [["resume", "fine", "--eval-episodes", "0"], ["resume", "nowhere"]], "bad": lines}
    done = python("-c", PLAYER, cwd=tmp_path, input=json.dumps(plan))
    assert done.returncode == 0, done.stderr
    played = json.loads(done.stdout)
    for (name, _), line in zip(cases, lines, strict=True):
        code, _, err, seconds, events = played[" ".join(line)]
        kinds = {event for event, *_ in events}
        assert code == 2 and err.startswith("minirl: ") and "Traceback" not in err and len(err) < 2000, (
            name,
            code,
            err,
        )
        assert seconds < 2 and kinds <= LOCKING, (name, kinds)
        assert not [event for event in events if event[0] == "open" and "secret" in event[1]], name
    assert sorted(os.listdir(tmp_path)) == before and not (tmp_path / CANARY).exists()


# --------------------------------------------------------------------------------------------- what loading a file does


def test_loading_opens_the_file_and_does_nothing_else(good, tmp_path):
    """[S1, S6] A policy, a team, a league, config.json and metrics.csv: no import, process or other file."""
    files = {
        "one/policy.safetensors": good / "one" / "policy.safetensors",
        "team/policies/a.safetensors": good / "one" / "policy.safetensors",
        "team/policies/b.safetensors": good / "one" / "policy.safetensors",
        "game/league/8.safetensors": good / "game" / "policy.safetensors",
        "one/config.json": good / "one" / "config.json",
        "one/metrics.csv": good / "one" / "metrics.csv",
    }
    for name, origin in files.items():
        put(tmp_path / name, origin.read_bytes())
    code = """
import json, sys
from pathlib import Path
import minirl
from minirl.deploy import team
from minirl.files.strict_json import read_json
from minirl.multiagent import league
from minirl.runs.listing import find_runs
from minirl.runs.metrics_reading import read_csv
from minirl.runs.player import player

def load():
    minirl.load("one"), minirl.load("one/policy.safetensors"), team.load("team"), league.load("game")
    read_json(Path("one/config.json")), read_csv(Path("one/metrics.csv")), find_runs(Path("one"))
    player("one"), player("team")

load()  # once: encodings and the like
modules, seen = set(sys.modules), []
sys.addaudithook(lambda event, args: seen.append([event, *map(str, args)]))
load()
seen = seen[:]
print(json.dumps([sorted(set(sys.modules) - modules), seen]))
"""
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    imported, seen = json.loads(done.stdout)
    assert not imported
    kinds = {event for event, *_ in seen}
    assert kinds <= {"open", "os.listdir", "os.scandir", "glob.glob", "pathlib.Path.glob"}, kinds
    opened = [event for event in seen if event[0] == "open"]
    assert {path for _, path, *_ in opened} == set(files)
    assert {mode for _, _, mode, *_ in opened} <= {"r", "rb", "None"}


# ------------------------------------------------------------------------------------------------------------- folders


def pipes(path):
    os.mkfifo(path)


def loops(path):
    path.mkdir()
    for i in range(50):
        (path / f"{i}").symlink_to(path)
        (path / f"self{i}").symlink_to(f"self{i}")


def many(path, content=None):
    path.mkdir()
    for i in range(MAX_FOLDERS + 1):
        (path / f"{i}").mkdir()


def deep(path):
    for i in range(200):
        path = path / f"{i}"
    path.mkdir(parents=True)


FOLDERS = {
    "pipe": pipes,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loops": loops,
    "loop": lambda path: path.symlink_to(path.name),
    "many": many,
    "deep": deep,
    "empty": lambda path: path.mkdir(),
    "sparse": lambda path: sparse(path, 1 << 40),
    "nothing": lambda path: None,
    "team-of-pipes": lambda path: put(path / "policies" / "a.safetensors", os.mkfifo),
    "team-is-a-loop": lambda path: put(path / "policies", lambda p: p.symlink_to("policies")),
    "team-is-a-pipe": lambda path: put(path / "policies", os.mkfifo),
    "league-of-devices": lambda path: put(path / "league" / "1.safetensors", lambda p: p.symlink_to("/dev/zero")),
    "league-far-away": lambda path: put(path / "league", lambda p: p.symlink_to("/")),
    "league-of-steps": lambda path: put(path / "league" / f"{'9' * 200}.safetensors", b""),
}


@pytest.fixture(scope="module")
def folders(good, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("folders")
    lines = []
    for name, make in FOLDERS.items():
        make(cwd / name)
        lines += [["eval", name], ["play", name], ["league", name], ["plot", name], ["list", "--runs", name]]
    done = python("-c", PLAYER, cwd=cwd, input=json.dumps({"good": [["plot", str(good / "one")]], "bad": lines}))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("command", ["eval", "play", "league", "plot", "list --runs"])
def test_m36_m37_folders_that_are_none(command, name, folders):
    code, out, err, seconds, _ = folders[f"{command} {name}"]
    assert code == 2 and out == "" and one_sentence(err) and seconds < 5, (code, out, err, seconds)


@pytest.fixture(scope="module")
def resumed(good, tmp_path_factory):
    """`minirl resume` where every checkpoint, and where config.json, is a file that hurts: {run: what `play` gives}."""
    cwd = tmp_path_factory.mktemp("resumed")
    (cwd / "secret").write_text("not to be read")
    one = good / "one"
    lines, names = [], {}
    for place, cases in {"checkpoint": ANY_FILE | POLICY, "config": ANY_FILE | CONFIG}.items():
        for i, (name, content) in enumerate(cases.items()):
            run = cwd / f"{place}{i}"
            shutil.copytree(one, run)
            for path in (run / "checkpoints").iterdir() if place == "checkpoint" else [run / "config.json"]:
                path.unlink()
                put(path, content)
            names[run.name] = f"{place}: {name}"
            lines += [["resume", run.name], ["verify", run.name]] if place == "config" else [["resume", run.name]]
    fine = [["verify", str(one)], ["resume", "nowhere"]]
    done = python("-c", PLAYER, cwd=cwd, input=json.dumps({"good": fine, "bad": lines}))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), names, cwd


def test_m01_to_m39_as_a_checkpoint_and_as_the_configuration_of_a_run_that_goes_on(resumed):
    """One sentence for each checkpoint, and one for all; nothing runs, and nothing is written outside of the run."""
    played, names, cwd = resumed
    for line, (code, out, err, seconds, events) in played.items():
        run = line.split()[1]
        what = f"{names[run]}: minirl {line}: {code} {out[:300]} {err[:600]}"
        assert code == 2 and out == "" and "Traceback" not in err and seconds < 2, what
        assert len(err.splitlines()) <= (3 if "checkpoint" in run else 1), what
        for kind, path in ((*event, "")[:2] for event in events):
            known = f"{os.path.join(str(cwd), path)}/".startswith(f"{cwd / run}/") or path.startswith("/sys/")
            lock = kind == "socket.gethostname" or (kind == "os.truncate" and path.isdecimal())  # what stands in it
            assert lock or (kind in ("open", "os.remove", "os.rename") and known), (what, kind, path)
    assert (cwd / "secret").read_text() == "not to be read" and not (cwd / CANARY).exists()
    assert {path.name for path in cwd.iterdir()} == {"secret", *names}
