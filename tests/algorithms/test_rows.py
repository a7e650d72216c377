"""A row of the algorithms' table is all that a learner knows of a method."""

import ast
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from toy_envs import Drift, learner, vector

import minirl
import minirl.training
from minirl.algorithms import ALGORITHMS, Algorithm, find
from minirl.config import Config
from minirl.errors import ConfigError
from minirl.models.actor_critic import Networks, SharedNetworks


def envs():
    return vector(Drift, {}, {})


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_row_is_taken_where_its_name_is(name):
    """configure and learn know no difference: the same configuration, the same numbers."""
    row = find(name)
    assert find(row) is row and minirl.configure(row, num_steps=8) == minirl.configure(name, num_steps=8)
    thetas = []
    for each in (name, row):
        made = minirl.learn(each, envs(), minirl.configure(each, num_steps=8, hidden=(4,)))
        next(made)
        thetas.append(made.state["theta_pi"])
    np.testing.assert_array_equal(*thetas)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_method_may_ask_for_the_advantages_again(name):
    """With the critic that made them they are the same; without one, λ = 1, they are the returns themselves."""
    trained, seen = learner(name, envs(), normalize_adv=False, advantage="baseline"), []

    def update(nets, state, batch, *rest):
        seen.append(
            (
                batch,
                batch.estimated_by(lambda obs: nets.critic.value(state["theta_v"], obs)),
                batch.estimated_by(lambda obs: np.zeros(len(obs))),
            )
        )
        return find(name).update(nets, state, batch, *rest)

    trained.algorithm = replace(trained.algorithm, update=update)
    trained.step()
    (batch, same, without), *_ = seen
    for field in ("obs", "action", "adv", "returns", "value"):
        np.testing.assert_array_equal(getattr(same, field), getattr(batch, field))
    np.testing.assert_array_equal(same.weights.w, batch.weights.w)
    np.testing.assert_array_equal(without.adv, without.returns)
    assert (without.value == 0).all() and len(without) == len(batch)


def test_a_row_says_what_its_networks_are():
    kinds = [type(learner("ppo", envs(), share_trunk=shared).nets) for shared in (False, True)]
    assert kinds == [Networks, SharedNetworks]
    assert {type(learner(name, envs()).nets) for name in ALGORITHMS} == {Networks}

    class Mine(Networks):
        pass

    row = replace(find("trpo"), name="mine", networks=lambda policy, critic, cfg: Mine(policy, critic))
    made = minirl.learn(row, envs(), minirl.configure(row, num_steps=8))
    assert type(made.nets) is Mine and "mine on 2 x" in repr(made)


@dataclass(frozen=True, kw_only=True)
class Own(Config):
    lr: float = 1.0


class Forgotten(Config):
    lr: float = 1.0


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": "a/b"}, "name = 'a/b': takes letters"),
        ({"name": ""}, "name = ''"),
        ({"name": None}, "name = None"),
        ({"config": dict}, "config = <class 'dict'>: takes a dataclass that derives from minirl.config.Config"),
        ({"config": Own()}, "config = Own.*: takes a dataclass"),
        ({"config": Forgotten}, "config = Forgotten: decorate it with @dataclass"),
    ],
)
def test_a_row_that_cannot_be_one_is_refused(fields, why):
    good = {"name": "own", "config": Own, "init": find("ppo").init, "update": find("ppo").update}
    Algorithm(**good)
    with pytest.raises(ConfigError, match=why):
        Algorithm(**(good | fields))


def test_nothing_in_training_asks_for_a_field_that_only_some_methods_have():
    """No getattr on a configuration, nor of the name of any field: what a method needs stands in its row."""
    shared = {field.name for field in fields(Config)} | {"replace"}
    special = {field.name for row in ALGORITHMS.values() for field in fields(row.config)} - shared
    for path in Path(minirl.training.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "hasattr")
            ):
                owner, name = ast.unparse(node.args[0]), node.args[1]
                assert not owner.endswith(("cfg", "config")), where
                assert isinstance(name, ast.Constant) and name.value not in special, where
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith(("cfg", "config")):
                assert node.attr in shared, f"{where}: {node.attr} belongs to one method"
