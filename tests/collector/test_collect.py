"""One pass: what it observes, what it stores, and how it handles failures."""

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
from reach_analytics.collector import collect
from reach_analytics.errors import ConfigError, StoreError
from tests.support.hostile import answer
from tests.support.scripted_api import Api, page, row

WAITS = [{"id": "p", "resourceExternalId": "A", "missingDependencies": [{"externalId": "x"}]}]


def opened(tmp_path):
    return reach.open_history(tmp_path / "store")


def test_only_batches_with_something_pending_are_fetched_singly(run, tmp_path):
    api = Api(batches=page(row("a"), row("b", 1), row("c", None)))
    api.answers |= {"b": row("b", 1, pendingResources=WAITS), "c": row("c")}
    summary = run(api)
    assert api.asked == ["/api/batches", "/api/batches/b", "/api/batches/c"]
    assert (summary.batches, summary.observations, summary.requests, summary.ok) == (3, 5, 3, True)
    assert opened(tmp_path).dependencies()["missing_external_id"].tolist() == ["x"]


def test_a_batch_that_had_waits_is_fetched_until_its_list_is_empty(run, tmp_path):
    """The listing says that nothing waits any more; only the batch itself can confirm it."""
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    api = Api(batches=page(row("b")), b=row("b", 0, pendingResources=[]))
    run(api)
    assert api.asked == ["/api/batches", "/api/batches/b"]
    assert len(opened(tmp_path).pending()) == 0
    again = Api(batches=page(row("b")))
    run(again)
    assert again.asked == ["/api/batches"]


def test_a_batch_with_waits_that_left_the_listing_is_still_fetched(run):
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    api = Api(batches=page())
    summary = run(api)
    assert api.asked == ["/api/batches", "/api/batches/b"]
    assert summary.failed_observations == 1


def test_a_failed_observation_is_stored_and_is_no_failed_batch(run, tmp_path):
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    summary = run(Api(batches=page(row("b", 1)), b=answer(500)))
    assert (summary.failed_observations, summary.ok) == (1, False)
    history = opened(tmp_path)
    assert history.batches()["status"].tolist() == ["success"]
    assert len(history.pending()) == 1
    failed = history.observations().query("~ok")
    assert failed["error"].tolist() == ["GET /api/batches/b: status 500"]
    assert failed["http_status"].tolist() == [500]


def test_an_answer_about_another_batch_is_a_failed_observation(run, tmp_path):
    summary = run(Api(b=row("other")), batch_ids=["b"])
    assert summary.failed_observations == 1
    assert opened(tmp_path).observations()["batch_id"].tolist() == ["b"]
    assert "found 'other'" in opened(tmp_path).observations()["error"][0]


def test_unreadable_rows_of_a_listing_do_not_affect_the_others(run, tmp_path):
    nameless = {"status": "success"}
    api = Api(batches=page(row("a"), {"batchId": "b", "status": 7}, nameless, row("c")))
    summary = run(api)
    observations = opened(tmp_path).observations()
    assert set(observations.query("ok")["batch_id"]) == {"a", "c"}
    assert set(observations.query("~ok")["batch_id"]) == {"b"}
    [problem] = summary.problems
    assert "$.data.results[2].batchId" in problem.message


def test_a_failing_tenant_does_not_affect_the_others(run, tmp_path):
    api = Api(bad_batches=answer(403), good_batches=page(row("a")))
    summary = run(api, tenants=["bad", "good"])
    assert [problem.tenant_id for problem in summary.problems] == ["bad"]
    assert "403" in summary.problems[0].message
    assert opened(tmp_path).batches()["tenant_id"].tolist() == ["good"]


def test_an_unusable_tenant_row_does_not_affect_the_others(run, tmp_path):
    rows = [{"id": "t1"}, {"name": "nameless"}, {"id": 5}, {"id": "t 2"}, {"id": "t3"}]
    rows += [{"id": "gone", "deletedAt": "2026-01-01T00:00:00Z"}, {"id": "t4", "deletedAt": ""}]
    token = jwt.encode({"type": "partner"}, "k" * 32)
    api = Api(tenants=page(*rows), batches=page(row("a")))
    summary = run(api, tenant_id="", token=token)
    assert opened(tmp_path).batches()["tenant_id"].tolist() == ["t1", "t3", "t4"]
    assert len(summary.problems) == 3


@pytest.mark.parametrize("odd", ["..", ".", "a/b", "ü"])
def test_batches_with_odd_ids_are_observed_like_any_other(run, tmp_path, odd):
    api = Api(batches=page(row("a", 1), row(odd, 1), row("c")), a=row("a", 1))
    summary = run(api)
    assert summary.batches == 3
    assert set(opened(tmp_path).observations()["batch_id"]) == {"a", odd, "c"}


def test_a_listing_may_name_a_batch_twice(run, tmp_path):
    summary = run(Api(batches=page(row("a"), row("a"), row("b"))))
    assert (summary.observations, summary.batches) == (2, 2)
    assert len(opened(tmp_path).batches()) == 2


def test_a_listing_ends_no_wait_even_if_it_lists_no_waits(run, tmp_path):
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    run(Api(batches=page(row("b", 0, pendingResources=[])), b=answer(500)))
    assert len(opened(tmp_path).pending()) == 1


