#![expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]

use std::io::Write as _;

use super::*;

const COMMIT: u8 = 1;
const TREE: u8 = 2;
const BLOB: u8 = 3;
const BY_OFFSET: u8 = 6;
const BY_ID: u8 = 7;

/// Writes packs that Git would not.
struct Pack {
    bytes: Vec<u8>,
    count: u32,
}

impl Pack {
    fn new() -> Self {
        Self { bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), count: 0 }
    }

    /// Adds an object that says it has `declared` bytes; gives its offset.
    fn object(&mut self, kind: u8, declared: u64, base: &[u8], content: &[u8]) -> u64 {
        let offset = self.bytes.len() as u64;
        let (mut byte, mut left) = (kind << 4 | (declared & 15) as u8, declared >> 4);
        while left > 0 {
            self.bytes.push(byte | 128);
            (byte, left) = ((left & 127) as u8, left >> 7);
        }
        self.bytes.push(byte);
        self.bytes.extend_from_slice(base);
        let mut deflate = flate2::write::ZlibEncoder::new(&mut self.bytes, flate2::Compression::best());
        deflate.write_all(content).expect("in memory");
        deflate.finish().expect("in memory");
        self.count += 1;
        offset
    }

    fn blob(&mut self, content: &[u8]) -> u64 {
        self.object(BLOB, content.len() as u64, &[], content)
    }

    /// A difference to the object at `base` that leads to `result` bytes.
    fn differs(&mut self, base: u64, result: u64) -> u64 {
        let mut distance = self.bytes.len() as u64 - base;
        let mut coded = vec![(distance & 127) as u8];
        while distance >= 128 {
            distance = (distance >> 7) - 1;
            coded.insert(0, (distance & 127) as u8 | 128);
        }
        let delta = delta(result);
        self.object(BY_OFFSET, delta.len() as u64, &coded, &delta)
    }

    fn scan(mut self, bounds: &Bounds) -> Result<u32, PackFault> {
        self.bytes[8..12].copy_from_slice(&self.count.to_be_bytes());
        self.bytes.extend_from_slice(&[0; 20]);
        let size = self.bytes.len() as u64;
        scan(self.bytes.as_slice(), size, bounds, &CancellationToken::new())
    }
}

/// The beginning of a difference: both sizes.
fn delta(result: u64) -> Vec<u8> {
    let mut delta = vec![1];
    let mut left = result;
    while left >= 128 {
        delta.push((left & 127) as u8 | 128);
        left >>= 7;
    }
    delta.push(left as u8);
    delta
}

fn bounds() -> Bounds {
    Bounds { files: 10, object_bytes: 1000 }
}

fn beyond(pack: Pack) -> (String, &'static str) {
    match pack.scan(&bounds()) {
        Err(PackFault::Beyond(what, key)) => (what, key),
        other => panic!("{other:?}"),
    }
}

