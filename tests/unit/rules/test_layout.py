from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules.errors import BeflError
from befl.rules.layout import Tensor, length, read_layout
from befl.rules.reader import to_record

names = st.from_regex(r"[A-Za-z0-9_.\-]{1,20}", fullmatch=True).filter(lambda name: name != "__metadata__")
tensors = st.fixed_dictionaries({"name": names, "shape": st.lists(st.integers(1, 5), max_size=4)})


@given(st.lists(tensors, min_size=1, max_size=6, unique_by=lambda tensor: tensor["name"]))
def test_a_layout_survives_the_ledger(value):
    layout = read_layout(value)
    assert [to_record(tensor) for tensor in layout] == [
        {"name": item["name"], "shape": tuple(item["shape"])} for item in value
    ]
    sizes = []
    for item in value:
        size = 1
        for dimension in item["shape"]:
            size *= dimension
        sizes.append(size)
    assert [tensor.size for tensor in layout] == sizes
    assert length(layout) == sum(sizes)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "a layout is a list of 1 to 1000 tensors"),
        ({}, "a layout is a list of 1 to 1000 tensors"),
        (None, "a layout is a list of 1 to 1000 tensors"),
        ("w", "a layout is a list of 1 to 1000 tensors"),
        ([{"name": f"w{place}", "shape": []} for place in range(1_001)], "a layout is a list of 1 to 1000 tensors"),
        ([1], "layout[0]: must be a table"),
        ([{"name": "w"}], "layout[0].shape: missing"),
        ([{"name": "w", "shape": [1]}, {"name": "v", "shape": [1], "dtype": "F32"}], "layout[1].dtype: unknown key"),
        ([{"name": "", "shape": [1]}], "layout[0].name: must be a tensor's name"),
        ([{"name": "a b", "shape": [1]}], "layout[0].name: must be a tensor's name"),
        ([{"name": "w" * 201, "shape": [1]}], "layout[0].name: must be a tensor's name of at most 200"),
        ([{"name": "w", "shape": [0]}], "layout[0].shape[0]: must be a whole number from 1"),
        ([{"name": "w", "shape": [-1]}], "layout[0].shape[0]: must be a whole number from 1"),
        ([{"name": "w", "shape": [1.5]}], "layout[0].shape[0]: must be a whole number from 1"),
        ([{"name": "w", "shape": [1] * 9}], "layout[0].shape: must be a list of 0 to 8 values"),
        ([{"name": "w", "shape": [1]}, {"name": "w", "shape": [2]}], "two tensors of the layout have one name"),
        ([{"name": "__metadata__", "shape": [1]}], "no tensor can be named __metadata__"),
        ([{"name": "w", "shape": [6_000_000]}, {"name": "b", "shape": []}], "the model has 6000001 parameters"),
        ([{"name": "w", "shape": [6_000_000] * 8}], "the model has 1679616"),
    ],
)
def test_a_layout_that_cannot_be(value, message):
    with pytest.raises(BeflError) as caught:
        read_layout(value)
    assert caught.value.code == "BEFL-M-006"
    assert caught.value.message.startswith(message)


def test_the_largest_model():
    assert length(read_layout([{"name": "w", "shape": [2_000, 3_000]}])) == 6_000_000
    assert Tensor("scalar", ()).size == 1
