"""The in-memory ledger: Fabric's semantics, one promise a test."""

from __future__ import annotations

import hashlib
import re
import threading

import pytest

from befl.contracts.stub import create_composite_key
from befl.ledger import Event, MemoryLedger, ValidationCode, Version, WriteSet, digest, make_creator
from befl.rules import canonical
from befl.rules.errors import BeflError

VALID = ValidationCode.VALID
MVCC = ValidationCode.MVCC_READ_CONFLICT
PHANTOM = ValidationCode.PHANTOM_READ_CONFLICT
DUPLICATE = ValidationCode.DUPLICATE_TXID


def put(key, value=b"x"):
    return lambda stub: stub.put_state(key, value)


def copy(source, target):
    return lambda stub: stub.put_state(target, stub.get_state(source) or b"absent")


def listing(stub):
    return b"".join(entry.value for entry in stub.get_state_by_partial_composite_key("item", []))


def list_into(target):
    return lambda stub: stub.put_state(target, listing(stub) or b"none")


def then(*bodies):
    def run(stub):
        for body in bodies:
            body(stub)

    return run


def item(name):
    return create_composite_key("item", [name])


# --- what a transaction sees -------------------------------------------------------------------------------------


def test_a_transaction_sees_who_what_when_and_its_transient_data(bench):
    seen = {}

    def look(stub):
        seen.update(
            call=stub.get_function_and_parameters(),
            txid=stub.get_tx_id(),
            channel=stub.get_channel_id(),
            time=stub.get_tx_timestamp(),
            creator=stub.get_creator(),
            transient=dict(stub.get_transient()),
        )
        return b"done"

    submitted = bench.submit(look, "a", "b", transient={"secret": b"\x01"}, timestamp=5)
    assert submitted.result == b"done"
    assert seen == {
        "call": ("Test:F0", ["a", "b"]),
        "txid": submitted.txid,
        "channel": "befl",
        "time": 5,
        "creator": bench.caller,
        "transient": {"secret": b"\x01"},
    }
    assert re.fullmatch(r"[0-9a-f]{64}", submitted.txid)
    assert b"\x01" not in bench.ledger.blocks[0].transactions[0].write_set
    bench.evaluate(look)
    assert seen["time"] == 1_700_000_000_000


def test_reads_never_see_own_writes(bench):
    bench.submit(put(item("a"), b"old"))

    def write_then_read(stub):
        stub.put_state(item("a"), b"new")
        stub.put_state(item("b"), b"new")
        stub.put_private_data("updates", "k", b"new")
        assert stub.get_state(item("a")) == b"old"
        assert stub.get_state(item("b")) == b""
        assert listing(stub) == b"old"
        assert stub.get_private_data("updates", "k") == b""
        assert stub.get_private_data_hash("updates", "k") == b""
        stub.del_state(item("a"))
        assert stub.get_state(item("a")) == b"old"

    bench.submit(write_then_read)
    assert bench.ledger.state() == {item("b"): b"new"}


def test_evaluate_and_endorse_change_nothing(bench):
    bench.evaluate(put("a"))
    bench.endorse(put("a"))
    assert bench.ledger.state() == {}
    assert bench.ledger.height == 0


def test_a_refusal_changes_nothing_and_is_in_no_block(bench):
    def refuse(stub):
        stub.put_state("a", b"x")
        raise BeflError("BEFL-G-014", "no")

    with pytest.raises(BeflError, match="BEFL-G-014"):
        bench.submit(refuse)
    assert bench.ledger.state() == {}
    assert bench.ledger.blocks == ()


def test_keys_are_ordered_as_utf8_bytes(bench):
    names = ["b", "a", "é", "\uffff", "\U00010000", "Z", ""]
    for name in names:
        bench.submit(put(item(name), name.encode() or b"-"))
    expected = b"".join(name.encode() or b"-" for name in sorted(names, key=lambda name: item(name).encode()))
    assert bench.evaluate(listing) == expected
    assert list(bench.ledger.state()) == sorted((item(name) for name in names), key=str.encode)


def test_a_range_holds_its_prefix_only(bench):
    for parts in (["t1", "1"], ["t1", "2"], ["t10", "1"], ["t"]):
        bench.submit(put(create_composite_key("update", parts), "/".join(parts).encode()))

    def below(stub):
        return b" ".join(entry.value for entry in stub.get_state_by_partial_composite_key("update", ["t1"]))

    assert bench.evaluate(below) == b"t1/1 t1/2"


