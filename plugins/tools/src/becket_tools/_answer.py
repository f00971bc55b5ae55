"""What a model gets to read of a response. Decisions only: nothing here reads from a connection."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from becket import Document, Image, Text

from becket_tools._media import MAGIC

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "Content", "Kind", "kind_of", "most_bytes", "show"]

Kind: TypeAlias = Literal["text", "image", "document", "other", "unknown"]
Content: TypeAlias = str | list[Text | Image | Document]

_TEXT = re.compile(
    r"text/.*|.*\+(json|xml|yaml)"
    r"|application/(json|xml|javascript|ecmascript|x-javascript|x-ndjson|jsonl|json-seq|yaml|x-yaml|toml|sql|graphql"
    r"|rtf|x-www-form-urlencoded|xhtml|problem|x-sh)"
)
# Not whatever Python has a codec for: punycode, for one, takes time that grows with the square of the text.
_CHARSET = re.compile(
    r"(utf[-_]?(8|16|32)([-_]?[bl]e)?|(us-)?ascii|iso[-_]?8859[-_]?\d+|latin-?\d|(windows-|cp)\d+|koi8-[ru]"
    r"|shift[-_]?jis|euc[-_](jp|kr)|iso-2022-jp|gbk|gb2312|gb18030|big5|tis-620|macintosh)",
    re.IGNORECASE,
)
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SHOWN: Final = ("content-type", "location", "retry-after", "www-authenticate", "allow", "last-modified")
_MOST_HEADERS = 4_000  # characters, of a HEAD response, which has nothing else


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as far as it was read.

    Attributes:
        status: The status code and the reason, as in "200 OK".
        url: Where it came from, after redirects.
        moved: Whether that is another place than was asked.
        headers: By their names in lower case.
        body: Decoded bytes; of a kind that is not shown none.
        cut: Whether the response has more.
        bare: Whether it has no body by its nature, as that to a HEAD.
    """

    status: str
    url: str
    moved: bool
    headers: Mapping[str, str]
    body: bytes = b""
    cut: bool = False
    bare: bool = False

    @property
    def media_type(self) -> str:
        """Such as `text/html`; empty where the server does not say."""
        return media_type(self.headers)


def media_type(headers: Mapping[str, str]) -> str:
    """The media type without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def kind_of(headers: Mapping[str, str]) -> Kind:
    """What a response is by its headers; `unknown` where only its bytes can tell."""
    found = media_type(headers)
    if not found:
        return "unknown"
    if found in MAGIC:
        return "image" if found.startswith("image/") else "document"
    return "text" if _TEXT.fullmatch(found) else "other"


def most_bytes(kind: Kind, max_bytes: int, max_chars: int) -> int:
    """How much of a response of this kind is worth reading."""
    if kind == "other":
        return 0
    return max_bytes if kind in ("image", "document") else min(max_bytes, 4 * max_chars)  # no charset takes more


def show(answer: Answer, max_chars: int) -> Content:
    """The response as a tool's result: a text, or a text and an image or a document."""
    head = _head(answer)
    if answer.bare:
        return head
    kind = kind_of(answer.headers)
    if kind in ("text", "unknown"):
        return f"{head}\n\n{_text(answer, max_chars)}"
    pattern = MAGIC.get(answer.media_type)
    if answer.cut or pattern is None or not pattern.match(answer.body):
        return f"{head}\n\n{_not_shown(answer, pattern is not None)}"
    if kind == "image":
        return [Text(head), Image.from_bytes(answer.body, media_type=answer.media_type)]
    name = re.split("[?#]", answer.url)[0].rpartition("/")[2][:100]
    return [Text(head), Document.from_bytes(answer.body, media_type=answer.media_type, name=name)]


def _head(answer: Answer) -> str:
    """Status, place and headers, a line each."""
    lines = [answer.status]
    if answer.moved:
        lines.append(f"redirected to: {answer.url}")
    wanted = answer.headers if answer.bare else [name for name in _SHOWN if name in answer.headers]
    lines += [f"{name}: {answer.headers[name]}" for name in wanted]
    return _cut("\n".join(lines), _MOST_HEADERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _text(answer: Answer, max_chars: int) -> str:
    text = _decode(answer)
    if text is None:
        return _not_shown(answer, wanted=False)
    if not text and not answer.cut:
        return "[the body is empty]"
    if len(text) <= max_chars and not answer.cut:
        return text
    shown = text[:max_chars]
    return f"{shown}\n\n[cut off here, after {len(shown)} characters; the response has more]"


def _decode(answer: Answer) -> str | None:
    """The body as text, None where it is none."""
    body = answer.body
    charset = next((name for bom, name in _BOMS if body.startswith(bom)), None) or _charset(answer.headers)
    if b"\0" in body and not charset.startswith(("utf-16", "utf-32")):
        return None
    strict = kind_of(answer.headers) == "unknown"
    decoder = codecs.getincrementaldecoder(charset)("strict" if strict else "replace")
    try:
        return decoder.decode(body, final=not answer.cut)  # of what is cut off, half a character is left out
    except UnicodeDecodeError:
        return None


def _charset(headers: Mapping[str, str]) -> str:
    match = re.search(r"charset\s*=\s*[\"']?([\w-]+)", headers.get("content-type", ""), re.IGNORECASE)
    if match is None or not _CHARSET.fullmatch(match[1]):
        return "utf-8"
    try:
        return codecs.lookup(match[1]).name
    except LookupError:
        return "utf-8"


def _not_shown(answer: Answer, wanted: bool) -> str:
    what = answer.media_type[:100] or "data of an unknown type"
    size = answer.headers.get("content-length", "")
    told = f", {size} bytes" if size.isdecimal() and len(size) < 20 and "content-encoding" not in answer.headers else ""  # noqa: PLR2004  digits
    why = "it is too big" if wanted and answer.cut else "it is not what its type says" if wanted else "it is no text"
    return f"[the body is not shown: {what}{told}; {why}]"
