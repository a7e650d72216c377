"""The index is complete and current:
every tag has a line that computes it and a test that proves it, and none is made up.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from minirl import cli
from minirl.equations import index, page, scan
from minirl.errors import UserError

ROOT = Path(__file__).parents[2]
INDEX = index.load(page.gather(ROOT))  # tests as they are now, not as they were when the files were written
DUE = [tag for tag, entry in INDEX.items() if not entry.planned]
in_a_clone = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the generated page belongs to a clone")


def test_the_index_is_that_of_the_documents():
    sizes = {"PG": 14, "IS": 7, "KL": 14, "SUR": 8, "TR": 15, "PPO": 12, "GAE": 4, "EXT": 4, "EX": 7, "FIG": 3}
    assert list(INDEX) == [f"{family}-{n}" for family, size in sizes.items() for n in range(1, size + 1)]
    for entry in INDEX.values():
        assert entry.title and entry.formula and entry.documents, entry.tag
        assert set(entry.documents) <= set(index.DOCUMENTS), entry.tag


@pytest.mark.parametrize("tag", DUE)
def test_a_tag_stands_at_a_line_that_computes_it(tag):
    assert INDEX[tag].lines, f"no line of the package carries [{tag}]; docstrings do not count"


@pytest.mark.parametrize("tag", DUE)
def test_a_tag_is_proven_by_a_test(tag):
    assert INDEX[tag].proof["tests"], f"no test names {tag}: put it into its name, docstring or a comment"


def test_no_tag_is_made_up():
    in_code = {
        tag: [f"{site.path}:{site.line}" for site in sites] for tag, sites in scan.code_sites(index.PACKAGE).items()
    }
    for tag, places in (in_code | scan.test_names(ROOT / "tests")).items():
        assert tag in INDEX, f"{tag} of {', '.join(places)} is not in the index"


def test_measured_errors_are_within_what_they_may_be():
    measured = {tag: entry.proof for tag, entry in index.load().items() if "error" in entry.proof}
    assert len(measured) >= 60
    for tag, proof in measured.items():
        assert 0 <= proof["error"] <= proof["tolerance"] and proof["quantity"], tag


@in_a_clone
@pytest.mark.parametrize("path", [index.PROVEN, ROOT / page.PAGE], ids=lambda p: p.name)
def test_what_is_generated_is_current(path):
    lines = page.page(INDEX) if path.suffix == ".md" else page.proven_toml(page.gather(ROOT))
    current = path.read_text("utf-8").splitlines() if path.exists() else []
    assert current == list(lines), f"{path.name} is out of date: run `python -m minirl.equations.page`"


def test_the_page_does_not_know_line_numbers():
    moved = {
        tag: replace(entry, sites=[site._replace(line=site.line + 7) for site in entry.sites])
        for tag, entry in INDEX.items()
    }
    assert list(page.page(moved)) == list(page.page(INDEX))


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("x = y  # J v    [TR-9]", ["TR-9"]),
        ("[TR-9, TR-10]", ["TR-9", "TR-10"]),
        ("[PPO-1, 7, 8]", ["PPO-1", "PPO-7", "PPO-8"]),
        ("[PG-5 → PG-6 → PG-8]", ["PG-5", "PG-6", "PG-8"]),
        ("[GAE-1 … GAE-4, PG-6]", ["GAE-1", "GAE-2", "GAE-3", "GAE-4", "PG-6"]),
        ("[PPO-8, RET-17, 3] and [GAE-02]", ["PPO-8", "GAE-2"]),
        ("x[0], x[T-1], PPO-1, [FAST-3], [shape (N, 2)]", []),
    ],
)
def test_tags_in_brackets(text, tags):
    assert scan.tags_in(text) == tags


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("test_tr_07_length", ["TR-7"]),
        ("test_gae_1_gae_02_ret_03_is_the_sum", ["GAE-1", "GAE-2"]),
        ("test_step_11_ppo_1_clips", ["PPO-1"]),
        ("test_the_is_2_of_something", []),
    ],
)
def test_tags_in_the_name_of_a_test(name, tags):
    assert scan.tags_in_name(name) == tags


def test_code_sites_know_their_function_and_what_is_prose(tmp_path):
    (tmp_path / "package").mkdir()
    text = '"""[TR-1]"""\nclass A:\n    def f(self):\n        # [TR-2]\n        return 1  # one  [TR-3]\n'
    (tmp_path / "package" / "a.py").write_text(text)
    (tmp_path / "package" / "b.pyx").write_text(
        'cdef inline double f(double x):\n    """[TR-1]"""\n    return x  # [TR-4]\n'
    )
    (tmp_path / "package" / "c.h").write_text(
        "static double g(double x)\n{\n    // [TR-1]\n    return x; /* [TR-5] */ // [TR-6]\n}\n"
    )
    sites = scan.code_sites(tmp_path / "package")
    assert [site.computes for site in sites["TR-1"]] == [False, False, False] and not sites["TR-2"][0].computes
    assert sites["TR-3"] == [("package/a.py", 5, "A.f", "return 1 # one", True)]
    assert [sites[tag][0].function for tag in ("TR-4", "TR-5", "TR-6")] == ["f", "g", "g"]


# ----------------------------------------------------------------------------------------------------- the command line


def run(capsys, *words):
    code = cli.main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_tag_is_shown_with_its_lines_and_tests(capsys):
    code, out, _ = run(capsys, "equations", "tr-9")
    assert code == 0
    for part in (
        "[TR-9] Fisher-vector product",
        "F v = Jᵀ F_dist(φ) (J v) / N",
        "GUIDE",
        "fisher_vector_product.product",
        "remark",
    ):
        assert part in out
    assert f"algorithms/npg.py:{INDEX['TR-9'].lines[0].line}" in out
    assert "test_npg_trpo.py::test_step_01_fisher_products_are_the_enumerated_score_products" in out


def test_words_search_and_nothing_lists_all(capsys):
    _, found, _ = run(capsys, "equations", "conjugate", "gradient")
    assert "TR-8" in found and "PG-1 " not in found
    _, everything, _ = run(capsys, "equations")
    assert all(f"\n{tag} " in f"\n{everything}" for tag in INDEX)
    *entries, _, _closing = index.main_lines(width=60)
    assert max(map(len, entries)) <= 60


def test_the_page_on_the_terminal_is_the_committed_one(capsys):
    _, out, _ = run(capsys, "equations", "--markdown")
    assert "## TR: Trust regions" in out and "`minirl/algorithms/npg.py`, `fisher_vector_product.product`" in out


@pytest.mark.parametrize(("words", "near"), [(["TR-99"], "TR-15"), (["trpo-1"], "TR-1"), (["fischer"], "fisher")])
def test_what_is_unknown_ends_with_2_and_says_what_is_near(capsys, words, near):
    code, out, err = run(capsys, "equations", *words)
    assert code == 2 and not out and near in err and len(err.splitlines()) == 1
    with pytest.raises(UserError):
        index.find(INDEX, words)


MEANT = {  # tag: what people type who look for it
    "PG-1": "discount, expected return, gamma",
    "PG-2": "trajectory",
    "PG-3": "log-derivative trick, log derivative",
    "PG-4": "score function",
    "PG-5": "reinforce",
    "PG-6": "reward to go, reward-to-go, causality",
    "PG-7": "expected score, unbiased",
    "PG-8": "baseline, value function, variance reduction, reinforce with baseline",
    "PG-9": "advantage, advantages, q function, q-value",
    "PG-10": "policy gradient, policy gradient theorem",
    "PG-11": "monte carlo",
    "PG-12": "gradient ascent",
    "IS-1": "importance weight, importance weights, importance sampling",
    "IS-2": "importance ratio, likelihood ratio, probability ratio, ratio, ratios, importance sampling ratio",
    "IS-4": "off-policy",
    "KL-1": "kl, divergence, kullback leibler, relative entropy, kl divergence, KL-divergence",
    "KL-3": "cross-entropy",
    "KL-5": "symmetry, triangle inequality, asymmetric",
    "KL-7": "gaussian KL, GAUSSIANS, normal distribution",
    "KL-8": "multivariate gaussian, determinant",
    "KL-9": "bernoulli",
    "KL-10": "total variation, pinsker, pinsker's inequality",
    "KL-11": "mean kl, old policy first, average kl",
    "KL-12": "max kl, maximum kl",
    "KL-13": "surprise",
    "SUR-1": "surrogate",
    "SUR-2": "gradient of the surrogate",
    "SUR-4": "performance difference lemma",
    "SUR-5": "tangent plane",
    "SUR-6": "state visitation, occupancy",
    "SUR-7": "lower bound",
    "SUR-8": "monotonic, monotonic improvement, policy improvement",
    "TR-1": "trust region, trust regions, TRPO, constraint, delta, optimization",
    "TR-2": "taylor, first order",
    "TR-3": "quadratic approximation, second order",
    "TR-4": "hessian, fisher, Fisher information matrix, fisher matrices, hessian of the KL divergence, físher, "
    "curvature, information matrix, riemannian metric",
    "TR-5": "kkt, KKT conditions",
    "TR-6": "natural gradient, natural policy gradient, steepest ascent, F⁻¹g, step direction, inverse fisher",
    "TR-7": "lagrange, lagrangian, step length, step size, step, lagrange multipliers, lagrangian multiplier",
    "TR-8": "conjugate gradient, conjugate gradients, cg",
    "TR-9": "jacobian, hessian vector product, fisher-vector product, matrix vector products",
    "TR-10": "damping, regularization",
    "TR-11": "line search, linesearch, backtracking",
    "TR-15": "dual, duality",
    "PPO-1": "clip, clipping, ppo, the clipped objective, epsilon, ε, clipped surrogate objective",
    "PPO-2": "clamp",
    "PPO-3": "pessimistic",
    "PPO-4": "penalty, kl penalty",
    "PPO-5": "adaptive KL penalty",
    "PPO-6": "adaptive learning rate, learning rate",
    "PPO-7": "entropy bonus, entropy, exploration, entropy regularization",
    "PPO-8": "value loss, popart, pop-art, critic, value clipping, huber",
    "PPO-9": "epochs, minibatches, adam",
    "PPO-10": "parallel actors",
    "PPO-11": "truncation, bootstrap, time limit",
    "GAE-1": "td error, temporal difference, bellman",
    "GAE-2": "gae, lambda, λ, generalized advantage estimation, generalised advantage estimation, "
    "bias variance, bias-variance tradeoff",
    "EXT-1": "ippo, multi agent",
    "EXT-2": "mappo",
    "EXT-3": "self-play",
    "EXT-4": "population based training, hyperparameters",
    "EX-3": "coin",
    "FIG-3": "figure 3",
}
TYPED = [(query.strip(), tag) for tag, queries in MEANT.items() for query in queries.split(",")]


def test_use_18_words_find_the_right_tag_first():
    """Capitals, accents, plurals, hyphens, Greek letters, British or American spelling: all the same."""
    assert len(TYPED) >= 60
    first = {query: index.find(INDEX, [query])[0].tag for query, _ in TYPED}
    assert {query: first[query] for query, tag in TYPED if first[query] != tag} == {}
    assert [index.find(INDEX, query.upper().split())[0].tag for query, _ in TYPED] == [tag for _, tag in TYPED]


def test_use_18_a_synonym_belongs_to_one_tag_and_finds_it():
    names = [(name, tag) for tag, entry in INDEX.items() for name in entry.synonyms]
    assert all(len(entry.synonyms) >= 3 for entry in INDEX.values())
    wrong = [(name, tag, found) for name, tag in names if (found := index.find(INDEX, [name])[0].tag) != tag]
    assert wrong == [] and len({name.lower() for name, _ in names}) == len(names)


def test_use_18_a_title_finds_its_entry():
    """Within the first two: PPO-2, "Clipping", is what the clipped objective is mostly called too."""
    late = [tag for tag, entry in INDEX.items() if tag not in [e.tag for e in index.find(INDEX, [entry.title])[:2]]]
    assert late == []


def test_use_18_pieces_of_formulas_are_found_as_they_stand():
    for piece, tag in (
        ("F⁻¹g", "TR-6"),
        ("r = 1.25", "EX-2"),
        ("√(2δ / xᵀFx)", "TR-7"),
        ("Σ_l (γλ)^l δ_{t+l}", "GAE-2"),
    ):
        assert index.find(INDEX, [piece])[0].tag == tag, piece


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *[
            ("hesian", "hessian"),
            ("lagrnage", "lagrange"),
            ("surogate", "surrogate"),
            ("conjugate gradeint", "gradient"),
        ],
        *[("Fischer", "fisher"), ("monotonicly", "monotonic"), ("adventage", "advantage"), ("entropie", "entropy")],
    ],
)
def test_use_18_a_typing_error_is_told_what_is_near(typed, meant):
    with pytest.raises(UserError, match=f"no equation contains '{typed.split()[-1]}'; near it: {meant}"):
        index.find(INDEX, [typed])
    for nothing in ("", "  ", "?!", "zzz"):
        with pytest.raises(UserError, match="no equation contains"):
            index.find(INDEX, [nothing])


def test_use_18_what_merely_mentions_the_words_comes_later_or_not_at_all(capsys):
    code, out, _ = run(capsys, "equations", "step length")
    assert code == 0 and out.split()[0] in ("TR-7", "[TR-7]")
    found = index.find(INDEX, ["kl"])
    assert found[0].tag == "KL-1" and len(found) < 40


def test_demo_shows_the_worked_numbers(capsys):
    code, out, _ = run(capsys, "demo")
    assert code == 0
    for number in ("0.3348", "0.0070", "credits min(r, clip(r)) = 1.2", "0.5108", "0.3681"):
        assert number in out


def test_figures_are_drawn_where_they_are_wanted(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, _ = run(capsys, "figures", "--out", str(tmp_path / "drawn"))
    assert code == 0 and out.count("drawn: ") == 4
    names = ("fig-1.png", "fig-2.png", "fig-3.png", "bound.png")
    assert all((tmp_path / "drawn" / name).stat().st_size > 5000 for name in names)
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "figures", "--out", str(tmp_path / "file"))
    assert code == 2 and "file" in err
