"""A chunker component for RepoSync: a chunk starts at every line with a marker."""

import json
from dataclasses import dataclass, field, fields

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.chunker import OffsetUnit, PluginInfo
from wit_world.imports.types import Chunk, Content_Slice, Diagnostic, Document, Severity, Span

from sections import sections


@dataclass
class Config:
    """The keys of `config` in `reposync.toml`; the JSON Schema is derived from this class."""

    marker: str = field(
        default="## ", metadata={"description": "A chunk starts at each line that starts with this text."}
    )


class Chunker(exports.Chunker):
    """The component. The configuration of an instance never changes."""

    config = Config()

    def describe(self) -> PluginInfo:
        return PluginInfo(
            name="{{name}}",
            version="0.1.0",
            summary="Starts a chunk at every line with a marker.",
            offset_unit=OffsetUnit.CODE_POINTS,  # the unit of Python's strings; RepoSync converts
            extensions=[".txt"],
            config_schema=json.dumps(config_schema()),
        )

    def configure(self, config_json: str) -> list[Diagnostic]:
        """Called once. Returns warnings; raises `Err` with problems to refuse the configuration."""
        given = json.loads(config_json)
        problems = check(given)
        if not problems and given.get("marker") == "":
            problems = [problem("marker", "set the text that the first line of a chunk starts with")]
        if problems:
            raise Err(problems)
        # The exported functions may be called on different objects, so the class stores it.
        Chunker.config = Config(**given)
        return []

    def split(self, doc: Document) -> list[Chunk]:
        """Called for every document. Raise `Err(ChunkError_NotMine())` to leave it to other chunkers."""
        return [
            Chunk(
                content=Content_Slice(Span(start, end)),
                context=None,
                kind="section",
                name=title,
                attrs=[],
            )
            for start, end, title in sections(doc.text, self.config.marker)
        ]


JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def config_schema() -> dict:
    """The JSON Schema of `Config`."""
    properties = {
        it.name: {"type": JSON_TYPES[it.type], "default": it.default, **it.metadata}
        for it in fields(Config)
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def check(given: dict) -> list[Diagnostic]:
    """Problems with the names and types of a configuration."""
    known = {it.name: it.type for it in fields(Config)}
    problems = []
    for key, value in given.items():
        if key not in known:
            problems.append(problem(key, f"unknown key, expected {', '.join(known)}"))
        elif type(value) is not known[key]:
            problems.append(problem(key, f"write a {JSON_TYPES[known[key]]}"))
    return problems


def problem(key: str, message: str) -> Diagnostic:
    """A problem with one key. With the pointer RepoSync can show the line of `reposync.toml`."""
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    return Diagnostic(Severity.ERROR, "invalid-config", message, pointer, None)
