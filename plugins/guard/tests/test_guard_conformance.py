"""becket-guard's mask keeps the contract of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket.testing import MaskConformance
from becket_guard import GuardMask, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from becket import Mask

KEY = "-----BEGIN PRIVATE KEY-----\n" + "A1b2" * 16 + "\n" + "C3d4" * 16 + "\n-----END PRIVATE KEY-----"


class TestGuardMask(MaskConformance):
    hides: Mapping[str, Sequence[str]] = {
        "The password is hunter2hunter2, and not hunter2.": ["hunter2hunter2"],
        'Two: quo"ted\\secret and pässwörd-ß.': ['quo"ted\\secret', "pässwörd-ß"],
        "OPENAI_API_KEY=sk-aB3dE5gH7jK9mN1pQ3sT5vW7yZ": ["sk-aB3dE5gH7jK9mN1pQ3sT5vW7yZ"],
        f"Here it is:\n{KEY}\nGuard it.": ["A1b2" * 16, "C3d4" * 16],
        "EMP-123456 has left, pin:4711.": ["EMP-123456", "pin:4711"],
    }
    leaves = (
        "Good morning.",
        "",
        " \t\r\n ",
        "hunter2 EMP-12345 sk- pin:47 ghp_ a \N{SNOWMAN}\0",
        '{"a": ["\\"b\\"", 1]}',
    )
    holds = 16_384
    blocks = 0.5  # its search is some ms of one call, and the tests of others run beside it

    def make_mask(self) -> Mask:
        secrets = ["hunter2hunter2", 'quo"ted\\secret', "pässwörd-ß"]
        patterns = {"employee": r"EMP-\d{6}", "pin": r"\bpin:\d{4}\b"}
        return GuardMask(Settings(secrets=secrets, env=[], patterns=patterns))
