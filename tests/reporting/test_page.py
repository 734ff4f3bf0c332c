"""The page: that it says everything, nothing that is not so, and never harms what was there."""

import html
import json
import re

import numpy as np
import pytest
import xarray as xr

from uqbench import InputError, report
from uqbench.reporting import sentences, svg

from .conftest import ALEATORY, EPISTEMIC, build, every_group

STUDY = "toy"


def plain(page):
    """The words of a page, without marks, styles and entities."""
    text = re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).replace("\N{NO-BREAK SPACE}", " ").split())


def written(tree, tmp_path, study=STUDY):
    report(study, tree, path=tmp_path / "page.html")
    return (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the complete tree."""
    return written(build(every_group()), tmp_path_factory.mktemp("page"))


def test_every_parameter_stands_with_its_unit(page):
    for name, unit in {**EPISTEMIC, **ALEATORY, "dose_factor": "mg"}.items():
        assert re.search(rf"<tr><td>(?:<span>)?{name}\b.*?</td><td>{re.escape(unit)}</td>", page), name


def test_every_divergence_and_failed_solve_is_reported(page):
    text = plain(page)
    assert "During warm-up, 17 transitions diverged, 5 of them because a solve failed" in text
    assert "Among the kept draws, 3 of 400 transitions diverged, 1 of them because a solve failed" in text
    assert "The others jumped in energy, by 1000 to 6.00 × 10⁸." in text
    assert "The others jumped in energy, by 1500." in text


@pytest.mark.parametrize(
    "counts, words",
    [
        ({"divergences_sampling": 0, "failed_solves_sampling": 0}, "no transition of 400 diverged and no solve failed"),
        (
            {"divergences_sampling": 1, "failed_solves_sampling": 1},
            "1 of 400 transitions diverged, because a solve failed",
        ),
        (
            {"divergences_sampling": 2, "failed_solves_sampling": 2},
            "2 of 400 transitions diverged, all of them because",
        ),
        ({"divergences_sampling": 0, "failed_solves_sampling": 2}, "two points were rejected because a solve failed"),
        (
            {"divergences_sampling": 4, "failed_solves_sampling": None},
            "4 of 400 transitions diverged; failed solves were not",
        ),
        ({"divergences_warmup": None}, "During warm-up, divergences were not recorded"),
    ],
)
def test_counts_in_words(groups, counts, words):
    attributes = groups["posterior"].attrs | counts
    groups["posterior"].attrs = {name: value for name, value in attributes.items() if value is not None}
    assert words in " ".join(sentences.rejected(build(groups)))


def test_divergences_without_a_count_are_taken_from_the_statistics(groups):
    del groups["posterior"].attrs["divergences_sampling"]
    groups["sample_stats"]["diverging"][0, :6] = True
    assert "6 of 400 transitions diverged" in " ".join(sentences.rejected(build(groups)))


def test_what_is_not_resolved_is_flagged_with_what_to_do(groups, tmp_path):
    groups["convergence"]["resolved"][2] = False
    groups["convergence"]["rhat"][2] = 1.083
    page = written(build(groups), tmp_path)
    text = plain(page)
    assert "Not resolved: sigma (R-hat 1.083, ESS bulk 800, tail 800)" in text
    assert "uqbench calibrate toy --draws 800" in text
    assert "All three" not in text
    # nor is it compared with those that are known
    assert re.search("Parameters Not resolved: sigma; best known is (ka|CL)_median, to ±(9|10) %; least known", text)
    assert re.search(r'<span class="flagged">sigma</span><small>what it is; not resolved</small>', page)


def test_a_resolved_study_claims_it_and_flags_nothing(page):
    assert "All three population parameters converged" in page
    assert 'class="flag"' not in page


def test_headings_are_answers(page):
    text = plain(page)
    assert "CL_median and CL cannot be identified from these outputs, however good the data; the other three" in text
    assert "89 % of 9 observations of concentration lie inside the 90 % predictive interval" in text
    # the share of Cmax, 45 to 65 %, leaves open which part is larger
    assert (
        "92 % of the variance of AUC is between subjects; which part dominates the variance of Cmax is not resolved"
        in text
    )
    assert "What matters most: CL for AUC; ka or CL for Cmax (which of them is not resolved)" in text


def test_a_part_that_may_be_zero_is_not_claimed(page, groups, tmp_path):
    assert "not resolved from zero" in page
    groups["variance"]["epistemic_lower"][:] = 1.0
    assert "not resolved from zero" not in written(build(groups), tmp_path)


def test_rank_and_condition_are_reported_in_words(tree, groups):
    assert "all three directions" in sentences.information(tree)
    assert "5.0 times better than the worst (condition number 25)" in sentences.information(tree)
    assert "Known least: sigma is known." in sentences.information(tree)
    groups["fisher"].attrs["rank"] = 2
    groups["fisher"]["eigenvalue"][2] = 0.0
    groups["fisher"]["kind"] = ("mode", ["determined", "determined", "flat"])
    groups["fisher"]["meaning"] = ("mode", ["a is known", "b is known", "ka_median/sigma changes nothing"])
    functions = {"function": ["CL_median", "ka_median*sigma"], "function_exact": [True, True]}
    errors = {"function_standard_error": [0.2, 0.1]}
    groups["fisher"] = groups["fisher"].assign(
        {name: ("function", each) for name, each in (functions | errors).items()}
    )
    text = sentences.information(build(groups))
    assert "only two of three directions" in text
    assert "one direction cannot be seen at all. ka_median/sigma changes nothing." in text
    assert text.endswith("What is determined of them is ka_median*sigma.")


def test_a_parameter_without_information_is_not_given_an_error(groups, tmp_path):
    groups["fisher"]["standard_error"][2] = np.inf
    groups["fisher"]["cramer_rao"][2] = np.inf
    assert written(build(groups), tmp_path).count("not determined") == 2


def test_text_is_escaped_everywhere(groups, tmp_path):
    evil = "<script>alert(1)</script>"
    parameters = json.loads(groups["structure"].attrs["parameters"])
    parameters[0]["doc"] = parameters[1]["unit"] = parameters[2]["distribution"] = evil
    groups["structure"].attrs["parameters"] = json.dumps(parameters)
    groups["structure"]["reason"] = ("parameter", [evil] * 5)
    groups["posterior_band"]["unit"] = ("run", [evil, "b", "c"])
    groups["variance"].attrs["failed_runs"] = json.dumps({evil: 1})
    tree = build(groups)
    for name in ("variance", "sobol"):
        tree[name] = tree[name].to_dataset().assign_coords(quantity=[evil, "$x_"])
    tree["fisher"] = tree["fisher"].to_dataset().assign_coords(parameter=["ka_median", "CL_median", evil])
    tree.attrs |= {"study": evil, "model": evil, "gradient": evil}
    page = written(tree, tmp_path, evil)
    assert "<script" not in page
    assert html.escape(evil) in page


def test_the_page_needs_nothing_beside_it(page):
    targets = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert targets and all(target.startswith("#") for target in targets)
    assert not re.search(r"<(?:script|link|iframe|img)\b|@import", page)


def test_ids_are_unique_and_every_link_arrives(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = re.findall(r'href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)
    assert set(links) <= set(ids)


def test_the_same_tree_gives_the_same_page(page, tree, tmp_path):
    assert written(tree, tmp_path) == page


def test_the_tree_comes_back_as_it_was(tree, tmp_path):
    before = tree.copy(deep=True)
    assert report(STUDY, tree, path=tmp_path / "page.html") is tree
    xr.testing.assert_identical(tree, before)


@pytest.mark.parametrize(
    "kept, missing, silent",
    [
        (("structure", "fisher"), ("calibrate", "decompose"), ("identify",)),
        (("prior", "posterior", "convergence", "sample_stats"), ("identify", "decompose", "calibrate"), ()),
        (("variance", "sobol"), ("identify", "calibrate"), ("decompose",)),
        (("structure",), ("calibrate", "decompose"), ("identify",)),
    ],
)
def test_missing_groups_are_reported_with_their_verb(groups, kept, missing, silent, tmp_path):
    page = written(build({name: groups[name] for name in kept}), tmp_path)
    for verb in missing:
        assert f"<code>uqbench {verb} toy</code>" in page
    for verb in silent:
        assert f"<code>uqbench {verb} toy</code>" not in page


def test_parameters_have_units_before_calibration(groups, tmp_path):
    page = written(build({"structure": groups["structure"]}), tmp_path)
    assert "L/h/kg" in page and "HalfNormal(sigma=2)" in page


def test_a_simulator_without_equations(groups, tmp_path):
    structure = groups["structure"]
    structure["verdict"] = ("parameter", ["undecided"] * 5)
    structure["locally"] = ("parameter", [False] * 5)
    structure.attrs |= {"equations": "[]", "outputs": "[]"}
    text = plain(written(build(groups), tmp_path))
    assert "no equations to read" in text
    assert "Whether the parameters can be identified at all is not resolved" in text


def test_structure_tells_method_time_and_combinations(page):
    text = plain(page)
    assert "Whatever these outputs determine is a function of ka_median and CL_median·ka." in text
    assert "It took 0.42 s of at most about 60 s." in text
    assert "The probability that “global” or “local” is wrong is estimated as 1 × 10⁻¹⁵." in text.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert "several experiments with different initial states" in text
    assert "by input-output equations" in page
    assert 'model.reparametrised({"CL_ka": "CL*ka"})' in page.replace("&#34;", '"')
    assert "they fix CL by CL. The poles come as a set" in page
    assert len(re.findall(r"poles", page)) >= 2


def test_an_output_that_is_a_state_is_not_written_twice(groups, tmp_path):
    groups["structure"].attrs |= {"equations": '["C = 2 x", "x = x"]', "outputs": r'["\\mathrm{C} = 2 x"]'}
    groups["structure"].attrs["transfer"] = "{}"
    page = written(build(groups), tmp_path)
    assert re.findall(r'aria-label="([^"]*=[^"]*)"', page) == [r"\mathrm{C} = 2 x"]


@pytest.mark.slow
def test_a_study_without_aleatory_parameters_has_its_inputs_from_shapley_effects(groups, tmp_path):
    effect = np.array([[0.7, 0.4], [0.2, 0.35], [0.1, 0.25]])
    dims = ("parameter", "quantity")
    groups["shapley"] = xr.Dataset(
        {
            "shapley": (dims, effect),
            "shapley_lower": (dims, effect - 0.1),
            "shapley_upper": (dims, effect + 0.1),
            "resolved": (dims, np.ones((3, 2), bool)),
        },
        {"parameter": ["ka_median", "CL_median", "sigma"], "quantity": ["AUC", "Cmax"]},
    )
    del groups["sobol"]
    text = plain(written(build(groups), tmp_path))
    assert "not there yet" not in text
    assert "Most of the parameter uncertainty: ka_median for AUC; ka_median, CL_median or sigma for Cmax" in text
    assert "70 % 60 % to 80 %" in text
    del groups["shapley"]
    groups["variance"].attrs["shapley"] = "left out for 3 parameters and 20 draws"
    text = plain(written(build(groups), tmp_path))
    assert "not there yet" not in text
    assert "Shapley effects, which share it out between the parameters, were left out for 3 parameters" in text
    del groups["variance"], groups["variance_over_time"]
    assert "Inputs that matter: not there yet; uqbench decompose toy makes it" in plain(
        written(build(groups), tmp_path)
    )


def test_a_part_that_is_exactly_zero_is_left_out(groups, tmp_path):
    for end in ("", "_lower", "_upper"):
        groups["variance"][f"aleatory{end}"][:] = 0.0
        groups["variance"][f"aleatory_share{end}"][:] = 0.0
        groups["variance"][f"epistemic_share{end}"][:] = 1.0
    page = written(build({"variance": groups["variance"]}), tmp_path)
    text = plain(page)
    assert "All of the variance of AUC and all of that of Cmax is parameter uncertainty" in text
    assert "differs between" not in text and "0 to 0" not in text


def test_words_are_those_of_a_scientist(page):
    text = plain(page)
    assert "The probability that these answers are wrong is below 1 × 10⁻³⁰." in text
    for private in ("not known yet", "hierarchy", "errs with"):
        assert private not in text


def test_failed_runs_of_a_decomposition_are_reported(groups, tmp_path):
    groups["sobol"].attrs["failed_runs"] = json.dumps({"the step size became too small": 7})
    assert "7 because of “the step size became too small”" in plain(written(build(groups), tmp_path))


def test_provenance_names_settings_seed_and_seconds(page):
    text = plain(page)
    assert "identify /fisher, /structure scale log 0 1.50" in text
    assert "draws 200, tune 100, chains 2" in text
    assert "0123abcd" in text and "4567cdef" in text and "uqbench 0.1.0" in text


@pytest.mark.parametrize("tree", [None, xr.DataTree()])
def test_an_empty_tree_says_what_to_run(tree, tmp_path):
    with pytest.raises(InputError, match="uqbench run toy"):
        report(STUDY, tree, path=tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_results_of_another_study_are_refused(tree, tmp_path):
    with pytest.raises(InputError, match="study 'toy'"):
        report("other", tree, path=tmp_path / "page.html")


def test_the_page_is_named_after_the_study(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report(STUDY, tree)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["toy.html"]


def test_a_page_that_cannot_be_replaced_stays(tree, tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("before")

    def refuse(self, other):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        report(STUDY, tree, path=target)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_in_the_place_of_the_page_is_left_alone(tree, tmp_path):
    folder = tmp_path / "page.html"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="cannot write"):
        report(STUDY, tree, path=folder)
    assert (folder / "mine.txt").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_left_alone(tree, tmp_path):
    (tmp_path / "results").write_text("mine")
    with pytest.raises(InputError, match="cannot write"):
        report(STUDY, tree, path=tmp_path / "results" / "page.html")
    assert (tmp_path / "results").read_text() == "mine"


def test_an_equation_that_mathtext_does_not_know_is_shown_as_code():
    assert svg.equation(r"\begin{cases} <b> \end{cases}", "x") == r"<code>\begin{cases} &lt;b&gt; \end{cases}</code>"


@pytest.mark.parametrize(
    "latex, readable",
    [
        ("- gut ka", r"- \mathrm{gut}\,\mathrm{ka}"),
        (r"\frac{d}{d t} C", r"\dfrac{d}{dt}\,C"),
        (r"2 \cdot x \left(a + b \right)", r"2 \cdot x\,\left(a + b \right)"),
        (r"\mathrm{drug level} = C", r"\mathrm{drug\,level} = C"),
        (r"k_{on} R", r"k_{\mathrm{on}}\,R"),
    ],
)
def test_products_of_names_can_be_distinguished_from_names(latex, readable):
    assert svg._readable(latex) == readable


def test_on_a_phone_medians_stand_beside_the_names_and_labels_are_as_large_as_on_a_page(page):
    head = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", page[page.index('id="parameters"') :])
    assert head[:4] == ["parameter", "median", "90 % interval", "unit"]
    figures = re.findall(r'<svg [^>]*viewBox="0 0 ([\d.]+) [\d.]+"[^>]*class="figure (wide|narrow)"', page)
    assert [kind for _, kind in figures] == ["wide", "narrow"] * (len(figures) // 2) and figures
    # on a phone of 390 px a figure has about 340: a label of 8 pt in a figure of w points is 8 * 340 / w pixels high
    assert all(8 * 340 / float(width) >= 9 for width, kind in figures if kind == "narrow")
