"""Files are written completely or not at all, whoever else writes or reads them, and never through a symbolic link."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from processes import environment

from minirl.errors import FileError, RunInUseError
from minirl.files import safetensors
from minirl.files.atomic import open_regular, sweep, write_atomically
from minirl.runs.directory import FOLDERS, LOCK, WRITTEN, open_run
from minirl.runs.metrics import CsvWriter, JsonlWriter

READS = 4000
needs_links = pytest.mark.skipif(os.name != "posix", reason="needs symbolic links and pipes in the file system")


def numbered(k):
    """A file of a length of its own, all of one number: two of them mixed are neither."""
    return safetensors.encode({"x": np.full(100 + 400 * k, k, np.float32)}, {})


def read_until(path, count, torn):
    for _ in range(count):
        try:
            x = safetensors.read(path)[0]["x"]
            if len(set(x.tolist())) != 1 or len(x) != 100 + 400 * int(x[0]):
                torn.append("mixed")
        except FileError as why:
            torn.append(str(why))


def test_f_14_threads_that_save_to_one_path_never_give_a_torn_file(tmp_path):
    """Four writers, two readers, thousands of reads; with one temporary name for all, one read in eight was torn."""
    path, torn, stop = tmp_path / "a", [], threading.Event()
    contents = [numbered(k) for k in range(4)]
    write_atomically(path, contents[0])

    def write(data):
        while not stop.is_set():
            try:
                write_atomically(path, data)
            except FileError as why:
                torn.append(str(why))

    writers = [threading.Thread(target=write, args=(data,)) for data in contents]
    readers = [threading.Thread(target=read_until, args=(path, READS // 2, torn)) for _ in range(2)]
    for each in writers + readers:
        each.start()
    for each in readers:
        each.join()
    stop.set()
    for each in writers:
        each.join()
    assert not torn and os.listdir(tmp_path) == ["a"]


def test_f_14_processes_that_save_to_one_path_never_give_a_torn_file(tmp_path):
    path, torn = tmp_path / "a", []
    write_atomically(path, numbered(0))
    code = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_atomic import numbered, write_atomically
while not Path(sys.argv[2] + ".stop").exists():
    write_atomically(Path(sys.argv[2]), numbered(int(sys.argv[3])))"""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", code, here, str(path)]
    writers = [subprocess.Popen([*command, str(k)], env=environment()) for k in (1, 2)]
    try:
        read_until(path, READS // 4, torn)
    finally:
        (tmp_path / "a.stop").touch()
        codes = [each.wait(60) for each in writers]
    assert not torn and codes == [0, 0] and sorted(os.listdir(tmp_path)) == ["a", "a.stop"]


@needs_links
def test_f_02_a_new_file_is_opened_that_nobody_else_has_then_synced_then_named(tmp_path, monkeypatch):
    order, calls = [], {name: getattr(os, name) for name in ("open", "fsync", "replace")}

    def opened(path, flags, *mode, **more):
        fd = calls["open"](path, flags, *mode, **more)
        order.append(("open", fd, Path(path).name, flags & (os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)))
        return fd

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(("fsync", fd)), calls["fsync"](fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(("rename", a.name, b.name)), calls["replace"](a, b)))
    write_atomically(tmp_path / "a", b"1")
    write_atomically(tmp_path / "a", b"2")
    for first, synced, renamed, folder, last in (order[:5], order[5:]):
        assert first[0] == "open" and first[3] == os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        assert synced == ("fsync", first[1]) and renamed == ("rename", first[2], "a")
        assert folder[:3] == ("open", folder[1], tmp_path.name) and last == ("fsync", folder[1])
    assert order[0][2] != order[5][2]  # no name twice


def test_a_temporary_file_that_a_process_of_the_same_number_left_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("minirl.files.atomic._numbers", iter(range(3)))
    stale = tmp_path / f".a.{os.getpid()}-0.tmp"
    stale.write_text("left")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and stale.read_text() == "left"


@needs_links
def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("minirl.files.atomic._numbers", iter(range(3)))
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".a.{os.getpid()}-0.tmp").symlink_to(victim)
    (tmp_path / f".a.{os.getpid()}-1.tmp").symlink_to(tmp_path / "nothing yet")
    write_atomically(tmp_path / "a", b"new")
    assert victim.read_text() == "mine" and not (tmp_path / "nothing yet").exists()


def test_temporary_files_of_this_version_and_earlier_ones_are_swept(tmp_path):
    ours = [".a.123.tmp", ".a.123-0.tmp", ".a.9-4711.tmp"]
    others = [".a.tmp", ".a.x.tmp", ".b.123-0.tmp", ".a.1-2-3.tmp", "a.1-2.tmp", ".aa.1-2.tmp"]
    for name in ours + others:
        (tmp_path / name).touch()
    sweep(tmp_path, ["a"])
    assert sorted(os.listdir(tmp_path)) == sorted(others)


