"""One pass: what is looked at, what is remembered, and what failures do to it."""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import asdict
from datetime import timedelta

import jwt
import pytest

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.client.client import utc_now
from reach_analytics.collector import collect
from reach_analytics.errors import ConfigError, StoreError
from tests.client.hostile import answer, serve


def page(*rows: dict) -> dict:
    return {"results": list(rows), "pagination": {"hasNextPage": False, "total": len(rows)}}


def row(batch_id: str, pending: int | None = 0, **fields) -> dict:
    return {
        "batchId": batch_id,
        "status": "success",
        "progress": {"pendingRecords": pending},
    } | fields


WAITS = [{"id": "p", "resourceExternalId": "A", "missingDependencies": [{"externalId": "x"}]}]


class Api:
    """Answers by path, so that threads may ask in any order; what is not given is a 404."""

    def __init__(self, **answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, connection) -> None:
        path = self.server.paths()[-1].partition("?")[0]
        self.asked.append(path)
        tenant = self.server.header("reach-tenant-id")
        name = path.rsplit("/", 1)[-1]
        found = self.answers.get(f"{tenant}_{name}", self.answers.get(name))
        if found is None:
            connection.sendall(answer(404))
        elif isinstance(found, bytes):
            connection.sendall(found)
        else:
            connection.sendall(answer(body={"success": True, "message": "", "data": found}))


@pytest.fixture
def run(tmp_path):
    """Collect once from an `Api` into the test's store."""

    def collect_from(api: Api, **options):
        store = reach.Store(tmp_path / "store")
        tenant_id = options.pop("tenant_id", "t")
        token, now = options.pop("token", "abc"), options.pop("now", utc_now)
        with serve(api) as api.server:
            client = reach.Client(
                token=token,
                now=now,
                tenant_id=tenant_id,
                base_url=api.server.url,
                threads=1,
                retry=RetryPolicy(attempts=1),
            )
            return collect(client, store, progress=False, **options)

    return collect_from


def opened(tmp_path):
    return reach.open_history(tmp_path / "store")


def test_only_batches_with_something_pending_are_looked_at_closer(run, tmp_path):
    api = Api(batches=page(row("a"), row("b", 1), row("c", None)))
    api.answers |= {"b": row("b", 1, pendingResources=WAITS), "c": row("c")}
    summary = run(api)
    assert api.asked == ["/api/batches", "/api/batches/b", "/api/batches/c"]
    assert (summary.batches, summary.looks, summary.requests, summary.ok) == (3, 5, 3, True)
    assert opened(tmp_path).dependencies()["missing_external_id"].tolist() == ["x"]


def test_a_batch_that_had_waits_is_looked_at_again_until_its_list_is_seen_empty(run, tmp_path):
    """The listing says that nothing waits any more; only the batch itself can show it."""
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    api = Api(batches=page(row("b")), b=row("b", 0, pendingResources=[]))
    run(api)
    assert api.asked == ["/api/batches", "/api/batches/b"]
    assert len(opened(tmp_path).pending()) == 0
    again = Api(batches=page(row("b")))
    run(again)
    assert again.asked == ["/api/batches"]


def test_a_batch_with_waits_that_left_the_listing_is_looked_at_still(run):
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    api = Api(batches=page())
    summary = run(api)
    assert api.asked == ["/api/batches", "/api/batches/b"]
    assert summary.failed_looks == 1


def test_a_failed_look_is_remembered_and_is_no_failed_batch(run, tmp_path):
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    summary = run(Api(batches=page(row("b", 1)), b=answer(500)))
    assert (summary.failed_looks, summary.ok) == (1, False)
    history = opened(tmp_path)
    assert history.batches()["status"].tolist() == ["success"]
    assert len(history.pending()) == 1
    failed = history.looks().query("~ok")
    assert failed["error"].tolist() == ["GET /api/batches/b: status 500"]
    assert failed["http_status"].tolist() == [500]


def test_an_answer_about_another_batch_is_a_failed_look(run, tmp_path):
    summary = run(Api(b=row("other")), batch_ids=["b"])
    assert summary.failed_looks == 1
    assert opened(tmp_path).looks()["batch_id"].tolist() == ["b"]
    assert "found 'other'" in opened(tmp_path).looks()["error"][0]


