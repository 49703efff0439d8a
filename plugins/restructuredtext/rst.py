"""Finds the sections of a reStructuredText document. Independent of the component model.

Offsets are those of Python's own strings: code points.
"""

import re
from dataclasses import dataclass

# A line that repeats one punctuation character three times or more. The pattern begins with the line
# feed, which the regular expression engine finds at memory speed.
_ADORNMENT = re.compile(r"\n([!-/:-@\[-`{-~])\1\1+[ \t]*(?=\n|\Z)")
_LABEL = re.compile(r"\.\. _([^:\n]+|`[^`\n]+`):[ \t]*\Z")


@dataclass(slots=True)
class Section:
    """A section without its subsections: `text[start:end]`."""

    start: int
    end: int
    level: int
    """1 for the outermost; 0 for the text before the first title."""
    path: tuple[str, ...]
    """The titles of the enclosing sections and its own, outermost first."""
    label: str | None
    """The label in front of the title, `.. _label:`."""


def sections(text: str, depth: int) -> list[Section]:
    """All sections, in order, down to `depth` levels; deeper ones are part of the enclosing one."""
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
        # A document may skip a level; the path then has fewer titles than `level`.
        del path[level - 1 :]
        path.append(title)
        found.append(Section(start, 0, level, tuple(path), label))
    found[-1].end = len(text)
    return found


def _titles(text: str):
    """Offset of each title (including its overline, if any), the title, its style."""
    over = None  # end and text of the last adornment that may be an overline
    behind = 0  # everything before this offset is consumed
    if text[:1] and not text[:1].isalnum():
        first = _ADORNMENT.match("\n" + text[:200])
        if first:
            over = (0, first.end() - 1, text[: first.end() - 1].rstrip())
    for match in _ADORNMENT.finditer(text):
        line = match.start()  # the line feed before the adornment
        mark = text[line + 1 : match.end()].rstrip()
        above = text.rfind("\n", 0, line) + 1
        title = text[above:line].strip()
        if over and over[1] == above - 1 and over[2] == mark and title and above >= behind:
            # Between overline and underline the title may be indented.
            yield over[0], title, (mark[0], True)
            over, behind = None, match.end()
            continue
        over = (line + 1, match.end(), mark)
        if not title or above < behind or text[above].isspace() or _is_adornment(title):
            continue
        if len(mark) < len(title) and len(mark) < 4:
            continue
        if above > 1 and text[text.rfind("\n", 0, above - 1) + 1 : above - 1].strip():
            continue  # the last line of a paragraph is not a title
        yield above, title, (mark[0], False)
        over, behind = None, match.end()


def _is_adornment(line: str) -> bool:
    return len(line) > 2 and not line[0].isalnum() and line == line[0] * len(line)


def _label(text: str, start: int) -> tuple[int, str | None]:
    """Includes the labels in front of a title in its section; the closest one is its name."""
    name = None
    while True:
        end = start
        while end > 0 and text[end - 1] in "\n \t":
            end -= 1
        line = text.rfind("\n", 0, end) + 1
        # Labels are short; skip longer lines.
        match = _LABEL.match(text, line, end) if end - line < 200 else None
        if end == start or not match:
            return start, name
        name = name or match[1].strip("`")
        start = line
