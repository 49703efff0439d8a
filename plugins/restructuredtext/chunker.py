"""reStructuredText: one chunk per section, under the enclosing titles."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.chunker import OffsetUnit, PluginInfo
from wit_world.imports.types import (
    AttrValue_Number,
    AttrValue_Text,
    Chunk,
    Content_Slice,
    Diagnostic,
    Document,
    Severity,
    Span,
)

import rst

CONFIG_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "depth": {
            "type": "integer",
            "minimum": 1,
            "default": 4,
            "description": "Levels of titles that start a chunk; deeper sections stay in the one around them.",
        },
    },
}


class Chunker(exports.Chunker):
    """The component; an instance lives as long as its configuration."""

    depth: int = CONFIG_SCHEMA["properties"]["depth"]["default"]

    def describe(self) -> PluginInfo:
        return PluginInfo(
            name="restructuredtext",
            version="0.1.0",
            summary="reStructuredText: one chunk a section, under the titles around it.",
            offset_unit=OffsetUnit.CODE_POINTS,
            extensions=[".rst", ".rest"],
            config_schema=json.dumps(CONFIG_SCHEMA),
        )

    def configure(self, config_json: str) -> list[Diagnostic]:
        config = json.loads(config_json)
        problems = [
            _problem(key, "unknown key, expected `depth`") for key in config if key != "depth"
        ]
        depth = config.get("depth", self.depth)
        if type(depth) is not int or depth < 1:
            problems.append(_problem("depth", "write a number of levels, 1 or more"))
        if problems:
            raise Err(problems)
        Chunker.depth = depth
        return []

    def split(self, doc: Document) -> list[Chunk]:
        text = doc.text
        chunks = []
        for section in rst.sections(text, self.depth):
            end = section.start + len(text[section.start : section.end].rstrip())
            if end <= section.start:
                continue
            attrs = [("level", AttrValue_Number(float(section.level)))]
            if section.label:
                attrs.append(("label", AttrValue_Text(section.label)))
            chunks.append(
                Chunk(
                    content=Content_Slice(Span(section.start, end)),
                    context=" > ".join(section.path) or None,
                    kind="section" if section.level else "preamble",
                    name=section.path[-1] if section.path else None,
                    attrs=attrs,
                )
            )
        return chunks


def _problem(key: str, message: str) -> Diagnostic:
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    return Diagnostic(Severity.ERROR, "invalid-config", message, pointer, None)
