"""Rows in the shapes of public sets of exercises, with texts of our own: right programs beside wrong ones."""

import json
from typing import Any

Row = dict[str, Any]


def mbpp(text: str, code: str, *tests: str, **more: Any) -> Row:
    row: Row = {"task_id": 7, "text": text, "code": code, "test_list": list(tests)}
    return row | {"test_setup_code": "", "challenge_test_list": []} | more


def humaneval(head: str, body: str, *checks: str, entry: str, before: str = "") -> Row:
    test = "METADATA = {'author': 'us'}\n\n\ndef check(candidate):\n" + "".join(f"    {line}\n" for line in checks)
    return {
        "task_id": "Ours/1",
        "prompt": before + head,
        "canonical_solution": body,
        "test": test,
        "entry_point": entry,
    }


def apps(question: str, solutions: list[str], inputs: list, outputs: list, fn_name: str = "", **more: Any) -> Row:
    tests = {"inputs": inputs, "outputs": outputs} | ({"fn_name": fn_name} if fn_name else {})
    row: Row = {"problem_id": 3, "question": question, "solutions": json.dumps(solutions)}
    return row | {"input_output": json.dumps(tests), "difficulty": "interview", "url": "", "starter_code": ""} | more


def live(question: str, public: list, private: list, *, name: str = "", starter: str = "", **more: Any) -> Row:
    kind = "functional" if name else "stdin"
    cases = [
        json.dumps([{"input": given, "output": output, "testtype": kind} for given, output in pairs])
        for pairs in (public, private)
    ]
    row: Row = {"question_title": "Ours", "question_content": question, "platform": "ours", "question_id": "1"}
    row |= {"contest_id": "1", "contest_date": "2026-01-01T00:00:00", "starter_code": starter, "difficulty": "easy"}
    return row | {
        "public_test_cases": cases[0],
        "private_test_cases": cases[1],
        "metadata": json.dumps({"func_name": name} if name else {}),
        **more,
    }


SWAP = "def swap(pair):\r\n    a, b = pair\r\n    return (b, a)\r\n"
STEM = """class Stem:
    def cut(self, word):
        return word[:2]

def stems(words):
    return {Stem().cut(word) for word in words}"""
RISES = '''from typing import List


def rises(xs: List[int]) -> List[int]:
    """Differences of neighbours.
    >>> rises([1, 5])
    [4]
    """
'''
TREE = """class Node:
    def __init__(self, value):
        self.value = value
        self.left = self.right = None

def depth(node):
    return 0 if node is None else 1 + max(depth(node.left), depth(node.right))"""
KEEP = "class Solution:\n    def keep(self, xs: List[int]) -> List[int]:\n        "
MBPP: dict[str, tuple[Row, str]] = {
    "a tuple, windows line ends": (
        mbpp("Turn a pair round.", SWAP, "assert swap((1, 2)) == (2, 1)", "assert swap(('a', None)) == (None, 'a')"),
        "def swap(pair):\n    a, b = pair\n    return [b, a]",
    ),
    "a float": (
        mbpp("Halve it.", "def half(n):\n    return n / 2", "assert half(3) == 1.5", "assert half(-1) == -0.5"),
        "def half(n):\n    return n // 2",
    ),
    "none": (
        mbpp(
            "First even number of a list, if there is one.",
            "def first_even(xs):\n    for x in xs:\n        if x % 2 == 0:\n            return x",
            "assert first_even([1, 4]) == 4",
            "assert first_even([1, 3]) == None",
            "assert first_even([]) is None",
        ),
        "def first_even(xs):\n    return next((x for x in xs if x % 2 == 0), -1)",
    ),
    "setup, a set, a helper": (
        mbpp(
            "The stems of words.",
            STEM,
            "assert stems(['abc', 'abd']) == {'ab'}",
            "assert stems(WORDS) == {'su', 'ma'}",
            test_setup_code="WORDS = ['sun', 'sum', 'man']",
        ),
        STEM.replace("[:2]", "[:1]"),
    ),
    "challenges, unicode": (
        mbpp(
            "Shout a word, as in “größe”.",
            "def shout(word):\n    return word.upper() + '!'",
            "assert shout('a') == 'A!'",
            challenge_test_list=["assert shout('größe') == 'GRÖSSE!'", "assert shout('π') == 'Π!'"],
        ),
        "def shout(word):\n    return word + '!'",
    ),
    "sanitised, with imports, near a value": (
        {
            "source_file": "ours",
            "task_id": 9,
            "prompt": "Area of a disc.",
            "code": "import math\ndef area(r):\n    return math.pi * r * r",
            "test_imports": ["import math"],
            "test_list": [
                "assert math.isclose(area(1), 3.14159, rel_tol=0.001)",
                "assert math.isclose(area(2), 12.566, rel_tol=0.001)",
            ],
        },
        "def area(r):\n    return 3 * r * r",
    ),
    "setup that builds what the program defines": (
        mbpp(
            "The depth of a tree of Nodes.",
            TREE,
            "assert depth(root) == 3",
            "assert depth(other) == 1",
            "assert depth(root.left) == 2",
            test_setup_code="root = Node(1)\nroot.left = Node(2)\nroot.left.right = Node(3)\nother = Node(4)",
        ),
        TREE.replace("max(", "min("),
    ),
    "one test alone": (
        mbpp("Count to n.", "def upto(n):\n    return list(range(1, n + 1))", "assert upto(3) == [1, 2, 3]"),
        "def upto(n):\n    return list(range(n))",
    ),
    "two functions, one within the other": (
        mbpp(
            "Write a doubling and its inverse.",
            "def twice(n):\n    return 2 * n\ndef once(n):\n    return n // 2",
            "assert once(twice(4)) == 4",
            "assert once(twice(0)) == 0",
            "assert once(9) == 4",
        ),
        "def twice(n):\n    return 2 * n\ndef once(n):\n    return n",
    ),
}
"""Name → row, and a program that is wrong."""

