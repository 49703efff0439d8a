//! Pages of the documentation in Markdown: code blocks, links, headings; and the mode in which tests write what they
//! otherwise compare.

use std::path::{Path, PathBuf};

/// A code block between fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The word after the opening fence.
    pub(crate) language: String,
    pub(crate) code: String,
    /// The lines of the code, from 0, without the fences.
    pub(crate) lines: std::ops::Range<usize>,
}

/// A page, by its path from the root of the repository.
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").to_owned()
}

/// True if tests rewrite generated pages and the outputs in pages, instead of comparing them.
pub(crate) fn updating() -> bool {
    std::env::var_os("REPOSYNC_UPDATE_DOCS").is_some_and(|value| value == "1")
}

/// Compares the content of a generated file, or writes it.
#[track_caller]
pub(crate) fn generated(name: &str, content: &str) {
    let path = root().join(name);
    if updating() {
        std::fs::write(&path, content).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let first = found.lines().zip(content.lines()).position(|(found, expected)| found != expected);
    let line = first.unwrap_or(found.lines().count().min(content.lines().count()));
    assert!(
        found == content,
        "{name} is out of date at line {}: run `just docs`.\nfound:    {:?}\nexpected: {:?}",
        line + 1,
        found.lines().nth(line).unwrap_or_default(),
        content.lines().nth(line).unwrap_or_default(),
    );
}

impl Page {
    pub(crate) fn read(name: &str) -> Self {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), text }
    }

    /// Every page below a folder, in the order of the names.
    pub(crate) fn below(folder: &str) -> Vec<Self> {
        let mut names = Vec::new();
        collect(&root(), Path::new(folder), &mut names);
        names.sort();
        assert!(!names.is_empty(), "no page below {folder}");
        names.iter().map(|name| Self::read(name)).collect()
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, Block)> = None;
        for (at, line) in self.text.lines().enumerate() {
            let trimmed = line.trim_start();
            match (&mut open, trimmed.strip_prefix("```")) {
                (None, Some(language)) => {
                    let block = Block {
                        language: language.trim().to_owned(),
                        code: String::new(),
                        lines: at + 1..at + 1,
                    };
                    open = Some((line.len() - trimmed.len(), block));
                }
                (Some(_), Some("")) => {
                    let (_, mut block) = open.take().expect("just matched");
                    block.lines.end = at;
                    blocks.push(block);
                }
                (Some((indent, block)), _) => {
                    block.code.push_str(line.get(*indent..).unwrap_or_default());
                    block.code.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a code block is not closed", self.name);
        blocks
    }

    /// The lines outside of code blocks, without code spans.
    fn prose(&self) -> Vec<String> {
        let mut inside = false;
        let mut lines = Vec::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if !inside {
                lines.push(line.split('`').step_by(2).collect::<Vec<_>>().join("x"));
            }
        }
        lines
    }

    /// The targets of all links.
    pub(crate) fn links(&self) -> Vec<String> {
        let link = regex::Regex::new(r"\]\(([^()\s]+)\)").expect("an expression");
        let text = self.prose().join("\n");
        link.captures_iter(&text).map(|found| found[1].to_owned()).collect()
    }

    /// The text of every heading of a level, as written.
    pub(crate) fn headings(&self, level: usize) -> Vec<String> {
        let mark = format!("{} ", "#".repeat(level));
        self.heading_lines().filter_map(|line| line.strip_prefix(&mark)).map(str::to_owned).collect()
    }

    fn heading_lines(&self) -> impl Iterator<Item = &str> {
        let mut inside = false;
        self.text.lines().filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            !inside && !fence && line.starts_with('#')
        })
    }

    /// The anchors that a link may name: those of headings, by the rules of GitHub and mdBook, and explicit ones.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for line in self.heading_lines() {
            let base = slug(line.trim_start_matches('#').trim());
            let before = anchors.iter().filter(|anchor| **anchor == base).count();
            anchors.push(if before == 0 { base } else { format!("{base}-{before}") });
        }
        let explicit = regex::Regex::new(r#"<a (?:id|name)="([^"]+)""#).expect("an expression");
        anchors.extend(explicit.captures_iter(&self.text).map(|found| found[1].to_owned()));
        anchors
    }
}

fn collect(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(root.join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(root, &path, names);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            names.push(path.to_str().expect("UTF-8").replace('\\', "/"));
        }
    }
}

fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn a_page_is_read() {
    let text = "# One `two`\n\nA [link](a.md#b), `[no](link)`.\n\n```sh\n# code [x](y)\n\nls\n```\n## One two\n<a id=\"own\"></a>\n";
    let page = Page { name: "x.md".into(), text: text.into() };
    assert_eq!(page.links(), ["a.md#b"]);
    assert_eq!(page.anchors(), ["one-two", "one-two-1", "own"]);
    assert_eq!(page.headings(2), ["One two"]);
    let block = Block { language: "sh".into(), code: "# code [x](y)\n\nls\n".into(), lines: 5..8 };
    assert_eq!(page.blocks(), [block]);
    assert_eq!(slug("`kind = \"git-remote\"`"), "kind--git-remote");
}
