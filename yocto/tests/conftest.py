import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import recipes  # noqa: E402


@pytest.fixture(scope="session", params=recipes.MACHINES)
def machine(request, tmp_path_factory):
    """The configuration of each machine in turn."""
    return recipes.configuration(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """The configuration of the emulated machine."""
    return recipes.configuration("gatehouse-qemuarm64", tmp_path_factory.mktemp("emulated"))


@pytest.fixture(scope="session")
def board(tmp_path_factory):
    """The configuration of a board."""
    return recipes.configuration("gatehouse-imx8mp", tmp_path_factory.mktemp("board"))
