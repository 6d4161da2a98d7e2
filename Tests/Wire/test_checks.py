"""check_integrity as a job, which every engine has: beside the requests, one after the other, and so many at most."""

from __future__ import annotations

from sidecar import Sidecar, line, request


def test_requests_are_served_while_jobs_run_and_wait(sidecar: Sidecar) -> None:
    """A job is answered in a round of the loop, and each round also reads: what is sent after the first answer is
    answered before the last."""
    sidecar.send(*(request("check_integrity", n) for n in range(17)))
    assert sidecar.receive_answer()["id"] == 0
    sidecar.send(request("session_count", "now"))
    order = [sidecar.receive_answer()["id"] for _ in range(17)]
    assert order.index("now") < order.index(16)
    assert [id for id in order if id != "now"] == list(range(1, 17))


def test_sixteen_jobs_wait_for_the_one_that_runs(sidecar: Sidecar) -> None:
    """All requests stand in one read of the sidecar, so no job is answered in between."""
    lines = b"".join(line(request("check_integrity", n)) for n in range(19))
    assert len(lines) < 4_096
    sidecar.send_bytes(lines)
    for number in (17, 18):
        answer = sidecar.receive_answer()
        assert answer["id"] == number
        assert answer["error"]["code"] == 1106 and answer["error"]["data"]["kind"] == "queue_full"
        assert answer["error"]["data"]["limit"] == 16
    assert [sidecar.receive_answer()["id"] for _ in range(17)] == list(range(17))
    assert sidecar.call("check_integrity")["ok"]


def test_the_end_of_the_input_and_a_shutdown_wait_for_checks(sidecar: Sidecar) -> None:
    checks = [request("check_integrity", n) for n in range(3)]
    sidecar.send(*checks, request("shutdown", 3), request("check_integrity", 4))
    answers = {answer["id"]: answer for answer in (sidecar.receive_answer() for _ in range(5))}
    assert all(answers[n]["result"]["ok"] for n in range(3)) and answers[3]["result"] == {}
    assert answers[4]["error"]["data"]["kind"] == "shutting_down"
    assert sidecar.rest() == [] and sidecar.wait() == 0


def test_in_a_batch_a_check_is_done_in_its_turn(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s")
    sidecar.send([
        request("store_event", 1, session_id="s", data=1), request("check_integrity", 2),
        request("store_event", 3, session_id="s", data=2), request("event_count", 4, session_id="s"),
    ])  # fmt: skip
    answers = sidecar.receive()
    assert [answer["id"] for answer in answers] == [1, 2, 3, 4]
    assert answers[1]["result"]["ok"] and answers[3]["result"] == {"count": 2}
    assert sidecar.is_silent() and sidecar.finish() == []