_ENCODE = "def code(s):\n    return ''.join(chr(ord(c) + 1) for c in s)\n\n\n"
HUMANEVAL: dict[str, tuple[Row, str]] = {
    "a list, with imports": (
        humaneval(
            RISES,
            "    return [b - a for a, b in zip(xs, xs[1:])]\n",
            "assert candidate([1, 2, 4]) == [1, 2]",
            "assert candidate([7]) == []",
            entry="rises",
        ),
        "def rises(xs):\n    return xs[1:]",
    ),
    "a helper that the tests call": (
        humaneval(
            'def decode(s: str) -> str:\n    """Undo code."""\n',
            "    return ''.join(chr(ord(c) - 1) for c in s)\n",
            "for word in ('sun', 'moon', 'ärger'):",
            "    assert candidate(code(word)) == word",
            entry="decode",
            before=_ENCODE,
        ),
        "def decode(s):\n    return s",
    ),
    "a float, near": (
        humaneval(
            'def third(x: float) -> float:\n    """A third of x."""\n',
            "    return x / 3\n",
            "assert abs(candidate(1.0) - 0.3333333) < 1e-6",
            "assert abs(candidate(2.0) - 0.6666667) < 1e-6",
            entry="third",
        ),
        "def third(x):\n    return x / 4",
    ),
    "a tuple with none": (
        humaneval(
            'def ends(xs):\n    """Smallest and largest, or (None, None)."""\n',
            "    return (min(xs), max(xs)) if xs else (None, None)\n",
            "assert candidate([3, 1, 2]) == (1, 3)",
            "assert candidate([]) == (None, None), 'empty'",
            entry="ends",
        ),
        "def ends(xs):\n    return (xs[0], xs[-1]) if xs else (None, None)",
    ),
    "a truth": (
        humaneval(
            'def even(n):\n    """Is n even?"""\n',
            "    return n % 2 == 0\n",
            "assert candidate(2)",
            "assert not candidate(3)",
            "assert candidate(0) == True",
            entry="even",
        ),
        "def even(n):\n    return n > 1",
    ),
    "windows line ends, unicode": (
        humaneval(
            'def greet(name):\r\n    """Greet: grüß dich."""\r\n',
            "    return 'grüß dich, ' + name\r\n",
            "assert candidate('Ω') == 'grüß dich, Ω'",
            entry="greet",
        ),
        "def greet(name):\n    return 'gruss dich, ' + name",
    ),
}

