"""The canonical form of read and write sets."""

from __future__ import annotations

from befl.ledger import RangeRead, ReadSet, Version, WriteSet
from befl.ledger.rwset import digest


def test_the_form_does_not_depend_on_the_order_of_reading():
    one = ReadSet({"b": None, "a": Version(1, 0)}, [], {"m": {"2": None, "1": None}, "k": {}})
    two = ReadSet({"a": Version(1, 0), "b": None}, [], {"k": {}, "m": {"1": None, "2": None}})
    assert one.canonical() == two.canonical()
    assert one.canonical() == (
        b'{"private":{"k":[],"m":[["1",null],["2",null]]},"public":[["a",[1,0]],["b",null]],"ranges":[]}'
    )


def test_ranges_keep_their_order_and_say_how_far_they_went():
    reads = ReadSet(ranges=[RangeRead("b", "c", True, (("b1", Version(2, 3)),)), RangeRead("a", "a", False, ())])
    assert reads.canonical() == (
        b'{"private":{},"public":[],"ranges":[["b","c",true,[["b1",[2,3]]]],["a","a",false,[]]]}'
    )


def test_writes_show_private_data_as_hashes_and_deletions_as_null():
    writes = WriteSet({"b": None, "a": b"\xff"}, {"models": {"gone": None, "k": b"secret"}})
    pairs = sorted([f'["{digest("gone")}",null]', f'["{digest("k")}","{digest(b"secret")}"]'])
    assert writes.canonical() == (
        f'{{"private":{{"models":[{",".join(pairs)}]}},"public":[["a","ff"],["b",null]]}}'.encode()
    )


def test_an_empty_write_set_is_false():
    assert not WriteSet()
    assert WriteSet(private={"updates": {"k": b"x"}})
    assert WriteSet({"k": None})


def test_what_is_known_by_hash_only_looks_the_same_on_the_ledger():
    known = WriteSet(private={"models": {"k": b"v", "gone": None}, "updates": {"u": b"w"}})
    half = WriteSet(
        private={"models": {"k": b"v"}},
        hashed={"models": {digest("gone"): None}, "updates": {digest("u"): digest(b"w")}},
    )
    assert half.canonical() == known.canonical()
    assert WriteSet(hashed=half.hashed)


def test_a_long_range_may_be_known_by_its_hash():
    reads = ReadSet(ranges=[RangeRead("a", "b", True, (), "50 1 ab")])
    assert reads.canonical() == b'{"private":{},"public":[],"ranges":[["a","b",true,"50 1 ab"]]}'
