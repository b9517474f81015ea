from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from befl.rules.draw import draw, draw_round, rank

institutions = st.sets(st.text(alphabet="ABCabc019.-", min_size=1, max_size=8), max_size=12)


@given(institutions, st.randoms(), st.text(), st.integers(0, 99))
def test_a_rank_is_a_permutation_that_does_not_depend_on_the_order_of_the_input(members, random, task, number):
    given_order = sorted(members)
    shuffled = list(given_order)
    random.shuffle(shuffled)
    ranked = rank("befl/turn/open", task, number, shuffled)
    assert sorted(ranked) == given_order
    assert ranked == rank("befl/turn/open", task, number, given_order) == rank("befl/turn/open", task, number, ranked)


@given(institutions, st.randoms(), st.text(), st.integers(1, 12))
def test_a_draw_takes_so_many_in_order_of_names(applicants, random, task, most):
    shuffled = sorted(applicants)
    random.shuffle(shuffled)
    drawn = draw(task, shuffled, most)
    assert drawn == sorted(drawn) == draw(task, sorted(applicants), most)
    assert set(drawn) <= applicants
    assert len(drawn) == min(most, len(applicants))


@given(institutions, st.text(), st.integers(1, 11))
def test_more_places_never_cost_anybody_its_place(applicants, task, most):
    assert set(draw(task, applicants, most)) <= set(draw(task, applicants, most + 1))


def test_everybody_is_drawn_about_as_often():
    counts = dict.fromkeys("ABCDE", 0)
    for task in range(2_000):
        for msp_id in draw(f"{task:016x}", "ABCDE", 2):
            counts[msp_id] += 1
    # 2000 draws of 2 out of 5: 800 each, standard deviation 22
    assert all(abs(count - 800) < 110 for count in counts.values())


def test_each_round_draws_anew_and_everybody_about_as_often():
    counts = dict.fromkeys("ABCDE", 0)
    for number in range(1, 2_001):
        drawn = draw_round("00112233445566aa", number, "EDCBA", 2)
        assert len(drawn) == 2
        assert drawn == sorted(drawn) == draw_round("00112233445566aa", number, "ABCDE", 2)
        for msp_id in drawn:
            counts[msp_id] += 1
    assert all(abs(count - 800) < 110 for count in counts.values())
    assert draw_round("00112233445566aa", 1, "ABC", 3) == ["A", "B", "C"]


def test_fixed_vectors():
    assert [draw_round("00112233445566aa", number, "ABCD", 2) for number in (1, 2, 3)] == [
        ["C", "D"],
        ["C", "D"],
        ["B", "D"],
    ]
    assert rank("befl/turn/open", "00112233445566aa", 1, ["A", "B", "C", "D"]) == ["B", "A", "C", "D"]
    assert draw("00112233445566aa", ["A", "B", "C", "D"], 2) == ["A", "D"]