# ---------------------------------------------------------------------------------------------------- symbolic links


@pytest.fixture
def victim(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "1.safetensors"
    path.write_text("not the run's")
    yield path
    assert path.read_text() == "not the run's" and os.listdir(path.parent) == [path.name]


@needs_links
@pytest.mark.parametrize("name", [LOCK, *WRITTEN, *FOLDERS])
def test_m36_a_link_where_a_run_would_write_is_refused(name, victim, tmp_path):
    """The lock was truncated through it, and the checkpoints of a league removed."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(victim.parent if name in FOLDERS else victim)
    with pytest.raises(FileError, match=f"run cannot be used: {name} in it: it is a symbolic link"):
        open_run(tmp_path / "run", "E", "ppo", 0)
    assert os.listdir(tmp_path / "run") == [name]


@needs_links
def test_m36_a_lock_that_becomes_a_link_or_has_another_name_is_refused(victim, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    lock = tmp_path / "run" / LOCK
    lock.symlink_to(victim)
    monkeypatch.setattr("minirl.runs.directory._refuse_links", lambda *_: None)  # it came after that look
    with pytest.raises(FileError, match="run cannot be used: Too many levels of symbolic links"):
        open_run(tmp_path / "run", "E", "ppo", 0)
    lock.unlink()
    os.link(victim, lock)
    with pytest.raises(FileError, match=r"\.lock in it is no file of its own; remove it"):
        open_run(tmp_path / "run", "E", "ppo", 0)
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(FileError, match=r"\.lock in it is no file of its own; remove it"):
        open_run(tmp_path / "run", "E", "ppo", 0)


@needs_links
@pytest.mark.parametrize("kind", [CsvWriter, JsonlWriter])
def test_m36_a_metrics_file_that_becomes_a_link_is_replaced_or_refused(kind, victim, tmp_path, monkeypatch):
    path = tmp_path / "metrics"
    path.symlink_to(victim)
    writer = kind(path)  # the link gives way to a file
    writer.write({"update": 1, "global_step": 8})
    assert not path.is_symlink()
    path.unlink()
    path.symlink_to(victim)
    with pytest.raises(FileError, match="was removed, replaced or cut short"):
        writer.write({"update": 2, "global_step": 16})
    monkeypatch.setattr("minirl.runs.metrics.write_atomically", lambda *_: None)  # replaced right after the rename
    with pytest.raises(FileError, match="metrics cannot be written: Too many levels"):
        kind(path)


@needs_links
def test_m36_whatever_is_written_atomically_takes_the_place_of_a_link(victim, tmp_path):
    for target in (victim, tmp_path / "elsewhere" / "new"):
        path = tmp_path / target.name
        path.symlink_to(target)
        write_atomically(path, b"ours")
        assert not path.is_symlink() and path.read_bytes() == b"ours"


@needs_links
def test_m36_a_run_directory_may_be_a_link_itself(tmp_path):
    """It is the user's to say where a run goes; nothing in the directory says so."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with open_run(tmp_path / "run", "E", "ppo", 0) as run:
        run.start({"a": 1})
    assert json.loads((tmp_path / "disk" / "config.json").read_text()) == {"a": 1}


def test_f_14_of_many_threads_one_has_the_directory(tmp_path):
    """Also where others have just let go of it, and taken the lock's file with them."""
    held, most, errors = [], [0], []

    def take():
        for _ in range(50):
            try:
                with open_run(tmp_path / "run", "E", "ppo", 0) as run:
                    held.append(run)
                    most[0] = max(most[0], len(held))
                    held.remove(run)
            except RunInUseError:
                continue
            except FileError as why:  # removed between its making and its opening
                errors.append(str(why))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most[0] == 1 and all("No such file" in text or "already" in text for text in errors), errors[:3]


@needs_links
def test_f_14_a_lock_whose_file_was_just_taken_away_is_taken_again_or_refused_once(tmp_path, monkeypatch):
    """The file goes between its opening and its locking; whatever comes then, no descriptor is closed twice."""
    (tmp_path / "run").mkdir()
    gone = [True, False, True, False]
    monkeypatch.setattr("minirl.runs.directory.still_at", lambda *_: not gone.pop(0))
    open_run(tmp_path / "run", "E", "ppo", 0).close()
    assert len(gone) == 2
    monkeypatch.setattr("minirl.runs.directory.fcntl.flock", lambda *_: gone.pop(0) or 1 / 0)  # the second one fails
    monkeypatch.setattr("minirl.runs.directory.still_at", lambda *_: False)
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    with pytest.raises(ZeroDivisionError):
        open_run(tmp_path / "run", "E", "ppo", 0)
    assert not before or set(os.listdir("/proc/self/fd")) == before


# ---------------------------------------------------------------------------------------------------------- reading


@needs_links
def test_m37_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    about = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda *_, **__: about)  # what was there a moment ago
    with pytest.raises(ValueError, match="it is not a regular file"):
        open_regular(path)
