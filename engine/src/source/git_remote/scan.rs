//! Looks through a pack before it is stored: each object within its bounds, no bytes that inflate without end,
//! no chain of differences that takes hours or gigabytes to resolve.
//!
//! Nothing is kept of what is inflated, so the memory that this takes depends on the number of objects alone.

use std::io::{self, BufRead, Read as _};

use flate2::{Decompress, FlushDecompress, Status};
use tokio_util::sync::CancellationToken;

/// Differences in one chain. Git itself writes no longer ones, whatever `pack.depth` says.
const LONGEST_CHAIN: u16 = 4095;
/// Maximum size of the objects that are resolved at once, together with their bases, in multiples of
/// `object_bytes`: they are in memory.
const CHAIN_FACTOR: u64 = 8;
/// The same for objects that name what they differ from by its id: which chains they form is not known before
/// they are resolved, so all of a pack count together. Few servers send such packs.
const BY_ID_FACTOR: u64 = 32;
/// Maximum size of a blob in multiples of `object_bytes`.
const BLOB_FACTOR: u64 = 4;
/// Maximum size of all objects together, in multiples of `object_bytes` plus multiples of the pack's size. A
/// checkout has up to 20 times the bytes of its pack.
const ALL_FACTOR: u64 = 256;
const INFLATION: u64 = 64;
/// Objects besides files and folders: commits.
const COMMITS: u64 = 10_000;

/// Bounds on a pack.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Files of a repository, and as many folders.
    pub(super) files: u64,
    /// Bytes of a commit, a tree or a tag.
    pub(super) object_bytes: u64,
}

impl Bounds {
    /// Bytes of the largest object.
    pub(super) fn blob_bytes(&self) -> u64 {
        self.object_bytes.saturating_mul(BLOB_FACTOR)
    }
}

/// Why a pack is not stored.
#[derive(Debug)]
pub(super) enum PackFault {
    /// It is beyond a bound, which this key of `[engine.limits]` sets.
    Beyond(String, &'static str),
    /// It is damaged.
    Damaged(&'static str),
    /// The scan was cancelled.
    Stopped,
    /// It cannot be read.
    Unreadable(io::Error),
}

impl From<io::Error> for PackFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it breaks off"),
            _ => Self::Unreadable(error),
        }
    }
}

/// Looks through a pack of `size` bytes; gives the number of its objects.
pub(super) fn scan(
    pack: impl BufRead,
    size: u64,
    bounds: &Bounds,
    stop: &CancellationToken,
) -> Result<u32, PackFault> {
    let mut scan = Scan {
        pack: Counted { inner: pack, offset: 0 },
        bounds,
        inflate: Decompress::new(true),
        scratch: vec![0; 64 << 10],
        objects: Vec::new(),
        bytes: 0,
        by_id: 0,
        most: bounds.object_bytes.saturating_mul(ALL_FACTOR).saturating_add(size.saturating_mul(INFLATION)),
    };
    let count = scan.header()?;
    for _ in 0..count {
        if stop.is_cancelled() {
            return Err(PackFault::Stopped);
        }
        scan.object()?;
    }
    // The checksum is compared when the pack is stored.
    scan.pack.read_exact(&mut [0; 20])?;
    if scan.pack.fill_buf()?.is_empty() { Ok(count) } else { Err(PackFault::Damaged("more follows its end")) }
}

/// What is kept of an object.
struct Object {
    offset: u64,
    /// Its bytes and those of the objects that it differs from, one through the other.
    chain_bytes: u64,
    chain: u16,
    is_blob: bool,
}

struct Scan<'a, R> {
    pack: Counted<R>,
    bounds: &'a Bounds,
    inflate: Decompress,
    scratch: Vec<u8>,
    /// By offset.
    objects: Vec<Object>,
    /// Of all objects.
    bytes: u64,
    /// Of the objects that name what they differ from by its id.
    by_id: u64,
    most: u64,
}

