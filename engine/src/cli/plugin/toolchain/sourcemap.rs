//! Turns the bundler's source map into JavaScript that becomes part of the component, so that stack
//! traces show files and lines of the TypeScript sources instead of the bundle's.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

#[derive(Deserialize)]
struct SourceMap {
    /// Paths relative to the folder of the map.
    sources: Vec<String>,
    /// Base64 VLQ: lines of the bundle separated by `;`, their segments by `,`.
    mappings: String,
}

/// Maps the bundle from this column of a line to this line of this source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    column: i64,
    source: i64,
    line: i64,
}

/// The statements to append to the bundle. `map` is the text of the map, `folder` its folder and
/// `project` the project's folder, both absolute.
pub(super) fn statements(map: &str, folder: &Path, project: &Path) -> anyhow::Result<String> {
    let map: SourceMap = serde_json::from_str(map).context("the bundler's source map is not JSON")?;
    let sources: Vec<_> = map.sources.iter().map(|source| named(source, folder, project)).collect();
    let lines: Vec<Vec<i64>> = decoded(&map.mappings)?
        .into_iter()
        .map(|line| line.into_iter().flat_map(|it| [it.column, it.source, it.line + 1]).collect())
        .collect();
    Ok(STATEMENTS
        .replace("{sources}", &serde_json::to_string(&sources)?)
        .replace("{lines}", &serde_json::to_string(&lines)?))
}

/// QuickJS calls this function to build the `stack` of every `Error`.
const STATEMENTS: &str = r"
{
  const sources = {sources};
  const lines = {lines};
  const place = (frame) => {
    const column = frame.getColumnNumber();
    const line = lines[frame.getLineNumber() - 1] ?? [];
    let found = `${frame.getFileName()}:${frame.getLineNumber()}`;
    for (let i = 0; i < line.length && line[i] < column; i += 3) found = `${sources[line[i + 1]]}:${line[i + 2]}`;
    return found;
  };
  Error.prepareStackTrace = (error, frames) =>
    frames.map((frame) => `    at ${frame.getFunctionName() || '<anonymous>'} (${place(frame)})\n`).join('');
}
";

/// The path of a source relative to the project or from `node_modules`. Never contains a path of
/// this machine.
fn named(source: &str, folder: &Path, project: &Path) -> String {
    let path = folder.join(source);
    let path = path.canonicalize().unwrap_or(path);
    let inside = path.strip_prefix(project).unwrap_or(&path).to_string_lossy().replace('\\', "/");
    if let Some(at) = inside.rfind("node_modules/") {
        return inside[at..].to_owned();
    }
    if path.starts_with(project) {
        return inside;
    }
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The segments of each line of the bundle.
fn decoded(mappings: &str) -> anyhow::Result<Vec<Vec<Segment>>> {
    let (mut source, mut line) = (0, 0);
    let mut lines = Vec::new();
    for encoded in mappings.split(';') {
        let mut column = 0;
        let mut segments: Vec<Segment> = Vec::new();
        for segment in encoded.split(',').filter(|segment| !segment.is_empty()) {
            let numbers = numbers(segment)?;
            column += numbers.first().copied().unwrap_or_default();
            let [_, in_sources, in_lines, ..] = numbers[..] else { continue };
            source += in_sources;
            line += in_lines;
            if segments.last().is_none_or(|last| (last.source, last.line) != (source, line)) {
                segments.push(Segment { column, source, line });
            }
        }
        lines.push(segments);
    }
    Ok(lines)
}

/// The numbers of a segment: six bits per digit, with the sign in the lowest bit of the first.
fn numbers(segment: &str) -> anyhow::Result<Vec<i64>> {
    let mut numbers = Vec::new();
    let (mut number, mut shift) = (0_i64, 0);
    for byte in segment.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => u8::MAX,
        };
        if digit > 63 || shift > 30 {
            bail!("the bundler's source map has the segment `{segment}`, which is not valid");
        }
        number |= i64::from(digit & 31) << shift;
        shift += 5;
        if digit & 32 == 0 {
            numbers.push(if number & 1 == 1 { -(number >> 1) } else { number >> 1 });
            (number, shift) = (0, 0);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decoded() {
        assert_eq!(numbers("AACA").expect("good"), [0, 0, 1, 0]);
        assert_eq!(numbers("D").expect("good"), [-1]);
        assert_eq!(numbers("gB").expect("good"), [16]);
        assert!(numbers("!").is_err());
        assert!(numbers("gggggggggg").is_err());
    }

    #[test]
    fn lines_of_the_bundle_know_their_sources() {
        // The second line starts with line 3 of the second source and continues with its line 5.
        let lines = decoded("AAAA;ACEA,IAEE;").expect("good");
        let segment = |column, source, line| Segment { column, source, line };
        assert_eq!(lines, [vec![segment(0, 0, 0)], vec![segment(0, 1, 2), segment(4, 1, 4)], vec![]]);
    }

    #[test]
    fn no_path_of_the_machine_is_named() {
        let [folder, project] = ["/tmp/build/bundle", "/home/me/notes"].map(Path::new);
        let named = |source: &str| named(source, folder, project);
        assert_eq!(named("/home/me/notes/lib/rules.ts"), "lib/rules.ts");
        assert_eq!(named("/home/me/notes/node_modules/tiny/index.js"), "node_modules/tiny/index.js");
        assert_eq!(named("/home/me/node_modules/tiny/index.js"), "node_modules/tiny/index.js");
        assert_eq!(named("/home/me/shared.ts"), "shared.ts");
    }

    #[test]
    fn the_statements_hold_the_table() {
        let map = r#"{ "version": 3, "sources": ["/p/chunker.ts"], "mappings": ";AAEA" }"#;
        let statements = statements(map, Path::new("/tmp"), Path::new("/p")).expect("good");
        assert!(statements.contains(r#"const sources = ["chunker.ts"];"#), "{statements}");
        assert!(statements.contains("const lines = [[],[0,0,3]];"), "{statements}");
    }
}
