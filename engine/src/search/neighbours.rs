//! What stands around a match: chunks before and after it, or its whole symbol.

use serde_json::{Map, Value};

use super::answer::{Found, Neighbour, number};
use super::file::FileText;
use super::request::Request;
use crate::model::StageResult;
use crate::store::TextChunk;
use crate::sync::ProjectSearch;

/// Maximum number of chunks of a file that are looked through.
const MOST: usize = 2000;

/// Adds to each match what the request asks for.
pub(super) async fn add(
    projects: &[ProjectSearch],
    request: &Request,
    found: &mut [Found],
) -> StageResult<()> {
    if request.context == 0 && !request.expand {
        return Ok(());
    }
    for one in found {
        let project = projects.iter().find(|project| project.place.project == one.text("project"));
        let (Some(project), Some((file, _))) = (project, one.id.split_once('-')) else { continue };
        let chunks = chunks(project, &format!("{file}-")).await?;
        let Some(at) = chunks.iter().position(|(id, _)| *id == one.id) else { continue };
        if request.context > 0 {
            let from = at.saturating_sub(request.context);
            let until = (at + request.context + 1).min(chunks.len());
            let around = (from..until).filter(|other| *other != at);
            one.neighbours = around.map(|other| piece(&chunks[other..=other])).collect();
        }
        if request.expand {
            one.expanded = symbol(&chunks, at);
        }
    }
    Ok(())
}

type Chunk = (String, Map<String, Value>);

/// The chunks of a file, in order.
async fn chunks(project: &ProjectSearch, prefix: &str) -> StageResult<Vec<Chunk>> {
    let place = &project.place;
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = place.store.list(&place.namespace, prefix, after).await?;
        ids.extend(page.ids);
        after = page.next;
        if after.is_none() || ids.len() >= MOST {
            break;
        }
    }
    let stored = place.store.fetch(&place.namespace, &ids).await?;
    let mut chunks: Vec<Chunk> = stored.into_iter().map(|one| (one.id, one.metadata)).collect();
    chunks.sort_by_key(|(_, metadata)| number(metadata, "chunk_index"));
    Ok(chunks)
}

/// The successive chunks of one symbol as one piece; `None` if the chunk is no part of a symbol, or
/// all of it.
fn symbol(chunks: &[Chunk], at: usize) -> Option<Neighbour> {
    let of = |at: usize| {
        let text = |key: &str| chunks[at].1.get(key).and_then(Value::as_str);
        text("name").filter(|name| !name.is_empty()).map(|name| (name, text("kind")))
    };
    let own = of(at)?;
    let mut from = at;
    while from > 0 && of(from - 1) == Some(own) {
        from -= 1;
    }
    let mut last = at;
    while last + 1 < chunks.len() && of(last + 1) == Some(own) {
        last += 1;
    }
    (from < last).then(|| piece(&chunks[from..=last]))
}

/// Successive chunks as one piece. Text that two of them have is given once.
fn piece(chunks: &[Chunk]) -> Neighbour {
    let chunks: Vec<TextChunk> = chunks.iter().map(|(_, metadata)| TextChunk::of(metadata)).collect();
    let text = FileText::of(&chunks).text().to_owned();
    let line = |chunk: Option<&TextChunk>, of: fn(&TextChunk) -> u64| chunk.map_or(0, of);
    Neighbour {
        start_line: line(chunks.first(), |chunk| chunk.start_line),
        end_line: line(chunks.last(), |chunk| chunk.end_line),
        text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chunk(name: &str, start: u64, end: u64, text: &str) -> Chunk {
        let metadata =
            json!({"name": name, "kind": "function", "start_line": start, "end_line": end, "text": text});
        (format!("f-{start}"), metadata.as_object().expect("an object").clone())
    }

    #[test]
    fn a_symbol_is_all_its_chunks() {
        let chunks = [
            chunk("a", 1, 2, "1\n2"),
            chunk("b", 3, 5, "3\n4\n5"),
            chunk("b", 5, 7, "5\n6\n7"),
            chunk("c", 8, 8, "8"),
        ];
        let whole = symbol(&chunks, 2).expect("two chunks");
        assert_eq!(whole, Neighbour { start_line: 3, end_line: 7, text: "3\n4\n5\n6\n7".into() });
        assert_eq!(symbol(&chunks, 1), Some(whole));
        assert_eq!(symbol(&chunks, 0), None);
    }

    #[test]
    fn a_line_that_was_cut_is_whole_again() {
        let chunks = [chunk("a", 3, 3, "One sentence."), chunk("a", 3, 3, "Another one.")];
        let whole = symbol(&chunks, 0).expect("two chunks");
        assert_eq!((whole.start_line, whole.end_line), (3, 3));
        assert_eq!(whole.text, "One sentence. Another one.");
    }
}
