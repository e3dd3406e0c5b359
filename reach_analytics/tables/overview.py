"""The tables of the overview: the figures that matter most, and what to do now."""

from __future__ import annotations

from reach_analytics.tables.base import FLOAT, STRING, Column, Table

__all__ = ["ACTIONS", "KEY_FIGURES"]

KEY_FIGURES = Table(
    "key_figures",
    "one row per figure that matters most",
    ("figure",),
    (
        Column(
            "figure",
            STRING,
            "`batches`, `failed_batches`, `settled_fraction`, `waiting`, `expiring_soon`, `lost` "
            "or `missing`",
            False,
        ),
        Column("value", FLOAT, "the count, or the fraction; null if unknown"),
        Column("low", FLOAT, "lower end of its 95 % interval, or the least that it can be"),
        Column("high", FLOAT, "upper end, or the most that it can be"),
        Column("before", FLOAT, "the same at the earlier moment; null if unknown"),
        Column("meaning", STRING, "what is counted", False),
    ),
    get_it="history.overview().figures",
)

ACTIONS = Table(
    "actions",
    "one row per thing that somebody should do now, the most urgent first",
    (),
    (
        Column(
            "about",
            STRING,
            "`observations`, `expiring`, `failed`, `stuck`, `deadlocks`, `success` or `lost`",
            False,
        ),
        Column("severity", STRING, "`critical`, `warning` or `unknown`", False),
        Column("size", FLOAT, "how many records, batches or deadlocks it is about"),
        Column("what", STRING, "what is the case, in a sentence", False),
        Column("detail", STRING, "of whom, and what to do"),
    ),
    get_it="history.overview().actions",
)
