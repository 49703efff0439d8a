//! What a server says first: its protocol, what it can do, and, in the old protocol, its references.
//! See `gitprotocol-v2(5)` and `gitprotocol-pack(5)`.

use bytes::Bytes;

use super::pkt::{self, Malformed, Pkt};
use crate::model::GitSha;

/// The protocol that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Versions 0 and 1: the references come unasked.
    Old,
    /// Version 2: commands.
    Two,
}

/// A reference of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Its full name.
    pub(super) name: String,
    /// The object that it names; for a tag that is an object, the object that the tag names.
    pub(super) id: GitSha,
}

/// What a server says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advertisement {
    pub(super) version: Version,
    /// Names, with what follows `=`.
    capabilities: Vec<(String, Option<String>)>,
    /// All references, where the protocol is the old one.
    pub(super) references: Vec<Reference>,
}

/// Why a server's answer cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadAnswer {
    /// It is not Git's protocol.
    Malformed,
    /// The server refuses, in these words.
    Refused(String),
    /// The repository names its objects by another hash than SHA-1.
    Format(String),
}

impl From<Malformed> for BadAnswer {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl Advertisement {
    /// Reads it.
    pub(super) fn parse(message: &[u8]) -> Result<Self, BadAnswer> {
        let lines = pkt::lines(message)?;
        let mut lines = lines.as_slice();
        // Over HTTP a separate first message may name the service.
        if let [Pkt::Data(first), Pkt::Flush, rest @ ..] = lines
            && first.starts_with(b"# service=git-upload-pack")
        {
            lines = rest;
        }
        let parsed = match lines {
            [Pkt::Data(first), rest @ ..] if pkt::text(first) == Some("version 2") => version_two(rest)?,
            [Pkt::Data(first), rest @ ..] if pkt::text(first) == Some("version 1") => old(rest)?,
            lines => old(lines)?,
        };
        match parsed.value("object-format") {
            Some(format) if format != "sha1" => Err(BadAnswer::Format(format.to_owned())),
            _ => Ok(parsed),
        }
    }

    /// The same without the references.
    pub(super) fn without_references(&self) -> Self {
        Self { references: Vec::new(), capabilities: self.capabilities.clone(), version: self.version }
    }

    /// Whether the server has a capability.
    pub(super) fn has(&self, name: &str) -> bool {
        self.capabilities.iter().any(|(known, _)| known == name)
    }

    /// Whether a capability's list of words contains a word: `fetch=shallow filter`.
    pub(super) fn lists(&self, name: &str, word: &str) -> bool {
        self.value(name).is_some_and(|value| value.split(' ').any(|one| one == word))
    }

    /// Whether the server leaves objects out on request.
    pub(super) fn filters(&self) -> bool {
        match self.version {
            Version::Two => self.lists("fetch", "filter"),
            Version::Old => self.has("filter"),
        }
    }