_SUM = "n = int(input())\nprint(sum(int(input()) for _ in range(n)))"
APPS: dict[str, tuple[Row, str]] = {
    "stdin of several lines": (
        apps("Sum n numbers.", [_SUM], ["2\n3\n4\n", "1\n-5\n"], ["7\n", "-5\n"]),
        "n = int(input())\nprint(n)",
    ),
    "stdin as lists of lines, windows line ends": (
        apps(
            "Say both words, the second first.",
            ["a = input()\r\nb = input()\r\nprint(b)\r\nprint(a)\r\n"],
            [["ein", "größer"], ["x", "y"]],
            [["größer", "ein"], ["y", "x"]],
        ),
        "a = input()\nb = input()\nprint(a)\nprint(b)",
    ),
    "several solutions, the first wrong, one of another language": (
        apps(
            "Print the larger of two.",
            ["a, b = map(int, input().split())\nprint(a)", "print max(1, 2)", "print(max(map(int, input().split())))"],
            ["1 2\n", "5 3\n"],
            ["2\n", "5\n"],
        ),
        "print(2)",
    ),
    "class Solution with starter code": (
        apps(
            "Keep the positive ones.",
            [f"{KEEP}return [x for x in xs if x > 0]"],
            [[[1, -2, 3]], [[]]],
            [[1, 3], []],
            "keep",
            starter_code=f"\n{KEEP}",
            difficulty="introductory",
        ),
        "def keep(xs):\n    return [x for x in xs if x < 0]",
    ),
    "a call whose values are wrapped": (
        apps("Add.", ["def add(a, b):\n    return a + b"], [[1, 2], [2.5, 1]], [[3], [3.5]], "add"),
        "def add(a, b):\n    return int(a + b)",
    ),
    "a tuple for a list": (
        apps(
            "Quotient and rest.",
            ["def parts(a, b):\n    return divmod(a, b)"],
            [[7, 2], [9, 3]],
            [[3, 1], [3, 0]],
            "parts",
        ),
        "def parts(a, b):\n    return (a % b, a // b)",
    ),
    "printed fractions": (
        apps(
            "The mean.", ["a, b = map(int, input().split())\nprint((a + b) / 2)"], ["1 2", "2 2"], ["1.500", "2.0000"]
        ),
        "a, b = map(int, input().split())\nprint((a + b) // 2)",
    ),
}

_METHOD = "class Solution:\n    def {0}(self, {1}) -> {2}:\n        "
LIVE: dict[str, tuple[Row, str, str]] = {
    "stdin of several lines": (
        live("Sum n numbers.", [("1\n4\n", "4\n")], [("2\n3\n4\n", "7\n"), ("0\n", "0\n")]),
        _SUM,
        "print(4)",
    ),
    "a method": (
        live(
            "Count the items equal to k.",
            [("[1, 2, 1]\n1", "2")],
            [("[]\n5", "0"), ("[5, 5]\n5", "2")],
            name="countEqual",
            starter=_METHOD.format("countEqual", "xs: List[int], k: int", "int"),
        ),
        "class Solution:\n    def countEqual(self, xs: List[int], k: int) -> int:\n        return xs.count(k)",
        "class Solution:\n    def countEqual(self, xs, k):\n        return 2",
    ),
    "the name stands in the starter code alone": (
        live(
            "Is it a palindrome?",
            [('"ab"', "false")],
            [('"äbä"', "true"), ('""', "true")],
            name="mirrored",
            starter=_METHOD.format("mirrored", "s: str", "bool"),
            metadata="{}",
        ),
        "class Solution:\n    def mirrored(self, s):\n        return s == s[::-1]",
        "class Solution:\n    def mirrored(self, s):\n        return len(s) != 2 and s[0] == 'x'",
    ),
    "none, nested": (
        live(
            "The first row with a zero.",
            [("[[1], [0]]", "[0]")],
            [("[[1]]", "null"), ("[]", "null"), ("[[0, 2], [0]]", "[0, 2]")],
            name="zeroRow",
        ),
        "def zeroRow(rows):\n    return next((r for r in rows if 0 in r), None)",
        "def zeroRow(rows):\n    return next((r for r in rows if 0 in r), [])",
    ),
    "a float, a table": (
        live(
            "Mean of the values of a table.",
            [('{"a": 1}', "1.0")],
            [('{"a": 1, "b": 2}', "1.5"), ('{"a": 0.5, "b": 0}', "0.25")],
            name="mean",
        ),
        "def mean(table):\n    return sum(table.values()) / len(table)",
        "def mean(table):\n    return float(len(table))",
    ),
    "windows line ends, unicode": (
        live("Echo two lines.", [("a\r\nb\r\n", "a\r\nb\r\n")], [("Ω\r\nß\r\n", "Ω\r\nß\r\n")]),
        "print(input())\nprint(input())",
        "print(input())",
    ),
}
"""Name → row, a right program, and a wrong one: the set has none of its own."""