fn damaged(pack: Pack) -> &'static str {
    match pack.scan(&bounds()) {
        Err(PackFault::Damaged(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pack_within_its_bounds_is_counted() {
    let mut pack = Pack::new();
    let first = pack.blob(&[7; 4000]);
    let second = pack.differs(first, 3000);
    pack.differs(second, 100);
    pack.object(TREE, 1000, &[], &[0; 1000]);
    pack.object(BY_ID, delta(9).len() as u64, &[1; 20], &delta(9));
    pack.blob(b"");
    assert_eq!(pack.scan(&bounds()).expect("within"), 6);
    assert_eq!(Pack::new().scan(&bounds()).expect("empty"), 0);
}

#[test]
fn objects_beyond_their_bound_are_refused_before_they_are_inflated() {
    // Almost nothing follows: the size alone decides.
    let mut pack = Pack::new();
    pack.object(COMMIT, 1001, &[], b"x");
    let expected =
        ("a commit, tree or tag in its pack has 1001 bytes, more than 1000".to_owned(), "object_bytes");
    assert_eq!(beyond(pack), expected);
    let mut pack = Pack::new();
    pack.object(BLOB, 1 << 40, &[], b"x");
    assert!(beyond(pack).0.starts_with("a file in its pack has 1099511627776 bytes"));
    let mut pack = Pack::new();
    let tree = pack.object(TREE, 10, &[], &[0; 10]);
    pack.differs(tree, 1001);
    assert!(beyond(pack).0.starts_with("a commit, tree or tag"), "a tree stays one as a difference");
}

#[test]
fn an_object_that_inflates_to_more_than_it_says_is_damaged() {
    let mut pack = Pack::new();
    pack.object(BLOB, 10, &[], &vec![0; 10 << 20]);
    assert_eq!(damaged(pack), "an object is longer than it says");
    let mut pack = Pack::new();
    pack.object(BLOB, 10, &[], b"x");
    assert_eq!(damaged(pack), "an object is shorter than it says");
}

#[test]
fn chains_of_differences_are_bounded_in_length_and_in_memory() {
    let mut pack = Pack::new();
    let mut last = pack.blob(b"x");
    for _ in 0..=LONGEST_CHAIN {
        last = pack.differs(last, 1);
    }
    let long = Bounds { files: 10_000, ..bounds() };
    let Err(PackFault::Beyond(what, _)) = pack.scan(&long) else { panic!("a chain of 4096") };
    assert_eq!(what, "its pack has a chain of more than 4095 differences");

    let mut pack = Pack::new();
    let mut last = pack.blob(&[0; 3000]);
    for _ in 0..2 {
        last = pack.differs(last, 3000);
    }
    assert_eq!(beyond(pack).0, "its pack has a chain of differences of more than 8000 bytes");
}

#[test]
fn all_objects_together_are_bounded() {
    let mut pack = Pack::new();
    let base = pack.blob(&[0; 100]);
    for _ in 0..400 {
        pack.differs(base, 4000);
    }
    let many = Bounds { files: 1000, ..bounds() };
    let Err(PackFault::Beyond(what, key)) = pack.scan(&many) else { panic!("1.6 MB of 6 KB") };
    assert!(what.starts_with("the objects in its pack have more than"), "{what}");
    assert_eq!(key, "object_bytes");
    let mut pack = Pack::new();
    pack.count = 10_021;
    pack.bytes.extend_from_slice(&[0; 40]);
    assert_eq!(beyond(pack), ("its pack has 10021 objects, more than 10020".to_owned(), "files"));
}

#[test]
fn packs_that_are_none_are_damaged() {
    let mut pack = Pack::new();
    pack.bytes[0] = b'p';
    assert_eq!(damaged(pack), "it is no pack of version 2");
    let mut pack = Pack::new();
    pack.blob(b"x");
    pack.differs(5, 1);
    assert_eq!(damaged(pack), "an object differs from one that is not there");
    let mut pack = Pack::new();
    pack.object(5, 1, &[], b"x");
    assert_eq!(damaged(pack), "an object is of no known kind");
    let mut pack = Pack::new();
    pack.blob(b"x");
    pack.bytes.extend_from_slice(b"more");
    assert_eq!(damaged(pack), "more follows its end");
    let mut pack = Pack::new();
    pack.count = 3;
    assert_eq!(damaged(pack), "an object is of no known kind", "the checksum is read as objects");
    let stop = CancellationToken::new();
    stop.cancel();
    let mut pack = Pack::new();
    pack.blob(b"x");
    pack.bytes[11] = 1;
    let size = pack.bytes.len() as u64;
    assert!(matches!(scan(pack.bytes.as_slice(), size, &bounds(), &stop), Err(PackFault::Stopped)));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_looked_through_or_refused(bytes: Vec<u8>) {
        let pack = [&b"PACK\0\0\0\x02\0\0\0\x05"[..], &bytes].concat();
        drop(scan(pack.as_slice(), pack.len() as u64, &bounds(), &CancellationToken::new()));
    }
}