    /// Whether the server can cut the history short.
    pub(super) fn shallow(&self) -> bool {
        match self.version {
            Version::Two => self.lists("fetch", "shallow"),
            Version::Old => self.has("shallow"),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.capabilities.iter().find(|(known, _)| known == name)?.1.as_deref()
    }
}

fn version_two(lines: &[Pkt]) -> Result<Advertisement, BadAnswer> {
    let [lines @ .., Pkt::Flush] = lines else { return Err(BadAnswer::Malformed) };
    let mut capabilities = Vec::new();
    for line in lines {
        let Pkt::Data(line) = line else { return Err(BadAnswer::Malformed) };
        capabilities.push(capability(pkt::text(line).ok_or(BadAnswer::Malformed)?));
    }
    Ok(Advertisement { version: Version::Two, capabilities, references: Vec::new() })
}

fn capability(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

fn old(lines: &[Pkt]) -> Result<Advertisement, BadAnswer> {
    let [lines @ .., Pkt::Flush] = lines else {
        let first = lines.iter().find_map(|line| match line {
            Pkt::Data(line) => refusal(line),
            _ => None,
        });
        return Err(first.map_or(BadAnswer::Malformed, BadAnswer::Refused));
    };
    let mut found = Advertisement { version: Version::Old, capabilities: Vec::new(), references: Vec::new() };
    for (number, line) in lines.iter().enumerate() {
        let Pkt::Data(line) = line else { return Err(BadAnswer::Malformed) };
        if let Some(words) = refusal(line) {
            return Err(BadAnswer::Refused(words));
        }
        let (reference, capabilities) = match line.iter().position(|byte| *byte == 0) {
            Some(end) if number == 0 => (line.slice(..end), line.slice(end + 1..)),
            _ => (line.clone(), Bytes::new()),
        };
        let capabilities = pkt::text(&capabilities).ok_or(BadAnswer::Malformed)?;
        found.capabilities.extend(capabilities.split(' ').filter(|text| !text.is_empty()).map(capability));
        // The configuration cannot contain a name that is not UTF-8.
        let Some(text) = pkt::text(&reference) else { continue };
        let Some((id, name)) = text.split_once(' ') else { return Err(BadAnswer::Malformed) };
        if id == "shallow" || name == "capabilities^{}" {
            continue;
        }
        let id = object_id(id)?;
        match (name.strip_suffix("^{}"), found.references.last_mut()) {
            (Some(tag), Some(last)) if last.name == tag => last.id = id,
            _ => found.references.push(Reference { name: name.to_owned(), id }),
        }
    }
    Ok(found)
}

/// The request for references whose names begin with one of these.
pub(super) fn ls_refs(advertisement: &Advertisement, prefixes: &[String]) -> Vec<u8> {
    let mut message = command(advertisement, "ls-refs");
    pkt::write(&mut message, "peel\n");
    for prefix in prefixes {
        pkt::write(&mut message, &format!("ref-prefix {prefix}\n"));
    }
    message.extend_from_slice(pkt::FLUSH);
    message
}

/// The beginning of a command of version 2.
pub(super) fn command(advertisement: &Advertisement, name: &str) -> Vec<u8> {
    let mut message = Vec::new();
    pkt::write(&mut message, &format!("command={name}\n"));
    if advertisement.has("agent") {
        pkt::write(&mut message, concat!("agent=reposync/", env!("CARGO_PKG_VERSION"), "\n"));
    }
    if advertisement.has("object-format") {
        pkt::write(&mut message, "object-format=sha1\n");
    }
    message.extend_from_slice(pkt::DELIM);
    message
}

/// The references of an answer to [`ls_refs`].
pub(super) fn references(message: &[u8]) -> Result<Vec<Reference>, BadAnswer> {
    let lines = pkt::lines(message)?;
    let mut found = Vec::new();
    let mut ended = false;
    for line in &lines {
        match line {
            Pkt::Data(line) => {
                if let Some(words) = refusal(line) {
                    return Err(BadAnswer::Refused(words));
                }
                let Some(text) = pkt::text(line) else { continue };
                found.extend(reference(text)?);
            }
            Pkt::Flush | Pkt::End => ended = true,
            Pkt::Delim => return Err(BadAnswer::Malformed),
        }
    }
    // A list that breaks off must not pass for a shorter list.
    if ended { Ok(found) } else { Err(BadAnswer::Malformed) }
}

fn reference(text: &str) -> Result<Option<Reference>, BadAnswer> {
    let mut words = text.split(' ');
    let (Some(id), Some(name)) = (words.next(), words.next()) else { return Err(BadAnswer::Malformed) };
    if id == "unborn" {
        return Ok(None);
    }
    let peeled = words.find_map(|word| word.strip_prefix("peeled:"));
    let id = object_id(peeled.unwrap_or(id))?;
    Ok(Some(Reference { name: name.to_owned(), id }))
}

fn object_id(text: &str) -> Result<GitSha, BadAnswer> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(BadAnswer::Format("sha256".to_owned()));
    }
    text.parse().map_err(|_| BadAnswer::Malformed)
}

/// The words of a line that says why the server refuses.
pub(super) fn refusal(line: &Bytes) -> Option<String> {
    let words = line.strip_prefix(b"ERR ")?;
    Some(String::from_utf8_lossy(words).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn message(lines: &[&str]) -> Vec<u8> {
        let mut message = Vec::new();
        for line in lines {
            match *line {
                "|" => message.extend_from_slice(pkt::FLUSH),
                line => pkt::write(&mut message, line),
            }
        }
        message
    }

    fn names(references: &[Reference]) -> Vec<(&str, String)> {
        references.iter().map(|one| (one.name.as_str(), one.id.to_string()[..1].to_owned())).collect()
    }

    #[test]
    fn version_two_is_read_with_and_without_the_service() {
        let plain =
            ["version 2\n", "agent=git/2.47\n", "fetch=shallow filter\n", "object-format=sha1\n", "|"];
        let served = [&["# service=git-upload-pack\n", "|"][..], &plain].concat();
        for lines in [&plain[..], &served] {
            let read = Advertisement::parse(&message(lines)).expect("read");
            assert_eq!(read.version, Version::Two);
            assert!(read.filters() && read.shallow() && read.has("agent"));
            assert!(!read.lists("fetch", "sideband-all"));
            let asked = ls_refs(&read, &["HEAD".to_owned()]);
            let asked = String::from_utf8(asked).expect("text");
            assert!(asked.starts_with("0014command=ls-refs\n"), "{asked}");
            assert!(
                asked.ends_with("0017object-format=sha1\n00010009peel\n0014ref-prefix HEAD\n0000"),
                "{asked}"
            );
        }
    }

    #[test]
    fn the_old_protocol_brings_its_references() {
        let first = format!("{ONE} HEAD\0multi_ack side-band-64k shallow symref=HEAD:refs/heads/main\n");
        let rest = [
            format!("{ONE} refs/heads/main\n"),
            format!("{TWO} refs/tags/v1\n"),
            format!("{ONE} refs/tags/v1^{{}}\n"),
        ];
        let mut lines = vec!["version 1\n", first.as_str()];
        lines.extend(rest.iter().map(String::as_str));
        lines.push("|");
        for lines in [&lines[..], &lines[1..]] {
            let read = Advertisement::parse(&message(lines)).expect("read");
            assert_eq!(read.version, Version::Old);
            assert!(read.shallow() && !read.filters() && read.has("multi_ack"));
            let expected = [("HEAD", "1"), ("refs/heads/main", "1"), ("refs/tags/v1", "1")];
            assert_eq!(names(&read.references), expected.map(|(name, id)| (name, id.to_owned())));
        }
        let empty = format!("{} capabilities^{{}}\0shallow\n", "0".repeat(40));
        for lines in [&[empty.as_str(), "|"][..], &["|"]] {
            assert_eq!(Advertisement::parse(&message(lines)).expect("read").references, []);
        }
    }

    #[test]
    fn refusals_and_other_formats_are_told_apart_from_garbage() {
        let parse = |lines: &[&str]| Advertisement::parse(&message(lines)).expect_err("refused");
        assert_eq!(parse(&["ERR access denied\n"]), BadAnswer::Refused("access denied".into()));
        assert_eq!(parse(&["ERR gone\n", "|"]), BadAnswer::Refused("gone".into()));
        let sha256 = format!("{} HEAD\0object-format=sha256\n", "1".repeat(64));
        assert_eq!(parse(&[&sha256, "|"]), BadAnswer::Format("sha256".into()));
        let sha256 = parse(&["version 2\n", "object-format=sha256\n", "|"]);
        assert_eq!(sha256, BadAnswer::Format("sha256".into()));
        // Messages that break off.
        let first = format!("{ONE} HEAD\0shallow\n");
        for lines in [&[first.as_str()][..], &["version 2\n", "ls-refs\n"], &[]] {
            assert_eq!(parse(lines), BadAnswer::Malformed);
        }
        assert_eq!(Advertisement::parse(b"<html>log in</html>"), Err(BadAnswer::Malformed));
    }

    #[test]
    fn answers_to_ls_refs_are_read_whole_or_not_at_all() {
        let lines = [
            format!("{ONE} HEAD symref-target:refs/heads/main\n"),
            format!("{TWO} refs/tags/v1 peeled:{ONE}\n"),
            "unborn refs/heads/x\n".to_owned(),
        ];
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(references(&message(&lines)), Err(BadAnswer::Malformed));
        lines.push("|");
        let read = references(&message(&lines)).expect("read");
        assert_eq!(names(&read), [("HEAD", "1".to_owned()), ("refs/tags/v1", "1".to_owned())]);
        assert_eq!(references(&message(&["|"])), Ok(Vec::new()));
        assert_eq!(references(&message(&["nonsense\n", "|"])), Err(BadAnswer::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn any_message_is_read_or_refused(lines: Vec<String>) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            drop(Advertisement::parse(&message(&lines)));
            drop(references(&message(&lines)));
        }
    }
}
