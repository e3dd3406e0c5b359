"""SQL over the frames gives what pandas does."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import QueryError
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import describe
from tests.support.observations import minute

DEMO = Path(__file__).parent.parent.parent / "data" / "demo"
NAMES = [
    "batches",
    "observations",
    "observation_log",
    "pending",
    "dependencies",
    "wait_intervals",
    "missing_intervals",
    "departures",
    "wait_outcomes",
    "arrivals",
]


@pytest.fixture(scope="module")
def told():
    return reach.open_history(DEMO)


def in_any_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(list(frame.columns), kind="stable").reset_index(drop=True)


def nullable(frame: pd.DataFrame) -> pd.DataFrame:
    """With the dtypes of an answer, which does not know which columns have no nulls."""
    kinds = {"int64": "Int64", "bool": "boolean"}
    return frame.astype({n: kinds[str(d)] for n, d in frame.dtypes.items() if str(d) in kinds})


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_can_be_read_with_its_dtypes(name, told):
    answer = told.sql(f"SELECT * FROM {name}")
    frame = nullable(getattr(told, name)())
    pd.testing.assert_frame_equal(in_any_order(answer), in_any_order(frame))
    assert list(answer.columns) == list(describe(name)["column"])
    empty = told.sql(f"SELECT * FROM {name} WHERE false")
    assert list(empty.dtypes) == list(answer.dtypes)


def test_counts_and_sums_are_those_of_pandas(told):
    answer = told.sql("""
        SELECT schema_name, count(*) AS waits, sum(missing_count) AS missing,
               min(expires_at) AS first, avg(missing_count) AS mean
        FROM pending GROUP BY schema_name ORDER BY schema_name
    """)
    pending = told.pending()
    by = pending.groupby("schema_name")
    expected = by.agg(
        waits=("pending_id", "size"),
        missing=("missing_count", "sum"),
        first=("expires_at", "min"),
        mean=("missing_count", "mean"),
    )
    expected = expected.reset_index().astype(
        {"waits": "Int64", "missing": "Int64", "mean": "float64"}
    )
    pd.testing.assert_frame_equal(answer, expected)


def test_a_join_is_that_of_pandas(told):
    answer = told.sql("""
        SELECT p.pending_id, b.status, d.missing_external_id
        FROM pending AS p JOIN batches AS b USING (tenant_id, batch_id)
        LEFT JOIN dependencies AS d USING (tenant_id, batch_id, pending_id)
    """)
    key = ["tenant_id", "batch_id"]
    expected = (
        told.pending()
        .merge(told.batches()[[*key, "status"]], on=key)
        .merge(
            told.dependencies()[[*key, "pending_id", "missing_external_id"]],
            on=[*key, "pending_id"],
            how="left",
        )[["pending_id", "status", "missing_external_id"]]
    )
    pd.testing.assert_frame_equal(in_any_order(answer), in_any_order(expected))


def test_waits_are_judged_by_the_conventions_of_the_history():
    for released_may_fail in (True, False):
        told = reach.open_history(DEMO, released_may_fail=released_may_fail)
        answer = told.sql("SELECT verdict, count(*) AS n FROM wait_outcomes GROUP BY ALL")
        expected = told.wait_outcomes().verdict.value_counts()
        assert dict(zip(answer.verdict, answer.n, strict=True)) == expected.to_dict()


PLAIN = "SELECT count(*) AS n FROM pending"


@pytest.mark.parametrize(
    "query",
    [
        'SELECT count(*) AS n FROM "pending"',
        "SELECT count(*) AS n FROM PENDING;",
        "select count(*) as n from /* batches */ pending -- FROM arrivals",
        ";;SELECT count(*) AS n FROM pending;;",
        "FROM pending SELECT count(*) AS n",
        "SELECT n FROM (SELECT count(*) AS n FROM pending) AS batches",
        "WITH p AS (FROM pending) SELECT count(*) AS n FROM p",
        "WITH pending AS (SELECT * FROM pending) SELECT count(*) AS n FROM pending",
        "WITH a AS (FROM pending), b AS (FROM a) SELECT count(*) AS n FROM b",
        "SELECT (SELECT count(*) FROM pending) AS n",
        "SELECT count(*) AS n FROM pending AS p, LATERAL (SELECT p.batch_id) AS l",
        "SELECT count(*) AS n FROM pending WHERE 'FROM batches; DROP TABLE x' <> schema_name",
        "SELECT count(p) AS n FROM pending AS p",
        "SELECT count(pending) AS n FROM pending",
        "SELECT count(*) AS n FROM pending NATURAL JOIN pending AS again",
        "SELECT count(#1) AS n FROM pending",
        "SELECT count(x) AS n FROM pending AS p(x)",
        "SELECT sum(i) AS n FROM pending, unnest([0, 1]) AS u(i)",
        "(SELECT count(*) AS n FROM pending) UNION (SELECT count(*) FROM pending)",
        "SELECT count(*) AS n FROM pending SEMI JOIN batches USING (batch_id)",
        'SELECT count(P."Batch_ID") AS n FROM Pending AS p',
    ],
)
def test_a_query_may_be_written_in_many_ways(query, told):
    assert told.sql(query).n.to_list() == [len(told.pending())], query


def test_a_name_given_by_with_hides_a_table_and_costs_nothing(told, monkeypatch):
    read = []
    kept = told._sql._fill
    monkeypatch.setattr(
        told._sql, "_fill", lambda wall, kind: (read.append(kind), kept(wall, kind))
    )
    assert told.sql("WITH pending AS (SELECT 1 AS a) FROM pending").a.to_list() == [1]
    assert read == []
    told.sql(
        "WITH RECURSIVE batches AS (SELECT 1 AS n UNION ALL "
        "SELECT n + 1 FROM batches WHERE n < 3) SELECT * FROM batches"
    )
    assert read == []
    told.sql("SELECT schema_name, batches.n FROM pending, (SELECT 1 AS n) AS batches")
    [kind] = read
    assert kind.name == "pending"
    assert kind.names == ["schema_name"]


def test_without_its_columns_named_a_table_is_read_whole_or_counted_by_one(told, monkeypatch):
    read = {}
    kept = told._sql._fill
    monkeypatch.setattr(
        told._sql,
        "_fill",
        lambda wall, kind: (read.update({kind.name: kind.names}), kept(wall, kind)),
    )
    told.sql("SELECT count(*) FROM batches")
    assert read["batches"] == ["schema_definition_id"]
    told.sql("SELECT count(*) FROM arrivals NATURAL JOIN pending")
    assert read["arrivals"] == list(describe("arrivals")["column"])


@pytest.mark.parametrize(
    ("query", "dtype", "value"),
    [
        ("1", "Int64", 1),
        ("1::UTINYINT", "Int64", 1),
        ("sum(1)", "Int64", 1),
        ("NULL::INTEGER", "Int64", pd.NA),
        ("1.5", "float64", 1.5),
        ("1::FLOAT", "float64", 1.0),
        ("true", "boolean", True),
        ("'a'", "str", "a"),
        ("'a'::ENUM('a', 'b')", "str", "a"),
        ("DATE '2026-03-01'", "datetime64[s]", pd.Timestamp("2026-03-01")),
        ("TIMESTAMP '2026-03-01 12:00'", "datetime64[us, UTC]", pd.Timestamp("2026-03-01 12:00Z")),
        (
            "TIMESTAMPTZ '2026-03-01 12:00:00+02'",
            "datetime64[us, UTC]",
            pd.Timestamp("2026-03-01 10Z"),
        ),
        ("TIMESTAMPTZ '2026-03-01 12:00'", "datetime64[us, UTC]", pd.Timestamp("2026-03-01 12Z")),
        ("INTERVAL 90 SECOND", "timedelta64[us]", pd.Timedelta("90s")),
        ("INTERVAL 1 MONTH", "timedelta64[us]", pd.Timedelta("30D")),
        ("-INTERVAL 2 DAY", "timedelta64[us]", pd.Timedelta("-2D")),
        ("NULL::INTERVAL", "timedelta64[us]", pd.NaT),
    ],
)
def test_a_column_has_the_dtype_of_all_frames(query, dtype, value, told):
    column = told.sql(f"SELECT {query} AS x").x
    assert column.dtype == dtype
    assert column.isna()[0] if pd.isna(value) else column[0] == value


def test_columns_may_share_a_name(told):
    answer = told.sql("SELECT 1 AS x, 'a' AS x, 2 AS X")
    assert list(answer.columns) == ["x", "x", "X"]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**40), 2**40)), max_size=40))
def test_lengths_are_whole_microseconds(values):
    told = reach.open_history(DEMO)
    rows = ", ".join(f"({i}, {'NULL' if v is None else v})" for i, v in enumerate(values))
    query = (
        f"SELECT i, to_microseconds(v) AS x FROM (VALUES {rows or '(0, 0)'}) AS t(i, v) ORDER BY i"
    )
    answer = told.sql(query).x
    expected = pd.Series([pd.NaT if v is None else pd.Timedelta(v, "us") for v in values or [0]])
    assert answer.to_list() == expected.to_list() or (
        np.array_equal(answer.isna(), expected.isna())
        and answer.dropna().to_list() == expected.dropna().to_list()
    )


COLUMNS = ["tenant_id", "batch_id", "pending_id", "schema_name", "missing_count", "expires_at"]


@given(
    st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4, unique=True),
    st.sampled_from(COLUMNS),
    st.booleans(),
)
def test_only_what_is_named_is_read_and_decides_nothing(told, columns, by, falls):
    order = ", ".join(f"{name} {'DESC' if falls else 'ASC'}" for name in [by, *columns])
    answer = told.sql(f"SELECT {', '.join(columns)} FROM pending ORDER BY {order}")
    frame = told.pending().sort_values([by, *columns], ascending=not falls)[columns]
    pd.testing.assert_frame_equal(answer, nullable(frame.reset_index(drop=True)))


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
def test_the_zone_of_the_machine_decides_nothing(zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        answer = reach.open_history(DEMO).sql(
            "SELECT DISTINCT date_trunc('day', observed_at) AS day FROM batches"
        )
        assert answer.day.to_list() == [pd.Timestamp("2026-03-02", tz="UTC")]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELEC 1", 'cannot run the query: syntax error at or near "SELEC"'),
        (
            "SELECT * FROM pendng",
            "names a table 'pendng'; did you mean pending? There are: batches",
        ),
        ("SELECT * FROM main.pending", "names a table 'main.pending'"),
        ("SELECT expires FROM pending", 'Referenced column "expires" not found'),
        ("SELECT nosuch(1)", "Scalar Function with name nosuch does not exist"),
        ("SELECT 'a'::INTEGER", "Could not convert string 'a' to INT32"),
        ("SELECT ? FROM pending", "parameter"),
        ("SELECT sum(9223372036854775807) FROM range(2)", "cast it to DOUBLE or VARCHAR"),
        ("SELECT union_value(a := 1) AS x", "no frame holds the type of column 'x'"),
        ("", "found none"),
        ("-- nothing", "found none"),
        ("SELECT 1; SELECT 2", "found 2 statements"),
        ("DELETE FROM pending", "sql takes one query that reads: SELECT, WITH, FROM, VALUES"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(query, says, told):
    with pytest.raises(QueryError) as caught:
        told.sql(query)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError | reach.ReachError)


def test_a_query_that_is_nested_too_deeply_is_refused(told):
    with pytest.raises(QueryError, match=r"deeply|depth"):
        told.sql("SELECT " + "abs(" * 900 + "1" + ")" * 900)


def test_a_wrong_column_is_told_before_anything_is_computed(told, monkeypatch):
    monkeypatch.setattr(told._sql, "_fill", None)
    with pytest.raises(QueryError, match="nosuch"):
        told.sql("SELECT nosuch FROM wait_outcomes")


def test_a_query_is_a_text(told):
    with pytest.raises(TypeError, match="sql takes a query as a str, found int"):
        told.sql(1)


def test_a_history_without_observations_has_every_table():
    told = reach.History(Tables(*map(ibis.memtable, to_tables([], minute(0)))))
    for name in NAMES:
        assert told.sql(f"SELECT count(*) AS n FROM {name}").n.to_list() == [0]


def test_ctrl_c_ends_a_query_and_the_next_one_answers(told):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sender = threading.Timer(0.4, os.kill, [os.getpid(), signal.SIGINT])
    try:
        sender.start()
        with pytest.raises(KeyboardInterrupt):
            told.sql(
                "SELECT count(*) FROM range(9999999) AS a(x), range(9999999) AS b(y) "
                "WHERE hash(x, y) = 1"
            )
    finally:
        sender.join()
        signal.signal(signal.SIGINT, before)
    assert told.sql(PLAIN).n.to_list() == [len(told.pending())]


def test_threads_may_ask_at_once(told):
    answers = []
    asking = [
        threading.Thread(target=lambda: answers.append(told.sql(PLAIN).n[0])) for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert answers == [len(told.pending())] * 4


def limit(told) -> str:
    query = "SELECT current_setting('memory_limit')"
    [[found]] = told.tables.batches.get_backend().con.cursor().execute(query).fetchall()
    return found


def test_the_memory_is_shared_with_the_engine_and_given_back(tmp_path):
    told = reach.open_history(
        DEMO, memory_limit="200MB", threads=1, spill_directory=tmp_path / "spill"
    )
    before = limit(told)
    seen = []
    answer = told._sql._run.ask

    class Watched:
        def __getattr__(self, name):
            return getattr(told.tables.run, name)

        def ask(self, wall, work):
            [[own, directory]] = wall.con.execute(
                "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
            ).fetchall()
            seen.append((own, limit(told), Path(directory).parent))
            return answer(wall, work)

    told._sql._run = Watched()
    for _ in range(3):
        told.sql(PLAIN)
    assert before == "190.7 MiB"
    assert set(seen) == {("95.3 MiB", "95.3 MiB", tmp_path / "spill")}
    assert limit(told) == before
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_in_memory_is_spilled_and_removed(tmp_path):
    query = (
        "WITH x AS MATERIALIZED (SELECT repeat(hash(range)::VARCHAR, 9) AS h FROM range(1000000)) "
        "SELECT count(*) AS n, max(h) AS last FROM x WHERE h > (SELECT min(h) FROM x)"
    )
    told = reach.open_history(DEMO, memory_limit="120MB", threads=1, spill_directory=tmp_path)
    assert told.sql(query).n.to_list() == [999_999]
    assert list(tmp_path.glob("reach-sql-*")) == []
    told = reach.open_history(DEMO, memory_limit="120MB", threads=1, spill_directory="")
    with pytest.raises(reach.errors.StoreError, match="more memory than it may take"):
        told.sql(query)


def test_too_little_memory_says_what_to_do(tmp_path):
    told = reach.open_history(DEMO, memory_limit="40MB", threads=1, spill_directory="")
    with pytest.raises(reach.errors.StoreError, match="raise memory_limit of open_history"):
        told.sql("SELECT list(range::VARCHAR || repeat('x', 99)) FROM range(2000000)")


def test_tables_of_any_other_engine_will_do():
    engine = ibis.duckdb.connect()
    engine.raw_sql("SET TimeZone = 'Asia/Tokyo'")
    told = reach.open_history(DEMO, engine=engine)
    assert told.sql(PLAIN).n.to_list() == [len(told.pending())]
    [day] = told.sql("SELECT DISTINCT date_trunc('day', observed_at) AS day FROM batches").day
    assert day == pd.Timestamp("2026-03-02", tz="UTC")


@pytest.mark.parametrize("name", ["batches", "pending", "wait_outcomes"])
def test_a_lazy_table_becomes_a_frame_of_any_kind(name, told):
    polars = pytest.importorskip("polars")
    table, frame = getattr(told.tables, name), getattr(told, name)()
    assert table.to_pyarrow().num_rows == len(frame)
    other = table.to_polars()
    assert isinstance(other, polars.DataFrame)
    assert sorted(other["batch_id"].to_list()) == sorted(frame.batch_id)
    assert len(table.to_pandas()) == len(frame)
    assert len(reach.open_history(DEMO).batches()) == len(told.batches())
    assert told.sql(PLAIN).n.to_list() == [told.tables.pending.count().to_pyarrow().as_py()]
