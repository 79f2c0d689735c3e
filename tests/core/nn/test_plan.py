"""Layout of the memory of recorded launches."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lucid.nn.plan import _lay_out, _Use


def uses(*lifetimes):
    """Return uses of allocations 0, 1, ... at the first and the last launch of each."""
    found = [
        _Use(0, source, 0, launch)
        for source, lifetime in enumerate(lifetimes)
        for launch in lifetime
    ]
    return sorted(found, key=lambda use: use.launch)


def test_arrays_share_the_place_of_those_that_are_not_needed_any_more():
    chain = uses((0, 1), (1, 2), (2, 3))
    assert _lay_out([640, 64, 640], chain, set()) == ({0: 0, 1: 640, 2: 0}, 704)


def test_arrays_of_one_launch_are_apart():
    assert _lay_out([64, 128], uses((0, 3), (3, 3)), set()) == ({1: 0, 0: 128}, 192)


def test_gap_between_arrays_is_used():
    gap = uses((0, 9), (0, 2), (1, 9), (3, 9))
    assert _lay_out([512, 256, 128, 64], gap, set()) == ({0: 0, 1: 512, 2: 768, 3: 512}, 896)


def test_outputs_and_input_have_no_place():
    found = [_Use(0, -1, 0, 0), _Use(0, -2, 0, 2), *uses((0, 1), (1, 2))]
    assert _lay_out([64, 64], found, {1}) == ({0: 0}, 64)
    assert _lay_out([64, 64], [], set()) == ({}, 0)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 30), st.integers(0, 10)), max_size=30))
def test_arrays_in_use_at_a_time_do_not_overlap(drawn):
    sizes = [64 * size for size, _, _ in drawn]
    lifetimes = [(first, first + length) for _, first, length in drawn]
    offsets, total = _lay_out(sizes, uses(*lifetimes), set())
    for launch in range(41):
        alive = [k for k, (first, last) in enumerate(lifetimes) if first <= launch <= last]
        places = sorted((offsets[k], offsets[k] + sizes[k]) for k in alive)
        for (_, end), (start, _) in pairwise(places):
            assert end <= start
        assert all(end <= total for _, end in places)
