"""What well-known secrets look like, each by its vendor's own word.

Every pattern begins with one of a few literal texts, so that text without any of them costs nearly nothing, and is of
linear time: what repeats is possessive or bounded. What is merely long and random (a hash, a UUID, base64) is no secret
here. Where a format says no more than its first letters, a digit and letters are wanted as random keys have them, and
words have not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["BUILTIN", "Known"]


class Known(NamedTuple):
    """A kind of secret. A named tuple, here and below: a dataclass would add 2 ms to every start.

    Attributes:
        name: What it is called where it is masked.
        starts: Every match begins with one of these.
        rest: What follows, as a regular expression. A group `secret` in it is what is masked, instead of all.
        alone: Whether no letter or digit may stand before it.
    """

    name: str
    starts: tuple[str, ...]
    rest: str
    alone: bool = True


_MIXED: Final = r"(?=[A-Z0-9_-]{0,99}[a-z])(?=[a-z0-9_-]{0,99}[A-Z])(?=[A-Za-z_-]{0,99}[0-9])"
"""Ahead of a key: letters of both cases and a digit."""

_ARMOR: Final = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"

_BASE64: Final = "[A-Za-z0-9+/=]"

_SPACE: Final = r"(?:\s|\\+[nrt])"  # an escaped line break too: keys are often read from JSON or the environment

_HEADERS: Final = rf"(?:{_SPACE}*+[A-Z][A-Za-z-]{{1,30}}: [^\r\n\\]{{1,200}}+)*+"

_WHOLE_KEY: Final = rf"(?:[A-Za-z0-9+/=\s]++|\\+[nrt])*+-----END {_ARMOR}"

_CUT_OFF_KEY: Final = (
    rf"{_SPACE}*+{_BASE64}{{40,}}+(?:{_SPACE}++{_BASE64}{{16,}}+)*+(?:{_SPACE}++[A-Za-z0-9+/]{{1,16}}+=++)?+"
)

BUILTIN: Final = (
    # platform.claude.com, "Authentication" and "Admin API": sk-ant-api03-..., sk-ant-admin01-...
    Known("anthropic_key", ("sk-ant-",), r"[a-z0-9]{2,20}-[A-Za-z0-9_-]{20,}+"),
    # platform.openai.com, "API keys": sk-..., of projects sk-proj-..., of service accounts sk-svcacct-..., of
    # administrators sk-admin-...; other services that speak its API have keys like it, some without capitals.
    Known(
        "openai_key",
        ("sk-",),
        rf"(?:{_MIXED}[A-Za-z0-9_-]{{20,}}+|(?:[a-z0-9]{{1,10}}-){{0,3}}+(?=[a-z]{{0,99}}[0-9])[a-z0-9]{{32,}}+)",
    ),
    # docs.cloud.google.com, "Use API keys to access APIs": AIza and 35 more.
    Known("google_key", ("AIza",), r"[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    # docs.aws.amazon.com, IAM, "IAM identifiers": AKIA for keys of users, ASIA for temporary ones; 20 characters.
    Known("aws_key_id", ("AKIA", "ASIA"), r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    # docs.aws.amazon.com, IAM, "Manage access keys": 40 characters without a mark of their own; their name is wanted.
    Known(
        "aws_secret_key",
        ("secret_access_key", "SECRET_ACCESS_KEY", "SecretAccessKey", "secretAccessKey"),
        r"""[\\"']{0,4}\s{0,4}+[=:]\s{0,4}+[\\"']{0,4}(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])""",
    ),
    # docs.github.com, "About authentication to GitHub", token formats: at least 36 of these, and up to 255.
    Known("github_token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"), r"[A-Za-z0-9_]{36,}+"),
    # docs.gitlab.com, "GitLab token overview", token prefixes; at least 20 characters, with dots in routable tokens.
    Known(
        "gitlab_token",
        (
            "glpat-",
            "gloas-",
            "gldt-",
            "glrt-",
            "glrtr-",
            "glcbt-",
            "glptt-",
            "glft-",
            "glimt-",
            "glagent-",
            "glsoat-",
            "glffct-",
        ),
        r"[A-Za-z0-9_-]{20,}+(?:\.[A-Za-z0-9_-]++)*+",
    ),
    # docs.slack.dev, "Tokens": xoxb- of bots, xoxp- of users, xapp- of apps, xoxe- and xoxe. of rotation, and others.
    Known(
        "slack_token",
        (*(f"xox{kind}-" for kind in "abcdeoprs"), "xoxe.xox", "xapp-"),
        r"(?=[A-Za-z-]{0,99}[0-9])[A-Za-z0-9-]{10,}+",
    ),
    # docs.slack.dev, "Sending messages using incoming webhooks": the address is the secret.
    Known(
        "slack_webhook",
        ("hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/"),
        r"(?P<secret>[A-Za-z0-9]{5,}+(?:/[A-Za-z0-9]++){2,}+)",
        alone=False,
    ),
    # docs.stripe.com, "API keys": sk_ secret and rk_ restricted ones, live or test; whsec_ of webhooks.
    Known("stripe_key", ("sk_live_", "sk_test_", "rk_live_", "rk_test_"), r"[A-Za-z0-9_]{16,}+"),
    Known("stripe_webhook", ("whsec_",), r"[A-Za-z0-9+/=]{24,}+"),
    # github.blog, "Announcing npm's new access token format": npm_ and 36 more.
    Known("npm_token", ("npm_",), r"[A-Za-z0-9]{36,}+"),
    # pypi.org/help, "How can I use API tokens": the token, its prefix pypi- included; a macaroon in base64.
    Known("pypi_token", ("pypi-",), r"[A-Za-z0-9_-]{50,}+"),
    # huggingface.co/docs/hub, "User access tokens": hf_...
    Known("huggingface_token", ("hf_",), r"[A-Za-z0-9]{30,}+"),
    # RFC 7519: three parts in base64url, of which two are JSON objects; one without a signature proves nothing.
    Known("jwt", ("eyJ",), r"[A-Za-z0-9_-]{10,}+\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]{16,}+"),
    # RFC 7468, OpenSSH's PROTOCOL.key, RFC 9580 (6.2): armor around base64, with headers where it is encrypted. A block
    # that is cut off is as bad, from its first whole line on.
    Known("private_key", ("-----BEGIN ",), rf"{_ARMOR}{_HEADERS}(?:{_WHOLE_KEY}|{_CUT_OFF_KEY})", alone=False),
    # RFC 6750: the credentials of the scheme Bearer are of these characters; a digit, since "bearer" is a word.
    Known(
        "bearer_token",
        ("Bearer ", "bearer ", "BEARER "),
        r"(?P<secret>(?=[A-Za-z._~+/-]{0,99}[0-9])[A-Za-z0-9._~+/-]{16,}+=*+)",
    ),
    # RFC 7617: the user's name and password in base64.
    Known(
        "basic_auth",
        ("Basic ", "basic "),
        r"""(?<=[Aa]uthorization[\\"']{0,4}\s?[:=]\s?[\\"']{0,4}[Bb]asic )(?P<secret>[A-Za-z0-9+/]{8,}+=*+)""",
    ),
    # RFC 3986, 3.2.1: a password in the user information of a URL.
    Known(
        "url_password",
        ("://",),
        r"""[^\s:/?#@\[\]"'<>\\]{0,99}+:(?P<secret>[^\s/?#@\[\]"'<>\\{}$]{1,199}+)@""",
        alone=False,
    ),
)
"""In the order in which they are tried where two begin at the same place."""