impl<R: BufRead> Scan<'_, R> {
    fn header(&mut self) -> Result<u32, PackFault> {
        let mut header = [0; 12];
        self.pack.read_exact(&mut header)?;
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        if &header[..4] != b"PACK" || number(4) != 2 {
            return Err(PackFault::Damaged("it is no pack of version 2"));
        }
        let (count, most) = (number(8), self.bounds.files.saturating_mul(2).saturating_add(COMMITS));
        if u64::from(count) > most {
            return Err(PackFault::Beyond(
                format!("its pack has {count} objects, more than {most}"),
                "files",
            ));
        }
        Ok(count)
    }

    fn object(&mut self) -> Result<(), PackFault> {
        let offset = self.pack.offset;
        let mut byte = self.byte()?;
        let kind = byte >> 4 & 7;
        let (mut declared, mut shift) = (u64::from(byte & 15), 4);
        while byte & 128 != 0 {
            byte = self.byte()?;
            if shift > 57 {
                return Err(PackFault::Damaged("the size of an object is no number"));
            }
            declared |= u64::from(byte & 127) << shift;
            shift += 7;
        }
        let object = match kind {
            1 | 2 | 4 => self.whole(offset, declared, false)?,
            3 => self.whole(offset, declared, true)?,
            6 => {
                let base = self.base(offset)?;
                let (chain_bytes, chain, is_blob) = {
                    let base = &self.objects[base];
                    (base.chain_bytes, base.chain, base.is_blob)
                };
                let bytes = self.difference(declared)?;
                let chain_bytes = chain_bytes.saturating_add(bytes);
                self.check(bytes, is_blob)?;
                self.check_chain(chain_bytes, chain + 1, CHAIN_FACTOR)?;
                Object { offset, chain_bytes, chain: chain + 1, is_blob }
            }
            7 => {
                self.pack.read_exact(&mut [0; 20])?;
                let bytes = self.difference(declared)?;
                self.by_id = self.by_id.saturating_add(bytes);
                self.check(bytes, true)?;
                self.check_chain(self.by_id, 1, BY_ID_FACTOR)?;
                Object { offset, chain_bytes: self.by_id, chain: 1, is_blob: true }
            }
            _ => return Err(PackFault::Damaged("an object is of no known kind")),
        };
        self.objects.push(object);
        Ok(())
    }

    fn whole(&mut self, offset: u64, bytes: u64, is_blob: bool) -> Result<Object, PackFault> {
        self.check(bytes, is_blob)?;
        self.inflate(bytes, &mut [])?;
        Ok(Object { offset, chain_bytes: bytes, chain: 0, is_blob })
    }

    /// The index of the object that this one differs from.
    fn base(&mut self, offset: u64) -> Result<usize, PackFault> {
        let damaged = PackFault::Damaged("an object differs from one that is not there");
        let mut byte = self.byte()?;
        let mut distance = u64::from(byte & 127);
        while byte & 128 != 0 {
            byte = self.byte()?;
            if distance >= 1 << 50 {
                return Err(damaged);
            }
            distance = (distance + 1) << 7 | u64::from(byte & 127);
        }
        let base = offset.checked_sub(distance);
        let found = base.and_then(|base| self.objects.binary_search_by_key(&base, |one| one.offset).ok());
        found.ok_or(damaged)
    }

    /// Inflates a difference of this many bytes; gives the bytes of the object that it leads to.
    fn difference(&mut self, declared: u64) -> Result<u64, PackFault> {
        self.check(declared, true)?;
        let mut head = [0; 20];
        self.inflate(declared, &mut head)?;
        // The size of the base, then that of the result.
        let mut numbers = [0; 2];
        let mut bytes = head.iter();
        for number in &mut numbers {
            let mut shift = 0;
            loop {
                let byte = bytes
                    .next()
                    .filter(|_| shift <= 56)
                    .ok_or(PackFault::Damaged("a difference has no size"))?;
                *number |= u64::from(byte & 127) << shift;
                shift += 7;
                if byte & 128 == 0 {
                    break;
                }
            }
        }
        self.bytes = self.bytes.saturating_add(numbers[1]);
        self.check_all()?;
        Ok(numbers[1])
    }

    fn check(&self, bytes: u64, is_blob: bool) -> Result<(), PackFault> {
        let most = if is_blob { self.bounds.blob_bytes() } else { self.bounds.object_bytes };
        if bytes <= most {
            return Ok(());
        }
        let what = if is_blob { "a file" } else { "a commit, tree or tag" };
        Err(PackFault::Beyond(
            format!("{what} in its pack has {bytes} bytes, more than {most}"),
            "object_bytes",
        ))
    }

    fn check_chain(&self, bytes: u64, length: u16, factor: u64) -> Result<(), PackFault> {
        if length > LONGEST_CHAIN {
            let what = format!("its pack has a chain of more than {LONGEST_CHAIN} differences");
            return Err(PackFault::Beyond(what, "object_bytes"));
        }
        let most = self.bounds.object_bytes.saturating_mul(factor);
        if bytes > most {
            let what = format!("its pack has a chain of differences of more than {most} bytes");
            return Err(PackFault::Beyond(what, "object_bytes"));
        }
        Ok(())
    }

    /// Inflates an object of this many bytes; the first of them go to `head`.
    fn inflate(&mut self, declared: u64, head: &mut [u8]) -> Result<(), PackFault> {
        self.inflate.reset(true);
        let damaged = PackFault::Damaged("an object cannot be inflated");
        let mut filled = 0;
        loop {
            let input = self.pack.fill_buf()?;
            if input.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, &mut self.scratch, FlushDecompress::None);
            let status = status.map_err(|_| PackFault::Damaged("an object cannot be inflated"))?;
            let (read, written) = (self.inflate.total_in() - before.0, self.inflate.total_out() - before.1);
            let size = |bytes| usize::try_from(bytes).expect("a part of a buffer");
            let (read, written) = (size(read), size(written));
            self.pack.consume(read);
            let wanted = head.len().saturating_sub(filled).min(written);
            head[filled..filled + wanted].copy_from_slice(&self.scratch[..wanted]);
            filled += wanted;
            self.bytes = self.bytes.saturating_add(written as u64);
            if self.inflate.total_out() > declared {
                return Err(PackFault::Damaged("an object is longer than it says"));
            }
            match status {
                Status::StreamEnd if self.inflate.total_out() == declared => return self.check_all(),
                Status::StreamEnd => return Err(PackFault::Damaged("an object is shorter than it says")),
                Status::Ok | Status::BufError if read == 0 && written == 0 => return Err(damaged),
                Status::Ok | Status::BufError => {}
            }
        }
    }

    fn check_all(&self) -> Result<(), PackFault> {
        if self.bytes <= self.most {
            return Ok(());
        }
        let what = format!("the objects in its pack have more than {} bytes together", self.most);
        Err(PackFault::Beyond(what, "object_bytes"))
    }

    fn byte(&mut self) -> Result<u8, PackFault> {
        let mut byte = [0];
        self.pack.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

/// Knows how far it has been read.
struct Counted<R> {
    inner: R,
    offset: u64,
}

impl<R: BufRead> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.offset += bytes as u64;
        self.inner.consume(bytes);
    }
}

#[cfg(test)]
mod tests;
