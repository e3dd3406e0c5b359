"""What-if: deliveries against expiries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import bottlenecks, upload_plan, what_if
from tests.support.effort import examples
from tests.support.graphs import graphs
from tests.support.waits import at, frame

G8 = frame({"A": "x", "B": "A"}, expires={"A": 10, "B": 20})


def outcomes(table) -> dict[str, str]:
    return dict(zip(table["external_id"], table["outcome"], strict=True))


def test_a_delivery_in_time_unlocks_the_chain():
    """G8: x at 9, A expires at 10 and B at 20."""
    table = what_if(G8, deliveries={("s", "x"): at(9)})
    assert outcomes(table) == {"A": "released", "B": "released"}
    assert table["at"].tolist() == [at(9), at(9)]


@pytest.mark.parametrize("minute", [10, 12])
def test_a_delivery_at_or_after_the_expiry_comes_too_late(minute):
    """G8: at 10 it is a tie; then A is gone, and B waits for a key that nothing provides."""
    table = what_if(G8, deliveries={("s", "x"): at(minute)})
    assert outcomes(table) == {"A": "expired", "B": "expired"}
    assert table["at"].tolist() == [at(10), at(20)]


def test_the_key_of_an_expired_resource_can_be_delivered():
    table = what_if(G8, deliveries={("s", "x"): at(12), ("s", "A"): at(15)})
    assert outcomes(table) == {"A": "expired", "B": "released"}
    assert table["at"].tolist() == [at(10), at(15)]


def test_without_times_everything_arrives_and_nothing_expires():
    waits = frame({"A": "x", "B": "A", "C": "y"}, expires={"A": 1, "B": 1, "C": 1})
    table = what_if(waits, deliveries=[("things", "x")])
    assert outcomes(table) == {"A": "released", "B": "released", "C": "waiting"}
    assert table["at"].isna().all()


def test_rows_of_bottlenecks_or_a_plan_are_deliveries_too():
    waits = frame({"A": "x", "B": "A", "C": "y"}, expires={"A": 90, "B": 90, "C": 90})
    best = bottlenecks(waits).query("is_root").head(1)
    assert outcomes(what_if(waits, deliveries=best))["B"] == "released"
    plan = upload_plan(waits)
    assert set(outcomes(what_if(waits, deliveries=plan)).values()) == {"released"}
    assert what_if(waits, deliveries=plan.head(0))["outcome"].tolist() == ["waiting"] * 3
    paced = upload_plan(waits, uploads_per_hour=1, as_of=at(0))  # its times count: y is too late
    table = what_if(waits, deliveries=paced)
    assert outcomes(table) == {"A": "released", "B": "released", "C": "expired"}


def test_rows_that_name_what_nothing_misses_are_refused_by_their_key():
    waits, other = frame({"A": "x"}), upload_plan(frame({"A": "y"}))
    with pytest.raises(ValueError, match=r"nothing pending misses \('t', 's', 'y'\)"):
        what_if(waits, deliveries=other)
    with pytest.raises(FrameError, match="found no column `external_id`"):
        what_if(waits, deliveries=other.drop(columns="external_id"))


def test_forcing_a_resource_unlocks_its_dependents():
    """G2: forcing A unlocks all four, forcing B only B."""
    waits = frame({"A": "x", "B": "A", "C": "A", "D": "BC"})
    assert set(outcomes(what_if(waits, force=["p0-A"])).values()) == {"released"}
    assert outcomes(what_if(waits, force=["p1-B"])) == {
        **dict.fromkeys("ACD", "waiting"),
        "B": "released",
    }


def test_forcing_works_with_timed_deliveries():
    table = what_if(G8, deliveries={("s", "x"): at(30)}, force=["p0-A"])
    assert outcomes(table) == {"A": "released", "B": "released"}


def test_schema_names_ignore_case_and_tenants_can_be_named():
    import pandas as pd

    both = pd.concat([frame({"A": "x"}, tenant="t1"), frame({"A": "x"}, tenant="t2")])
    assert what_if(both, deliveries=[("THINGS", "x")])["outcome"].tolist() == ["released"] * 2
    one = what_if(both, deliveries=[("t2", "things", "x")])
    assert one.set_index("tenant_id")["outcome"].to_dict() == {"t1": "waiting", "t2": "released"}


@pytest.mark.parametrize("key", [("s", "nothing"), ("other", "x"), ("t9", "s", "x")])
def test_a_delivery_that_nothing_waits_for_is_an_error(key):
    with pytest.raises(ValueError, match="nothing pending misses"):
        what_if(G8, deliveries=[key])


@pytest.mark.parametrize("key", ["x", ("x",), ("a", "b", "c", "d")])
def test_a_delivery_that_is_no_key_is_an_error(key):
    with pytest.raises(ValueError, match="a delivery is"):
        what_if(G8, deliveries=[key])


def test_unknown_pending_ids_are_an_error():
    with pytest.raises(ValueError, match="no pending resource has the id 'zz'"):
        what_if(G8, force=["zz"])
    with pytest.raises(TypeError, match="as a list"):
        what_if(G8, force="zz")


def test_expiries_at_the_end_of_the_calendar_are_accepted():
    import pandas as pd

    waits = G8.assign(expires_at=pd.Timestamp("9999-12-31", tz="UTC"))
    table = what_if(waits, deliveries={("s", "x"): at(9)})
    assert outcomes(table) == {"A": "released", "B": "released"}


def test_empty_in_empty_out():
    assert what_if(tables.DEPENDENCIES.empty()).dtypes.to_dict() == (
        tables.WHAT_IF.empty().dtypes.to_dict()
    )


def step_by_step(pairs, arrivals: dict[str, int], expiry: int) -> dict[int, str]:
    """Minute by minute: first what expires, then what arrives, then what that releases."""
    there: set[str] = set()
    fate = dict.fromkeys(range(len(pairs)), "waiting")
    for minute in range(30):
        if minute == expiry:
            fate = {i: "expired" if f == "waiting" else f for i, f in fate.items()}
        there |= {key for key, time in arrivals.items() if time == minute}
        while True:
            new = [i for i, (_, m) in enumerate(pairs) if fate[i] == "waiting" and m <= there]
            if not new:
                break
            for i in new:
                fate[i] = "released"
                there.add(pairs[i][0])
    return fate


@settings(max_examples=examples(80))
@given(pairs=graphs(), times=st.dictionaries(st.sampled_from("wxyzA"), st.integers(0, 20)))
def test_the_event_simulation_agrees_with_a_minute_by_minute_one(pairs, times):
    missed = {key for _, keys in pairs for key in keys}
    arrivals = {key: time for key, time in times.items() if key in missed}
    waits = frame(pairs).assign(expires_at=at(10))
    table = what_if(waits, deliveries={("s", key): at(t) for key, t in arrivals.items()})
    fates = step_by_step(pairs, arrivals, 10)
    found = dict(zip(table["pending_id"], table["outcome"], strict=True))
    assert found == {f"p{i}-{pairs[i][0]}": fate for i, fate in fates.items()}


def test_frames_from_a_file_with_numeric_ids_are_accepted():
    waits = frame({"1": ["17"], "2": ["1"]}).assign(schema_name=None, missing_schema_name=None)
    numeric = waits.astype({"missing_external_id": int, "external_id": int})
    plan = upload_plan(numeric)
    assert what_if(numeric, deliveries=plan)["outcome"].tolist() == ["released"] * 2
    assert what_if(numeric, deliveries=[("s", "17")])["outcome"].tolist() == ["released"] * 2