# --- commit ------------------------------------------------------------------------------------------------------


def test_a_read_that_was_overwritten_is_a_conflict(bench):
    bench.submit(put("a", b"1"))
    held = bench.endorse(copy("a", "b"))
    bench.submit(put("a", b"1"))  # the same value again: versions decide, not values
    assert bench.ledger.commit(held) == [MVCC]
    assert bench.ledger.state() == {"a": b"1"}


def test_an_absent_read_is_checked_too(bench):
    held = bench.endorse(copy("a", "b"))
    bench.submit(put("a"))
    assert bench.ledger.commit(held) == [MVCC]


def test_a_deleted_read_is_a_conflict(bench):
    bench.submit(put("a"))
    held = bench.endorse(copy("a", "b"))
    bench.submit(lambda stub: stub.del_state("a"))
    assert bench.ledger.commit(held) == [MVCC]


def test_blind_writes_never_conflict_and_the_last_one_stands(bench):
    first, second = bench.endorse(put("a", b"1")), bench.endorse(put("a", b"2"))
    assert bench.ledger.commit([second, first]) == [VALID, VALID]
    assert bench.ledger.state() == {"a": b"1"}


def test_within_a_block_the_first_one_wins(bench):
    bench.submit(put("a", b"1"))
    first, second = bench.endorse(copy("a", "a")), bench.endorse(copy("a", "b"))
    assert bench.ledger.commit([first, second]) == [VALID, MVCC]
    first, second = bench.endorse(copy("a", "a")), bench.endorse(copy("a", "b"))
    assert bench.ledger.commit([second, first]) == [VALID, VALID]


def test_an_invalid_transaction_conflicts_with_nobody(bench):
    held = bench.endorse(copy("a", "b"))
    bench.submit(put("a"))
    reader = bench.endorse(copy("b", "c"))
    assert bench.ledger.commit([held, reader]) == [MVCC, VALID]


def test_deleting_what_is_absent_still_touches_the_key_within_the_block(bench):
    reader = bench.endorse(copy("a", "b"))
    deleter = bench.endorse(lambda stub: stub.del_state("a"))
    assert bench.ledger.commit([deleter, reader]) == [VALID, MVCC]


@pytest.mark.parametrize(
    "change",
    [put(item("b")), put(item("a"), b"again"), lambda stub: stub.del_state(item("a"))],
    ids=["appeared", "changed", "vanished"],
)
@pytest.mark.parametrize("one_block", [True, False])
def test_a_range_is_checked_for_phantoms(bench, change, one_block):
    bench.submit(put(item("a"), b"1"))
    held = bench.endorse(list_into("sum"))
    changing = bench.endorse(change)
    if one_block:
        assert bench.ledger.commit([changing, held]) == [VALID, PHANTOM]
    else:
        assert bench.ledger.commit(changing) == [VALID]
        assert bench.ledger.commit(held) == [PHANTOM]
    assert "sum" not in bench.ledger.state()


def test_an_empty_range_is_checked_and_a_neighbour_is_not_in_it(bench):
    held, again = bench.endorse(list_into("sum")), bench.endorse(list_into("sum"))
    bench.submit(put(create_composite_key("items", ["a"])))
    assert bench.ledger.commit(held) == [VALID]
    bench.submit(put(item("a")))
    assert bench.ledger.commit(again) == [PHANTOM]


@pytest.mark.parametrize(("there", "new", "code"), [(150, 101, VALID), (150, 100, PHANTOM), (100, 100, PHANTOM)])
def test_a_range_left_early_is_checked_as_far_as_it_was_fetched(bench, there, new, code):
    """A peer hands out a hundred entries and has looked at one more; key 100.5 is behind it, 99.5 is not."""

    def fill(stub):
        for index in range(there):
            stub.put_state(item(f"{index:03}"), b"x")

    def take_one(stub):
        entry = next(stub.get_state_by_partial_composite_key("item", []))
        stub.put_state("first", entry.value)

    bench.submit(fill)
    held = bench.endorse(take_one)
    bench.submit(put(item(f"{new - 1:03}.5")))
    assert bench.ledger.commit(held) == [code]


