"""The sections of a reStructuredText document. Knows nothing of components.

Offsets are those of Python's own strings: code points.
"""

import re
from dataclasses import dataclass

# A line that is one punctuation character, three times or more. It is searched for by its line
# feed, which the regular expression engine finds at memory speed.
_ADORNMENT = re.compile(r"\n([!-/:-@\[-`{-~])\1\1+[ \t]*(?=\n|\Z)")
_LABEL = re.compile(r"\.\. _([^:\n]+|`[^`\n]+`):[ \t]*\Z")


@dataclass(slots=True)
class Section:
    """A section without its subsections: `text[start:end]`."""

    start: int
    end: int
    level: int
    """1 for the outermost; 0 for what stands before the first title."""
    path: tuple[str, ...]
    """The titles around it and its own, outermost first."""
    label: str | None
    """The label in front of the title, `.. _label:`."""


def sections(text: str, depth: int) -> list[Section]:
    """All sections, in order, down to `depth` levels; deeper ones stay in the one around them."""
    found = [Section(0, 0, 0, (), None)]
    styles: list[tuple[str, bool]] = []
    path: list[str] = []
    for start, title, style in _titles(text):
        if style not in styles:
            styles.append(style)
        level = styles.index(style) + 1
        if level > depth:
            continue
        start, label = _label(text, start)
        found[-1].end = start
        # A document may skip a level; the path then has fewer titles than the level says.
        del path[level - 1 :]
        path.append(title)
        found.append(Section(start, 0, level, tuple(path), label))
    found[-1].end = len(text)
    return found


def _titles(text: str):
    """Where titles start (with the line above them, if they have one), the title, its style."""
    over = None  # end of the last adornment that may stand above a title, and its text
    behind = 0  # what lies before is taken
    if text[:1] and not text[:1].isalnum():
        first = _ADORNMENT.match("\n" + text[:200])
        if first:
            over = (0, first.end() - 1, text[: first.end() - 1].rstrip())
    for match in _ADORNMENT.finditer(text):
        line = match.start()  # the line feed in front of the adornment
        mark = text[line + 1 : match.end()].rstrip()
        above = text.rfind("\n", 0, line) + 1
        title = text[above:line].strip()
        if over and over[1] == above - 1 and over[2] == mark and title and above >= behind:
            # Between two equal lines: the title may be indented.
            yield over[0], title, (mark[0], True)
            over, behind = None, match.end()
            continue
        over = (line + 1, match.end(), mark)
        if not title or above < behind or text[above].isspace() or _is_adornment(title):
            continue
        if len(mark) < len(title) and len(mark) < 4:
            continue
        if above > 1 and text[text.rfind("\n", 0, above - 1) + 1 : above - 1].strip():
            continue  # the last line of a paragraph is no title
        yield above, title, (mark[0], False)
        over, behind = None, match.end()


def _is_adornment(line: str) -> bool:
    return len(line) > 2 and not line[0].isalnum() and line == line[0] * len(line)


def _label(text: str, start: int) -> tuple[int, str | None]:
    """Takes in the labels that stand in front of a title; the one next to it is its name."""
    name = None
    while True:
        end = start
        while end > 0 and text[end - 1] in "\n \t":
            end -= 1
        line = text.rfind("\n", 0, end) + 1
        # Labels are short; a longer line is not looked at.
        match = _LABEL.match(text, line, end) if end - line < 200 else None
        if end == start or not match:
            return start, name
        name = name or match[1].strip("`")
        start = line