def test_rows_of_a_listing_that_cannot_be_read_do_not_hold_up_the_others(run, tmp_path):
    nameless = {"status": "success"}
    api = Api(batches=page(row("a"), {"batchId": "b", "status": 7}, nameless, row("c")))
    summary = run(api)
    looks = opened(tmp_path).looks()
    assert set(looks.query("ok")["batch_id"]) == {"a", "c"}
    assert set(looks.query("~ok")["batch_id"]) == {"b"}
    [problem] = summary.problems
    assert "$.data.results[2].batchId" in problem.message


def test_a_tenant_that_fails_does_not_hold_up_the_others(run, tmp_path):
    api = Api(bad_batches=answer(403), good_batches=page(row("a")))
    summary = run(api, tenants=["bad", "good"])
    assert [problem.tenant_id for problem in summary.problems] == ["bad"]
    assert "403" in summary.problems[0].message
    assert opened(tmp_path).batches()["tenant_id"].tolist() == ["good"]


def test_a_tenant_row_that_cannot_be_used_does_not_hold_up_the_others(run, tmp_path):
    rows = [{"id": "t1"}, {"name": "nameless"}, {"id": 5}, {"id": "t 2"}, {"id": "t3"}]
    rows += [{"id": "gone", "deletedAt": "2026-01-01T00:00:00Z"}, {"id": "t4", "deletedAt": ""}]
    token = jwt.encode({"type": "partner"}, "k" * 32)
    api = Api(tenants=page(*rows), batches=page(row("a")))
    summary = run(api, tenant_id="", token=token)
    assert opened(tmp_path).batches()["tenant_id"].tolist() == ["t1", "t3", "t4"]
    assert len(summary.problems) == 3


@pytest.mark.parametrize("odd", ["..", ".", "a/b", "ü"])
def test_odd_ids_from_the_server_are_looks_like_any_other(run, tmp_path, odd):
    api = Api(batches=page(row("a", 1), row(odd, 1), row("c")), a=row("a", 1))
    summary = run(api)
    assert summary.batches == 3
    assert set(opened(tmp_path).looks()["batch_id"]) == {"a", odd, "c"}


def test_a_listing_that_names_a_batch_twice_is_no_trouble(run, tmp_path):
    summary = run(Api(batches=page(row("a"), row("a"), row("b"))))
    assert (summary.looks, summary.batches) == (2, 2)
    assert len(opened(tmp_path).batches()) == 2


def test_a_listing_ends_no_wait_even_if_it_lists_no_waits(run, tmp_path):
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    run(Api(batches=page(row("b", 0, pendingResources=[])), b=answer(500)))
    assert len(opened(tmp_path).pending()) == 1


def test_an_empty_list_beside_a_count_ends_no_wait(run, tmp_path):
    run(Api(b=row("b", 1, pendingResources=WAITS)), batch_ids=["b"])
    run(Api(b=row("b", 5, pendingResources=[])), batch_ids=["b"])
    assert len(opened(tmp_path).pending()) == 1
    assert opened(tmp_path).looks()["complete"].tolist() == [True, False]


def test_a_state_that_cannot_be_written_is_that_look_s_error(run, tmp_path):
    """Deep, but not too deep to be read by the thread that reads it."""
    deep = answer(
        body=b'{"success": true, "data": {"batchId": "deep", "status": "s", "x": %s1%s}}'
        % (b"[" * 980, b"]" * 980)
    )
    summary = run(Api(a=row("a"), deep=deep, b=row("b")), batch_ids=["a", "deep", "b"])
    assert summary.looks == 3
    assert {"a", "b"} <= set(opened(tmp_path).batches()["batch_id"])


def test_a_token_that_cannot_be_made_is_a_failed_look_and_loses_nothing(run, tmp_path):
    calls = []

    def token() -> str:
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("vault is closed")
        return "abc"

    api = Api(a=row("a"), b=row("b"), c=row("c"))
    summary = run(api, token=token, batch_ids=["a", "b", "c"])
    assert summary.failed_looks == 1
    assert "could not be made: RuntimeError" in opened(tmp_path).looks()["error"].iloc[-1]


def test_a_listing_that_falls_short_is_a_problem(run):
    short = {"results": [row("a")], "pagination": {"hasNextPage": False, "total": 50}}
    [problem] = run(Api(batches=short)).problems
    assert problem.message == "the listing gave 1 of 50 announced batches"


def test_known_waits_are_looked_at_even_if_the_listing_fails(run):
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    api = Api(batches=answer(500), b=row("b", 0, pendingResources=[]))
    summary = run(api)
    assert api.asked == ["/api/batches", "/api/batches/b"]
    assert len(summary.problems) == 1


