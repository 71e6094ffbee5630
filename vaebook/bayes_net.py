"""Small discrete Bayesian networks: exact inference by enumeration, and ancestral sampling."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import numpy as np
from numpy.random import RandomState
from sklearn.utils import check_random_state

from vaebook._checks import check_at_least, fail

Value = Hashable
Table = Mapping[tuple[Value, ...], Mapping[Value, float]]


class BayesianNetwork:
    r"""Joint distribution of discrete variables, as a product over a graph.

    Equation ``def-bayesian-network`` of the book:
    :math:`p(x_1, \dots, x_d) = \prod_i p(x_i \mid \text{parents of } x_i)`. Inference adds up the
    joint distribution over all values of what is not asked for. That takes time exponential in the
    number of variables, which is fine for ten and out of the question for a hundred.

    Parameters
    ----------
    tables
        For each variable its conditional distribution given its parents: a mapping from the tuple
        of the parents' values, in the order of `parents`, to a mapping from the variable's values
        to their probabilities. A variable without parents has the single key ``()``.
    parents
        For each variable that has any, the names of its parents.

    Attributes
    ----------
    variables : list of str
        In an order in which parents come before their children.
    values : dict
        For each variable its possible values.

    Raises
    ------
    ValueError
        If a parent is unknown or the graph has a cycle; if a table lacks a combination of parents'
        values or has one too many, names different values in different rows, or has a row that is
        not a probability distribution.

    Examples
    --------
    >>> net = BayesianNetwork(
    ...     {
    ...         "rain": {(): {True: 0.25, False: 0.75}},
    ...         "wet": {(True,): {True: 1.0, False: 0.0}, (False,): {True: 0.2, False: 0.8}},
    ...     },
    ...     parents={"wet": ["rain"]},
    ... )
    >>> round(net.query("rain", {"wet": True})[True], 3)
    0.625
    """

    def __init__(
        self, tables: Mapping[str, Table], parents: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.parents = {name: tuple((parents or {}).get(name, ())) for name in tables}
        _check_parents(parents or {}, list(tables))
        try:
            self.variables = list(TopologicalSorter(self.parents).static_order())
        except CycleError as error:
            fail("parents", "a graph without cycles", " → ".join(reversed(error.args[1])))
        self.values = {name: tuple(next(iter(tables[name].values()), ())) for name in tables}
        self.tables = {name: self._check_table(name, tables[name]) for name in tables}

    @classmethod
    def fit(
        cls,
        data: Sequence[Mapping[str, Value]],
        parents: Mapping[str, Sequence[str]] | None = None,
        alpha: float = 0.0,
    ) -> BayesianNetwork:
        r"""Estimate the tables of a given graph from complete data, by shares.

        Equation ``eq-bayesian-network-mle`` of the book: among the data with the parents' values
        :math:`u`, the share of each value :math:`v`, :math:`(n_{uv} + \alpha) / (n_u + \alpha V)`.

        Parameters
        ----------
        data
            A value for each variable in each datum, as `sample` returns them. The values of a
            variable are those that occur.
        parents
            The graph, as in the constructor.
        alpha
            Added to each count. With 0 the tables have the maximum likelihood.

        Returns
        -------
        BayesianNetwork

        Raises
        ------
        ValueError
            If there are no data or their variables differ; if `alpha` is negative, or zero while
            some combination of parents' values never occurs.

        Examples
        --------
        >>> days = [{"rain": True, "wet": True}] * 3 + [{"rain": False, "wet": False}]
        >>> rain = BayesianNetwork.fit(days, {"wet": ["rain"]}).query("rain")
        >>> round(rain[True], 6)
        0.75
        """
        check_at_least("len(data)", len(data), 1)
        names = list(data[0])
        if odd := [row for row in data if set(row) != set(names)]:
            fail("data", f"values of {names} in each datum", list(odd[0]))
        if not 0 <= alpha < math.inf:
            fail("alpha", "a finite number, zero or larger", alpha)
        graph = {name: tuple((parents or {}).get(name, ())) for name in names}
        _check_parents(parents or {}, names)
        values = {name: tuple(dict.fromkeys(row[name] for row in data)) for name in names}
        tables: dict[str, Table] = {}
        for name, above in graph.items():
            counts = Counter((tuple(row[parent] for parent in above), row[name]) for row in data)
            tables[name] = {
                given: _shares({value: counts[given, value] + alpha for value in values[name]})
                for given in itertools.product(*(values[parent] for parent in above))
            }
        return cls(tables, parents)

    def _check_table(self, name: str, table: Table) -> Table:
        argument = f"tables[{name!r}]"
        rows = set(itertools.product(*(self.values[parent] for parent in self.parents[name])))
        if set(table) != rows:
            fail(argument, f"one row for each of {sorted(rows, key=str)}", sorted(table, key=str))
        if not self.values[name]:
            fail(argument, "at least one value", "none")
        for given, row in table.items():
            if set(row) != set(self.values[name]):
                fail(argument, f"the values {self.values[name]} in each row", tuple(row))
            # single precision may miss the one by 1e-7
            if min(row.values()) < 0 or not math.isclose(sum(row.values()), 1, abs_tol=1e-6):
                wanted = f"probabilities that add up to 1 given {given}"
                fail(argument, wanted, list(row.values()))
        total = {given: math.fsum(row.values()) for given, row in table.items()}
        return {
            given: {value: float(p) / total[given] for value, p in row.items()}
            for given, row in table.items()
        }

    def log_prob(self, assignment: Mapping[str, Value]) -> float:
        """Log-probability of one value for each variable, in nats.

        Parameters
        ----------
        assignment
            A value for every variable.

        Returns
        -------
        float
            Minus infinity where the joint probability is zero.
        """
        self._check_assignment("assignment", assignment)
        if missing := [name for name in self.variables if name not in assignment]:
            fail("assignment", "a value for each variable", f"none for {missing}")
        return self._log_joint(assignment)

    def query(
        self, variable: str, evidence: Mapping[str, Value] | None = None
    ) -> dict[Value, float]:
        """Return the distribution of one variable given the values of others, exactly.

        Equation ``eq-bayesian-network-query`` of the book.

        Parameters
        ----------
        variable
            The variable that is asked for.
        evidence
            Values of other variables; none if None.

        Returns
        -------
        dict
            Value -> probability.

        Raises
        ------
        ValueError
            If a name or value is unknown, or the evidence has probability zero.
        """
        evidence = dict(evidence or {})
        self._check_assignment("evidence", evidence)
        if variable not in self.tables:
            fail("variable", f"one of {self.variables}", repr(variable))
        terms: dict[Value, list[float]] = {value: [] for value in self.values[variable]}
        choices = [[evidence[n]] if n in evidence else self.values[n] for n in self.variables]
        for values in itertools.product(*choices):
            assignment = dict(zip(self.variables, values, strict=True))
            terms[assignment[variable]].append(self._log_joint(assignment))
        largest = max(itertools.chain(*terms.values()))  # taken out, lest all of them underflow
        if largest == -math.inf:
            fail("evidence", "values that can occur together", evidence)
        totals = {
            value: math.fsum(math.exp(term - largest) for term in logs)
            for value, logs in terms.items()
        }
        total = sum(totals.values())
        return {value: mass / total for value, mass in totals.items()}

    def sample(
        self, n_samples: int = 1, random_state: int | RandomState | None = None
    ) -> list[dict[str, Value]]:
        """Draw by ancestral sampling: parents first, then each child given its parents.

        Parameters
        ----------
        n_samples
            How many, at least one.
        random_state
            Seed or generator.

        Returns
        -------
        list of dict
            A value for each variable.
        """
        check_at_least("n_samples", n_samples, 1)
        rng = check_random_state(random_state)
        drawn = []
        for _ in range(n_samples):
            assignment: dict[str, Value] = {}
            for name in self.variables:
                row = self._row(name, assignment)
                values = self.values[name]
                bounds = np.cumsum([row[value] for value in values])
                place = int(np.searchsorted(bounds, rng.random_sample() * bounds[-1], side="right"))
                assignment[name] = values[place]
            drawn.append(assignment)
        return drawn

    def _row(self, name: str, assignment: Mapping[str, Value]) -> Mapping[Value, float]:
        return self.tables[name][tuple(assignment[parent] for parent in self.parents[name])]

    def _log_joint(self, assignment: Mapping[str, Value]) -> float:
        factors = [self._row(name, assignment)[assignment[name]] for name in self.variables]
        return math.fsum(map(math.log, factors)) if min(factors) > 0 else -math.inf

    def _check_assignment(self, argument: str, assignment: Mapping[str, Value]) -> None:
        for name, value in assignment.items():
            if name not in self.tables:
                fail(argument, f"names out of {self.variables}", repr(name))
            if value not in self.values[name]:
                fail(argument, f"one of {self.values[name]} for {name!r}", repr(value))


def _check_parents(parents: Mapping[str, Sequence[str]], variables: Sequence[str]) -> None:
    for name in (*parents, *itertools.chain(*parents.values())):
        if name not in variables:
            fail("parents", f"variables with a table, one of {list(variables)}", repr(name))


def _shares(counts: Mapping[Value, float]) -> dict[Value, float]:
    total = sum(counts.values())
    if total == 0:
        fail("alpha", "more than 0: some values of parents never occur together in the data", 0)
    return {value: count / total for value, count in counts.items()}
