//! The request for a pack, and the beginning of its answer. See `gitprotocol-v2(5)` and
//! `gitprotocol-pack(5)`.
//!
//! A request names one commit and, of the commits that are here whole, the last ones. It says `done` at once:
//! there is no history to negotiate about, and so the answer is always one pack.

use bytes::Bytes;

use super::advertisement::{Advertisement, Version, command, refusal};
use super::pkt::{self, Pkt, PktReader};
use crate::model::GitSha;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackRequest {
    pub(super) commit: GitSha,
    /// Commits whose trees are here whole; their parents are not.
    pub(super) held: Vec<GitSha>,
    /// Commits to get, the wanted one included.
    pub(super) depth: u32,
    /// What the server leaves out, in Git's words, such as `blob:limit=1024`.
    pub(super) filter: Option<String>,
}

impl PackRequest {
    /// The request in the protocol of the server.
    pub(super) fn message(&self, advertisement: &Advertisement) -> Vec<u8> {
        match advertisement.version {
            Version::Two => self.version_two(advertisement),
            Version::Old => self.old(advertisement),
        }
    }

    fn version_two(&self, advertisement: &Advertisement) -> Vec<u8> {
        let mut message = command(advertisement, "fetch");
        pkt::write(&mut message, "ofs-delta\n");
        if self.is_thin() {
            pkt::write(&mut message, "thin-pack\n");
        }
        self.history(&mut message, advertisement);
        if let Some(filter) = &self.filter {
            pkt::write(&mut message, &format!("filter {filter}\n"));
        }
        pkt::write(&mut message, &format!("want {}\n", self.commit));
        self.held(&mut message);
        message.extend_from_slice(pkt::FLUSH);
        message
    }

    fn old(&self, advertisement: &Advertisement) -> Vec<u8> {
        let mut message = Vec::new();
        let mut capabilities = String::new();
        let mut use_first = |names: &[&str]| {
            if let Some(name) = names.iter().find(|name| advertisement.has(name)) {
                capabilities.push(' ');
                capabilities.push_str(name);
            }
        };
        // Azure DevOps demands one of the first two.
        use_first(&["multi_ack_detailed", "multi_ack"]);
        use_first(&["side-band-64k", "side-band"]);
        use_first(&["ofs-delta"]);
        if self.is_thin() {
            use_first(&["thin-pack"]);
        }
        if self.filter.is_some() {
            use_first(&["filter"]);
        }
        if advertisement.has("object-format") {
            capabilities.push_str(" object-format=sha1");
        }
        if advertisement.has("agent") {
            capabilities.push_str(concat!(" agent=reposync/", env!("CARGO_PKG_VERSION")));
        }
        pkt::write(&mut message, &format!("want {}{capabilities}\n", self.commit));
        self.history(&mut message, advertisement);
        if let Some(filter) = &self.filter {
            pkt::write(&mut message, &format!("filter {filter}\n"));
        }
        message.extend_from_slice(pkt::FLUSH);
        self.held(&mut message);
        message
    }

    /// Whether the pack may leave out what is here. Git leaves nothing out of a shallow pack but for this.
    fn is_thin(&self) -> bool {
        !self.held.is_empty()
    }

    fn history(&self, message: &mut Vec<u8>, advertisement: &Advertisement) {
        if advertisement.shallow() {
            for held in &self.held {
                pkt::write(message, &format!("shallow {held}\n"));
            }
            pkt::write(message, &format!("deepen {}\n", self.depth));
        }
    }

    fn held(&self, message: &mut Vec<u8>) {
        for held in &self.held {
            pkt::write(message, &format!("have {held}\n"));
        }
        pkt::write(message, "done\n");
    }
}

/// Why an answer brings no pack.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoPack {
    /// It is not Git's protocol, or it breaks off.
    Malformed,
    /// The server refuses, in these words.
    Refused(String),
    /// The server failed while it sent the pack, in these words.
    Failed(String),
}

/// Finds the pack in an answer.
#[derive(Debug)]
pub(super) struct PackReader {
    lines: PktReader,
    version: Version,
    state: PackState,
}

#[derive(Debug, PartialEq, Eq)]
enum PackState {
    /// Before the pack: acknowledgements, boundaries of the history.
    Before,
    Pack,
    /// The answer is whole.
    After,
}

impl PackReader {
    pub(super) fn new(version: Version) -> Self {
        Self { lines: PktReader::default(), version, state: PackState::Before }
    }

