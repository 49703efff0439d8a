"""The chunker itself: plain Python, tested by `python -m doctest sections.py`."""


def sections(text: str, marker: str) -> list[tuple[int, int, str | None]]:
    """Where sections start and end, and their titles. A section starts at a line with the marker.

    >>> sections("first 🚀\\n\\n## Second\\nline\\n", "## ")
    [(0, 7, None), (9, 23, 'Second')]
    >>> sections(" \\n", "## ")
    []
    """
    found = []
    start = 0
    while True:
        # Searching with `find` is far faster than going through lines or characters.
        line = text.find("\n" + marker, start)
        end = len(text) if line < 0 else line + 1
        section = text[start:end].rstrip()
        if section:
            title = None
            if section.startswith(marker):
                title = section[len(marker) :].split("\n", 1)[0].strip() or None
            found.append((start, start + len(section), title))
        if line < 0:
            return found
        start = end
