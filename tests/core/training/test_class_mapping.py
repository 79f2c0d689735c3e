from __future__ import annotations

import numpy as np
import pytest

from lucid.training.class_mapping import ClassMapping

BEFORE = ("ant", "bee", "cat")


@pytest.mark.parametrize(
    ("now", "rows"),
    [
        (BEFORE, [0, 1, 2]),
        (("cat", "ant", "bee"), [2, 0, 1]),
        (("ANT", " Bee ", "cat"), [0, 1, 2]),
        (("bee", "dog"), [1, None]),
        (("ant", "bee", "cat", "dog"), [0, 1, 2, None]),
        (("ant", "Ant"), [0, None]),  # only the exact name is unambiguous
        (("dog", "eel"), [None, None]),
    ],
)
def test_rows_are_matched_by_name(now, rows):
    found = ClassMapping(BEFORE, now)
    assert found.source_rows == rows
    assert found.is_identity == (rows == [0, 1, 2])


def test_repeated_names_do_not_match():
    assert ClassMapping(("a", "a", "b"), ("a", "b")).source_rows == [None, 2]
    assert ClassMapping(("A", "a", "b"), ("a", "b")).source_rows == [1, 2]
    assert ClassMapping(("AX", "aX"), ("ax", "b")).source_rows == [None, None]


def test_common_name_alone_does_not_match():
    before = ("background", "ant")
    assert ClassMapping(before, ("background", "bee"), common=("background",)).source_rows == [
        None,
        None,
    ]
    assert ClassMapping(before, ("background", "ant"), common=("background",)).is_identity


def test_rows_are_copied_to_their_classes():
    mapping = ClassMapping(BEFORE, ("dog", "cat", "ant"))
    saved, fresh = np.arange(6.0).reshape(6, 1), -np.ones((6, 1))
    assert mapping.fits(saved, fresh)
    assert mapping.apply(saved, fresh).ravel().tolist() == [-1, -1, 4, 5, 0, 1]
    assert fresh.tolist() == [[-1]] * 6
    for other in (np.ones((3, 1)), np.ones((6, 2)), np.ones((7, 1)), np.ones(())):
        assert not mapping.fits(saved, other)


def test_anchor_rows_are_copied_along_class_axis_1():
    mapping = ClassMapping(BEFORE, ("dog", "cat", "ant"))
    saved, fresh = np.arange(12.0).reshape(6, 2), -np.ones((6, 2))
    taken = mapping.apply(saved, fresh, class_axis=1)
    assert taken[:, 0].tolist() == [-1, 4, 0, -1, 10, 6]
    assert taken[:, 1].tolist() == [-1, 5, 1, -1, 11, 7]


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (("bee", "ant", "cat"), "keeps 3 of 3 classes by name, in the order of the data"),
        (("bee", "dog"), "keeps 1 of 2 classes by name; new: dog; left out: ant, cat"),
        (("x", "y"), "is reinitialized: none of the classes"),
        ((*"abcdefg", "ant"), "new: a, b, c, d, e and 2 more; left out: bee, cat"),
    ],
)
def test_str_describes_the_mapping(now, text):
    assert text in str(ClassMapping(BEFORE, now))
