"""A run that cannot be lost: kills, signals, full disks, clocks that jump, two at once; cases F-01 … F-20.

What comes of each disturbed run is held against an undisturbed one, to the last bit, by benches/kills.py, which does
the same for longer.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from processes import PATIENCE, SMALL, cli, environment, one_sentence, python, rows, start, wait_until

import minirl
from minirl.errors import FileError, RunInUseError
from minirl.runs.metrics import CsvWriter, JsonlWriter
from minirl.runs.metrics_reading import read_csv

BENCHES = Path(__file__).parents[2] / "benches"
pytestmark = [
    pytest.mark.skipif(not BENCHES.is_dir(), reason="the benches belong to a clone"),
    pytest.mark.skipif(os.name != "posix", reason="needs signals and limits of POSIX"),
]
BUSY = 8  # seconds that a machine with other work may add to what is promised
FIELDS = {"env": "minirl/CartPole-v1", "num_envs": 2, "num_steps": 64, "hidden": (8,), "total_timesteps": 128 * 24}
COMMAND = ("ppo", "--env", "minirl/CartPole-v1", "--total-timesteps", 128 * 24, *SMALL)


@pytest.fixture(scope="module")
def kills():
    sys.path.insert(0, str(BENCHES))
    import kills

    yield kills
    sys.path.remove(str(BENCHES))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of 24 updates that nobody disturbs."""
    return minirl.train("ppo", run=tmp_path_factory.mktemp("undisturbed") / "run", save_every=1, **FIELDS).run


# --------------------------------------------------------------------------------------------------- kills and signals


def check_study(kills, *args, **more):
    for kill in kills.study(*args, **more):
        assert kill["ok"] and not kill["differs"], kill


def test_f_01_f_10_kills_at_random_moments_and_inside_a_save(kills):
    """200 of them: benches/kills.py."""
    check_study(kills, 8, 1, 4, ["native", "large"])


def test_f_09_f_10_signals_at_random_moments(kills):
    check_study(kills, 4, 2, 4, ["best"], signals=True)


@pytest.mark.slow
def test_f_01_f_09_kills_and_signals_at_random_moments_for_longer(kills):
    check_study(kills, 40, 3, 8, list(kills.WORKLOADS))
    check_study(kills, 50, 4, 5, list(kills.WORKLOADS), signals=True)


