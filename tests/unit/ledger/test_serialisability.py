"""Random interleavings of endorsements and blocks against a model.

Whatever order they come in, the valid transactions must have the effect of running one after another in ledger order
(each on the state as the ones before left it), and an invalid one must have been overtaken in what it read.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from befl.contracts.stub import create_composite_key
from befl.ledger import MemoryLedger, ValidationCode, make_creator

CALLER = make_creator("Org1MSP", "trainer")
KEYS = [create_composite_key(kind, [name]) for kind in ("p", "q") for name in "abc"]
COLLECTIONS = (None, "updates", "models")

key = st.sampled_from(KEYS)
operation = st.one_of(
    st.tuples(st.just("read"), st.sampled_from(COLLECTIONS), key),
    st.tuples(st.just("range"), st.none(), st.sampled_from("pq")),
    st.tuples(st.just("write"), st.sampled_from(COLLECTIONS), key),
    st.tuples(st.just("delete"), st.none(), key),
)
program = st.lists(operation, min_size=1, max_size=5)
# a step endorses a program, or orders some of what is waiting (by position, in any order) as one block
step = st.one_of(
    st.tuples(st.just("endorse"), program),
    st.tuples(st.just("order"), st.lists(st.integers(0, 10), min_size=1, max_size=4)),
)


class Machine:
    """Runs programs: what it writes depends on all that it has read."""

    def __init__(self):
        self.programs = []

    def invoke(self, stub):
        number = int(stub.get_function_and_parameters()[0])
        seen = [str(number).encode()]
        for kind, collection, name in self.programs[number]:
            if kind == "read":
                seen.append(stub.get_state(name) if collection is None else stub.get_private_data(collection, name))
            elif kind == "range":
                seen += [b"%s=%s" % (k.encode(), v) for k, v in stub.get_state_by_partial_composite_key(name, [])]
            elif kind == "delete":
                stub.del_state(name)
            elif collection is None:
                stub.put_state(name, digest(seen))
            else:
                stub.put_private_data(collection, name, digest(seen))
        return digest(seen)


class Model:
    """The same programs on plain dictionaries, one after another."""

    def __init__(self):
        self.state = {collection: {} for collection in COLLECTIONS}

    def run(self, number, operations):
        seen, changes = [str(number).encode()], []
        for kind, collection, name in operations:
            values = self.state[collection]
            if kind == "read":
                seen.append(values.get(name, b""))
            elif kind == "range":
                inside = sorted(k for k in values if k.startswith(create_composite_key(name, [])))
                seen += [b"%s=%s" % (k.encode(), values[k]) for k in inside]
            else:
                changes.append((collection, name, None if kind == "delete" else digest(seen)))
        for collection, name, value in changes:
            if value is None:
                self.state[collection].pop(name, None)
            else:
                self.state[collection][name] = value
        return digest(seen)


def digest(seen):
    return b"(" + b",".join(seen)[-200:] + b")"


def touches(operations):
    """What a program reads, and what it writes, as (collection, key) and (collection, object type)."""
    reads = {(c, n) for kind, c, n in operations if kind in ("read", "range")}
    writes = {(c, n) for kind, c, n in operations if kind in ("write", "delete")}
    return reads, writes | {(c, n[1]) for c, n in writes}


@given(st.lists(step, max_size=25))
def test_valid_transactions_are_serialisable_and_invalid_ones_were_overtaken(steps):
    machine, model = Machine(), Model()
    ledger = MemoryLedger(machine, clock=lambda: 0)
    waiting, ordered, committed = [], set(), []
    for kind, content in [*steps, ("order", list(range(11)))]:
        if kind == "endorse":
            machine.programs.append(content)
            waiting.append((ledger.endorse(CALLER, str(len(machine.programs) - 1)), len(committed)))
            continue
        block = [waiting[position] for position in content if position < len(waiting)]
        if not block:
            continue
        codes = ledger.commit([endorsed for endorsed, _ in block])
        for (endorsed, since), code in zip(block, codes, strict=True):
            number = int(endorsed.function)
            operations = machine.programs[number]
            reads, _ = touches(operations)
            overtaken = any(reads & touches(machine.programs[other])[1] for other in committed[since:])
            if endorsed.txid in ordered:
                assert code is ValidationCode.DUPLICATE_TXID
            elif code is ValidationCode.VALID:
                assert model.run(number, operations) == endorsed.result
                committed.append(number)
            else:
                assert overtaken
            ordered.add(endorsed.txid)
        assert ledger.state() == model.state[None]
        for collection in COLLECTIONS[1:]:
            assert ledger.private_state(collection) == model.state[collection]
    codes = [transaction.code for block in ledger.blocks for transaction in block.transactions]
    assert codes.count(ValidationCode.VALID) == len(committed)


@given(st.lists(program, min_size=1, max_size=6))
def test_one_after_another_everything_is_valid(programs):
    machine, model = Machine(), Model()
    ledger = MemoryLedger(machine, clock=lambda: 0)
    for number, operations in enumerate(programs):
        machine.programs.append(operations)
        assert ledger.submit(CALLER, str(number)).result == model.run(number, operations)
        assert ledger.state() == model.state[None]
