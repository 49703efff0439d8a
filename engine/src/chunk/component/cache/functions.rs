//! Machine code of single functions, kept between compilations: most of an edited component is the same as before,
//! above all the interpreter in a Python or JavaScript component. Cranelift derives the key of a function from its
//! intermediate representation and all compiler settings, and asks for code by that key.
//!
//! All functions are in one file (`functions.pack`), authenticated with the user's key like every file of the cache.
//! It is in memory only while a component is compiled.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::path::PathBuf;

use parking_lot::Mutex;
use wasmtime::component::Component;
use wasmtime::{CacheStore, Engine};

use super::key::{Key, Mac};
use super::private;

/// File name of the pack.
pub(super) const FILE: &str = "functions.pack";

/// Smaller components compile in a fraction of a second, which is not worth reading and writing the pack.
const MIN_COMPONENT: usize = 1 << 20;

/// Maximum size of a pack in bytes. The functions of the latest compilation come first.
const MAX_BYTES: usize = 128 << 20;

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of the length that follows the key.
const LENGTH: usize = 4;

type FunctionKey = [u8; KEY];

/// Where the pack is, and what authenticates it.
pub(super) struct Pack<'a> {
    pub(super) path: PathBuf,
    pub(super) key: &'a Key,
    /// The purpose of the file, as input of its authentication code.
    pub(super) about: String,
}

/// The functions that the compiler may use. Empty unless a component is being compiled with a pack.
#[derive(Debug, Default)]
pub(in crate::chunk::component) struct Functions(Mutex<Session>);

/// The compilations under way: they share one copy of the pack.
#[derive(Debug, Default)]
struct Session {
    /// Number of compilations under way.
    compilations: usize,
    /// Content of the pack.
    packed: Vec<u8>,
    /// Order of the keys in the pack.
    order: Vec<FunctionKey>,
    entries: HashMap<FunctionKey, Entry>,
    /// Bytes of new functions.
    added: usize,
}

#[derive(Debug)]
struct Entry {
    code: Code,
    is_used: bool,
}

#[derive(Debug)]
enum Code {
    /// In `packed`.
    Packed(Range<usize>),
    New(Vec<u8>),
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = FunctionKey::try_from(key).ok()?;
        let mut session = self.0.lock();
        let Session { packed, entries, .. } = &mut *session;
        let entry = entries.get_mut(&key)?;
        entry.is_used = true;
        Some(Cow::Owned(entry.code.bytes(packed).to_vec()))
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        let Ok(key) = FunctionKey::try_from(key) else { return false };
        let mut session = self.0.lock();
        let size = KEY + LENGTH + code.len();
        if session.compilations == 0 || session.added + size > MAX_BYTES {
            return false;
        }
        session.added += size;
        session.entries.insert(key, Entry { code: Code::New(code), is_used: true });
        true
    }
}

impl Code {
    fn bytes<'a>(&'a self, packed: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Packed(range) => &packed[range.clone()],
            Self::New(code) => code,
        }
    }
}

impl Functions {
    /// Compiles a component with the functions of the pack, and puts new functions into it. Without a pack, and
    /// for small components, every function is compiled.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        bytes: &[u8],
        pack: Option<Pack<'_>>,
    ) -> wasmtime::Result<Component> {
        match pack.filter(|_| bytes.len() >= MIN_COMPONENT) {
            Some(pack) => self.compile_with(engine, bytes, &pack),
            None => Component::from_binary(engine, bytes),
        }
    }

    fn compile_with(&self, engine: &Engine, bytes: &[u8], pack: &Pack<'_>) -> wasmtime::Result<Component> {
        let _open = Open::begin(self, pack);
        Component::from_binary(engine, bytes)
    }
}

/// A compilation under way. On drop, the last one writes the pack and frees the memory.
struct Open<'a> {
    functions: &'a Functions,
    pack: &'a Pack<'a>,
}

impl<'a> Open<'a> {
    fn begin(functions: &'a Functions, pack: &'a Pack<'a>) -> Self {
        let mut session = functions.0.lock();
        if session.compilations == 0
            && let Some(packed) = pack.read()
        {
            *session = Session::of(packed);
        }
        session.compilations += 1;
        drop(session);
        Self { functions, pack }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut session = self.functions.0.lock();
        session.compilations -= 1;
        if session.compilations > 0 {
            return;
        }
        let session = std::mem::take(&mut *session);
        let used = session.entries.values().filter(|entry| entry.is_used).count();
        let new = session.entries.values().filter(|entry| matches!(entry.code, Code::New(_))).count();
        tracing::debug!(reused = used - new, compiled = new, "functions of a component");
        if new > 0
            && let Err(error) = self.pack.write(&session)
        {
            tracing::warn!(file = %self.pack.path.display(), %error, "cannot cache compiled functions");
        }
    }
}