def test_f_01_a_run_killed_before_its_first_checkpoint_begins(kills, undisturbed, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(undisturbed / "config.json", run)
    (run / "metrics.jsonl").touch()
    minirl.train(resume=run)
    assert kills.differences(run, undisturbed) == []


def test_f_01_rows_without_a_checkpoint_are_not_begun_again(undisturbed, tmp_path):
    """Who has removed the checkpoints has not asked for the policy to be trained again from nothing."""
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(FileError, match="holds no checkpoint that can be read"):
        minirl.train(resume=run)
    assert (run / "metrics.csv").read_bytes() == (undisturbed / "metrics.csv").read_bytes()


def test_f_01_what_killed_saves_have_left_goes_with_the_next_run(undisturbed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    folders = [run, run / "checkpoints", run / "policies", run / "league", run / "best" / "policies"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".policy.safetensors.123-4.tmp").write_text("half")
        (folder / ".mine.tmp").write_text("whole")
    minirl.train(resume=run)
    assert sorted(run.rglob(".*.tmp")) == sorted(folder / ".mine.tmp" for folder in folders)


@pytest.mark.parametrize(
    ("signum", "said"),
    [
        (signal.SIGINT, "KeyboardInterrupt None"),
        (signal.SIGTERM, "SystemExit 143"),
        (signal.SIGHUP, "SystemExit 129"),
    ],
)
def test_f_09_a_script_gets_pythons_own_exceptions_and_goes_on(signum, said, kills, undisturbed, tmp_path):
    """In this process: signals of the main thread, which are handled as before when the training is over."""
    before = signal.getsignal(signum)

    def send(update):
        if update.number == 9:
            os.kill(os.getpid(), signum)

    with pytest.raises((KeyboardInterrupt, SystemExit)) as raised:
        minirl.train("ppo", run=tmp_path / "run", callback=send, save_every=4, **FIELDS)
    assert f"{raised.type.__name__} {getattr(raised.value, 'code', None)}" == said
    assert signal.getsignal(signum) is before and kills.readable(tmp_path / "run") == 9
    minirl.train(resume=tmp_path / "run")
    assert kills.differences(tmp_path / "run", undisturbed) == []


def stopped(process, signum):
    """Send a signal -> exit code, seconds until the end, and what was said."""
    begun = time.monotonic()
    process.send_signal(signum)
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return process.returncode, time.monotonic() - begun, out


LONG = {
    "a step of a second": ("ppo", "--env", "broken_envs:Slow-v0", "--no-check-env", *SMALL),
    "a long PPO update": (
        *("ppo", "--env", "minirl/CartPole-v1", "--num-envs", 8, "--num-steps", 512, "--hidden", 256, 256),
        *("--epochs", 10**6, "--minibatch-size", 4096),
    ),
    "a long TRPO update": (
        *("trpo", "--env", "minirl/Pendulum-v1", "--num-envs", 8, "--num-steps", 2048, "--hidden", 256, 256),
        *("--cg-iters", 10**6),
    ),
}


@pytest.mark.parametrize("flags", LONG.values(), ids=LONG.keys())
def test_f_09_a_signal_inside_a_long_step_or_update(flags, tmp_path):
    """Within 2 s and one environment step, minibatch or CG step, all of which take less than a second here."""
    process = start("train", *flags, "--total-timesteps", 10**9, "--run", "run", cwd=tmp_path)
    wait_until((tmp_path / "run" / "checkpoints" / "000000000.safetensors").exists, process)
    time.sleep(1)
    code, seconds, out = stopped(process, signal.SIGTERM)
    assert code == 143 and seconds < 3 + BUSY and out.splitlines()[-1] == "to go on: minirl resume run"


def test_f_09_a_signal_while_environments_are_made_leaves_nothing(tmp_path):
    flags = ("--env", "broken_envs:SlowlyMade-v0", "--no-check-env", "--vectorization", "sync")
    process = start("train", "ppo", *flags, "--run", "run", cwd=tmp_path)
    wait_until((tmp_path / "making").exists, process)
    code, seconds, out = stopped(process, signal.SIGTERM)
    assert code == 143 and seconds < 2 + BUSY and "before the first update: nothing was trained" in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("to_all", [False, True], ids=["the parent", "all"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_f_09_no_worker_survives(signum, to_all, tmp_path):
    flags = ("--env", "broken_envs:Prints-v0", "--no-check-env", "--vectorization", "async", "--eval-every", 1)
    command = ["train", "ppo", *flags, *SMALL[:-1], 1, "--total-timesteps", 10**9, "--run", "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "minirl", *map(str, command)],
        cwd=tmp_path,
        env=environment(PIDS=str(tmp_path / "pids")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    wait_until(lambda: rows(tmp_path / "run" / "metrics.jsonl") >= 1, process)
    if to_all:
        os.killpg(process.pid, signum)
    else:
        process.send_signal(signum)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signum and "Traceback" not in err, err
    for pid in {int(line) for line in (tmp_path / "pids").read_text().split()} - {process.pid}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# ------------------------------------------------------------------------------------------------------ disks and files


@pytest.fixture
def limited(monkeypatch):
    """A function: from now on files of this process can hold so many bytes, None for any number."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))

    yield limit
    limit(None)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("kind", [CsvWriter, JsonlWriter])
def test_f_03_rows_that_do_not_fit_are_written_later_and_no_line_is_torn(kind, limited, tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "metrics"
    table = [{"update": i, "global_step": 8 * i, "a": i / 7} | ({"b": i / 3} if i > 20 else {}) for i in range(1, 40)]
    for each, full in ((whole, False), (path, True)):
        writer = kind(each)
        for i, row in enumerate(table):
            if full and i in (5, 15, 25):
                limited((each.stat().st_size + 30) if i < 25 else None)
            try:
                writer.write(row)
            except (OSError, FileError):
                assert full and 5 <= i < 25
            lines = each.read_bytes().splitlines(keepends=True)
            assert all(line.endswith(b"\n") for line in lines)
            assert kind is JsonlWriter or len({line.count(b",") for line in lines}) == 1
        writer.close()
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("every", [0, 3])
def test_f_03_a_disk_that_is_full_for_a_while_costs_nothing(every, limited, kills, tmp_path):
    """Rows, checkpoints and the best policy come later; the one before stays, and can be read."""
    extra = {"save_every": 1, "eval_every": every, "eval_episodes": 1} | FIELDS
    undisturbed = minirl.train("ppo", run=tmp_path / "undisturbed", **extra).run
    run, seen = tmp_path / "run", []

    def fill(update):
        if update.number == 5:
            limited((run / "metrics.csv").stat().st_size + 100)
        if 5 < update.number < 20:
            seen.append(kills.readable(run))
        if update.number == 20:
            limited(None)

    with pytest.warns(UserWarning, match="cannot be written: File too large; the training goes on"):
        minirl.train("ppo", run=run, callback=fill, **extra)
    assert set(seen) == {5} and kills.differences(run, undisturbed) == []


def test_f_03_where_the_last_save_fails_the_exit_code_says_it_and_the_run_goes_on(kills, undisturbed, tmp_path):
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import minirl.runs.session as session
from minirl.cli import main
record = session.Recorder.record
def full(self, update, snapshot):
    if update.number == 12:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2600, 2600))
    record(self, update, snapshot)
session.Recorder.record = full
sys.exit(main(["train", *{[*map(str, COMMAND)]!r}, "--save-every", "1", "--run", "run"]))"""
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 2 and "the training goes on" in done.stderr and "100%" in done.stdout
    assert "saved in run" not in done.stdout and kills.readable(tmp_path / "run") == 11
    header, *table = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert all(line.count(",") == header.count(",") for line in table)
    assert cli("resume", "run", "--eval-episodes", 0, cwd=tmp_path).returncode == 0
    assert kills.differences(tmp_path / "run", undisturbed) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs leave to mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.filterwarnings("default")
def test_f_03_a_disk_of_300_kb(small_disk, kills, undisturbed):
    run, filler = small_disk / "run", small_disk / "filler"

    def fill(update):
        if update.number == 7:
            with open(filler, "wb", buffering=0) as file:
                try:
                    while file.write(bytes(512)):
                        pass
                except OSError:
                    pass

    with pytest.warns(UserWarning, match="No space left on device; the training goes on"), pytest.raises(FileError):
        minirl.train("ppo", run=run, callback=fill, save_every=1, **FIELDS)
    assert kills.readable(run) == 7
    filler.unlink()
    minirl.train(resume=run)
    assert kills.differences(run, undisturbed) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_f_03_f_18_output_that_cannot_be_written_does_not_change_the_run(kills, undisturbed, tmp_path):
    train = f"'{sys.executable}' -m minirl train {' '.join(map(str, COMMAND))} --save-every 1 --run"
    for name, to, code in (("full", "> /dev/full 2>&1", 1), ("closed", ">&- 2>&-", 1), ("head", "| head -1", 0)):
        plain = environment(LC_ALL="C", COLUMNS="20", **{"PYTHONIOENCODING": ""})
        done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{train} {name} {to}"], cwd=tmp_path, env=plain)
        assert done.returncode == code, name
        assert kills.differences(tmp_path / name, undisturbed) == [], name


def test_f_12_a_clock_that_jumps_changes_nothing(kills, undisturbed, tmp_path, monkeypatch):
    """By up to a day to and fro, at every look at it; saving every so many seconds goes by another clock."""
    jumps, real = random.Random(0), time.time
    monkeypatch.setattr(time, "time", lambda: real() + jumps.uniform(-86400, 86400))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * time.time()))
    run = minirl.train("ppo", run=tmp_path / "run", save_every=1, **FIELDS).run
    for path in run.rglob("*.safetensors"):
        os.utime(path, (jumps.uniform(0, 2e9),) * 2)
    assert kills.differences(run, undisturbed) == []
    assert all(float(cell) > 0 for cell in read_csv(run / "metrics.csv")["charts/SPS"])
    monkeypatch.setattr(time, "time", lambda: 0.0)
    minirl.train(resume=run)
    assert kills.differences(run, undisturbed) == []


def test_f_13_a_directory_that_cannot_be_used_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = cli("train", *COMMAND, "--run", "file", cwd=tmp_path)
    assert done.returncode == 2 and "run directory file cannot be used: it is a file" in one_sentence(done.stderr)
    done = cli("resume", "file", cwd=tmp_path)
    assert done.returncode == 2 and one_sentence(done.stderr)
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_f_13_a_read_only_directory_is_refused(undisturbed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    if os.geteuid():
        run.chmod(0o500)
        undo = None
    else:  # nothing is read-only to root but a mount
        mounts = [["mount", "--bind", str(run), str(run)], ["mount", "-o", "remount,bind,ro", str(run)]]
        if any(subprocess.run(command, capture_output=True).returncode for command in mounts):
            pytest.skip("needs leave to mount")
        undo = ["umount", "-l", str(run)]
    try:
        with pytest.raises(FileError, match=r"run directory .* cannot be used: (Read-only|Permission)"):
            minirl.train(resume=run)
    finally:
        run.chmod(0o700) if undo is None else subprocess.run(undo, check=True)
    assert minirl.evaluate(run, episodes=1).returns.shape == (1,)


@pytest.mark.filterwarnings("default")
def test_f_13_a_directory_removed_in_mid_run_loses_the_rows_before_and_nothing_else(kills, undisturbed, tmp_path):
    run = tmp_path / "run"

    def remove(update):
        if update.number == 9:
            shutil.rmtree(run)

    with pytest.raises(FileError, match=r"metrics.csv was removed.*the policy is in"):
        minirl.train("ppo", run=run, callback=remove, save_every=1, **FIELDS)
    found = kills.differences(run, undisturbed) if (run / "metrics.csv").exists() else []
    assert found == [] and kills.readable(run) == 24
    assert (run / "policy.safetensors").read_bytes() == (undisturbed / "policy.safetensors").read_bytes()
    minirl.train(resume=run, total_timesteps=128 * 30)
    assert read_csv(run / "metrics.csv")["update"] == [str(i) for i in range(25, 31)]


# ---------------------------------------------------------------------------------------------------- several, and long

TWENTY = """
import os, signal, sys, time
import minirl.cli.commands
from minirl.cli import main
begin, end = os.pipe()
pids = []
for _ in range(20):
    if (pid := os.fork()) == 0:
        os.close(end)
        os.read(begin, 1)  # all of them at once
        os._exit(main(["train", *sys.argv[1:]]))
    pids.append(pid)
os.close(end)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(19)]
for pid in pids:
    try: os.kill(pid, signal.SIGTERM)
    except ProcessLookupError: pass
print(codes, os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_f_14_of_20_processes_at_once_one_has_the_directory(kills, tmp_path):
    flags = ("ppo", "--env", "minirl/CartPole-v1", *SMALL, "--total-timesteps", 10**9, "--run", "run", "--quiet")
    done = python("-c", TWENTY, *map(str, flags), cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == f"{[3] * 19} 143", done.stderr
    assert kills.readable(tmp_path / "run") >= 0


def test_f_14_a_run_that_goes_on_cannot_be_resumed_beside_it(tmp_path):
    process = start("train", *COMMAND[:3], *SMALL, "--total-timesteps", 10**9, "--run", "run", cwd=tmp_path)
    wait_until(lambda: rows(tmp_path / "run" / "metrics.jsonl") >= 3, process)
    with pytest.raises(RunInUseError, match=f"run is in use by process {process.pid} on "):
        minirl.train(resume=tmp_path / "run")
    second = cli("resume", "run", cwd=tmp_path)
    assert second.returncode == 3 and "run is in use by process " in one_sentence(second.stderr)
    assert stopped(process, signal.SIGTERM)[0] == 143


MEMORY = """
import os, sys, minirl
page, seen = os.sysconf("SC_PAGE_SIZE"), []
def look(update):
    with open("/proc/self/statm") as file:
        seen.append(int(file.read().split()[1]) * page)
minirl.train("ppo", "CartPole-v1", run="run", callback=look, save_every=5, num_envs=2, num_steps=16, hidden=(16,),
             minibatch_size=16, epochs=1, total_timesteps=32 * int(sys.argv[1]))
print(seen)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's own account")
@pytest.mark.parametrize("updates", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_f_20_memory_does_not_grow(updates, tmp_path):
    """Less than 1 MB in 100 updates after the first 100, with a snapshot after each and a checkpoint after every 5."""
    done = python("-c", MEMORY, str(updates), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)[100:]
    assert np.polyfit(np.arange(len(seen)), seen, 1)[0] * 100 < 1e6
