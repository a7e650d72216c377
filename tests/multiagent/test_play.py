"""`minirl play`: a person against a policy, through pipes and a terminal."""

import io
import os
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import minirl
from minirl.cli import main
from minirl.envs.games import GAMES

SMALL = {"num_envs": 4, "num_steps": 4, "minibatch_size": 16, "hidden": (8,), "epochs": 1, "total_timesteps": 16}
PETTINGZOO = ("pettingzoo/tictactoe_v3", "pettingzoo/connect_four_v3")


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A function: a game's id -> a run on it."""
    runs = {}

    def get(env):
        if env.startswith("pettingzoo/"):
            pytest.importorskip("pettingzoo")
            pytest.importorskip("pygame")
        if env not in runs:
            runs[env] = tmp_path_factory.mktemp("play") / "r"
            minirl.train("selfplay", env, run=runs[env], **SMALL)
        return runs[env]

    return get


@pytest.fixture
def play(run_of, monkeypatch, capsys):
    """A function: what a person types (text or bytes) -> exit code, lines of stdout, lines of stderr."""

    def call(typed, *flags, env="minirl/TicTacToe-v0"):
        data = typed if isinstance(typed, bytes) else typed.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
        code = main(["play", str(run_of(env)), *flags])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.mark.parametrize("how", [[], ["--stochastic", "--seed", "3"]])
@pytest.mark.parametrize("side", ["first", "second"])
@pytest.mark.parametrize("env", [*GAMES, *PETTINGZOO])
def test_every_game_is_played_to_its_end_from_either_side(env, side, how, play):
    code, out, err = play("0\n1\n2\n3\n4\n5\n6\n7\n8\n" * 12, "--side", side, *how, env=env)
    assert (code, err) == (0, []) and out[0] == f"{env}: you are the {side} player"
    assert out[-1] == "a draw" or out[-1].startswith(("you win", "you lose"))
    assert any("they: " in line for line in out)


def test_the_second_player_sees_the_first_move_before_its_own(play):
    _, out, _ = play("", "--side", "second")
    assert out[1].startswith("they: ") and sum(mark == "X" for mark in "".join(out[2:5])) == 1
    _, out, _ = play("", "--side", "first")
    assert out[1:4] == ["0 1 2", "3 4 5", "6 7 8"]


@pytest.mark.parametrize("typed", ["4", "centre", "  CENTRE ", "cen", "4  "])
def test_a_move_is_its_number_or_its_name(typed, play):
    _, out, _ = play(f"{typed}\n")
    boards = [out[i : i + 3] for i in range(len(out) - 2) if out[i + 1][2:3] == "X"]
    assert boards and boards[0][1][2] == "X"


@pytest.mark.parametrize("typed", ["9", "-1", "", "huh", "4 4", "top l r", "x" * 5000, "⁴"])
def test_what_is_no_move_gets_one_sentence_and_is_asked_again(typed, play):
    code, out, err = play(f"{typed}\n4\n")
    answers = [line for line in out if "is no move here" in line]
    assert code == 0 and len(answers) == 1 and err == [] and len(answers[0]) < 250
    assert "type one of 0 top left, 1 top, " in answers[0]
    assert any(line[2:3] == "X" for line in out)  # then it was played


def test_a_name_that_begins_several_is_no_move_and_taken_cells_neither(play):
    _, out, _ = play("bot\n4\n4\n")  # bottom left, bottom, bottom right
    assert len([line for line in out if "is no move here" in line]) == 2


def test_letters_that_are_no_text_are_no_move(play):
    code, out, err = play(b"\xff\xfe\n4\n")
    assert code == 0 and len([line for line in out if "is no move here" in line]) == 1 and err == []


def test_the_end_of_the_input_leaves_the_game(play):
    code, out, err = play("4\n")
    assert (code, out[-1], err) == (0, "the input has ended: the game is left", [])


