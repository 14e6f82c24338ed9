"""What crosses between processes, and how tests become calls and are compared."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from posttrain.graders.sandbox.cases import Calls, Case, Code, Rule, same, same_output, split
from posttrain.graders.sandbox.jail import wire
from posttrain.spec.errors import Mismatch

scalars = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False)
    | some.text()
    | some.binary()
    | some.complex_numbers(allow_nan=False)
)
keys = some.booleans() | some.integers() | some.text() | some.tuples(some.integers(), some.text())
values = some.recursive(
    scalars,
    lambda inner: (
        some.lists(inner, max_size=4)
        | some.lists(inner, max_size=4).map(tuple)
        | some.sets(keys, max_size=4)
        | some.frozensets(keys, max_size=4)
        | some.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)
trees = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=3),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.sampled_from(["t", "s", "z", "d", "f", "i", "c", "b", "o", "x"]), inner, max_size=2)
    ),
    max_leaves=8,
)


def travelled(value: object) -> wire.Tree:
    return json.loads(wire.dumps(wire.encode(value)))


def no_handle(kind: str, handle: int) -> object:
    raise ValueError(kind)


@given(values)
def test_a_value_arrives_as_it_left_type_for_type(value):
    assert same(wire.encode(value), wire.encode(wire.decode(travelled(value), no_handle)), Rule())
    assert wire.decode(travelled(value), no_handle) == value


@given(values)
def test_a_value_equals_itself_and_nothing_with_more(value):
    tree = wire.encode(value)
    assert same(tree, travelled(value), Rule())
    assert not same(tree, wire.encode([value]), Rule(tolerance=0.1, sequences=True))


@given(values, trees)
def test_no_tree_breaks_the_comparison(value, tree):
    assert same(wire.encode(value), tree, Rule(sequences=True)) in (True, False)
    assert same(wire.encode(value), tree, Rule(tolerance=1e-6)) in (True, False)


class Equal:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (1, True),
        (True, 1),
        (1, 1.0),
        (1, "1"),
        (0, False),
        (None, False),
        ([1], (1,)),
        ((1,), [1]),
        ([1, 2], [2, 1]),
        ({1: 2}, [[1, 2]]),
        ("a", b"a"),
        (b"a", bytearray(b"a")),
        ({1}, [1]),
        (math.nan, math.nan),
        ([math.nan], [math.nan]),
        (1, Equal()),
        ([1], [Equal()]),
        ({1: 1}, {1: Equal()}),
        (1.0, math.inf),
        (10**30, 1e30),
        (complex(math.nan, 0),) * 2,
    ],
)
def test_types_are_exact_and_nothing_is_equal_by_its_own_word(expected, given):
    assert not same(wire.encode(expected), travelled(given), Rule())


@pytest.mark.parametrize(
    ("expected", "given", "rule"),
    [
        (1.0, 1, Rule()),
        (2, 2.0, Rule(tolerance=1e-9)),
        (0.3, 0.1 + 0.2, Rule(tolerance=1e-9)),
        (1e6, 1e6 + 0.1, Rule(tolerance=1e-6)),
        ([1, (2,)], (1, [2]), Rule(sequences=True)),
        ({1, 2}, frozenset([2, 1]), Rule()),
        ({"b": 1, "a": [2]}, {"a": [2], "b": 1}, Rule()),
        (-0.0, 0.0, Rule()),
        (math.inf, math.inf, Rule()),
        (10**30, 10**30, Rule()),
    ],
)
def test_what_is_declared_equal_is(expected, given, rule):
    assert same(wire.encode(expected), travelled(given), rule)


def test_subclasses_that_compare_as_their_base_are_their_base():
    class Mine(list):
        pass

    assert wire.encode(Mine([1])) == [1]
    assert "o" in str(wire.encode(Equal()))
    deep: list[object] = []
    for _ in range(1000):
        deep = [deep]
    assert "'o'" in str(wire.encode(deep))


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("assert f(1) == 2", ["f(1)"]),
        ("assert 2 == f(1)", ["f(1)"]),
        ("def check(candidate):\n    assert candidate(1) == 2\n    assert candidate([3]) == [4]", ["f(1)", "f([3])"]),
        (
            "METADATA = {'author': 'x'}\n\ndef check(c):\n    '''doc'''\n    assert True\n    assert c(1) is None",
            ["f(1)"],
        ),
        ("assert abs(f(1) - 0.5) < 1e-6", ["f(1)"]),
        ("assert sorted(f([2, 1]), key=lambda x: -x) == [2, 1]", ["sorted(f([2, 1]), key=lambda x: -x)"]),
        ("assert f(lambda x: x * 2, 3 - 1) == 4", ["f(lambda x: x * 2, 3 - 1)"]),
    ],
)
def test_assertions_become_calls(text, calls):
    tests = split(text, "f")
    assert isinstance(tests, Calls) and [case.call for case in tests.cases] == calls
    assert all("==" not in case.call for case in tests.cases)


def test_the_expected_value_stays_outside():
    tests = split("assert f(1) == 424242", "f")
    assert tests == Calls((Case("f(1)", 424242),), "f")


@pytest.mark.parametrize(
    "text",
    [
        "assert f(1) > 2",
        "assert f(1)",
        "for n in range(3):\n    assert f(n) == n",
        "x = f(1)\nassert x == 2",
        "assert f(math.pi) == 3",
        "assert f(1) == g(1)",
        "import math\nassert f(1) == 2",
        "assert f(1) == 2 and f(2) == 3",
        "assert (f(1) == 2) == True",
        "assert (f(1) in [2]) is True",
        "assert f(1) - 2 == 0",
        "assert all(a == 2 for a in f(1)) == True",
        "assert all(map(lambda a: a == 2, f(1))) == True",
        "assert (not f(1)) == False",
        "assert f(f(1) == 2) == 3",
    ],
)
def test_other_tests_go_to_the_judge(text):
    assert isinstance(split(text, "f"), Code)


@pytest.mark.parametrize(
    "text", ["", "f(1)", "assert", "def check(c):\n    pass", "# assert f(1) == 2", "print('assert')"]
)
def test_tests_that_test_nothing_are_an_error(text):
    with pytest.raises(Mismatch, match="'f'"):
        split(text, "f")


@pytest.mark.parametrize(
    ("expected", "given", "right"),
    [
        ("1 2\n3\n", "1  2 \n3", True),
        ("1 2\n3\n", "1 2 3", False),
        ("1\n", "1\n\n", True),
        ("1\n", "\n1\n", False),
        ("1\n", "1\n2\n", False),
        ("yes", "Yes", False),
        ("0.5", "0.50000001", False),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_outputs_are_compared_by_lines_and_words(expected, given, right):
    assert same_output(expected, given, Rule()) is right


def test_a_tolerance_is_for_fractions():
    """S-D13: a declared tolerance makes no whole number equal to its neighbour, however large."""
    near = Rule(tolerance=1e-6)
    assert not same(wire.encode(10**18), wire.encode(10**18 + 1), near)
    assert not same(wire.encode([10**9]), wire.encode([10**9 + 1]), near)
    assert same(wire.encode(10**18), wire.encode(float(10**18)), near)
    assert not same_output(f"{10**18} 0.5", f"{10**18 + 1} 0.5", near)
    assert same_output(f"3 {10**18} 7", "3.0 1e18 +7", near)


def test_a_difference_that_an_assertion_states_is_absolute():
    """S-D13: `abs(f(1) - 12.5) < 0.1` takes no answer that is off by more, however large the expected one is."""
    tests = split("assert abs(f(1) - 12.5) < 0.1", "f")
    assert isinstance(tests, Calls)
    (case,) = tests.cases
    right = [same(case.expected, travelled(given), case.rule) for given in (12.5, 12.55, 12.7, 13.5)]
    assert right == [True, True, False, False]


def test_outputs_within_tolerance():
    assert same_output("0.5 x", "0.50000001 x", Rule(tolerance=1e-6))
    assert not same_output("0.5", "nan", Rule(tolerance=1e-6))
    assert not same_output("0.5", "9" * 1000, Rule(tolerance=1e-6))
