"""The kernel settings are ones that a kernel knows, and say the same about a thing once.

What each kernel of Yocto makes of them is seen by its build alone; the list of settings is Debian's,
of the kernel that the QEMU image has.
"""

import lzma
import re

import pytest
import recipes

FRAGMENTS = sorted((recipes.YOCTO / "meta-gatehouse-bsp/recipes-kernel/linux/files").glob("*.cfg"))


def settings(text):
    """Name and value; n for those that are not set."""
    found = re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.M)
    return found + [(name, "n") for name in re.findall(r"^# (CONFIG_\w+) is not set$", text, re.M)]


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.stem)
def test_every_setting_is_one_that_a_kernel_knows(path, request):
    [archive] = request.config.getoption("--kernel-settings").rglob("config.arm64_none_arm64.xz")
    known = {name for name, _ in settings(lzma.decompress(archive.read_bytes()).decode())}
    assert len(known) > 5000
    assert [name for name, _ in settings(path.read_text()) if name not in known] == []


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.stem)
def test_every_line_is_a_setting_or_a_comment_and_none_is_there_twice(path):
    text = path.read_text()
    names = [name for name, _ in settings(text)]
    assert len(names) == len(set(names))
    for line in text.splitlines():
        assert not line or line.startswith("# ") or re.fullmatch(r"CONFIG_\w+=([ym]|0x[0-9a-f]+|\d+|\".*\")", line), line


def test_what_the_initrd_and_rauc_need_is_built_in():
    """The initrd of a Yocto build brings no modules."""
    values = dict(settings((FRAGMENTS[0].parent / "gatehouse.cfg").read_text()))
    for name in ("DM_VERITY", "BLK_DEV_DM", "EXT4_FS", "SQUASHFS", "BLK_DEV_LOOP", "CRYPTO_SHA256", "WATCHDOG_HANDLE_BOOT_ENABLED"):
        assert values[f"CONFIG_{name}"] == "y", name