def test_cards_and_moves_are_those_of_the_seed(play):
    games = [play("bet\n" * 9, "--stochastic", "--seed", "5", env="minirl/KuhnPoker-v0")[1] for _ in range(2)]
    assert games[0] == games[1]
    cards = {play("", "--seed", str(seed), env="minirl/KuhnPoker-v0")[1][1] for seed in range(12)}
    assert len(cards) == 3


def test_a_game_that_the_policy_was_not_trained_for_is_one_sentence(play, run_of):
    code, out, err = play("", "--env", "minirl/ConnectFour-v0")
    assert (code, out) == (2, []) and len(err) == 1
    assert err[0].endswith("was trained for box (18,) and discrete 9: this game shows 84 numbers and has 7 moves")
    code, out, err = play("", "--env", "CartPole-v1")
    assert (code, out) == (2, []) and "is no game of two players" in err[0]


def test_a_policy_of_another_method_is_one_sentence(tmp_path, capsys):
    fields = {"num_steps": 8, "num_envs": 2, "hidden": (4,), "total_timesteps": 16}
    minirl.train("ppo", "CartPole-v1", run=tmp_path / "r", **fields)
    assert main(["play", str(tmp_path / "r")]) == 2
    err = capsys.readouterr().err
    assert "env = 'CartPole-v1' is no game of two players" in err and len(err.splitlines()) == 1


def test_winning_losing_and_a_draw_are_said(play):
    last = {
        play("rock\n", "--seed", str(seed), "--stochastic", env="minirl/RockPaperScissors-v0")[1][-1]
        for seed in range(30)
    }
    assert last == {"you win", "you lose", "a draw"}
    poker = {
        play("bet\n" * 3, "--seed", str(seed), "--stochastic", env="minirl/KuhnPoker-v0")[1][-1] for seed in range(30)
    }
    assert {"you win", "you win 2", "you lose 2"} <= poker


# ---------------------------------------------------------------------------------------------------------- a terminal


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal")
@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (b"\x03", 130, "the game is left"),
        (b"\x04", 0, "the input has ended"),
        (b"centre\nhuh\n\x03", 130, "is no move"),
    ],
)
def test_a_terminal_with_ctrl_c_and_ctrl_d(typed, code, said, run_of):
    shown, ended = in_terminal([sys.executable, "-m", "minirl", "play", str(run_of("minirl/TicTacToe-v0"))], typed)
    assert ended == code and said in shown and "Traceback" not in shown
    assert shown.count("> ") >= 1


def in_terminal(command, typed):
    """Run a command in a pseudo-terminal, type once it asks; what it showed, and its exit code.

    Ctrl-C is its signal, sent until it is heard: one that falls between the prompt and the reading of a line is heard
    by Python with the next key alone.
    """
    import pty

    master, slave = pty.openpty()
    done = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    shown, lines, interrupted, end = b"", typed.splitlines(keepends=True), False, time.monotonic() + 120
    try:
        while time.monotonic() < end:
            if select.select([master], [], [], 0.3)[0]:
                try:
                    shown += os.read(master, 4096)
                except OSError:  # the other end is closed
                    break
            elif done.poll() is not None:
                break
            elif interrupted:
                done.send_signal(signal.SIGINT)
            if lines and shown.endswith(b"> "):
                line = lines.pop(0)
                interrupted = line == b"\x03"
                if not interrupted:
                    os.write(master, line)
                    shown += b" "
        return shown.decode(), done.wait(timeout=30)
    finally:
        done.kill()
        done.wait()
        os.close(master)


def test_the_policy_itself_is_what_plays(play, run_of):
    """Greedy: its first move is the mode of its distribution."""
    agent = minirl.load(run_of("minirl/TicTacToe-v0"))
    move = agent.act_batch(np.zeros((1, 18), np.float32), None, np.ones((1, 9), bool))[0]
    _, out, _ = play("", "--side", "second")
    names = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
    assert out[1] == f"they: {names[move]}"
