//! Changelogs in the style of "Keep a Changelog": one chunk per release, or per group of a long one.
//!
//! A pure function of the text; `export_chunker!` makes it a component.

mod outline;
mod release;

use std::ops::Range;

use reposync_plugin_sdk::{Chunk, ChunkError, Chunker, Diagnostic, Document, Info, export_chunker};

use outline::{Heading, headings, trailing_links};
use release::Release;

/// What can be set in `reposync.toml` under `config`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Level of the headings that name releases: 2 for `## 1.2.0`.
    #[schemars(range(min = 1, max = 5))]
    pub heading_level: u8,
    /// A release with more characters than this is cut at its groups (`### Added`).
    pub split_above: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { heading_level: 2, split_above: 1500 }
    }
}

/// The chunker.
#[derive(Debug)]
pub struct Changelog {
    config: Config,
}

impl Chunker for Changelog {
    const INFO: Info = Info {
        name: "changelog",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Changelogs: one chunk a release, with its version and date.",
        extensions: &[".md"],
    };

    type Config = Config;

    fn configure(config: Config) -> Result<Self, Vec<Diagnostic>> {
        if !(1..=5).contains(&config.heading_level) {
            return Err(vec![
                Diagnostic::error("heading-level", "write a level from 1 to 5, as in `## 1.2.0`")
                    .in_config("/heading_level"),
            ]);
        }
        Ok(Self { config })
    }

    fn split(&self, document: &Document) -> Result<Vec<Chunk>, ChunkError> {
        let text = document.text.as_str();
        let headings = headings(text);
        let level = self.config.heading_level;
        let releases: Vec<_> = headings.iter().filter(|it| it.level == level).collect();
        if !releases.iter().any(|it| Release::parse(it.title).is_some()) {
            // Not a changelog in this style: another chunker handles it better.
            return Err(ChunkError::NotMine);
        }

        let mut chunks = Vec::with_capacity(releases.len() + 2);
        let links = trailing_links(text);
        push(&mut chunks, text, 0..releases[0].start, |it| it.with_kind("preamble"));
        for (n, heading) in releases.iter().enumerate() {
            let end = releases.get(n + 1).map_or(links.max(heading.start), |next| next.start);
            self.release(&mut chunks, text, heading, heading.start..end, &headings);
        }
        push(&mut chunks, text, links..text.len(), |it| it.with_kind("links"));
        Ok(chunks)
    }
}

impl Changelog {
    /// One release, whole or group by group.
    fn release(
        &self,
        chunks: &mut Vec<Chunk>,
        text: &str,
        heading: &Heading<'_>,
        range: Range<usize>,
        headings: &[Heading<'_>],
    ) {
        let Some(release) = Release::parse(heading.title) else {
            return push(chunks, text, range, |it| it.with_kind("section").with_name(heading.title));
        };
        let first = headings.partition_point(|it| it.start <= range.start);
        let inside = headings[first..].iter().take_while(|it| it.start < range.end);
        let groups: Vec<_> = inside.filter(|it| it.level == heading.level + 1).collect();
        let split_above = self.config.split_above;
        // A text has at most as many characters as bytes, so most releases need no count.
        let long = range.len() > split_above && text[range.clone()].chars().nth(split_above).is_some();
        if !long || groups.is_empty() {
            return push(chunks, text, range, |it| release.describe(it).with_kind("release"));
        }
        push(chunks, text, range.start..groups[0].start, |it| release.describe(it).with_kind("release"));
        for (n, group) in groups.iter().enumerate() {
            let end = groups.get(n + 1).map_or(range.end, |next| next.start);
            push(chunks, text, group.start..end, |it| {
                let context = format!("{} > {}", release.label(), group.title);
                let chunk = release.describe(it).with_kind("changes").with_context(context);
                chunk.with_attr("group", group.title)
            });
        }
    }
}

/// Adds a chunk unless it is blank; strips trailing white space.
fn push(chunks: &mut Vec<Chunk>, text: &str, range: Range<usize>, describe: impl FnOnce(Chunk) -> Chunk) {
    let passage = text[range.clone()].trim_end();
    if !passage.is_empty() {
        chunks.push(describe(Chunk::slice(range.start..range.start + passage.len())));
    }
}

export_chunker!(Changelog);

#[cfg(test)]
mod tests;