    /// Takes bytes as they arrive; hands over the pieces of the pack that are whole.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Bytes>, NoPack> {
        self.lines.push(bytes);
        let mut pieces = Vec::new();
        while let Some(line) = self.lines.next().map_err(|_| NoPack::Malformed)? {
            if let Some(words) = data(&line).and_then(refusal).filter(|_| self.state == PackState::Before) {
                return Err(NoPack::Refused(words));
            }
            match self.state {
                PackState::Before => self.before(line, &mut pieces)?,
                PackState::Pack => self.pack(line, &mut pieces)?,
                PackState::After => {}
            }
        }
        Ok(pieces)
    }

    /// Checks that the answer came to its end.
    pub(super) fn end(&self) -> Result<(), NoPack> {
        if self.state == PackState::After && self.lines.is_empty() { Ok(()) } else { Err(NoPack::Malformed) }
    }

    fn before(&mut self, line: Pkt, pieces: &mut Vec<Bytes>) -> Result<(), NoPack> {
        match (self.version, data(&line)) {
            (Version::Two, Some(line)) if pkt::text(line) == Some("packfile") => self.state = PackState::Pack,
            // The answer has no pack.
            (Version::Two, None) if line == Pkt::Flush => return Err(NoPack::Malformed),
            // In the old protocol nothing but its first piece announces the pack.
            (Version::Old, Some(data)) if matches!(data.first(), Some(1..=3)) => {
                self.state = PackState::Pack;
                self.pack(line, pieces)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn pack(&mut self, line: Pkt, pieces: &mut Vec<Bytes>) -> Result<(), NoPack> {
        match line {
            Pkt::Data(line) => match line.first() {
                Some(1) => pieces.push(line.slice(1..)),
                // Progress.
                Some(2) => {}
                Some(3) => {
                    return Err(NoPack::Failed(String::from_utf8_lossy(&line[1..]).trim().to_owned()));
                }
                _ => return Err(NoPack::Malformed),
            },
            Pkt::Flush | Pkt::End => self.state = PackState::After,
            Pkt::Delim => return Err(NoPack::Malformed),
        }
        Ok(())
    }
}

fn data(line: &Pkt) -> Option<&Bytes> {
    match line {
        Pkt::Data(line) => Some(line),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: GitSha = GitSha([0x11; 20]);
    const TWO: GitSha = GitSha([0x22; 20]);

    fn message(lines: &[&str]) -> Vec<u8> {
        let mut message = Vec::new();
        for line in lines {
            match *line {
                "|" => message.extend_from_slice(pkt::FLUSH),
                "/" => message.extend_from_slice(pkt::DELIM),
                line => pkt::write(&mut message, line),
            }
        }
        message
    }

    /// Lines of a request, without their lengths.
    fn shown(request: &[u8]) -> Vec<String> {
        let lines = pkt::lines(request).expect("well-formed");
        let show =
            |line: &Pkt| data(line).map_or("|".to_owned(), |line| pkt::text(line).expect("text").into());
        lines.iter().map(show).collect()
    }

    fn wanted() -> PackRequest {
        PackRequest { commit: TWO, held: vec![ONE], depth: 1, filter: Some("blob:limit=9".into()) }
    }

    #[test]
    fn requests_name_what_is_wanted_and_what_is_here() {
        let advertised = message(&["version 2\n", "fetch=shallow filter\n", "object-format=sha1\n", "|"]);
        let advertised = Advertisement::parse(&advertised).expect("read");
        let expected = [
            "command=fetch",
            "object-format=sha1",
            "|",
            "ofs-delta",
            "thin-pack",
            &format!("shallow {ONE}"),
            "deepen 1",
            "filter blob:limit=9",
            &format!("want {TWO}"),
            &format!("have {ONE}"),
            "done",
            "|",
        ];
        assert_eq!(shown(&wanted().message(&advertised)), expected);

        let first = format!("{ONE} HEAD\0multi_ack thin-pack side-band side-band-64k shallow filter\n");
        let advertised = Advertisement::parse(&message(&[&first, "|"])).expect("read");
        let expected = [
            &format!("want {TWO} multi_ack side-band-64k thin-pack filter"),
            &format!("shallow {ONE}"),
            "deepen 1",
            "filter blob:limit=9",
            "|",
            &format!("have {ONE}"),
            "done",
        ];
        assert_eq!(shown(&wanted().message(&advertised)), expected);
    }

    fn read(version: Version, answer: &[u8], piece: usize) -> Result<Vec<u8>, NoPack> {
        let mut reader = PackReader::new(version);
        let mut pack = Vec::new();
        for bytes in answer.chunks(piece) {
            for part in reader.read(bytes)? {
                pack.extend_from_slice(&part);
            }
        }
        reader.end().map(|()| pack)
    }

    #[test]
    fn the_pack_is_found_in_both_protocols() {
        let two = message(&[
            "shallow-info\n",
            "shallow 1\n",
            "/",
            "packfile\n",
            "\u{2}50%\n",
            "\u{1}PACK",
            "\u{1}x",
            "|",
        ]);
        let ack = format!("ACK {ONE} common\n");
        let old = message(&["shallow 1\n", "|", &ack, "NAK\n", "\u{2}50%\n", "\u{1}PACK", "\u{1}x", "|"]);
        for piece in [1, 7, 1000] {
            assert_eq!(read(Version::Two, &two, piece).expect("a pack"), b"PACKx");
            assert_eq!(read(Version::Old, &old, piece).expect("a pack"), b"PACKx");
            // An answer that breaks off is no answer.
            for (version, answer) in [(Version::Two, &two), (Version::Old, &old)] {
                for length in 0..answer.len() {
                    let cut = read(version, &answer[..length], piece);
                    assert_eq!(cut, Err(NoPack::Malformed), "{length}");
                }
            }
        }
    }

    #[test]
    fn the_words_of_the_server_are_kept() {
        let refused = message(&["ERR upload-pack: not our ref 1\n"]);
        for version in [Version::Two, Version::Old] {
            let error = read(version, &refused, 99).expect_err("refused");
            assert_eq!(error, NoPack::Refused("upload-pack: not our ref 1".into()));
        }
        let failed = message(&["packfile\n", "\u{1}PACK", "\u{3}out of memory\n", "|"]);
        assert_eq!(read(Version::Two, &failed, 99), Err(NoPack::Failed("out of memory".into())));
        assert_eq!(read(Version::Two, &message(&["shallow-info\n", "|"]), 99), Err(NoPack::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_read_or_refused(lines: Vec<Vec<u8>>) {
            let mut answer = message(&["packfile\n"]);
            for line in &lines {
                answer.extend_from_slice(format!("{:04x}", line.len() + 4).as_bytes());
                answer.extend_from_slice(line);
            }
            drop(read(Version::Two, &answer, 1000));
            drop(read(Version::Old, &answer[13..], 1000));
        }
    }
}
