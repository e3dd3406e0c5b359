"""The same frames from Spark as from DuckDB, over the same store."""

from __future__ import annotations

import os
import shutil
import warnings

import ibis
import pandas as pd
import pytest

import reach_analytics as reach

pytestmark = [
    pytest.mark.spark,
    # PySpark says of itself that it does not fully support pandas 3 yet; and it leaves sockets.
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


NAMES = ["batches", "looks", "pending", "dependencies", "spells", "spell_dependencies"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("as_of", [None, "2026-03-02 10:00"])
def test_spark_gives_the_same_frames_as_duckdb(store, engine, name, as_of):
    ours = getattr(reach.open_history(store, as_of=as_of), name)()
    theirs = getattr(reach.open_history(store, as_of=as_of, engine=engine), name)()
    keys = ours.columns.tolist()
    pd.testing.assert_frame_equal(
        ours.sort_values(keys, ignore_index=True), theirs.sort_values(keys, ignore_index=True)
    )
    assert len(ours) > 0