def test_an_empty_list_beside_a_count_ends_no_wait(run, tmp_path):
    run(Api(b=row("b", 1, pendingResources=WAITS)), batch_ids=["b"])
    run(Api(b=row("b", 5, pendingResources=[])), batch_ids=["b"])
    assert len(opened(tmp_path).pending()) == 1
    assert opened(tmp_path).observations()["complete"].tolist() == [True, False]


def test_a_state_that_cannot_be_stored_is_an_error_of_its_observation(run, tmp_path):
    """Nested deeply, but readable by the thread that reads it."""
    deep = answer(
        body=b'{"success": true, "data": {"batchId": "deep", "status": "s", "x": %s1%s}}'
        % (b"[" * 980, b"]" * 980)
    )
    summary = run(Api(a=row("a"), deep=deep, b=row("b")), batch_ids=["a", "deep", "b"])
    assert summary.observations == 3
    assert {"a", "b"} <= set(opened(tmp_path).batches()["batch_id"])


def test_a_token_that_cannot_be_made_is_a_failed_observation_and_loses_nothing(run, tmp_path):
    calls = []

    def token() -> str:
        calls.append(1)
        if len(calls) > 3:  # of which the first tells whether it is a partner's
            raise RuntimeError("vault is closed")
        return "abc"

    api = Api(a=row("a"), b=row("b"), c=row("c"))
    summary = run(api, token=token, batch_ids=["a", "b", "c"])
    assert summary.failed_observations == 1
    assert "could not be made: RuntimeError" in opened(tmp_path).observations()["error"].iloc[-1]


def test_a_listing_shorter_than_its_total_is_a_problem(run):
    short = {"results": [row("a")], "pagination": {"hasNextPage": False, "total": 50}}
    [problem] = run(Api(batches=short)).problems
    assert problem.message == "the listing gave 1 of 50 announced batches"


def test_known_waits_are_observed_even_if_the_listing_fails(run):
    run(Api(batches=page(row("b", 1)), b=row("b", 1, pendingResources=WAITS)))
    api = Api(batches=answer(500), b=row("b", 0, pendingResources=[]))
    summary = run(api)
    assert api.asked == ["/api/batches", "/api/batches/b"]
    assert len(summary.problems) == 1


def test_invalid_ids_are_refused_before_anything_is_sent(run):
    api = Api(a=row("a"))
    with pytest.raises(ValueError, match="found ''"):
        run(api, batch_ids=["a", ""])
    assert api.asked == []


def test_a_path_is_accepted_as_a_store_and_swapped_arguments_are_explained(sandbox, tmp_path):
    with reach.Client(**sandbox.credentials) as client:
        assert collect(client, tmp_path / "by path", progress=False).ok
        with pytest.raises(TypeError, match="collect takes a Client first, found Store"):
            collect(reach.Store(tmp_path), client)


def test_given_ids_are_observed_once_each_and_nothing_is_listed(run):
    api = Api(a=row("a"), b=row("b"))
    summary = run(api, batch_ids=iter(["a", "b", "a"]))
    assert api.asked == ["/api/batches/a", "/api/batches/b"]
    assert summary.observations == 2


def test_writing_in_small_groups_stores_the_same(run, tmp_path):
    api = Api(batches=page(*(row(f"b{n}", None) for n in range(7))))
    api.answers |= {f"b{n}": row(f"b{n}") for n in range(7)}
    summary = run(api, group=2)
    assert (summary.observations, summary.new_states) == (14, 14)
    assert len(opened(tmp_path).batches()) == 7


def test_buffered_answers_are_written_when_the_pass_is_interrupted(run, tmp_path):
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
    seen = opened(tmp_path).observations()["batch_id"].tolist()
    assert seen[:2] == ["a", "b"]
    assert len(seen) == len(api.asked) < 6  # every answer is kept


def test_a_store_that_cannot_be_written_stops_the_pass(run, tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError):
        run(Api(batches=page(row("a"))))


def test_a_string_is_not_taken_for_a_list_of_ids(run):
    with pytest.raises(TypeError, match="as a list"):
        run(Api(), batch_ids="abc")


def test_without_a_tenant_it_asks_for_one_before_anything_is_sent(run):
    api = Api()
    with pytest.raises(ConfigError, match="which tenant"):
        run(api, tenant_id="")
    assert api.asked == []


def test_the_demo_store_agrees_with_the_sandbox_s_world(sandbox, history):
    """The last pass has the true state of its moment."""
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


def test_delivering_the_top_bottleneck_unlocks_what_it_says(tmp_path):
    """Upload the root, and count what is released."""
    store = reach.Store(tmp_path / "store")
    with reach.sandbox.serve("demo") as sandbox, reach.Client(**sandbox.credentials) as client:
        sandbox.advance(sandbox.scenario.moments[12])
        collect(client, store, progress=False)
        table = reach.open_history(store).bottlenecks()
        best = table[table["is_root"]].iloc[0]
        before = len(sandbox.world.ground_truth)
        world = sandbox.world
        record = {"externalId": best["external_id"]}
        world.ingest(best["tenant_id"], best["schema_definition_id"], [record])
        sandbox.advance(world.time + timedelta(seconds=4.2))  # just enough to process one record
    freed = [fact for fact in world.ground_truth[before:] if fact.event == "released"]
    assert len([f for f in freed if f.tenant_id == best["tenant_id"]]) == best["unlock"]


def test_summary_can_be_printed_and_written_as_json(run):
    summary = run(Api(batches=page(row("a"))))
    assert str(summary).startswith("1 batches of 1 tenants: 1 observations, 0 failed, 1 new states")
    assert json.dumps(asdict(summary), default=str)
