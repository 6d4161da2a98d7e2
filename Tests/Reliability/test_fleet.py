"""Who judges what a fleet of sidecars left behind sees what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from fleet import Fleet, judged
from sidecar import BINARY, Sidecar


def test_what_is_lost_or_should_not_be_there_is_noticed(tmp_path: Path) -> None:
    database = tmp_path / "fleet.db"
    with Fleet(BINARY, [str(database)] * 2, "seed") as fleet:
        fleet.goes_on()
        ledger = fleet.halt()
    assert ledger.answered and not ledger.unknown and not ledger.refused_data
    reader = Sidecar(database=database)
    assert judged(ledger, reader) == []

    one = next(iter(ledger.answered))
    place = ledger.answered.pop(one)
    assert judged(ledger, reader) == [f"{one} is there, and nobody wrote it"]
    ledger.unknown.add(one)
    assert judged(ledger, reader) == []
    ledger.unknown.remove(one)
    ledger.refused_data.add(one)
    assert judged(ledger, reader) == [f"{one} was refused, and is there"]
    ledger.refused_data.remove(one)
    ledger.answered[one] = place
    ledger.answered["nothing"] = ("s0", 1)
    assert judged(ledger, reader)[0].startswith("nothing was answered ('s0', 1), and is at None")
    del ledger.answered["nothing"]
    reader.call("put_value", collection="w", key="lonely", value=1)
    assert judged(ledger, reader) == ["the value lonely is there without its event"]
    reader.call("store_event", session_id="s0", data=one)
    assert f"{one} is there twice" in judged(ledger, reader)[0]
    reader.kill()


def test_a_sidecar_that_does_not_go_on_is_noticed(tmp_path: Path) -> None:
    with Fleet(BINARY, [str(tmp_path / "fleet.db")] * 2, "seed") as fleet:
        fleet.goes_on()
        fleet.sidecars[1].process.kill()
        fleet.goes_on()
        [broken] = fleet.halt().broken
    assert broken.startswith("sidecar 1 did not go on")
