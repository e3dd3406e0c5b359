"""A method of `History` takes what its measure takes, but for the frames and the moment."""

from __future__ import annotations

import inspect

import pytest

import reach_analytics as reach

OWN = {"as_of", "timezone"}  # what a history knows by itself
SELECTS = {"of", "definitions"}  # what chooses the frame that a measure is given
NONE = {"DependencyGraph", "changes_in_words"}  # of the frame of a measure
MEASURES = [name for name in reach.measures.__all__ if name not in NONE]


def options(function) -> list[str]:
    """Names of the keyword-only parameters, in order."""
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]


@pytest.mark.parametrize("name", MEASURES)
def test_a_method_has_the_options_of_its_measure(name):
    measure, method = getattr(reach.measures, name), getattr(reach.History, name)
    theirs = {*options(method), *inspect.signature(method).parameters} - {"self"} - SELECTS
    assert theirs == {*options(measure)} - OWN


@pytest.mark.parametrize("name", MEASURES)
def test_groups_and_buckets_come_first(name):
    for function in (getattr(reach.measures, name), getattr(reach.History, name)):
        first = [option for option in options(function) if option in ("by", "freq")]
        assert options(function)[: len(first)] == sorted(first), function


@pytest.mark.parametrize("name", MEASURES)
def test_defaults_are_the_same_or_the_history_s_own(name):
    measure = inspect.signature(getattr(reach.measures, name)).parameters
    method = inspect.signature(getattr(reach.History, name)).parameters
    own = {"longest_wait", "released_may_fail"}  # None: read from the store, or told when opened
    for option in set(measure) & set(method) - own:
        if measure[option].default is not inspect.Parameter.empty:
            assert method[option].default == measure[option].default, option