impl Session {
    /// The session of an authenticated pack. What follows an incomplete entry is ignored.
    fn of(packed: Vec<u8>) -> Self {
        let mut session = Self::default();
        let mut rest = 0..packed.len();
        while let Some((head, _)) = packed[rest.clone()].split_first_chunk::<{ KEY + LENGTH }>() {
            let key: FunctionKey = std::array::from_fn(|at| head[at]);
            let length: [u8; LENGTH] = std::array::from_fn(|at| head[KEY + at]);
            let start = rest.start + KEY + LENGTH;
            let Some(end) =
                usize::try_from(u32::from_le_bytes(length)).ok().and_then(|n| start.checked_add(n))
            else {
                break;
            };
            if end > packed.len() {
                break;
            }
            session.order.push(key);
            session.entries.insert(key, Entry { code: Code::Packed(start..end), is_used: false });
            rest.start = end;
        }
        session.packed = packed;
        session
    }

    /// The functions to keep, within the maximum size: those of the compilations that just ended, then the others
    /// in the order of the old pack.
    fn kept(&self) -> impl Iterator<Item = (&FunctionKey, &[u8])> {
        let used = self.entries.iter().filter(|(_, entry)| entry.is_used);
        let old = self.order.iter().filter_map(|key| Some((key, self.entries.get(key)?)));
        let all = used.chain(old.filter(|(_, entry)| !entry.is_used));
        let mut total = 0;
        all.map(|(key, entry)| (key, entry.code.bytes(&self.packed))).take_while(move |(_, code)| {
            total += KEY + LENGTH + code.len();
            total <= MAX_BYTES
        })
    }
}