def test_a_range_read_beyond_a_batch_is_checked_to_its_end(bench):
    def fill(stub):
        for index in range(250):
            stub.put_state(item(f"{index:03}"), b"x")

    bench.submit(fill)
    held = bench.endorse(list_into("sum"))
    assert held.reads.ranges[0].exhausted
    assert len(held.reads.ranges[0].reads) == 250
    bench.submit(put(item("250")))
    assert bench.ledger.commit(held) == [PHANTOM]


def test_a_range_never_started_counts_as_fetched_once(bench):
    def forget(stub):
        stub.get_state_by_partial_composite_key("item", [])
        stub.put_state("a", b"x")

    held = bench.endorse(forget)
    bench.submit(put(item("a")))
    assert bench.ledger.commit(held) == [PHANTOM]


def test_a_transaction_id_is_ordered_once(bench):
    first = bench.endorse(put("a", b"1"), txid="ab" * 32)
    assert bench.ledger.commit([first, first]) == [VALID, DUPLICATE]
    assert bench.ledger.commit(first) == [DUPLICATE]
    with pytest.raises(BeflError, match="BEFL-G-021"):
        bench.endorse(put("a"), txid="ab" * 32)
    with pytest.raises(BeflError, match="BEFL-G-021") as caught:
        bench.ledger.commit_valid(first)
    assert not caught.value.retryable


def test_an_invalid_transaction_uses_its_id_up(bench):
    held = bench.endorse(copy("a", "b"))
    bench.submit(put("a"))
    assert bench.ledger.commit(held) == [MVCC]
    assert bench.ledger.commit(held) == [DUPLICATE]


def test_commit_valid_names_the_conflict(bench):
    held = bench.endorse(copy("a", "b"))
    bench.submit(put("a"))
    with pytest.raises(BeflError, match="MVCC_READ_CONFLICT") as caught:
        bench.ledger.commit_valid(held)
    assert caught.value.code == "BEFL-G-020"
    assert caught.value.retryable


def test_no_empty_block(bench):
    with pytest.raises(ValueError, match="at least one"):
        bench.ledger.commit([])


def test_blocks_hold_what_a_replay_needs(bench):
    def body(stub):
        stub.get_state("a")
        stub.put_state("a", b"\x01")
        stub.put_private_data("updates", "k", b"secret")
        stub.set_event("done", b"")
        return b"result"

    held = bench.endorse(body, "arg", timestamp=7)
    bench.submit(put("b"))
    assert bench.ledger.commit([bench.endorse(put("c")), held]) == [VALID, VALID]
    assert [block.number for block in bench.ledger.blocks] == [1, 2]
    transaction = bench.ledger.blocks[1].transactions[1]
    assert transaction.creator == bench.caller
    assert (transaction.txid, transaction.timestamp, transaction.args) == (held.txid, 7, ("arg",))
    assert (transaction.result, transaction.event, transaction.code) == (b"result", ("done", b""), VALID)
    key, value = (hashlib.sha256(part).hexdigest() for part in (b"k", b"secret"))
    assert canonical.loads(transaction.write_set) == {"private": {"updates": [[key, value]]}, "public": [["a", "01"]]}
    assert canonical.loads(transaction.read_set) == {"private": {}, "public": [["a", None]], "ranges": []}
    later = bench.endorse(lambda stub: stub.get_state("a"))
    assert later.reads.public == {"a": Version(2, 1)}


def test_the_same_calls_make_the_same_ledger():
    def run():
        bench_chaincode = type("C", (), {"invoke": lambda _, stub: stub.put_state("a", b"1") or b""})()
        ledger = MemoryLedger(bench_chaincode, clock=lambda: 1)
        ledger.submit(make_creator("Org1MSP", "trainer"), "T:F")
        ledger.submit(make_creator("Org2MSP", "trainer"), "T:F")
        return ledger

    once, again = run(), run()
    assert once.blocks == again.blocks
    once.evaluate(make_creator("Org1MSP", "trainer"), "T:F")
    txids = [entry.endorse(make_creator("Org1MSP", "trainer"), "T:F").txid for entry in (once, again)]
    assert txids[0] == txids[1], "a query must not change the ids of later transactions"
    assert len({t.txid for block in once.blocks for t in block.transactions} | set(txids)) == 3


