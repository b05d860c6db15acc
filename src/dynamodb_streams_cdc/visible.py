"""What customers wrote, made safe to print: it is read, and commands no terminal.

Keys, titles and error texts come from items. Control characters move cursors and clear screens;
bidirectional ones (https://www.unicode.org/reports/tr9/) reverse the text behind them; others have
no width, so that two keys look alike.
"""

import re
import unicodedata

_CANDIDATES = re.compile(r"[^\t\n\x20-\x7e]+")


def visible(text: str) -> str:
    r"""Return a text with every character that cannot be seen escaped as JSON does it: `\u202e`.

    It escapes what Python calls not printable (control, format, lone surrogates, private use,
    unassigned, line and paragraph separators), except tabs, line feeds and spaces. JSON stays JSON
    of the same value, and every stream can encode the result.
    """
    return _CANDIDATES.sub(lambda match: "".join(map(_shown, match[0])), text)


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
