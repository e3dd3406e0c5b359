"""The same frames from Spark as from DuckDB, over the same store."""

from __future__ import annotations

import os
import shutil
import warnings
from itertools import product
from pathlib import Path

import ibis
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import reach_analytics as reach
from reach_analytics.cli._run import app
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.history import History
from reach_analytics.queries.tables import Tables
from tests.support.effort import THOROUGH, some
from tests.support.folding import folded
from tests.support.observations import batch, minute, observation

pytestmark = [
    pytest.mark.spark,
    # PySpark warns that it does not fully support pandas 3 yet, and it leaves sockets open.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def spark():
    if shutil.which("java") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Java: apt-get install openjdk-17-jre-headless")
        pytest.skip("no Java on this machine (apt-get install openjdk-17-jre-headless)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master("local[2]").appName("reach_analytics tests")
        for name, value in {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.session.timeZone": "America/New_York",
            "spark.sql.shuffle.partitions": "2",
            "spark.ui.enabled": "false",
        }.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def engine(spark):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ibis.pyspark.connect(spark)


NAMES = ["missing_intervals", "dependencies", "observations", "departures"]
NAMES += ["wait_intervals", "pending", "observation_log", "batches"]


@pytest.mark.parametrize(
    ("as_of", "name"), some(list(product([None, "2026-03-02 10:00"], NAMES)), 1)
)
def test_spark_gives_the_same_frames_as_duckdb(store, engine, name, as_of):
    ours = getattr(reach.open_history(store, as_of=as_of), name)()
    theirs = getattr(reach.open_history(store, as_of=as_of, engine=engine), name)()
    pd.testing.assert_frame_equal(ours, theirs)
    assert len(ours) > 0


OTHERS = ("DependencyGraph", "changes_in_words")
MEASURES = [name for name in reach.measures.__all__ if name not in OTHERS]
FEW = ["bottlenecks"]
OPTIONS = {"release_rates": {"by": "schema_name"}, "backlog": {"by": "tenant_id"}}
SHIPPED = Path(__file__).parents[2] / "data" / "demo"


def test_spark_gives_the_same_measures_as_duckdb(engine):
    ours, theirs = reach.open_history(SHIPPED), reach.open_history(SHIPPED, engine=engine)
    for name in MEASURES if THOROUGH else FEW:
        found, expected = (
            getattr(history, name)(**OPTIONS.get(name, {})) for history in (theirs, ours)
        )
        if name == "dependency_graph":
            pd.testing.assert_frame_equal(found.edges, expected.edges)
            found, expected = found.nodes, expected.nodes
        pd.testing.assert_frame_equal(found, expected, obj=name)


@pytest.mark.skipif(not THOROUGH, reason="half a minute; with THOROUGH=1")
def test_spark_gives_the_same_part_as_duckdb(engine):
    asked = {"tenant": "Pine & Co", "schema": "transactions", "status": "partial_success"}
    asked |= {"batch_type": "PARTNER_RESOURCE_JSON_INGEST", "since": "5h", "until": "30min"}
    histories = reach.open_history(SHIPPED), reach.open_history(SHIPPED, engine=engine)
    ours, theirs = (history.filter(**asked) for history in histories)
    for name in [*NAMES, "wait_outcomes", "bottlenecks", "health", "release_rates", "tenants"]:
        found, expected = getattr(theirs, name)(), getattr(ours, name)()
        pd.testing.assert_frame_equal(found, expected, obj=name)
        assert len(found) > 0


@pytest.mark.skipif(not THOROUGH, reason="half a minute; with THOROUGH=1")
def test_spark_tells_the_same_changes_and_stories_as_duckdb(engine):
    theirs, ours = reach.open_history(SHIPPED, engine=engine), reach.open_history(SHIPPED)
    pd.testing.assert_frame_equal(theirs.changes(since="2h"), ours.changes(since="2h"))
    late = [history.filter(since="3h") for history in (theirs, ours)]
    pd.testing.assert_frame_equal(*(history.lost() for history in late))
    for name in ("TX-00825", "CON-LOOP", "p-none", "TX-00317"):
        told = []
        for history in (theirs, ours):
            try:
                told.append(history.explain(name).to_dict())
            except reach.ReachError as error:
                told.append(str(error))
        assert told[0] == told[1]


@pytest.mark.skipif(not THOROUGH, reason="half a minute; with THOROUGH=1")
def test_spark_makes_the_same_report_and_exports(engine, tmp_path):
    histories = reach.open_history(SHIPPED), reach.open_history(SHIPPED, engine=engine)
    ours, theirs = (
        history.report(tmp_path / f"{name}.html").read_text(encoding="utf-8")
        for name, history in zip(("duckdb", "spark"), histories, strict=True)
    )
    assert theirs == ours
    ours, theirs = (
        history.export(tmp_path / name, format="csv")
        for name, history in zip(("duckdb", "spark"), histories, strict=True)
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert other.read_text(encoding="utf-8") == mine.read_text(encoding="utf-8"), mine.name


def test_a_session_is_taken_as_it_is(store, spark):
    history = reach.open_history(store, engine=spark)
    pd.testing.assert_frame_equal(history.batches(), reach.open_history(store).batches())
    assert history.tables.batches.get_backend().name == "pyspark"


def test_spark_finds_folded_observations(tmp_path, engine):
    states = batch(waits={"A": "x"}), batch(waits={"B": "x"})
    observations = [observation(states[at > 30], at) for at in (0, 10, 20, 40, 50)]
    observations.append(observation(None, 60, batch_id="b"))
    snapshots, stored = to_tables(observations, minute(99))
    paths = [str(tmp_path / f"{name}.parquet") for name in ("snapshots", "observations")]
    for rows, path in zip((snapshots, folded(stored, set())), paths, strict=True):
        pq.write_table(rows, path)
    found = [
        History(Tables(*[backend.read_parquet(path) for path in paths])).observation_log()
        for backend in (ibis.duckdb.connect(), engine)
    ]
    pd.testing.assert_frame_equal(*found)
    assert found[0]["sent_at"].tolist() == [minute(at) for at in (0, 10, 20, 40, 50, 60)]


@pytest.mark.skipif(not THOROUGH, reason="ten seconds; with THOROUGH=1")
def test_the_command_line_takes_spark(spark):
    told = []
    for engine in ("duckdb", "spark"):
        result = CliRunner().invoke(
            app, ["bottlenecks", "--store", str(SHIPPED), "--engine", engine]
        )
        assert result.exit_code == 0, result.output
        told.append(result.stdout)
    assert told[0] == told[1]


def test_sql_takes_its_tables_from_spark(engine):
    demo = Path(__file__).parent.parent.parent / "data" / "demo"
    query = (
        "SELECT p.schema_name, b.status, count(*) AS n, min(p.expires_at) AS first "
        "FROM pending AS p JOIN batches AS b USING (tenant_id, batch_id) GROUP BY ALL ORDER BY ALL"
    )
    ours, theirs = (reach.open_history(demo, engine=one).sql(query) for one in (None, engine))
    pd.testing.assert_frame_equal(theirs, ours)
