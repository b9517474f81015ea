from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from befl.rules.seeds import rounding_seed, rows_seed, training_seed

# fixed: the same task must hold back the same rows in every release
VECTORS = (
    "ac1a1727a5353f6e55be996a0a538caa5a56ad1bbd4ae163ba896e9b9b066081",
    9_216_149_623_828_651_206,
    6_628_434_000_743_866_346,
    "359b9cdcd01df427860f15eeeea4820bfe8cc3acbc69f23178897374341d06c0",
)


def test_fixed_vectors():
    assert rows_seed("00112233445566aa").hex() == VECTORS[0]
    assert training_seed("00112233445566aa", 1, "Org1MSP") == VECTORS[1]
    assert training_seed("00112233445566aa", 2, "Org1MSP") == VECTORS[2]
    assert rounding_seed("00112233445566aa", 1, "Org1MSP").hex() == VECTORS[3]


names = st.text(alphabet="0123456789abcdefMSP.-", min_size=1)


@given(names, st.integers(1, 10**6), names)
def test_a_training_seed_is_one_of_torchs(task, number, msp_id):
    assert 0 <= training_seed(task, number, msp_id) < 2**63
    assert len(rows_seed(task)) == 32


@given(st.sets(st.tuples(names, st.integers(1, 10**6), names), min_size=2, max_size=10))
def test_others_have_other_seeds(places):
    assert len({training_seed(*place) for place in places}) == len(places)
    assert len({rounding_seed(*place) for place in places}) == len(places)
