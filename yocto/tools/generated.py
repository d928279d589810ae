"""What the generators of recipe files share."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def write_or_check(target, lines, command):
    """Writes the file, or with --check says whether it is up to date."""
    text = "\n".join(lines) + "\n"
    if sys.argv[1:] == ["--check"]:
        if target.read_text() != text:
            print(f"{target.relative_to(ROOT)} is not what the lock file says; run {command}")
            return 1
    elif sys.argv[1:]:
        print(f"usage: {command} [--check]")
        return 2
    else:
        target.write_text(text)
    return 0
