"""The bean: the browser's share of a ball against SciPy's gamma function, and its throws."""

import math

import pytest
from scipy import special, stats

from vaebook.interactive.bean_hits import bean_hits

from .conftest import settle

example = bean_hits


def log_rate(d, radius):
    return d / 2 * math.log(math.pi) - special.gammaln(d / 2 + 1) + d * math.log(radius)


@pytest.mark.parametrize("d", [1, 2, 3, 10, 49, 50])
@pytest.mark.parametrize("radius", [0.05, 0.5])
def test_the_share_of_the_ball(evaluate, d, radius):
    now = evaluate("bean_hits", "m.logHitRate(a[0], a[1])", d, radius)
    assert now == pytest.approx(log_rate(d, radius), abs=1e-9)


@pytest.mark.parametrize(("d", "throws"), [(2, 1), (10, 278), (20, 28_163_698)])
def test_throws_for_an_even_chance(evaluate, d, throws):
    """The numbers of the chapter's exercise."""
    assert evaluate("bean_hits", "m.throwsForOne(a[0], a[1])", d, 0.5) == throws


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_the_throws_hit_as_often_as_they_should(evaluate, d):
    expression = (
        "Array.from({length: 20}, (_, s) => m.distances(a[0], s).filter(r => r <= 0.5).length)"
    )
    hits = sum(evaluate("bean_hits", expression, d))
    rate = math.exp(log_rate(d, 0.5))
    if d == 1:
        assert hits == 10_000
    else:
        assert stats.binomtest(hits, 10_000, rate).pvalue > 1e-4


def test_more_dimensions_are_harder(show):
    page = show(example())
    chance, counted, _ = page.locator(".vaebook-numbers td").all_inner_texts()
    assert float(chance) == pytest.approx(math.pi / 4, abs=1e-4)
    assert int(counted.split()[0]) > 300
    page.get_by_label("dimensions", exact=True).fill("12")
    settle(page)
    chance, counted, _ = page.locator(".vaebook-numbers td").all_inner_texts()
    assert float(chance) == pytest.approx(math.exp(log_rate(12, 0.5)), abs=1e-4)
    assert int(counted.split()[0]) < 5


@pytest.mark.parametrize("wrong", [{"d": 0}, {"d": 51}, {"radius": 0.6}, {"radius": 0.0}])
def test_refuses(wrong):
    with pytest.raises(ValueError, match="wanted"):
        bean_hits(**wrong)
