"""What well-known secrets look like, and what only looks a little like them."""

from __future__ import annotations

import base64
import hashlib
import random
import string
import sysconfig
import time
import uuid
from pathlib import Path

import pytest
from becket_guard import GuardMask, Settings

LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def made(count: int, letters: str = LETTERS, seed: int = 7) -> str:
    """Random letters, the same in each run of the tests; a digit and both cases among the first of them."""
    chosen = random.Random(seed)  # noqa: S311  it need not be secret
    return ("aB3" if letters is LETTERS else "") + "".join(chosen.choice(letters) for _ in range(count))[: count - 3]


def lines(count: int, width: int = 64, between: str = "\n") -> str:
    return between.join(made(width + 3, seed=line) for line in range(count))


def armored(kind: str, body: str, between: str = "\n") -> str:
    return f"-----BEGIN {kind}-----{between}{body}{between}-----END {kind}-----"


JWT = ".".join(
    base64.urlsafe_b64encode(part).rstrip(b"=").decode()
    for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890","iat":1516239022}', bytes(range(32)))
)

SECRETS = {
    "openai": ("openai_key", f"sk-{made(48)}"),
    "openai, of a project": ("openai_key", f"sk-proj-{made(40)}_-{made(60)}"),
    "another service's, in hex": ("openai_key", f"sk-{made(35, HEX)}"),
    "another service's, with a version": ("openai_key", f"sk-or-v1-{made(67, HEX)}"),
    "anthropic": ("anthropic_key", f"sk-ant-api03-{made(93)}-AA"),
    "google": ("google_key", f"AIza{made(35)}"),
    "aws, key id": ("aws_key_id", "AKIAIOSFODNN7EXAMPLE"),
    "github": ("github_token", f"ghp_{made(36)}"),
    "github, fine-grained": ("github_token", f"github_pat_{made(22)}_{made(59)}"),
    "gitlab": ("gitlab_token", f"glpat-{made(20)}"),
    "gitlab, routable": ("gitlab_token", f"glpat-{made(27)}.01.{made(9)}"),
    "slack": ("slack_token", f"xoxb-123456789012-123456789012-{made(24)}"),
    "slack, rotated": ("slack_token", f"xoxe.xoxp-1-{made(100)}"),
    "stripe": ("stripe_key", f"sk_live_{made(24)}"),
    "stripe, restricted": ("stripe_key", f"rk_test_{made(24)}"),
    "stripe, webhook": ("stripe_webhook", f"whsec_{made(32)}"),
    "npm": ("npm_token", f"npm_{made(36)}"),
    "pypi": ("pypi_token", f"pypi-AgEIcHlwaS5vcmc{made(150)}"),
    "hugging face": ("huggingface_token", f"hf_{made(34)}"),
    "jwt": ("jwt", JWT),
    "rsa": ("private_key", armored("RSA PRIVATE KEY", f"{lines(25)}\n{made(20)}==")),
    "rsa, encrypted": (
        "private_key",
        armored("RSA PRIVATE KEY", f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A1B2C\n\n{lines(25)}"),
    ),
    "openssh": ("private_key", armored("OPENSSH PRIVATE KEY", lines(6, 70))),
    "pkcs 8, escaped": ("private_key", armored("PRIVATE KEY", lines(26, between="\\n"), "\\n")),
    "pgp": (
        "private_key",
        armored("PGP PRIVATE KEY BLOCK", f"Version: GnuPG v2.4.5 (GNU/Linux)\n\n{lines(40)}\n=aB3d"),
    ),
    "cut off": ("private_key", f"-----BEGIN EC PRIVATE KEY-----\n{lines(3)}"),
}

AROUND = {
    "bearer": ("Authorization: Bearer {}", "bearer_token", made(30)),
    "basic": ("authorization: basic {}", "basic_auth", "dXNlcjpwYXNzd29yZA=="),
    "url": ("postgres://admin:{}@db.example.com:5432/x", "url_password", "hunter2"),
    "url without a user": ("redis://:{}@localhost", "url_password", "hunter2"),
    "slack webhook": (
        "https://hooks.slack.com/services/{}",
        "slack_webhook",
        f"T0123ABCD/B0123ABCD/{made(24)}",
    ),
    "aws in a file": ("aws_secret_access_key = {}", "aws_secret_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "aws in JSON": ('"SecretAccessKey": "{}"', "aws_secret_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "aws in JSON in JSON": (
        '\\"SecretAccessKey\\": \\"{}\\"',
        "aws_secret_key",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
}


@pytest.fixture(scope="module")
def mask() -> GuardMask:
    return GuardMask(Settings(env=[]))


@pytest.mark.parametrize(("name", "secret"), SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("around", ["{}", "it is {}, and no other.", '"{}"', "key={}\n", "a\\n{}\\nb", "(`{}`)"])
def test_a_secret_is_masked_wherever_it_stands(mask: GuardMask, around: str, name: str, secret: str) -> None:
    assert mask.mask(around.format(secret)) == around.format(f"[masked: {name}]")


@pytest.mark.parametrize(("around", "name", "secret"), AROUND.values(), ids=AROUND)
def test_of_what_has_words_around_it_the_secret_alone_is_masked(
    mask: GuardMask, around: str, name: str, secret: str
) -> None:
    shown = mask.mask(f"see {around.format(secret)} there")
    assert shown == f"see {around.format(f'[masked: {name}]')} there"
    assert mask.mask(shown) == shown


RANDOM = random.Random(1)  # noqa: S311  as above

HARMLESS = {
    "prose": "The bearer of this task-force letter asks for a risk-free trial; sk-learn, sk-fading-2 are none.",
    "a uuid": str(uuid.UUID(int=RANDOM.getrandbits(128))),
    "hashes": " ".join(hashlib.new(name, b"x").hexdigest() for name in ("md5", "sha1", "sha256", "sha512")),
    "a commit": "4f9ba22ab8f3cd2d33a3e17b1cf0d9c8e0f4a5b6",
    "base64": base64.b64encode(RANDOM.randbytes(30_000)).decode(),
    "base64 in lines": base64.encodebytes(RANDOM.randbytes(3_000)).decode(),
    "a data address": f"data:image/png;base64,{base64.b64encode(RANDOM.randbytes(900)).decode()}",
    "addresses": "https://example.com:8080/a@b?c=d:e@f ssh://git@github.com/a/b http://[::1]:80/ mailto:a@b.example",
    "a template": "postgres://user:${PASSWORD}@host postgres://user:{password}@host https://<me>:<secret>@host",
    "code": "key = os.environ['OPENAI_API_KEY']; token = get(); headers = {'Authorization': f'Bearer {token}'}",
    "named, not given": "aws_secret_access_key = ... sk-... ghp_... AKIA eyJ -----BEGIN PRIVATE KEY----- npm_install",
    "a public key": armored("PUBLIC KEY", lines(4)),
    "a certificate": armored("CERTIFICATE", lines(20)),
    "words": "risk-averse-and-otherwise-Reserved-99-people brisk-Walking-Makes-99-percent-fit",
    "an unsigned jwt": ".".join([*JWT.split(".")[:2], ""]),
    "a package": "github.com/a/b v0.0.0-20230129154200-a960b3787bd2 h1:ckzpWl5vPmXwpJxmS2ecuQ3xv3kOCOC2xqmMZq8C0+Y=",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_secret_stays_as_it_is(mask: GuardMask, text: str) -> None:
    assert mask.mask(text) == text
    stream = mask.open()
    assert "".join([*map(stream.feed, text), stream.end()]) == text


def test_the_standard_library_holds_no_secrets(mask: GuardMask) -> None:
    """Five megabytes of code and prose about it."""
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert mask.mask(text) == text, file.name


EVIL = {
    "begun": "-----BEGIN PRIVATE KEY-----" * 400,
    "begun, in base64": f"-----BEGIN PRIVATE KEY-----{'A' * 100_000}",
    "begun, in lines": ("-----BEGIN PRIVATE KEY-----" + f"\n{'A' * 60}") * 1_000,
    "begun, with headers": ("-----BEGIN PRIVATE KEY-----\n" + "Abc: x\n" * 5) * 1_000,
    "begun, and spaces": "-----BEGIN PRIVATE KEY-----" + "\\n" * 30_000,
    "keys": "sk-" * 20_000,
    "keys, nearly": "sk-Aa1-" * 10_000,
    "jwts": "eyJ" * 20_000,
    "a jwt": f"eyJ{'a' * 100_000}",
    "addresses": "://a:" * 20_000,
    "an address": f"://{'a' * 100_000}",
    "bearers": "Bearer " * 10_000,
    "a bearer": f"Bearer {'a.' * 50_000}",
    "a webhook": f"hooks.slack.com/services/{'a/' * 50_000}",
}


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_no_text_takes_long(mask: GuardMask, text: str) -> None:
    """100,000 characters take some 0.1 s here, and 10,000 deltas 0.5 s; a quadratic search would take minutes."""
    began = time.process_time()
    mask.mask(text)
    stream = mask.open()
    for at in range(0, min(len(text), 40_000), 4):
        stream.feed(text[at : at + 4])
    stream.end()
    assert time.process_time() - began < 10