impl Pack<'_> {
    /// The functions in the file; `None` if it is missing, too long or fails authentication.
    fn read(&self) -> Option<Vec<u8>> {
        let file = private::open(&self.path).ok()?;
        // Record the last use for `prune`; best effort, fails on read-only media.
        drop(file.set_modified(std::time::SystemTime::now()));
        let most = (blake3::OUT_LEN + MAX_BYTES) as u64;
        let mut bytes = Vec::with_capacity(usize::try_from(file.metadata().ok()?.len().min(most)).ok()?);
        file.take(most + 1).read_to_end(&mut bytes).ok()?;
        let start = bytes.len().checked_sub(blake3::OUT_LEN)?;
        let mac = Mac::from_bytes(bytes[start..].try_into().ok()?);
        bytes.truncate(start);
        if bytes.len() > MAX_BYTES || self.key.of_bytes(&self.about, &bytes) != mac {
            tracing::warn!(file = %self.path.display(), "cached functions are rejected and compiled again");
            return None;
        }
        Some(bytes)
    }

    fn write(&self, session: &Session) -> std::io::Result<()> {
        private::write_with(&self.path, |file| {
            let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
            let mut hasher = self.key.hasher(&self.about);
            for (key, code) in session.kept() {
                let Ok(length) = u32::try_from(code.len()) else { continue };
                for part in [key, length.to_le_bytes().as_slice(), code] {
                    hasher.update(part);
                    file.write_all(part)?;
                }
            }
            file.write_all(hasher.finalize().as_bytes())?;
            file.flush()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use wasmtime::Config;

    use super::*;

    /// A component with two functions, one of which returns `number`, and `data` in its memory.
    fn component(number: u32, data: &str) -> Vec<u8> {
        wat::parse_str(format!(
            "(component (core module (memory 1) (data (i32.const 0) \"{data}\")
               (func (export \"same\") (param i32) (result i32) local.get 0 i32.const 7 i32.mul)
               (func (export \"other\") (result i32) i32.const {number})))"
        ))
        .expect("good text")
    }

    struct Bench {
        _root: tempfile::TempDir,
        folder: PathBuf,
        engine: Engine,
        functions: Arc<Functions>,
        key: Key,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a folder");
            let (folder, functions) = (root.path().to_owned(), Arc::new(Functions::default()));
            let mut config = Config::new();
            // Side by side, the compiler numbers some parts of a function by which others came first, and with them its key.
            config.parallel_compilation(false);
            config.enable_incremental_compilation(Arc::clone(&functions) as Arc<_>).expect("a compiler");
            let engine = Engine::new(&config).expect("an engine");
            let key = Key::load_or_create(&folder.join("key")).expect("a key");
            Self { _root: root, folder, engine, functions, key }
        }

        fn pack(&self) -> Pack<'_> {
            Pack { path: self.folder.join(FILE), key: &self.key, about: "tests".to_owned() }
        }

        /// Compiles and returns the numbers of functions in the pack before, of those used, and of those compiled.
        fn compile(&self, bytes: &[u8]) -> [usize; 3] {
            let pack = self.pack();
            let open = Open::begin(&self.functions, &pack);
            let before = self.functions.0.lock().entries.len();
            Component::from_binary(&self.engine, bytes).expect("valid");
            let counts = {
                let session = self.functions.0.lock();
                let new = |entry: &&Entry| matches!(entry.code, Code::New(_));
                let new = session.entries.values().filter(new).count();
                let used = session.entries.values().filter(|entry| entry.is_used).count();
                [before, used - new, new]
            };
            drop(open);
            assert!(self.functions.0.lock().entries.is_empty(), "nothing stays in memory");
            counts
        }
    }

    #[test]
    fn only_functions_that_differ_are_compiled_again() {
        let bench = Bench::new();
        let [before, reused, all] = bench.compile(&component(1, "abc"));
        assert_eq!((before, reused), (0, 0));
        assert!(all >= 2, "{all}");
        assert_eq!(bench.compile(&component(1, "another text")), [all, all, 0], "only data differs");
        assert_eq!(bench.compile(&component(2, "abc")), [all, all - 1, 1]);
        assert_eq!(bench.compile(&component(1, "abc")), [all + 1, all, 0], "older functions stay");
    }

    #[test]
    fn a_pack_that_was_changed_is_ignored_and_replaced() {
        let bench = Bench::new();
        let [_, _, all] = bench.compile(&component(1, ""));
        let path = bench.pack().path;
        let good = std::fs::read(&path).expect("written");
        let mut flipped = good.clone();
        flipped[KEY + LENGTH] ^= 1;
        let other = Pack { about: "another purpose".to_owned(), ..bench.pack() };
        assert_eq!(other.read(), None);
        for bad in [&flipped[..], &good[..good.len() - 1], &[], b"short"] {
            private::write(&path, bad).expect("written");
            assert_eq!(bench.compile(&component(1, "")), [0, 0, all]);
            assert_eq!(bench.compile(&component(1, "")), [all, all, 0], "replaced");
        }
    }

    #[test]
    fn an_incomplete_entry_ends_a_pack() {
        let entry = |key: u8, code: &[u8]| {
            let length = u32::try_from(code.len()).expect("short").to_le_bytes();
            [&[key; KEY], length.as_slice(), code].concat()
        };
        let whole = [entry(1, b"one"), entry(2, b"")].concat();
        for (more, kept) in [(vec![], 2), (entry(3, b"x"), 3), (entry(3, b"xy")[..KEY + 5].to_vec(), 2)] {
            let session = Session::of([whole.clone(), more].concat());
            assert_eq!(session.order.len(), kept);
            assert_eq!(session.entries[&[1; KEY]].code.bytes(&session.packed), b"one");
        }
    }

    #[test]
    fn the_functions_in_use_displace_older_ones() {
        let code = vec![0; MAX_BYTES / 4];
        let entry = |is_used| Entry { code: Code::New(code.clone()), is_used };
        let entries = (0..6).map(|key| ([key; KEY], entry(key == 5))).collect();
        let order = (0..5).map(|key| [key; KEY]).collect();
        let session = Session { order, entries, ..Session::default() };
        let kept: Vec<u8> = session.kept().map(|(key, _)| key[0]).collect();
        assert_eq!(kept, [5, 0, 1]);
    }

    #[test]
    fn nothing_is_kept_outside_of_a_compilation() {
        let functions = Functions::default();
        assert!(!functions.insert(&[1; KEY], vec![1]));
        assert!(functions.get(&[1; KEY]).is_none());
        assert!(Pack { path: Path::new("/nowhere").into(), ..Bench::new().pack() }.read().is_none());
    }
}
