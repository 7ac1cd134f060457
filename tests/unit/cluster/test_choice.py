import pytest

from tests.__main__ import choose


@pytest.mark.parametrize(
    ("given", "run", "cluster", "named"),
    [
        ("", "tests", True, False),
        ("-x -k loop", "tests -x -k loop", True, False),
        ("tests", "tests", True, False),
        ("tests/ -q", "tests/ -q", True, False),
        ("tests/unit -k routing", "tests/unit -k routing", False, False),
        ("tests/cluster", "tests/cluster", True, True),
        ("tests/unit tests/cluster/test_loop.py", "tests/unit tests/cluster/test_loop.py", True, True),
        ("-x tests/wire/test_scaler.py::test_x", "-x tests/wire/test_scaler.py::test_x", False, False),
        ("--ignore tests/wire -k tests", "tests --ignore tests/wire -k tests", True, False),
    ],
)
def test_paths_choose_and_all_else_is_passed_on(given: str, run: str, *, cluster: bool, named: bool) -> None:
    assert choose(given.split()) == (run.split(), cluster, named)
