import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import recipes  # noqa: E402

# The tests of an image and of kernel settings want these.
collect_ignore = []


def pytest_addoption(parser):
    parser.addoption("--kernel-settings", type=Path, help="folder with Debian's package linux-config")
    parser.addoption("--slot", help="image of a slot")
    parser.addoption("--flavour", default="production", help="production or test")


def pytest_configure(config):
    if not config.getoption("--slot"):
        collect_ignore.append("image")
    if not config.getoption("--kernel-settings"):
        collect_ignore.append("test_kernel.py")


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