def test_unfit_ids_are_refused_before_anything_is_sent(run):
    api = Api(a=row("a"))
    with pytest.raises(ValueError, match="found ''"):
        run(api, batch_ids=["a", ""])
    assert api.asked == []


def test_a_path_will_do_as_a_store_and_swapped_arguments_are_explained(sandbox, tmp_path):
    with reach.Client(**sandbox.credentials) as client:
        assert collect(client, tmp_path / "by path", progress=False).ok
        with pytest.raises(TypeError, match="collect takes a Client first, found Store"):
            collect(reach.Store(tmp_path), client)


def test_given_ids_are_looked_at_once_each_and_nothing_is_listed(run):
    api = Api(a=row("a"), b=row("b"))
    summary = run(api, batch_ids=iter(["a", "b", "a"]))
    assert api.asked == ["/api/batches/a", "/api/batches/b"]
    assert summary.looks == 2


def test_writing_in_small_groups_is_the_same(run, tmp_path):
    api = Api(batches=page(*(row(f"b{n}", None) for n in range(7))))
    api.answers |= {f"b{n}": row(f"b{n}") for n in range(7)}
    summary = run(api, group=2)
    assert (summary.looks, summary.new_states) == (14, 14)
    assert len(opened(tmp_path).batches()) == 7


def test_answers_in_hand_are_written_when_the_pass_is_interrupted(run, tmp_path):
    class Interrupting(Api):
        """Ctrl-C arrives while the third batch is asked for."""

        def __call__(self, connection) -> None:
            if len(self.asked) == 2:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(0.3)
            super().__call__(connection)

    api = Interrupting(**{name: row(name) for name in "abcdef"})
    with pytest.raises(KeyboardInterrupt):
        run(api, batch_ids=list("abcdef"))
    seen = opened(tmp_path).looks()["batch_id"].tolist()
    assert seen[:2] == ["a", "b"]
    assert len(seen) == len(api.asked) < 6  # every answer that was asked for is kept


def test_a_store_that_cannot_be_written_stops_the_pass(run, tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError):
        run(Api(batches=page(row("a"))))


def test_one_text_is_not_taken_for_a_list_of_ids(run):
    with pytest.raises(TypeError, match="as a list"):
        run(Api(), batch_ids="abc")


def test_an_unknown_tenant_is_asked_for_before_anything_is_sent(run):
    api = Api()
    with pytest.raises(ConfigError, match="which tenant"):
        run(api, tenant_id="")
    assert api.asked == []


def test_demo_store_agrees_with_the_sandbox_s_own_world(sandbox, history):
    """What was collected at the last moment is the truth of that moment."""
    batches = history.batches().set_index("batch_id")
    assert set(batches.index) == set(sandbox.world.batches)
    for batch_id, batch in sandbox.world.batches.items():
        shown = batches.loc[batch_id]
        assert shown["status"] == batch.status
        assert shown["successful_records"] == batch.successful
        assert shown["failed_records"] == sum(batch.failures.values())
    truth = {
        (batch.id, pending.id, key.external_id)
        for batch in sandbox.world.batches.values()
        for pending in batch.pending.values()
        for key in pending.missing
    }
    names = ["batch_id", "pending_id", "missing_external_id"]
    assert set(map(tuple, history.dependencies()[names].to_numpy())) == truth


def test_delivering_what_unlocks_the_most_frees_just_that_in_the_sandbox(tmp_path):
    """The measure's promise, put to the test: upload the root, and count what is released."""
    store = reach.Store(tmp_path / "store")
    with reach.sandbox.serve("demo") as sandbox, reach.Client(**sandbox.credentials) as client:
        sandbox.advance(sandbox.scenario.moments[12])
        collect(client, store, progress=False)
        table = reach.open_history(store).bottlenecks()
        best = table[table["is_root"]].iloc[0]
        before = len(sandbox.world.facts)
        world = sandbox.world
        record = {"externalId": best["external_id"]}
        world.ingest(best["tenant_id"], best["schema_definition_id"], [record])
        sandbox.advance(world.time + timedelta(seconds=4.2))  # just enough to process one record
    freed = [fact for fact in world.facts[before:] if fact.event == "released"]
    assert len([f for f in freed if f.tenant_id == best["tenant_id"]]) == best["unlock"]


def test_summary_can_be_printed_and_written_as_json(run):
    summary = run(Api(batches=page(row("a"))))
    assert str(summary).startswith("1 batches of 1 tenants: 1 looks, 0 failed, 1 new states")
    assert json.dumps(asdict(summary), default=str)