def test_threads_do_not_mix():
    class Counter:
        def invoke(self, stub):
            stub.put_state("n", str(int(stub.get_state("n") or b"0") + 1).encode())
            return b""

    ledger = MemoryLedger(Counter())
    caller = make_creator("Org1MSP", "trainer")
    threads = [threading.Thread(target=lambda: [ledger.submit(caller, "T:Add") for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.state() == {"n": b"100"}
    assert ledger.height == 100


# --- events ------------------------------------------------------------------------------------------------------


def event(name, payload=b"p"):
    def body(stub):
        stub.set_event("forgotten", b"")
        stub.set_event(name, payload)
        stub.put_state("e", stub.get_state("e") + b"e")

    return body


def test_one_event_a_transaction_and_only_of_valid_ones(bench):
    first, second = bench.endorse(event("one")), bench.endorse(event("two"))
    bench.ledger.commit([first, second])
    bench.submit(put("quiet"))
    third = bench.submit(event("three"))
    assert bench.ledger.events() == [Event(1, first.txid, "one", b"p"), Event(3, third.txid, "three", b"p")]
    assert bench.ledger.events(1) == bench.ledger.events()
    assert [entry.name for entry in bench.ledger.events(2)] == ["three"]
    assert bench.ledger.events(4) == []


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        put("a", b""),
        put(""),
        lambda stub: stub.del_state(""),
        lambda stub: stub.put_private_data("updates", "k", b""),
        lambda stub: stub.put_private_data("updates", "", b"x"),
        lambda stub: stub.set_event("", b""),
        lambda stub: stub.get_state_by_partial_composite_key_with_pagination("item", [], 0, ""),
    ],
    ids=["value", "key", "deleted key", "private value", "private key", "event", "page"],
)
def test_nothing_empty(bench, body):
    with pytest.raises(BeflError, match="BEFL-G-013"):
        bench.endorse(body)


@pytest.mark.parametrize(
    "body",
    [
        lambda stub: stub.get_private_data("other", "k"),
        lambda stub: stub.get_private_data_hash("other", "k"),
        lambda stub: stub.put_private_data("other", "k", b"x"),
    ],
)
def test_unknown_collection(bench, body):
    with pytest.raises(BeflError, match="BEFL-G-014"):
        bench.endorse(body)


def page(stub):
    return stub.get_state_by_partial_composite_key_with_pagination("item", [], 2, "")


@pytest.mark.parametrize(
    "write",
    [
        put("a"),
        lambda stub: stub.del_state("a"),
        lambda stub: stub.put_private_data("updates", "k", b"x"),
    ],
)
def test_pages_and_writes_exclude_one_another(bench, write):
    with pytest.raises(BeflError, match="BEFL-G-012: the transaction has made"):
        bench.endorse(then(page, write))
    with pytest.raises(BeflError, match="BEFL-G-012: the transaction has written"):
        bench.endorse(then(write, page))


def test_pages_follow_one_another(bench):
    for name in "abcde":
        bench.submit(put(item(name), name.encode()))

    def pages(stub):
        bookmark, found = "", []
        while True:
            entries, bookmark = stub.get_state_by_partial_composite_key_with_pagination("item", [], 2, bookmark)
            found.append(b"".join(entry.value for entry in entries))
            if not bookmark:
                return b"|".join(found)

    assert bench.evaluate(pages) == b"ab|cd|e"
    assert bench.evaluate(lambda stub: str(page(stub)[1]).encode()) == item("c").encode()


def test_a_full_last_page_has_no_bookmark(bench):
    for name in "ab":
        bench.submit(put(item(name)))
    assert bench.evaluate(lambda stub: page(stub)[1].encode()) == b""


def test_a_page_ordered_as_a_transaction_is_a_phantom_when_there_is_more(bench):
    """Fabric notes a page as if the range ended with it."""
    for name in "abc":
        bench.submit(put(item(name)))
    with pytest.raises(BeflError, match="PHANTOM_READ_CONFLICT"):
        bench.submit(then(page))


# --- private data ------------------------------------------------------------------------------------------------


def put_private(value):
    return lambda stub: stub.put_private_data("updates", "k", value)


def read_private(stub):
    return stub.get_private_data("updates", "k")


def test_private_values_are_kept_by_collection_and_hashed(bench):
    bench.submit(put_private(b"secret"))
    assert bench.evaluate(read_private) == b"secret"
    assert bench.evaluate(lambda stub: stub.get_private_data("models", "k")) == b""
    hashed = bench.evaluate(lambda stub: stub.get_private_data_hash("updates", "k"))
    assert hashed == hashlib.sha256(b"secret").digest()
    assert bench.ledger.private_state("updates") == {"k": b"secret"}
    assert bench.ledger.state() == {}


@pytest.mark.parametrize("read", [read_private, lambda stub: stub.get_private_data_hash("updates", "k")])
@pytest.mark.parametrize("one_block", [True, False])
def test_private_reads_are_checked(bench, read, one_block):
    held = bench.endorse(lambda stub: stub.put_state("a", read(stub) or b"absent"))
    writing = bench.endorse(put_private(b"x"))
    codes = (
        bench.ledger.commit([writing, held]) if one_block else bench.ledger.commit(writing) + bench.ledger.commit(held)
    )
    assert codes == [VALID, MVCC]
    assert bench.ledger.state() == {}


def test_an_invalid_transaction_leaves_private_data_alone(bench):
    held = bench.endorse(then(lambda stub: stub.get_state("a"), put_private(b"late")))
    bench.submit(put("a"))
    assert bench.ledger.commit(held) == [MVCC]
    assert bench.ledger.private_state("updates") == {}


def test_a_private_value_that_is_not_there_yet(bench):
    bench.submit(put_private(b"x"))
    with bench.ledger.private_data_missing("updates", "k"):
        with pytest.raises(BeflError, match="BEFL-G-010") as caught:
            bench.evaluate(read_private)
        assert caught.value.retryable
        assert bench.evaluate(lambda stub: stub.get_private_data_hash("updates", "k"))
    assert bench.evaluate(read_private) == b"x"


def test_what_was_never_written_is_absent_rather_than_missing(bench):
    with bench.ledger.private_data_missing("updates", "k"):
        assert bench.evaluate(read_private) == b""


# --- a recorded ledger -------------------------------------------------------------------------------------------


def private(stub):
    return stub.get_private_data("models", "p")


def test_a_recorded_transaction_is_written_at_its_place(bench):
    ledger = bench.ledger
    ledger.write(WriteSet({"k": b"v", "gone": None}, {"models": {"p": b"secret"}}), Version(7, 3), "ab" * 32, 5)
    assert (ledger.height, ledger.state()) == (0, {"k": b"v"})
    assert ledger.private_state("models") == {"p": b"secret"}
    endorsed = bench.endorse(then(copy("k", "l"), private))
    assert endorsed.reads.public["k"] == Version(7, 3)
    assert endorsed.reads.private == {"models": {digest("p"): Version(7, 3)}}


def test_a_value_of_which_only_the_hash_was_recorded_is_missing(bench):
    write = bench.ledger.write
    write(WriteSet(private={"models": {"p": b"old"}}), Version(1, 0), "ab" * 32, 5)
    write(WriteSet(hashed={"models": {digest("p"): digest(b"new")}}), Version(2, 0), "cd" * 32, 6)
    with pytest.raises(BeflError, match="BEFL-G-010"):
        bench.evaluate(private)
    held = bench.evaluate(lambda stub: stub.get_private_data_hash("models", "p"))
    assert held == hashlib.sha256(b"new").digest()
    write(WriteSet(hashed={"models": {digest("p"): None}}), Version(3, 0), "ef" * 32, 7)
    assert bench.evaluate(private) == b""
    assert bench.ledger.private_state("models") == {}


def test_nothing_is_recorded_in_a_collection_without_a_definition(bench):
    with pytest.raises(BeflError, match="BEFL-G-014"):
        bench.ledger.write(WriteSet({"k": b"v"}, hashed={"x": {digest("p"): None}}), Version(1, 0), "ab" * 32, 5)
    assert bench.ledger.state() == {}


# --- other chaincodes --------------------------------------------------------------------------------------------


class Relay:
    """Puts down what another chaincode says; asked for ``write``, has it write."""

    def invoke(self, stub):
        function, _ = stub.get_function_and_parameters()
        answer = stub.invoke_chaincode("other", [function, b"k"])
        stub.put_state("heard", answer.payload or b"nothing")
        return answer.payload


class Other:
    def invoke(self, stub):
        function, [key] = stub.get_function_and_parameters()
        if function == "write":
            stub.put_state(key, b"written")
        if function == "page":
            stub.get_state_by_range_with_pagination("", "", 1, "")
        return stub.get_state(key) or b"absent"


@pytest.mark.parametrize("one_block", [True, False])
def test_what_another_chaincode_read_is_checked_at_commit(one_block):
    ledger = MemoryLedger(Relay(), others={"other": Other()})
    caller = make_creator("Org1MSP", "trainer")
    write, read = (ledger.endorse(caller, function) for function in ("write", "read"))
    codes = ledger.commit([write, read]) if one_block else ledger.commit(write) + ledger.commit(read)
    assert codes == [VALID, MVCC]
    assert ledger.evaluate(caller, "read") == b"written"
    assert ledger.state() == {"heard": b"absent"}, "the other's state is its own"


def test_another_chaincodes_page_forbids_the_caller_to_write():
    ledger = MemoryLedger(Relay(), others={"other": Other()})
    with pytest.raises(BeflError, match="BEFL-G-012"):
        ledger.evaluate(make_creator("Org1MSP", "trainer"), "page")


def test_a_chaincode_of_another_channel_is_not_there(bench):
    bench.ledger = MemoryLedger(bench.chaincode, others={"other": Other()})
    body = lambda stub: stub.invoke_chaincode("other", ["read", "k"], "elsewhere").payload  # noqa: E731  # one line
    with pytest.raises(BeflError, match="BEFL-G-031: there is no chaincode 'other' on channel 'elsewhere'"):
        bench.evaluate(body)


class Mistaken:
    def invoke(self, stub):
        stub.put_state("before", b"v")
        raise ZeroDivisionError("a detail that stays here")


def test_a_mistake_in_a_called_chaincode_is_an_answer_without_details_and_in_the_log(bench, caplog):
    bench.ledger = MemoryLedger(bench.chaincode, others={"other": Mistaken()})
    answers = []

    def go_on(stub):
        answers.append(stub.invoke_chaincode("other", ["F"]))
        stub.put_state("after", b"v")

    done = bench.submit(go_on)
    words = f"the chaincode failed in transaction {done.txid}"
    hint = "The endorser's chaincode server has the traceback in its log."
    assert answers == [(500, f"BEFL-G-009: {words}\n{hint}", b"")]
    assert bench.ledger.state() == {"after": b"v"}
    assert "a detail that stays here" in caplog.text


def test_a_mistake_of_ones_own_comes_out_as_it_is(bench):
    bench.ledger = MemoryLedger(Mistaken())
    for run in (bench.ledger.evaluate, bench.ledger.submit):
        with pytest.raises(ZeroDivisionError, match="a detail that stays here"):
            run(bench.caller, "F")
    assert (bench.ledger.height, bench.ledger.state()) == (0, {})


def test_arguments_of_a_called_chaincode_are_text(bench):
    bench.ledger = MemoryLedger(bench.chaincode, others={"other": Other()})
    answers = []
    bench.evaluate(lambda stub: answers.append(stub.invoke_chaincode("other", ["read", b"\xff"])))
    assert answers == [(500, "BEFL-G-018: an argument is not UTF-8\nBinary data travels as transient.", b"")]


NO_TEXT = {
    "read": lambda stub, text: stub.get_state(text),
    "many": lambda stub, text: stub.get_multiple_states(["k", text]),
    "write": lambda stub, text: stub.put_state(text, b"v"),
    "delete": lambda stub, text: stub.del_state(text),
    "range": lambda stub, text: stub.get_state_by_range("a", text),
    "prefix": lambda stub, text: stub.get_state_by_partial_composite_key("item", [text]),
    "bookmark": lambda stub, text: stub.get_state_by_range_with_pagination("", "", 1, text),
    "history": lambda stub, text: stub.get_history_for_key(text),
    "policy": lambda stub, text: stub.get_state_validation_parameter(text),
    "event": lambda stub, text: stub.set_event(text, b""),
    "private": lambda stub, text: stub.get_private_data("updates", text),
    "hash": lambda stub, text: stub.get_private_data_hash("updates", text),
    "private write": lambda stub, text: stub.put_private_data("updates", text, b"v"),
    "collection": lambda stub, text: stub.get_private_data(text, "k"),
    "private range": lambda stub, text: stub.get_private_data_by_range("updates", text, ""),
    "chaincode": lambda stub, text: stub.invoke_chaincode(text, ["F"]),
    "argument": lambda stub, text: stub.invoke_chaincode("other", ["F", text]),
}


@pytest.mark.parametrize("case", NO_TEXT)
def test_a_name_that_a_peer_could_not_be_told_is_refused(bench, case):
    with pytest.raises(BeflError, match="BEFL-G-018: a name holds a lone surrogate"):
        bench.evaluate(lambda stub: NO_TEXT[case](stub, "\ud800"))
