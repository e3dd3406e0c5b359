"""A history in a time zone: the same moments, by its clocks and its calendar."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import reach_analytics as reach
from reach_analytics import measures, tables
from reach_analytics.cli._run import app
from reach_analytics.measures._shared.grouping import bucket, bucket_ends, bucket_starts
from tests.support.effort import some

SHIPPED = Path(__file__).parents[2] / "data" / "demo"
BERLIN = "Europe/Berlin"
SPRING, AUTUMN = "2026-03-29", "2026-10-25"  # of 23 and of 25 hours
ZONES = [BERLIN, "UTC", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia"]
ZONES += ["America/New_York", "Asia/Kathmandu", "Africa/Casablanca"]
FREQS = ["15min", "30min", "1h", "2h", "6h", "D", "7D", "W", "M", "Q", "Y"]


@pytest.fixture(scope="module")
def both() -> tuple[reach.History, reach.History]:
    return reach.open_history(SHIPPED), reach.open_history(SHIPPED, timezone=BERLIN)


def hourly(day: str, hours: int = 72) -> pd.DataFrame:
    """A batch at every half past, from the day before on."""
    begin = pd.Timestamp(day, tz=BERLIN) - pd.Timedelta(days=1)
    at = pd.date_range(begin.tz_convert("UTC"), periods=hours, freq="h") + pd.Timedelta("30min")
    own = {"tenant_id": "t", "batch_id": [f"b{n}" for n in range(hours)], "created_at": at}
    own |= {f"{name}_records": 1 for name in ("total", "processed", "successful")}
    return tables.BATCHES.conform(pd.DataFrame(own | {"pending_records": 0, "failed_records": 0}))


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25), ("2026-06-01", 24)])
def test_a_day_has_the_hours_that_its_clocks_show(day, hours):
    found = measures.success(hourly(day), freq="D", timezone=BERLIN).set_index("bucket")
    midnight = pd.Timestamp(day, tz=BERLIN).tz_convert("UTC")
    assert found.loc[midnight, "batches"] == hours
    assert measures.status(hourly(day), freq="D", timezone=BERLIN)["batches"].max() == max(
        hours, 24
    )


def test_an_hour_that_clocks_show_twice_is_two_buckets():
    found = measures.success(hourly(AUTUMN), freq="1h", timezone=BERLIN)
    assert (found["batches"] == 1).all()
    wall = found["bucket"].dt.tz_convert(BERLIN).dt.strftime("%d %H:%M")
    assert wall.value_counts().loc["25 02:00"] == 2


def test_six_hours_are_those_between_the_same_hands_of_a_clock():
    found = measures.success(hourly(AUTUMN), freq="6h", timezone=BERLIN).set_index("bucket")
    own = found[found.index.tz_convert(BERLIN).strftime("%d") == "25"]
    assert own.index.tz_convert(BERLIN).strftime("%H:%M").tolist() == [
        "00:00",
        "06:00",
        "12:00",
        "18:00",
    ]
    assert own["batches"].tolist() == [7, 6, 6, 6]


@given(
    st.sampled_from(ZONES),
    st.sampled_from(FREQS),
    st.integers(1_700_000_000, 1_830_000_000),
    st.integers(0, 40 * 86_400),
)
def test_buckets_follow_each_other_without_gap_or_overlap(zone, freq, first, length):
    begin, end = (pd.Timestamp(at, unit="s", tz="UTC") for at in (first, first + length))
    starts = bucket_starts(begin, end, freq, zone)
    assert starts.is_monotonic_increasing
    assert starts.is_unique
    assert starts[0] <= begin
    assert starts[-2] <= end < starts[-1]
    times = pd.Series(pd.date_range(begin, end, periods=50)).dt.as_unit("us")
    own, over = bucket(times, freq, zone), None
    over = bucket_ends(own, freq, zone)
    assert ((own <= times) & (times < over)).all()
    assert own.isin(starts).all()
    if zone != "Australia/Lord_Howe" or freq not in ("1h",):  # whose clocks go on by half an hour
        follow = pd.Series(starts[1:], index=starts[:-1])
        assert (follow.loc[own].to_numpy() == over.to_numpy()).all()


@given(st.sampled_from(ZONES), st.integers(1_700_000_000, 1_830_000_000))
def test_a_bucket_of_a_day_begins_when_the_date_does(zone, second):
    at = datetime.fromtimestamp(second, ZoneInfo(zone))
    [start] = bucket(pd.Series([pd.Timestamp(at)]).dt.tz_convert("UTC"), "D", zone)
    before, begins = start - timedelta(microseconds=1), start.tz_convert(zone)
    assert begins.date() == at.date()
    assert before.tz_convert(zone).date() < at.date()


@pytest.mark.parametrize("day", [SPRING, AUTUMN])
@pytest.mark.parametrize("freq", ["1h", "2h", "6h", "D", "W"])
def test_the_backlog_is_counted_by_these_buckets(day, freq):
    random = np.random.default_rng(1)
    begin = pd.Timestamp(day, tz=BERLIN).tz_convert("UTC") - pd.Timedelta(days=2)
    since = begin + pd.to_timedelta(random.integers(0, 4 * 86_400, 300), unit="s")
    until = since + pd.to_timedelta(random.integers(1, 86_400, 300), unit="s")
    outcomes = tables.WAIT_OUTCOMES.conform(
        pd.DataFrame(
            {
                "tenant_id": "t",
                "batch_id": "b",
                "pending_id": [f"p{n}" for n in range(300)],
                **{"created_at": since, "first_seen": since, "last_seen": until},
                **{"ended_after": until, "ended_by": until},
                **{"expires_at": until, "verdict": "expired", "rule": "4"},
            }
        )
    )
    now = begin + pd.Timedelta(days=6)
    found = measures.backlog(outcomes, freq=freq, as_of=now, timezone=BERLIN)
    ends = bucket_ends(found["bucket"], freq, BERLIN)
    for row, end in zip(found.to_dict("records"), ends, strict=True):
        own = (row["bucket"] <= since) & (since < end)
        assert row["began"] == own.sum()
        assert row["expired"] == ((row["bucket"] <= until) & (until < end)).sum()
        assert row["waiting_high"] == ((since < end) & (until >= end)).sum()


def test_an_hour_begins_with_that_of_the_zone():
    times = pd.Series(pd.to_datetime(["2026-01-01 05:45"], utc=True)).dt.as_unit("us")
    assert bucket(times, "1h", "Asia/Kolkata")[0] == pd.Timestamp("2026-01-01 05:30", tz="UTC")


FRAMES = ["batches", "observations", "pending", "dependencies", "wait_outcomes", "arrivals", "lost"]
FRAMES += ["health", "durations", "bottlenecks", "upload_plan", "expiring", "changes", "schemas"]


@pytest.mark.parametrize("name", some(FRAMES, 4))
def test_frames_have_the_same_moments_by_the_clocks_of_the_zone(both, name):
    utc, own = (getattr(one, name)() for one in both)
    times = own.select_dtypes("datetimetz").columns
    assert all(str(own[column].dt.tz) == BERLIN for column in times)
    back = own.assign(**{column: own[column].dt.tz_convert("UTC") for column in times})
    pd.testing.assert_frame_equal(back, utc)


def test_what_is_kept_is_in_utc_whatever_is_shown(both, tmp_path):
    for number, opened in enumerate(both):
        opened.export(tmp_path / str(number), format="csv")
    for path in (tmp_path / "0").iterdir():
        assert path.read_bytes() == (tmp_path / "1" / path.name).read_bytes()


def test_times_written_without_an_offset_are_of_the_zone(both):
    utc, own = both
    noon = reach.open_history(SHIPPED, as_of="2026-03-02 13:00", timezone=BERLIN)
    assert noon.as_of == pd.Timestamp("2026-03-02 12:00", tz="UTC")
    assert "as of 2026-03-02 13:00:00 CET" in repr(noon)
    assert len(own.filter(since="2026-03-02 13:00").batches()) == len(
        utc.filter(since="2026-03-02 12:00").batches()
    )
    assert "since 2026-03-02 13:00:00 CET" in own.filter(since="2026-03-02 13:00").part
    pd.testing.assert_frame_equal(
        own.changes(since="2026-03-02 13:00")[["about", "change", "size"]],
        utc.changes(since="2026-03-02 12:00")[["about", "change", "size"]],
    )
    key = utc.bottlenecks().query("is_root").iloc[0]
    delivery = (key["tenant_id"], key["schema_name"], key["external_id"])
    at = [
        one.what_if({delivery: time})["at"].min()
        for one, time in ((utc, "2026-03-02 14:01"), (own, "2026-03-02 15:01"))
    ]
    assert at[0] == at[1]
    charts = [
        one.control_chart(baseline=time)["in_baseline"].sum()
        for one, time in ((utc, "2026-03-02 10:00"), (own, "2026-03-02 11:00"))
    ]
    assert charts[0] == charts[1] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timezone": "Berlin"}, "did you mean 'Europe/Berlin'"),
        ({"timezone": "europe/berlin"}, "did you mean 'Europe/Berlin'"),
        ({"timezone": "New York"}, "did you mean 'America/New_York'"),
        ({"timezone": "+01:00"}, "timezone must be a name"),
        ({"timezone": None}, "timezone must be a name"),
        ({"timezone": BERLIN, "as_of": "2026-03-29 02:30"}, "clocks skip it"),
    ],
)
def test_zones_and_times_that_there_are_not_say_so(options, said):
    with pytest.raises(ValueError, match=said.replace("+", r"\+")):
        reach.open_history(SHIPPED, **options)
    if options["timezone"] != BERLIN:
        with pytest.raises(ValueError, match="timezone must be a name"):
            measures.success(hourly(SPRING), timezone=options["timezone"])


def test_a_time_that_clocks_show_twice_is_the_first():
    opened = reach.open_history(SHIPPED, as_of="2026-10-25 02:30", timezone=BERLIN)
    assert opened.as_of == pd.Timestamp("2026-10-25 00:30", tz="UTC")
    zone = reach.open_history(SHIPPED, timezone=ZoneInfo(BERLIN)).timezone
    assert zone == BERLIN


def test_charts_and_stories_show_the_clocks_of_the_zone(both):
    _, own = both
    figure = reach.plot_success(own.success(freq="2h"))
    assert str(figure.data[0].x[0]).startswith("2026-03-02T06:00")
    assert "CET" in " ".join(reach.plot_expiring(own.expiring()).data[0].hovertext)
    assert reach.plot_expiring(own.expiring()).layout.shapes[0].x0.startswith("2026-03-02T15:00")
    assert "2026-03-02 13:06 CET" in str(own.explain("TX-00825"))
    assert "2026-03-02 13:40:00  listed" in str(own.explain("TX-00825"))


def test_one_s_own_times_stay_as_they_are(both):
    mine = pd.DataFrame({"external_id": ["TX-00825"], "at": pd.Timestamp("2026-01-01", tz="UTC")})
    joined = both[1].join(mine, tenant="Northside Dental")
    assert str(joined["at"].dt.tz) == "UTC"
    assert str(joined["reach_at"].dt.tz) == BERLIN


def test_the_report_and_the_command_line_say_the_zone(both, tmp_path):
    page = both[1].report(tmp_path / "report.html").read_text("utf-8")
    assert "2026-03-02 15:00 CET" in page

    def told(*arguments: str):
        return CliRunner().invoke(app, [*arguments, "--store", str(SHIPPED), "--timezone", BERLIN])

    done = told("expiring", "--within", "1h", "--csv", str(tmp_path / "soon.csv"), "--json")
    rows = json.loads(done.stdout)
    written = pd.read_csv(tmp_path / "soon.csv")["expires_at"]
    assert written.str.endswith("+01:00").all()
    assert pd.to_datetime(written).tolist() == [pd.Timestamp(row["expires_at"]) for row in rows]
    assert f"expires ({BERLIN})" in told("expiring").stdout
    assert "15:00:00 CET" in told("health").stdout
