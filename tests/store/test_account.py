"""The account of what was spent: whole after a kill, exact under many writers, never past a cap."""

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from posttrain.spec.errors import Mismatch
from posttrain.spec.knobs import Budget
from posttrain.store.account import WIDTH, Account, Spent

SPENDER = """
import sys
from decimal import Decimal
from pathlib import Path
from posttrain.spec.knobs import Budget
from posttrain.store.account import Account, Spent
account = Account(Path(sys.argv[1]))
caps = Budget(tokens=int(sys.argv[2]))
print("ready", flush=True)
counted = 0
while account.spend(Spent(3, Decimal("0.01")), caps) is None:
    counted += 1
print(counted, flush=True)
"""


def spender(path: Path, cap: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SPENDER, str(path), str(cap)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_nothing_is_spent_at_first_and_looking_leaves_no_file(tmp_path: Path) -> None:
    account = Account(tmp_path / "account.json")
    assert account.spent() == Spent() and not any(tmp_path.iterdir())


def test_what_is_spent_stays_spent(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "account.json"
    account = Account(path)
    assert account.spend(Spent(5, Decimal("0.10"))) is None
    assert account.spend(Spent(2)) is None
    account.close()
    again = Account(path)
    assert again.spend(Spent(0, Decimal("0.05"))) is None
    assert again.spent() == Account(path).spent() == Spent(7, Decimal("0.15"))
    assert path.stat().st_size == WIDTH


@pytest.mark.parametrize(
    ("more", "cap"),
    [
        (Spent(10), None),
        (Spent(11), "tokens"),
        (Spent(0, Decimal("0.3")), None),
        (Spent(0, Decimal("0.30000000000000001")), "money"),
        (Spent(11, Decimal(9)), "tokens"),
    ],
)
def test_a_cap_may_be_reached_and_not_passed(tmp_path: Path, more: Spent, cap: str | None) -> None:
    """Money is exact: 0.1 + 0.2 is 0.3."""
    account = Account(tmp_path / "account.json")
    caps = Budget(tokens=110, money=Decimal("0.4"))
    account.spend(Spent(100, Decimal("0.1")), caps)
    before = account.spent()
    assert account.spend(more, caps) == cap
    assert account.spent() == (before + more if cap is None else before)


def test_reached_is_when_nothing_is_left() -> None:
    caps = Budget(tokens=10, money=Decimal(1))
    assert Spent(9, Decimal("0.99")).reached(caps) is None
    assert Spent(10).reached(caps) == "tokens" and Spent(0, Decimal(1)).reached(caps) == "money"
    assert Spent(10**9, Decimal(10**9)).reached(Budget(hours=1)) is None


def test_many_processes_count_every_token_and_pass_no_cap(tmp_path: Path) -> None:
    path, cap = tmp_path / "account.json", 3_001
    running = [spender(path, cap) for _ in range(4)]
    counted = [int(one.communicate()[0].split()[1]) for one in running]
    assert 3 * sum(counted) == Account(path).spent().tokens == 3_000
    assert Account(path).spent().money == Decimal("0.01") * sum(counted)


def test_kills_leave_a_whole_count(tmp_path: Path) -> None:
    path, before = tmp_path / "account.json", Spent()
    for _ in range(8):
        one = spender(path, 10**12)
        while Account(path).spent().tokens < before.tokens + 100:
            time.sleep(0.0005)
        os.kill(one.pid, signal.SIGKILL)
        one.communicate()
        now = Account(path).spent()
        assert now.tokens > before.tokens and now.money * 300 == now.tokens
        before = now


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[1]", '{"tokens": 1}', '{"tokens": "x", "money": "1"}', '{"tokens": 1, "money": "y"}'),
        *('{"tokens": -5, "money": "0"}', '{"tokens": 1, "money": "-3"}', '{"tokens": 1, "money": "NaN"}'),
        *('{"tokens": 1, "money": "Infinity"}', '{"tokens": 1e999, "money": "0"}'),
    ],
)
def test_a_file_that_is_no_account_is_never_taken_for_nothing_spent(tmp_path: Path, text: str) -> None:
    path = tmp_path / "account.json"
    path.write_text(text)
    for use in (lambda: Account(path).spent(), lambda: Account(path).spend(Spent(1))):
        with pytest.raises(Mismatch, match="is no account") as refused:
            use()
        assert refused.value.where == str(path)
