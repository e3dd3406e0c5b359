"""Nothing but the rows of the frames can be reached by SQL, and nothing is changed."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics.errors import QueryError
from reach_analytics.queries.walled import Walled

DEMO = Path(__file__).parent.parent.parent / "data" / "demo"
SECRET = "s3cr3t-of-the-machine"

leaked = pd.DataFrame({"secret": [SECRET]})  # a variable of Python, which DuckDB would find

FILES = [
    "SELECT * FROM '{csv}'",
    'SELECT * FROM "{csv}"',
    'SELECT * FROM "{parquet}"',
    "FROM '{parquet}'",
    "SELECT * FROM read_csv('{csv}')",
    "SELECT * FROM READ_CSV_AUTO('{csv}')",
    "SELECT * FROM \"read_csv\"('{csv}')",
    "SELECT * FROM main.read_csv('{csv}')",
    "SELECT * FROM system.main.read_text('{csv}')",
    "SELECT * FROM read_text('{csv}')",
    "SELECT * FROM read_blob('{csv}')",
    "SELECT * FROM read_json('{csv}')",
    "SELECT * FROM read_json_objects('{csv}')",
    "SELECT * FROM read_ndjson('{csv}')",
    "SELECT * FROM read_parquet('{parquet}')",
    "SELECT * FROM parquet_scan('{parquet}')",
    "SELECT * FROM parquet_metadata('{parquet}')",
    "SELECT * FROM parquet_schema('{parquet}')",
    "SELECT * FROM parquet_kv_metadata('{parquet}')",
    "SELECT * FROM sniff_csv('{csv}')",
    "SELECT * FROM glob('{directory}/*')",
    "SELECT * FROM glob('**/*')",
    "SELECT * FROM pending, read_text('{csv}')",
    "SELECT (SELECT content FROM read_text('{csv}'))",
    "SELECT * FROM pending WHERE batch_id IN (SELECT content FROM read_text('{csv}'))",
    "WITH x AS (SELECT * FROM read_text('{csv}')) SELECT * FROM x",
    "SELECT * FROM (DESCRIBE SELECT * FROM '{parquet}')",
    "DESCRIBE '{parquet}'",
    "SUMMARIZE '{csv}'",
    "SELECT * FROM pending ORDER BY (SELECT content FROM read_text('{csv}'))",
    "SELECT * FROM pending LIMIT (SELECT count(*) FROM read_text('{csv}'))",
    "SELECT * FROM pending, LATERAL (SELECT * FROM read_text('{csv}'))",
    "SELECT read_text('{csv}')",
    "SELECT list_transform([1], x -> (SELECT content FROM read_text('{csv}')))",
    "SELECT * FROM query('SELECT * FROM read_text(''{csv}'')')",
    "SELECT * FROM query_table('{csv}')",
    "SELECT * FROM query_table(['pending'])",
    "SELECT * FROM sqlite_scan('{directory}/x.db', 't')",
    "SELECT * FROM postgres_scan('host=localhost', 'public', 't')",
    "SELECT * FROM delta_scan('{directory}')",
    "SELECT * FROM iceberg_scan('{directory}')",
    "SELECT * FROM st_read('{csv}')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{csv}'')'))",
    "FROM pending UNION ALL BY NAME FROM '{csv}'",
    "VALUES ((SELECT content FROM read_text('{csv}')))",
    "PIVOT '{csv}' ON secret IN ('a') USING count(*)",
]

NETWORK = [
    "SELECT * FROM 'https://example.com/x.csv'",
    "SELECT * FROM read_csv('https://example.com/x.csv')",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "FORCE INSTALL spatial FROM community",
    "SELECT * FROM duckdb_extensions()",
    "UPDATE EXTENSIONS",
]

SETTINGS = [
    "SET threads = 1",
    "SET enable_external_access = true",
    "RESET memory_limit",
    "SET VARIABLE x = 1",
    "PRAGMA version",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "PRAGMA table_info('pending')",
    "SELECT current_setting('temp_directory')",
    "SELECT main.CURRENT_SETTING('memory_limit')",
    "SELECT getenv('SECRET')",
    "SELECT getvariable('x')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_settings",
    "SELECT * FROM duckdb_tables()",
    "SELECT * FROM duckdb_tables",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_databases()",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM duckdb_logs",
    "SELECT * FROM duckdb_variables()",
    "SELECT * FROM pragma_database_size()",
    "SELECT * FROM pragma_platform()",
    "SELECT * FROM pg_catalog.pg_settings",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM pg_tables",
    "SELECT * FROM temp.information_schema.schemata",
    "SHOW threads",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SHOW DATABASES",
    "FROM (SHOW DATABASES)",
    "SELECT * FROM (WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings), duckdb_settings",
    "WITH duckdb_settings AS (FROM duckdb_settings) FROM duckdb_settings",
    "WITH a AS (FROM duckdb_settings), duckdb_settings AS (SELECT 1) FROM a",
    "WITH RECURSIVE duckdb_settings AS (FROM duckdb_settings UNION ALL FROM duckdb_settings) "
    "FROM duckdb_settings",
    "SELECT write_log('x')",
]

VARIABLES = [
    "SELECT * FROM leaked",
    "SELECT * FROM mine",
    "SELECT * FROM told",
    'SELECT * FROM "leaked"',
    "SELECT * FROM self",
    "SELECT * FROM rows",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM arrow_scan_dumb(1, 2, 3)",
    "SELECT * FROM python_map_function()",
]

INSIDE = [
    "SELECT * FROM snapshots",
    "SELECT * FROM stored_snapshots_1",
    "SELECT * FROM kept_1",
    "SELECT * FROM incoming",
    "SELECT * FROM main.pending",
    "SELECT * FROM memory.main.pending",
    "SELECT * FROM system.information_schema.columns",
]

WRITING = [
    "COPY (SELECT 1) TO '{directory}/out.csv'",
    "COPY pending TO '{directory}/out.parquet'",
    "COPY pending FROM '{csv}'",
    "WITH x AS (COPY (SELECT 1) TO '{directory}/out.csv') FROM x",
    "WITH x AS (INSERT INTO pending SELECT * FROM pending RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM pending RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE pending SET batch_id = '' RETURNING *) SELECT * FROM x",
    "SELECT * FROM (WITH x AS (DELETE FROM pending RETURNING *) FROM x)",
    "EXPORT DATABASE '{directory}/out'",
    "IMPORT DATABASE '{directory}'",
    "ATTACH '{directory}/x.db' AS x",
    "ATTACH ':memory:' AS x",
    "DETACH memory",
    "USE memory",
    "CREATE TABLE x AS SELECT 1",
    "CREATE TEMP VIEW x AS SELECT 1",
    "CREATE MACRO pending() AS TABLE SELECT 1",
    "CREATE SECRET (TYPE s3)",
    "CREATE TYPE x AS INTEGER",
    "DROP TABLE pending",
    "INSERT INTO pending SELECT * FROM pending",
    "UPDATE pending SET batch_id = ''",
    "DELETE FROM pending",
    "TRUNCATE pending",
    "ALTER TABLE pending RENAME TO x",
    "MERGE INTO pending USING batches ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
    "PREPARE x AS SELECT 1",
    "EXECUTE x",
    "CALL enable_logging()",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "BEGIN",
    "COMMIT",
    "EXPLAIN ANALYZE SELECT 1",
    "SELECT 1; DROP TABLE pending",
    "SELECT 1; COPY (SELECT 1) TO '{directory}/out.csv'",
    "SELECT * FROM enable_profiling()",
    "SELECT * FROM enable_logging()",
    "SELECT * FROM checkpoint()",
    "COMMENT ON TABLE pending IS 'x'",
]

ATTACKS = [*FILES, *NETWORK, *SETTINGS, *VARIABLES, *INSIDE, *WRITING]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A directory with files to steal, which is the current one."""
    monkeypatch.setenv("SECRET", SECRET)
    (tmp_path / "x.csv").write_text(f"secret\n{SECRET}\n")
    leaked.to_parquet(tmp_path / "x.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(query: str, directory: Path) -> str:
    for name, value in {
        "{csv}": directory / "x.csv",
        "{parquet}": directory / "x.parquet",
        "{directory}": directory,
    }.items():
        query = query.replace(name, str(value))
    return query


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def told():
    return reach.open_history(DEMO)


@pytest.mark.parametrize("query", ATTACKS)
def test_what_reaches_beyond_the_frames_is_refused(query, told, machine):
    mine = pa.table({"secret": [SECRET]})  # noqa: F841  in this frame, which asks
    before = contents(machine)
    with pytest.raises(QueryError) as caught:
        told.sql(written(query, machine))
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert contents(machine) == before


@pytest.fixture
def wall(tmp_path_factory):
    directory = tmp_path_factory.mktemp("spilled")
    made = Walled(None, 1, str(directory))
    made.hold("pending", pa.table({"batch_id": ["a"]}))
    yield made
    made.con.close()


@pytest.mark.parametrize("query", [*FILES, *NETWORK, *VARIABLES, *WRITING])
def test_behind_the_wall_nothing_is_found_even_if_it_were_not_refused(query, wall, machine):
    """The syntax is checked to say what is wrong; the wall does not rest on it."""
    mine = pa.table({"secret": [SECRET]})  # noqa: F841
    before = contents(machine)
    found = ""
    for statement in written(query, machine).split("; "):
        try:
            found += str(wall.con.execute(statement).fetchall())
        except duckdb.Error:
            getattr(wall.con, "abort", lambda: None)()
    assert SECRET not in found
    assert contents(machine) == before


@pytest.mark.parametrize(
    "setting",
    [
        "enable_external_access = true",
        "lock_configuration = false",
        "python_enable_replacements = true",
        "python_scan_all_frames = true",
        "autoload_known_extensions = true",
        "allow_community_extensions = true",
        "allowed_directories = ['/']",
        "temp_directory = '/tmp'",
        "memory_limit = '1TB'",
        "TimeZone = 'Asia/Tokyo'",
    ],
)
def test_the_wall_cannot_be_taken_down(setting, wall):
    for scope in ("", "GLOBAL ", "SESSION "):
        with pytest.raises(duckdb.Error):
            wall.con.execute(f"SET {scope}{setting}")
        getattr(wall.con, "abort", lambda: None)()


def test_a_query_leaves_nothing_for_the_next(told):
    for query in ("CREATE TABLE x AS SELECT 1", "SET VARIABLE x = 1"):
        with pytest.raises(QueryError):
            told.sql(query)
    with pytest.raises(QueryError, match="names a table 'x'"):
        told.sql("FROM x")


def test_nothing_is_written_where_a_query_succeeds(told, machine):
    before = contents(machine), contents(DEMO)
    told.sql("SELECT * FROM wait_outcomes JOIN batches USING (tenant_id, batch_id)")
    assert (contents(machine), contents(DEMO)) == before


def test_a_link_in_the_directory_for_spilled_rows_leads_nowhere(told, tmp_path):
    (tmp_path / "link").symlink_to("/etc")
    own = reach.open_history(DEMO, spill_directory=tmp_path)
    with pytest.raises(QueryError):
        own.sql(f"FROM read_text('{tmp_path}/link/hostname')")


WORDS = """
SELECT FROM WITH x AS ( ) * , ; pending batches 'x.csv' "x.csv" read_text('x.csv') glob('*') SHOW
SET COPY TO DESCRIBE duckdb_settings() UNION ALL INSERT INTO getenv('SECRET') LATERAL JOIN USING
(batch_id) 1 -- /* */ ' " $$ ? PIVOT ON IN leaked main. EXISTS RETURNING
"""


@given(st.lists(st.sampled_from(WORDS.split()), max_size=14).map(" ".join))
def test_no_heap_of_words_gets_out(told, query):
    before = sorted(os.listdir())
    try:
        answer = told.sql(query)
    except QueryError as error:
        answer = error
    assert SECRET not in str(answer)
    assert sorted(os.listdir()) == before
