"""JSON that is almost JSON: a text that is damaged costs no more than this text.

What a customer typed into one field may break the JSON of a whole page. Examples are half a surrogate pair, a byte of
another character set, a line break, a number that is none. Such a body is taken apart into its texts and what stands
between them. Each damaged part is put aside, the rest is decoded as usual, and the part comes back as a `DamagedText`.
A body that is cut off is no JSON this way either.
"""

from __future__ import annotations

import codecs
import re
import secrets
from decimal import Decimal, InvalidOperation
from typing import Any, Self

import msgspec

NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation)
"""What is raised where JSON cannot be decoded, or a number in it is beyond every decimal."""
_PARTS = re.compile(rb'(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")|(?P<between>[^"]+)|(?P<open>".*)', re.DOTALL)
"""A text with its quotes, what stands between two texts, or a text without an end."""
_WORDS = re.compile(rb"[^\s,:\[\]{}]+")
_JUNK = re.compile(rb"\xef\xbb\xbf|[\x00-\x08\x0b\x0c\x0e-\x1f]+")
"""What may stand between two tokens by mistake: a byte order mark, control characters."""
_NO_NUMBER = re.compile(rb"(?i)[+-]?(?:nan|inf|infinity|[0-9.][0-9.e+-]*)")
"""What is no number in JSON, but stands where one belongs."""
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_texts = msgspec.json.Decoder(str)
_anything = msgspec.json.Decoder(float_hook=Decimal)


class DamagedText(str):
    r"""A text as far as it can be read.

    Attributes:
        original: as it stood in the body, bytes that are no UTF-8 and control characters as `\xe9`.
    """

    __slots__ = ("original",)

    original: str

    def __new__(cls, readable: str, original: str) -> Self:  # noqa: D102 - as of the class
        found = super().__new__(cls, readable)
        found.original = original
        return found


def decode_leniently(body: bytes) -> Any:
    """Decode JSON whose texts and numbers may be damaged; these are `DamagedText`.

    Raises:
        msgspec.DecodeError: it is no JSON beyond that.
        UnicodeDecodeError: it is text of another kind.
        RecursionError: it is nested too deeply.
    """
    return _Repair().decode(body)


def is_damaged(value: Any) -> bool:
    """Return whether a value is a damaged text, or holds one."""
    if isinstance(value, list):
        return any(map(is_damaged, value))
    if isinstance(value, dict):
        return any(map(is_damaged, value.values()))
    return isinstance(value, DamagedText)


class _Repair:
    """One body: its damaged parts, and the marks that stand in their places meanwhile."""

    def __init__(self) -> None:
        self._parts: list[DamagedText] = []
        self._mark = f"damaged-{secrets.token_hex(8)}-"

    def decode(self, body: bytes) -> Any:
        if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            body = body.decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
        sound = {"text": self._sound_text, "between": self._sound_between, "open": bytes}
        parts = (sound[str(part.lastgroup)](part[0]) for part in _PARTS.finditer(body))
        return self._restored(_anything.decode(b"".join(parts)))

    def _sound_text(self, text: bytes) -> bytes:
        try:
            _texts.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            inner = text[1:-1]
            return self._put_aside(DamagedText(_readable(inner), _original(inner)))
        return text

    def _sound_between(self, between: bytes) -> bytes:
        return _WORDS.sub(lambda found: self._sound_word(found[0]), _JUNK.sub(b" ", between))

    def _sound_word(self, word: bytes) -> bytes:
        if not _NO_NUMBER.fullmatch(word):
            return word
        try:
            _anything.decode(word)
        except NO_JSON:
            return self._put_aside(DamagedText(word.decode(), word.decode()))
        return word

    def _put_aside(self, part: DamagedText) -> bytes:
        self._parts.append(part)
        return f'"{self._mark}{len(self._parts) - 1}"'.encode()

    def _restored(self, found: Any) -> Any:
        """Put the damaged parts back; attribute names stay as Sage sent them, so that no two become one."""
        if isinstance(found, str) and found.startswith(self._mark):
            return self._parts[int(found.removeprefix(self._mark))]
        if isinstance(found, list):
            return [self._restored(each) for each in found]
        if isinstance(found, dict):
            return {self._name(name): self._value(name, value) for name, value in found.items()}
        return found

    def _value(self, name: str, value: Any) -> Any:
        """Put a value back; an id comes back as it stood, so that no two become one."""
        restored = self._restored(value)
        if name == "id" and isinstance(restored, DamagedText):
            return DamagedText(restored.original, restored.original)
        return restored

    def _name(self, name: str) -> str:
        return self._parts[int(name.removeprefix(self._mark))].original if name.startswith(self._mark) else name


def _readable(inner: bytes) -> str:
    """Read as much of a text as there is; U+FFFD stands for the rest."""
    try:
        text = inner.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = inner.decode("utf-8", "replace")
    text = _ESCAPE.sub(lambda found: _unescaped(found[1]), text)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "")


def _unescaped(escape: str) -> str:
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    return _ESCAPED.get(escape, f"\\{escape}")


def _original(inner: bytes) -> str:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", inner.decode("utf-8", "backslashreplace"))
