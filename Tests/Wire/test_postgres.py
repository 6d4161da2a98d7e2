"""The store on a PostgreSQL server: addresses, what may be wrong with a server, and the commands beside the service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine import SCHEMA, contents
from postgres_server import PASSWORD, PostgresServer
from shell import command, fill, is_refused, lines, output
from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, line, request
from test_dump import KINDS, dumped, load, rich  # noqa: F401 (a fixture)
from test_process import until

Spawn = Callable[..., Sidecar]


@pytest.fixture(scope="session")
def engine_name() -> str:
    return "postgres"


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    """A database that is empty."""
    made = postgres.new_database()
    yield made
    postgres.drop(made)


def answer(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a sidecar with one request does."""
    done = subprocess.run(
        [BINARY, *words], input=line(request("create_session", 1)), capture_output=True, timeout=PATIENCE, check=False,
        env=clean_environment(**environment),
    )  # fmt: skip
    assert PASSWORD.encode() not in done.stdout + done.stderr, done
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def is_answered(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0 and done.stderr == "" and '"result":{"session_id"' in done.stdout, done


# --- Rows


def test_rows_are_compressed_with_what_is_quick(name: str, postgres: PostgresServer) -> None:
    """With PostgreSQL's own only where somebody has said so, or the server can do nothing else."""

    def stored(session: str) -> object:
        sidecar = Sidecar(database=postgres.address(name))
        try:
            sidecar.call("create_session", session_id=session)
            sidecar.call("store_event", session_id=session, data="again and " * 1_000)
        finally:
            sidecar.kill()
        sql = f"SELECT pg_column_compression(data) FROM {SCHEMA}.events ORDER BY session DESC LIMIT 1"
        return postgres.query(sql, database=name)[0][0]

    known = postgres.query("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")[0][0]
    assert stored("a") == ("lz4" if "lz4" in known else "pglz")
    postgres.query(f"ALTER DATABASE {name} SET default_toast_compression = 'pglz'")
    assert stored("b") == "pglz"


# --- Numbers


def test_a_load_keeps_the_numbers_where_nothing_was_written(rich: Path, name: str, postgres: PostgresServer) -> None:
    """What a sidecar has drawn by then is thrown away: no number is given out twice."""
    text, address = dumped(rich), postgres.address(name)
    sidecar = Sidecar(database=address)
    try:
        sidecar.refusal("touch_session", session_id="nobody")  # a group, for which a block was drawn
        assert load(address, text).returncode == 0
        assert dumped(address) == text
        highest = json.loads(text.split("\n")[0])["mcp_session_store_dump"]["revision"]
        assert sidecar.call("create_session", session_id="after")["revision"] > highest
        assert output("check", "--database", address) == "ok\n"
    finally:
        sidecar.kill()


def test_the_first_line_that_is_wrong_is_told(name: str, postgres: PostgresServer) -> None:
    """Although a server says of many records at once what became of them."""
    source, target = postgres.address(name), postgres.address(postgres.new_database())
    sidecar = Sidecar(database=source)
    try:
        for number in range(30):
            sidecar.call("create_session", session_id=f"s{number}")
    finally:
        sidecar.kill()
    rows = dumped(source).split("\n")
    wrong = next(number for number, row in enumerate(rows) if '"s7"' in row)
    there = [rows[0], rows[wrong], '{"end":{"records":1}}', ""]
    assert load(target, "\n".join(there)).returncode == 0
    is_refused(load(target, "\n".join(rows)), 65, f"line {wrong + 1}: ", '"s7" is in the store already')
    rows[20] = "{"
    is_refused(load(target, "\n".join(rows)), 65, f"line {wrong + 1}: ", '"s7" is in the store already')
    rows[wrong] = rows[wrong].replace('"s7"', '"another"')
    is_refused(load(target, "\n".join(rows)), 65, "line 21: ", "not JSON")


def test_who_has_not_written_for_long_writes_on(name: str, postgres: PostgresServer) -> None:
    """Its row was put together with those of others by then."""
    sidecar = Sidecar(database=postgres.address(name))
    try:
        sidecar.call("create_session", session_id="a")
        postgres.query(f"UPDATE {SCHEMA}.store SET sessions = 1 WHERE id = 1", database=name)
        postgres.query(f"DELETE FROM {SCHEMA}.store WHERE id <> 1", database=name)
        sidecar.call("create_session", session_id="b")
        assert sidecar.call("health")["session_count"] == 2
        assert postgres.query(f"SELECT group_number FROM {SCHEMA}.store WHERE id <> 1", database=name) == [(1,)]
    finally:
        sidecar.kill()


def test_after_a_failover_that_lost_writes_no_number_comes_twice(name: str, postgres: PostgresServer) -> None:
    """The server that took over knows nothing of the last block of numbers that a sidecar drew, and hands it out."""
    first, second = Sidecar(database=postgres.address(name)), Sidecar(database=postgres.address(name))
    try:
        given = [first.call("create_session", session_id=f"lost-{number}")["revision"] for number in range(5)]
        backends = postgres.backends(name)
        postgres.query(f"DELETE FROM {SCHEMA}.sessions", database=name)
        postgres.query(f"UPDATE {SCHEMA}.store SET revision = 0, sessions = 0", database=name)
        postgres.query(f"ALTER SEQUENCE {SCHEMA}.revisions RESTART", database=name)
        for backend in backends:
            postgres.query("SELECT pg_terminate_backend(%s)", backend)
        for number in range(5):
            given.append(second.call("create_session", session_id=f"second-{number}")["revision"])
        mine = [first.call("create_session", session_id=f"first-{number}")["revision"] for number in range(5)]
        assert len({*given[5:], *mine}) == 10
        assert min(mine) > max(given[:5])
    finally:
        first.kill()
        second.kill()


def test_events_are_followed_on_one_connection(name: str, postgres: PostgresServer) -> None:
    sidecar = Sidecar(database=postgres.address(name))
    try:
        sidecar.call("create_session", session_id="s", status="active")
        with subprocess.Popen(
            [BINARY, "events", "s", "--follow", "--json", "--database", postgres.address(name)],
            stdout=subprocess.PIPE, env=clean_environment(),
        ) as follower:  # fmt: skip
            assert follower.stdout is not None
            backends = set()
            for number in range(6):
                sidecar.call("store_event", session_id="s", data=number)
                assert json.loads(follower.stdout.readline())["data"] == number
                backends.add(tuple(postgres.backends(name)))
            follower.send_signal(signal.SIGTERM)
            assert follower.wait(PATIENCE) == 0
        assert len(backends) == 1 and len(backends.pop()) == 2
    finally:
        sidecar.kill()


# --- Addresses


def test_addresses_are_libpqs_own(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    """As URI and as words, by socket and by port, from a file of passwords, a file of services and the environment."""
    passwords = tmp_path / "passwords"
    passwords.write_text(f"127.0.0.1:{postgres.port}:{name}:tester:{PASSWORD}\n")
    passwords.chmod(0o600)
    services = tmp_path / "services"
    services.write_text(f"[store]\nhost={postgres.folder}\nport={postgres.port}\nuser=tester\ndbname={name}\n")
    by_words = f"host={postgres.folder} port={postgres.port} user=tester dbname={name}"
    without = f"postgresql://tester@127.0.0.1:{postgres.port}/{name}"
    everything = {"PGHOST": str(postgres.folder), "PGPORT": str(postgres.port), "PGUSER": "tester", "PGDATABASE": name}
    for count, (address, environment) in enumerate([
        (postgres.address(name), {}),
        (postgres.address(name).replace("postgresql://", "postgres://"), {}),
        (postgres.address(name, by_tcp=True), {}),
        (by_words, {}),
        (without, {"PGPASSFILE": str(passwords)}),
        (without, {"PGPASSWORD": PASSWORD}),
        ("service=store", {"PGSERVICEFILE": str(services)}),
        ("postgresql://", everything),
        (f"postgresql://tester:{PASSWORD}@127.0.0.1:1,127.0.0.1:{postgres.port}/{name}"
         "?target_session_attrs=read-write", {}),
    ], start=1):  # fmt: skip
        is_answered(answer("--database", address, **environment))
        status = json.loads(output("status", "--json", "--database", address, **environment))
        assert sum(status["sessions"].values()) == count, status
    is_answered(answer(MCP_SESSION_STORE_DATABASE=postgres.address(name, by_tcp=True)))


def test_a_schema_is_a_store_of_its_own(postgres: PostgresServer, name: str) -> None:
    address = postgres.address(name)
    for schema in (SCHEMA, "other", 'Odd "one"', "über"):
        words = ["--database", address, *([] if schema == SCHEMA else ["--schema", schema])]
        is_answered(answer(*words))
        is_answered(answer(*words))
        assert len(contents(address, schema)["sessions"]) == 2
    assert "events" in contents(address, "other")
    rows = postgres.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=name)
    assert rows == [(0,)]


@pytest.mark.parametrize("schema", ["", "pg_store", "x" * 64, "a\tb"])
def test_a_schema_that_can_be_none_is_refused(postgres: PostgresServer, schema: str) -> None:
    is_refused(answer("--database", postgres.address("postgres"), "--schema", schema), 64, "--schema")


def test_the_service_says_where_it_is_and_keeps_the_password(postgres: PostgresServer, name: str, spawn: Spawn) -> None:
    sidecar = spawn(database=postgres.address(name, by_tcp=True))
    told = sidecar.call("server_info")
    assert told["backend"] == "postgresql" and PASSWORD not in json.dumps(told)
    for method in ("health", "get_metrics"):
        assert PASSWORD not in json.dumps(sidecar.call(method))
    # The name of the session on the server is for whoever looks there.
    [(told,)] = postgres.query("SELECT application_name FROM pg_stat_activity WHERE datname = %s", name)
    assert told.startswith("mcp-session-store")


# --- What may be wrong


#: by what is the matter: the address with the place of a database and the address that is right, the exit status, and
#: what is mentioned
WRONG: dict[str, tuple[Callable[[PostgresServer, str, str], str], int, str]] = {
    "syntax": (lambda server, name, right: "postgresql://host:port/x", 64, "port"),
    "an option that libpq has not": (lambda server, name, right: f"{right}?colour=red", 64, "colour"),
    "no server": (lambda server, name, right: right.replace(f":{server.port}", ":1"), 75, "127.0.0.1"),
    "no socket": (lambda server, name, right: f"postgresql:///{name}?host=/nowhere", 75, "/nowhere"),
    "no host": (lambda server, name, right: right.replace("127.0.0.1", "nowhere.invalid"), 75, "nowhere.invalid"),
    "no password": (lambda server, name, right: right.replace(f":{PASSWORD}", ""), 73, "password"),
    "a wrong password": (lambda server, name, right: right.replace(PASSWORD, PASSWORD + "x"), 73, "password"),
    "no user": (lambda server, name, right: right.replace("tester", "stranger"), 73, "stranger"),
    "no database": (lambda server, name, right: server.address("nothing"), 73, "nothing"),
    "no TLS": (lambda server, name, right: f"{right}?sslmode=require", 73, "SSL"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_reached_is_told_in_one_line(postgres: PostgresServer, name: str, case: str) -> None:
    make, status, mention = WRONG[case]
    words = ("--database", make(postgres, name, postgres.address(name, by_tcp=True)), "--busy-timeout", "100ms")
    is_refused(answer(*words), status, mention)
    done = command("status", *words)
    is_refused(done, status, mention)
    assert PASSWORD not in done.stderr


#: a server of another version, as far as it tells
OLDER = """
CREATE SCHEMA older;
CREATE FUNCTION older.current_setting(name text) RETURNS text LANGUAGE sql AS $$
  SELECT CASE name WHEN 'server_version_num' THEN '130014' WHEN 'server_version' THEN '13.14'
    ELSE pg_catalog.current_setting(name) END
$$
"""


def test_a_server_that_is_too_old_is_told(postgres: PostgresServer, name: str) -> None:
    postgres.query(OLDER, database=name)
    postgres.query(f"ALTER DATABASE {name} SET search_path = older, pg_catalog")
    is_refused(answer("--database", postgres.address(name)), 73, "13.14", "14 or newer")
    is_refused(command("status", "--database", postgres.address(name)), 73, "13.14", "14 or newer")


def test_a_database_of_another_encoding_is_told(postgres: PostgresServer) -> None:
    postgres.query("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
    is_refused(answer("--database", postgres.address("bytes")), 73, "SQL_ASCII", "createdb --encoding=UTF8")
    postgres.drop("bytes")


def test_the_way_to_it_is_encrypted_where_that_is_asked_for(tmp_path: Path) -> None:
    """The server shows who it is by a certificate that somebody signed whom the address trusts, or it is not used."""
    with PostgresServer() as server:
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        for place in (server.data, tmp_path):
            files = ["-keyout", place / "server.key", "-out", place / "server.crt"]
            name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
            subprocess.run([*made, *files, *name], check=True, capture_output=True)
        for file in ("server.key", "server.crt"):
            server.own(server.data / file)
        server.stop()
        server.settings["ssl"] = "on"
        server.start()
        database = server.new_database()
        trusted = tmp_path / "trusted.crt"
        trusted.write_bytes((server.data / "server.crt").read_bytes())
        right = server.address(database, by_tcp=True, sslmode="verify-full", sslrootcert=str(trusted))
        sidecar = Sidecar(database=right)
        try:
            sidecar.call("create_session")
            assert server.query(
                "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                "WHERE application_name LIKE 'mcp-session-store%'") == [(True,)]  # fmt: skip
        finally:
            sidecar.kill()
        wrong = right.replace(str(trusted), str(tmp_path / "server.crt"))
        is_refused(answer("--database", wrong), 73, "certificate verify failed", "sslrootcert")


def test_without_libpq_it_says_what_to_install(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    (tmp_path / "none.c").write_text(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <string.h>\n"
        "void *dlopen(const char *name, int flags) {\n"
        '  if (name && strstr(name, "libpq")) return 0;\n'
        '  return ((void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen"))(name, flags);\n}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "none.so", tmp_path / "none.c", "-ldl"], check=True)
    done = answer("--database", postgres.address(name), LD_PRELOAD=str(tmp_path / "none.so"))
    is_refused(done, 69, "libpq.so.5", "libpq5")


def test_a_schema_that_holds_something_else_is_left_alone(postgres: PostgresServer, name: str) -> None:
    postgres.query(f"CREATE SCHEMA {SCHEMA}", database=name)
    postgres.query(f"CREATE TABLE {SCHEMA}.sessions (mine text)", database=name)
    before = contents(postgres.address(name))
    is_refused(answer("--database", postgres.address(name)), 65, SCHEMA)
    is_refused(command("status", "--database", postgres.address(name)), 65, SCHEMA)
    assert contents(postgres.address(name)) == before == {"sessions": []}


def test_a_newer_schema_is_left_alone(postgres: PostgresServer, name: str, spawn: Spawn) -> None:
    address = postgres.address(name)
    running = spawn(database=address)
    running.call("create_session", session_id="s", status="active")
    postgres.query(f"UPDATE {SCHEMA}.schema_version SET version = version + 1", database=name)
    is_refused(answer("--database", address), 65, "newer")
    is_refused(command("status", "--database", address), 65, "newer")
    # Who is running already writes nothing of the old kind any more.
    assert running.refusal("store_event", session_id="s", data=1).kind == "database_too_new"
    assert len(contents(address)["sessions"]) == 1 and contents(address)["events"] == []


def test_no_right_to_make_the_schema(postgres: PostgresServer, name: str) -> None:
    postgres.query("DROP ROLE IF EXISTS guest")
    postgres.query("CREATE ROLE guest LOGIN")
    address = postgres.address(name).replace("tester@", "guest@")
    is_refused(answer("--database", address), 73, "GRANT", name)
    assert contents(postgres.address(name)) == {}
    # What it says helps.
    postgres.query(f"GRANT CREATE ON DATABASE {name} TO guest")
    is_answered(answer("--database", address))


def test_where_no_store_is_yet_commands_make_none(postgres: PostgresServer, name: str) -> None:
    address = postgres.address(name)
    for words in (["status"], ["sessions"], ["tasks"], ["events", "s"], ["check"], ["dump"]):
        is_refused(command(*words, "--database", address), 66, SCHEMA)
    assert contents(address) == {}


def test_many_that_come_first_at_once_make_one_store(postgres: PostgresServer, name: str, spawn: Spawn) -> None:
    sidecars = [spawn(database=postgres.address(name)) for _ in range(8)]
    for number, sidecar in enumerate(sidecars):
        sidecar.send(request("create_session", 1, session_id=f"s{number}", status="active"))
    for sidecar in sidecars:
        assert "result" in sidecar.receive_answer()
    assert sidecars[0].call("session_count") == {"count": 8}
    for sidecar in sidecars:
        assert sidecar.finish() == [] and sidecar.stderr() == ""


# --- What becomes of a connection


def test_a_backend_that_is_ended_is_replaced(postgres: PostgresServer, name: str, spawn: Spawn) -> None:
    sidecar = spawn(database=postgres.address(name))
    sidecar.call("create_session", session_id="s", status="active")
    for number in range(1, 6):
        for backend in postgres.backends(name):
            postgres.query("SELECT pg_terminate_backend(%s)", backend)
        until(lambda: not postgres.backends(name), "the backend is gone")
        assert sidecar.call("store_event", session_id="s", data=number)["id"] == number
        assert sidecar.call("event_count", session_id="s") == {"count": number}
    assert sidecar.finish() == [] and sidecar.stderr() == ""


#: fails so many times with the state that it is given
IN_THE_WAY = """
CREATE SEQUENCE {schema}.tries;
CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('{schema}.tries') <= {times} THEN RAISE EXCEPTION 'in the way' USING ERRCODE = '{state}'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON {schema}.events FOR EACH ROW EXECUTE FUNCTION {schema}.fail()
"""


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_others_were_in_the_way_of_is_done_again(
    postgres: PostgresServer, name: str, spawn: Spawn, state: str
) -> None:
    """A serialization failure and a deadlock: the whole group again, then each request alone, and not for ever."""
    sidecar = spawn(database=postgres.address(name))
    sidecar.call("create_session", session_id="s", status="active")
    postgres.query(IN_THE_WAY.format(schema=SCHEMA, times=3, state=state), database=name)
    sidecar.send(*(request("store_event", number, session_id="s", data=number) for number in range(1, 6)))
    assert [sidecar.receive()["result"]["id"] for _ in range(5)] == [1, 2, 3, 4, 5]
    [(tries,)] = postgres.query(f"SELECT last_value FROM {SCHEMA}.tries", database=name)
    assert tries > 3
    postgres.query(f"ALTER SEQUENCE {SCHEMA}.tries MINVALUE -1000000 RESTART -1000000", database=name)
    refused = sidecar.refusal("store_event", session_id="s", data=6)
    assert (refused.kind, refused.data["outcome"]) == ("database_busy", "not_applied")
    postgres.query(f"DROP TRIGGER fail ON {SCHEMA}.events", database=name)
    assert sidecar.call("store_event", session_id="s", data=6)["id"] == 6
    assert sidecar.finish() == [] and sidecar.stderr() == ""


def test_a_server_that_is_away_is_waited_for(spawn: Spawn) -> None:
    with PostgresServer() as server:
        address = server.address(server.new_database())
        sidecar = spawn("--busy-timeout", "60s", database=address)
        sidecar.call("create_session", session_id="s", status="active")
        server.kill()
        sidecar.send(request("store_event", 1, session_id="s", data=1))
        time.sleep(0.3)
        server.start()
        assert sidecar.receive_answer()["result"]["id"] == 1
        impatient = spawn("--busy-timeout", "100ms", database=address)
        impatient.call("server_info")
        server.stop()
        refused = impatient.refusal("store_event", session_id="s", data=2)
        assert refused.kind.startswith("database_") and refused.data["outcome"] == "not_applied", refused.data
        assert impatient.refusal("get_session", session_id="s").kind == refused.kind
        assert impatient.call("health")["status"] != "ok"
        server.start()
        assert impatient.call("store_event", session_id="s", data=2)["id"] == 2
        assert sidecar.call("event_count", session_id="s") == {"count": 2}
        for each in (sidecar, impatient):
            each.finish()


def test_a_standby_is_read_only(spawn: Spawn) -> None:
    with PostgresServer() as primary:
        name = primary.new_database()
        sidecar = spawn(database=primary.address(name))
        sidecar.call("create_session", session_id="s", status="active")
        sidecar.finish()
        with primary.standby() as standby:
            until(lambda: standby.has_caught_up(primary), "the standby has all")
            # What only looks may look there.
            assert "s" in output("sessions", "--database", standby.address(name))
            is_refused(answer("--database", standby.address(name), "--busy-timeout", "100ms"), 73, "read-only")


def test_another_that_holds_a_row_is_waited_for_and_not_for_ever(
    postgres: PostgresServer, name: str, spawn: Spawn
) -> None:
    sidecar = spawn("--busy-timeout", "300ms", database=postgres.address(name))
    sidecar.call("create_session", session_id="s", status="active")
    sidecar.call("create_session", session_id="free", status="active")
    with closing(psycopg.connect(postgres.address(name))) as other:
        other.execute(f"SELECT 1 FROM {SCHEMA}.sessions WHERE session_id = 's' FOR UPDATE".encode())
        refused = sidecar.refusal("store_event", session_id="s", data=1)
        assert (refused.kind, refused.data["outcome"]) == ("database_busy", "not_applied")
        assert sidecar.call("store_event", session_id="free", data=1)["id"] == 1
        other.rollback()
    assert sidecar.call("store_event", session_id="s", data=1)["id"] == 1


@pytest.fixture
def small_disk(postgres: PostgresServer) -> Iterator[Path]:
    """A file system of 24 MiB that belongs to the server."""
    place = postgres.folder / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=False).returncode != 0:
        pytest.skip("this user cannot mount a file system")
    postgres.own(place)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_and_gets_well_again(postgres: PostgresServer, small_disk: Path, spawn: Spawn) -> None:
    postgres.query(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    postgres.query("CREATE DATABASE small TABLESPACE small")
    sidecar = spawn(database=postgres.address("small"))
    sidecar.call("create_session", session_id="s", status="active")
    stored, refused = 0, None
    while refused is None:
        assert stored < 10_000
        told = sidecar.ask("store_events", session_id="s", events=[{"data": os.urandom(4_000).hex()}] * 20)
        stored += 20 if "result" in told else 0
        refused = told.get("error")
    assert (refused["data"]["kind"], refused["data"]["outcome"]) == ("database_full", "not_applied")
    assert sidecar.call("event_count", session_id="s") == {"count": stored}
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert sidecar.call("store_event", session_id="s", data=1)["id"] == stored + 1
    assert sidecar.finish() == []
    postgres.drop("small")
    postgres.query("DROP TABLESPACE small")


# --- Bytes


def test_names_and_payloads_come_back_byte_for_byte(postgres: PostgresServer, name: str, spawn: Spawn) -> None:
    """What PostgreSQL's texts cannot hold, and what they could be taken for, among them."""
    words = ["\0", "\0\0", "\x01", "\x01\x02", "\x01\x03", "a\0b\x01c\x02", "\\000", "\\u0000", "\x7f", "é", "e\u0301",
             "\ufffd", "\U0001f600", "'; DROP SCHEMA mcp_session_store; --", '"', "%_", "{1,NULL}", "\\N", " a "]
    sidecar = spawn(database=postgres.address(name))
    for number, word in enumerate(words, start=1):
        sidecar.call("put_value", collection=word, key=word, value=word)
        sidecar.call("create_session", session_id=f"s{number}", status="active", user_id=word, principal=word,
                     metadata={word: word}, state={word: word})  # fmt: skip
        for text in (word, word[::-1]):
            sidecar.call("store_event", session_id=f"s{number}", stream_id=word, data=text)
    for each in (sidecar, spawn(database=postgres.address(name))):
        for number, word in enumerate(words, start=1):
            assert each.call("get_value", collection=word, key=word)["value"] == word
            [listed] = each.call("list_values", collection=word, prefix=word)["values"]
            assert listed["key"] == word
            session = each.call("get_session", session_id=f"s{number}")
            assert (session["user_id"], session["principal"]) == (word, word)
            assert session["metadata"] == session["state"] == {word: word}
            page = each.call("get_events_after", session_id=f"s{number}", stream_id=word)
            assert [event["data"] for event in page["events"]] == [word, word[::-1]]
    assert sidecar.call("check_integrity")["problems"] == []


# --- The commands beside the service


def test_every_command_has_something_to_say_of_it(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    address = postgres.address(name, by_tcp=True)
    sidecar = Sidecar(database=address)
    fill(sidecar)
    try:
        said = {words[0]: output(*words, "--database", address) for words in (
            ["status"], ["sessions"], ["tasks"], ["events", "s"], ["check"], ["dump"], ["dump", "s"],
            ["report", "--output", str(tmp_path / "report.html")], ["doctor"],
        )}  # fmt: skip
        assert "postgresql" in said["status"] and name in said["status"]
        assert len(said["sessions"].splitlines()) == 5 and said["check"] == "ok\n"
        for text in [*said.values(), (tmp_path / "report.html").read_text()]:
            assert PASSWORD not in text
        checks = {check["name"]: check for check in
                  json.loads(output("doctor", "--json", "--database", address))["checks"]}  # fmt: skip
        assert "15." in json.dumps(checks) or postgres.query("SHOW server_version")[0][0][:2] in json.dumps(checks)
        is_refused(command("backup", tmp_path / "copy.db", "--database", address), 64, "pg_dump")
        assert not (tmp_path / "copy.db").exists()
        assert sidecar.refusal("backup", path=str(tmp_path / "copy.db")).message.find("pg_dump") >= 0
        sidecar.finish()
    finally:
        sidecar.kill()


def test_events_are_followed(postgres: PostgresServer, name: str, spawn: Spawn) -> None:
    sidecar = spawn(database=postgres.address(name))
    sidecar.call("create_session", session_id="s", status="active")
    follower = subprocess.Popen(
        [BINARY, "events", "s", "--follow", "--json", "--database", postgres.address(name)],
        stdout=subprocess.PIPE, env=clean_environment(), text=True,
    )  # fmt: skip
    assert follower.stdout is not None
    try:
        for number in range(1, 4):
            sidecar.call("store_event", session_id="s", data=number)
            assert json.loads(follower.stdout.readline())["data"] == number
    finally:
        follower.send_signal(signal.SIGTERM)
        follower.wait(PATIENCE)
        follower.stdout.close()


def test_check_finds_what_somebody_else_broke(postgres: PostgresServer, name: str, spawn: Spawn) -> None:
    sidecar = spawn(database=postgres.address(name))
    fill(sidecar)
    sidecar.finish()
    postgres.query(f"DELETE FROM {SCHEMA}.events WHERE id = 2", database=name)
    done = command("check", "--database", postgres.address(name))
    assert done.returncode == 1 and "events" in done.stdout


def unchained(text: str) -> str:
    """A dump as a server has it."""
    header, rest = text.split("\n", 1)
    header = re.sub(r',"audit_chains":\{.*?\}\}', "", header)
    return header + "\n" + re.sub(r'"seal":"[0-9a-f]+"\}\}', '"seal":null}}', rest)


def test_a_store_moves_from_a_file_to_a_server_and_back(
    postgres: PostgresServer, name: str, tmp_path: Path, spawn: Spawn
) -> None:
    """The way to move: dump | load, either way, byte for byte but for the chain of the trail, which a file has."""
    file, back, address = tmp_path / "a.db", tmp_path / "b.db", postgres.address(name)
    sidecar = Sidecar(database=file)
    fill(sidecar)
    sidecar.call("put_value", collection="c", key="\0\x01", value="\0\x01\x02")
    sidecar.call("store_event", session_id="s", data={"n": 1.50, "t": "\u2028 ü \\ \" \x01 \0"}, retry=5)
    sidecar.finish()
    sidecar.kill()
    text = unchained(dumped(file))
    assert load(address, dumped(file)).returncode == 0
    assert dumped(address) == text
    assert load(back, dumped(address)).returncode == 0
    assert unchained(dumped(back)) == text
    for place in (address, back):
        assert output("check", "--database", place) == "ok\n"
    # Both go on in the same way.
    sidecars = [spawn(database=place) for place in (address, back)]
    ids = [each.call("store_event", session_id="s", data=0)["id"] for each in sidecars]
    assert ids[0] == ids[1]


def test_everything_that_can_be_dumped_moves(rich: str, tmp_path: Path) -> None:  # noqa: F811
    text = dumped(rich)
    assert {next(iter(record)) for record in lines(text)} == {*KINDS, "mcp_session_store_dump", "end"}
    assert load(tmp_path / "copy.db", text).returncode == 0
    assert unchained(dumped(tmp_path / "copy.db")) == text


def test_a_bad_dump_loads_nothing(postgres: PostgresServer, name: str, rich: str) -> None:  # noqa: F811
    text = dumped(rich).split("\n")
    text[-3] = text[-3].replace('{"', '{"what', 1)
    is_refused(load(postgres.address(name), "\n".join(text)), 65, "nothing was loaded", f"line {len(text) - 2}: ")
    assert all(not rows for table, rows in contents(postgres.address(name)).items()
               if table in ("sessions", "events", "tasks"))  # fmt: skip
