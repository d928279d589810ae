"""The recipes are written as OpenEmbedded's style guide has it."""

import json
import subprocess
import sys
from pathlib import Path

import recipes

# Rules that do not fit, each for a reason.
SUPPRESSED = {
    "oelint.bbclass.underscores": "also read for .bbclass names with an underscore",
    "oelint.func.specific": "the distribution's override is not its name",
    "oelint.file.underscores": "images and bundles have no version in their name",
    "oelint.task.docstrings": "comments say what a function is for",
    "oelint.task.noanonpython": "what comes from outside is checked while parsing, lists are read then",
    "oelint.var.bbclassextend": "nothing of this is of use on the machine that builds",
    "oelint.var.licenseremotefile": "the licence lies in the tree that the layers lie in",
    "oelint.var.mandatoryvar.HOMEPAGE": "there is none",
    "oelint.var.mandatoryvar.SRC_URI": "gatehouse_files writes it from the list",
    "oelint.var.override": "a recipe with a source of its own says where it is, gatehouse_files says it for the others",
    "oelint.var.suggestedvar.BUGTRACKER": "there is none",
    "oelint.var.suggestedvar.CVE_PRODUCT": "the names of the recipes are the names of the products",
    "oelint.var.suggestedvar.SECTION": "images and bundles are in none",
    "oelint.vars.homepageping": "no network",
    "oelint.vars.mispell": "variables of image_types.bbclass and ours look alike",
    "oelint.vars.multilineident": "four spaces, as everywhere",
    "oelint.vars.srcurioptions": "usehead is written by an expression, which is not evaluated",
    "oelint.vars.specific": "image types are suffixes that it does not know",
}

# Variables of layers that are not here.
KNOWN = [
    "BUNDLE_ARGS",
    "EXTRA_KBUILD_DEFCONFIG",
    "GATEHOUSE_SLOT_IMAGE",
    "RAUC_BUNDLE_BUILD",
    "RAUC_BUNDLE_COMPATIBLE",
    "RAUC_BUNDLE_DESCRIPTION",
    "RAUC_BUNDLE_FORMAT",
    "RAUC_BUNDLE_SLOTS",
    "RAUC_BUNDLE_VERSION",
    "RAUC_SLOT_rootfs",
    "do_image_slot",
]


def test_there_is_nothing_to_say_of_the_recipes(tmp_path):
    files = [
        str(path)
        for pattern in ("*.bb", "*.bbappend", "*.inc", "*.bbclass")
        for path in sorted(recipes.YOCTO.glob(f"meta-*/**/{pattern}"))
        if not path.name.endswith(("-crates.inc", "-npm.inc"))
    ]
    known = tmp_path / "known.json"
    known.write_text(json.dumps({"variables": {"known": KNOWN}}))
    command = [
        Path(sys.executable).with_name("oelint-adv"),
        *("--release", "wrynose", "--mode", "fast", "--jobs", "1", "--quiet"),
        f"--constantmods=+{known}",
        *(f"--suppress={rule}" for rule in SUPPRESSED),
        *files,
    ]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode == 0, result.stdout
    assert "oelint." not in result.stdout, result.stdout
