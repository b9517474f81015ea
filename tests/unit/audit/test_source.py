"""The file of a recorded ledger: the same blocks make the same bytes, and damaged bytes are a coded error."""

from __future__ import annotations

import contextlib
import gzip
import stat
import subprocess
import sys

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import events_pb2

from befl.audit import source
from befl.audit.block import MOST_TRANSACTIONS, header_bytes, parse, read
from befl.gateway import EventsError
from befl.rules.errors import BeflError


def made(number: int):
    message = events_pb2.BlockAndPrivateData()
    message.block.header.number = number
    message.block.header.previous_hash = bytes(32)
    message.block.data.data.append(b"not a transaction")
    message.block.metadata.metadata.extend([b"", b"", b"\x05"])
    private = message.private_data_map[0].ns_pvt_rwset.add(namespace="befl")
    private.collection_pvt_rwset.add(collection_name="updates", rwset=b"\xff")
    return parse(message)


def test_what_was_written_is_read_again(tmp_path):
    blocks = [made(number) for number in range(3)]
    source.write_file(tmp_path / "a", blocks)
    source.write_file(tmp_path / "b", blocks)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert list(source.from_files([tmp_path / "a"])) == blocks
    source.write_file(tmp_path / "c", source.from_files([tmp_path / "a"]))
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BeflError("BEFL-G-002", "gone"), OSError(28, "disk full")])
def test_what_is_cut_short_does_not_stay(tmp_path, error):
    def blocks():
        yield made(0)
        raise error

    with pytest.raises(BaseException, match=r"gone|disk full|^$") as caught:
        source.write_file(tmp_path / "a", blocks())
    assert (caught.value is error) != isinstance(error, OSError)
    assert list(tmp_path.iterdir()) == []
    source.write_file(tmp_path / "a", [made(0)])
    with pytest.raises(BeflError, match="BEFL-C-006") as caught:
        source.write_file(tmp_path / "a", [made(1)])
    assert "name a new file" in caught.value.hint
    assert list(source.from_files([tmp_path / "a"])) == [made(0)]


@pytest.mark.parametrize(("first", "numbers"), [(0, [0, 1, 2]), (2, [2]), (3, []), (9, [])])
@pytest.mark.parametrize("private", [True, False])
def test_a_peers_blocks_from_where_one_likes(first, numbers, private):
    class Peer:
        """What a gateway's network offers, with three blocks."""

        def height(self):
            return 3

        @contextlib.contextmanager
        def block_events(self, start, *, kind):
            assert kind == ("private" if private else "full")
            messages = [source._message(made(number)) for number in range(start, 99)]  # it would wait for more
            yield iter(messages if private else [message.block for message in messages])

    found = list(source.from_peer(Peer(), first, private=private))
    assert [block.number for block in found] == numbers
    assert all((block.transactions[0].private_set is not None) == private for block in found)


@pytest.mark.parametrize("code", ["BEFL-G-017", "BEFL-G-030"])
def test_a_block_that_is_too_large_comes_without_its_private_data(code):
    class Peer:
        def height(self):
            return 5

        @contextlib.contextmanager
        def block_events(self, start, *, kind):
            def messages():
                for number in range(start, 99):
                    if number in {0, 2, 3} and kind == "private":
                        raise EventsError(code, "trying to send message larger than max")
                    message = source._message(made(number))
                    yield message if kind == "private" else message.block

            yield messages()

    reading = source.from_peer(Peer())
    if code != "BEFL-G-017":
        with pytest.raises(EventsError):
            next(reading)
        return
    found = [(block.number, block.transactions[0].private_set is not None) for block in reading]
    assert found == [(0, False), (1, True), (2, False), (3, False), (4, True)]


def test_a_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "a").write_bytes(b"something")
    with pytest.raises(BeflError, match="BEFL-C-006"):
        source.write_file(tmp_path / "a", [])
    assert (tmp_path / "a").read_bytes() == b"something"


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        ("BEFL-G-035", lambda data: gzip.compress(b"another format\n")),
        ("BEFL-G-035", lambda data: b"no gzip"),
        ("BEFL-G-035", lambda data: data[: len(data) // 2]),
        ("BEFL-G-035", lambda data: data[:30] + bytes([data[30] ^ 255]) + data[31:]),
        ("BEFL-G-035", lambda data: gzip.compress(gzip.decompress(data)[:-1])),
        ("BEFL-G-035", lambda data: gzip.compress(source.MAGIC + b"\0\0\0")),
        ("BEFL-G-035", lambda data: gzip.compress(source.MAGIC + b"\xff\xff\xff\xff")),
        ("BEFL-G-035", lambda data: gzip.compress(source.MAGIC + b"\0\0\0\x01\xff")),
        ("BEFL-G-035", lambda data: gzip.compress(source.MAGIC + b"\0\0\0\0")),
    ],
)
def test_a_damaged_file(tmp_path, code, damage):
    path = tmp_path / "a"
    source.write_file(path, [made(0)])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BeflError) as error:
        list(source.from_files([path]))
    assert error.value.code == code


def test_a_block_of_more_transactions_than_can_be(tmp_path):
    """Two bytes each: a file of four kilobytes would hold two million of them."""
    for count, good in ((MOST_TRANSACTIONS, True), (MOST_TRANSACTIONS + 1, False)):
        message = events_pb2.BlockAndPrivateData()
        message.block.header.number = 0
        message.block.data.data.extend([b""] * count)
        if good:
            assert len(parse(message).transactions) == count
            continue
        with pytest.raises(BeflError, match="BEFL-G-035: the block has 50001 transactions"):
            parse(message)


PROGRAM = """
import sys
from pathlib import Path
from befl.audit import source
Path("/proc/self/clear_refs").write_text("5")
peak = lambda: next(int(each.split()[1]) for each in open("/proc/self/status") if each.startswith("VmHWM")) * 1024
begun = peak()
[block] = source.from_files([Path(sys.argv[1])])
print(len(block.transactions), peak() - begun)
"""


def test_how_much_memory_a_block_takes(tmp_path):
    """As MOST_BYTES says: up to eight times what it has."""
    size = 32 * 2**20
    payload = common_pb2.Payload(header=common_pb2.Header(), data=bytes(size)).SerializeToString()
    message = events_pb2.BlockAndPrivateData()
    message.block.header.number = 0
    message.block.data.data.append(common_pb2.Envelope(payload=payload).SerializeToString())
    source.write_file(tmp_path / "a", [parse(message)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "a")], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    count, held = map(int, done.stdout.split())
    assert count == 1
    assert size < held < 8 * size


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BeflError, match="BEFL-C-006"):
        list(source.from_files([tmp_path / "a"]))


def test_a_transaction_that_cannot_be_read_has_a_fault():
    [transaction] = made(7).transactions
    assert (transaction.block, transaction.kind, transaction.flag) == (7, "unreadable", 5)
    assert transaction.fault is not None
    assert transaction.fault.stage == "envelope"


def test_a_block_without_a_header():
    with pytest.raises(BeflError, match="BEFL-G-035"):
        read(b"")


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "020100"), (127, "02017f"), (128, "02020080"), (2**64 - 1, "020900ffffffffffffffff")],
)
def test_a_header_in_asn1(number, expected):
    header = common_pb2.BlockHeader(number=number, previous_hash=bytes(100), data_hash=bytes(100))
    body = bytes.fromhex(expected) + 2 * (b"\x04\x64" + bytes(100))
    assert header_bytes(header) == b"\x30\x81" + bytes([len(body)]) + body
