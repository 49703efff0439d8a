//! Removes files from a cache. The user may choose any folder as the cache, so only files with names
//! that this program uses are removed.

use std::fs::{self, DirEntry};
use std::path::Path;

use super::functions::FILE as FUNCTIONS;

/// True for the name of an engine's folder, as created by any version of this program.
fn is_engine(name: &str) -> bool {
    let name = name.strip_prefix("mac1-").unwrap_or(name);
    name.strip_prefix("wasmtime")
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(version, hash)| is(version, 1..=4, |c| c.is_ascii_digit()) && is_hex(hash, 16))
}

/// True for the name of a file that any version of this program writes into an engine's folder.
fn is_ours(name: &str) -> bool {
    let numbers = |text: &str| {
        text.split_once('-')
            .is_some_and(|(a, b)| [a, b].into_iter().all(|n| is(n, 1..=20, |c| c.is_ascii_digit())))
    };
    if let Some(probe) = name.strip_prefix(".owner-") {
        return numbers(probe);
    }
    if let Some(part) = name.strip_prefix("functions.part-") {
        return numbers(part);
    }
    if name == FUNCTIONS {
        return true;
    }
    name.split_once('.').is_some_and(|(digest, rest)| {
        is_hex(digest, 64)
            && (matches!(rest, "cwasm" | "info" | "json") || rest.strip_prefix("part-").is_some_and(numbers))
    })
}

fn is_hex(text: &str, length: usize) -> bool {
    is(text, length..=length, |c| matches!(c, '0'..='9' | 'a'..='f'))
}

fn is(text: &str, length: std::ops::RangeInclusive<usize>, fits: impl Fn(char) -> bool) -> bool {
    length.contains(&text.len()) && text.chars().all(fits)
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, DirEntry)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry)))
}

/// The folders of engines. `file_type` does not follow symbolic links.
fn engines(root: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    entries(root)
        .filter(|(name, entry)| is_engine(name) && entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|(_, entry)| entry)
}

/// The regular files in an engine's folder that this program wrote.
fn files(engine: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    entries(engine)
        .filter(|(name, entry)| is_ours(name) && entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|(_, entry)| entry)
}

/// Evicts files in LRU order until the rest fits.
pub(super) fn oldest(root: &Path, max_bytes: u64) {
    let mut files: Vec<_> = engines(root)
        .flat_map(|engine| files(&engine.path()))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= max_bytes {
            break;
        }
        if fs::remove_file(&path).is_ok() {
            total -= bytes;
        }
    }
}

/// Removes the compiled components that earlier versions stored in `components` below
/// `[engine].cache`; they are never loaded. Leaves other files alone, and does not follow symbolic
/// links.
pub fn remove_former_cache(cache: &Path) {
    let root = cache.join("components");
    if !fs::symlink_metadata(&root).is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    let mut removed = 0;
    for engine in engines(&root).filter(|engine| !engine.file_name().to_string_lossy().starts_with("mac1-")) {
        removed += files(&engine.path()).filter(|file| fs::remove_file(file.path()).is_ok()).count();
        // Fails on purpose if the folder contains other files.
        drop(fs::remove_dir(engine.path()));
    }
    drop(fs::remove_dir(&root));
    if removed > 0 {
        tracing::info!(folder = %root.display(), files = removed, "compiled components of an earlier version removed");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    const ENGINE: &str = "mac1-wasmtime48-0123456789abcdef";

    fn name(digit: char, extension: &str) -> String {
        format!("{}.{extension}", digit.to_string().repeat(64))
    }

    fn put(path: &Path) {
        fs::create_dir_all(path.parent().expect("below")).expect("folders");
        fs::write(path, [0; 100]).expect("written");
    }

    #[test]
    fn the_oldest_are_removed_first_and_other_files_are_kept() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join(ENGINE);
        let strange = [root.path().join("notes/a"), folder.join("notes.txt"), root.path().join("b")];
        let own = ['a', 'b', 'c'].map(|digit| folder.join(name(digit, "cwasm")));
        for (age, path) in (1..).zip(own.iter().rev().chain(&strange)) {
            put(path);
            let file = File::options().append(true).open(path).expect("open");
            file.set_modified(SystemTime::now() - Duration::from_secs(age * 100)).expect("set");
        }
        oldest(root.path(), 200);
        assert_eq!(own.map(|path| path.exists()), [false, true, true]);
        oldest(root.path(), 0);
        assert!(fs::read_dir(&folder).expect("there").count() == 1 && strange.iter().all(|it| it.exists()));
    }

    #[test]
    fn only_own_names_are_recognized() {
        for ours in [name('0', "cwasm"), name('f', "json"), name('a', "info"), name('a', "part-1-22")] {
            assert!(is_ours(&ours), "{ours}");
        }
        for ours in [".owner-12-0", FUNCTIONS, "functions.part-12-0"] {
            assert!(is_ours(ours), "{ours}");
        }
        let long = name('a', "cwasm.bak");
        for strange in [
            "x.cwasm",
            ".owner-",
            ".owner-1",
            "README",
            "functions",
            "functions.part-1",
            long.as_str(),
            &name('g', "cwasm"),
        ] {
            assert!(!is_ours(strange), "{strange}");
        }
        assert!(is_engine("wasmtime48-0123456789abcdef") && is_engine(ENGINE));
        assert!(!is_engine("wasmtime-0123456789abcdef") && !is_engine("wasmtime48-xyz"));
    }

    #[test]
    fn files_of_an_earlier_version_are_removed() {
        let root = tempfile::tempdir().expect("a folder");
        let engine = root.path().join("components/wasmtime48-0123456789abcdef");
        put(&engine.join(name('a', "cwasm")));
        put(&engine.join(name('a', "json")));
        put(&engine.join(".owner-1-0"));
        remove_former_cache(root.path());
        assert!(!root.path().join("components").exists());
        remove_former_cache(root.path());
    }

    #[test]
    fn other_files_are_kept() {
        let root = tempfile::tempdir().expect("a folder");
        let components = root.path().join("components");
        let kept = [
            components.join("wasmtime48-0123456789abcdef/notes.txt"),
            components.join("other/a").join(name('a', "cwasm")),
            components.join(ENGINE).join(name('b', "cwasm")),
        ];
        for path in &kept {
            put(path);
        }
        remove_former_cache(root.path());
        assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_not_followed() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().expect("a folder");
        let elsewhere = root.path().join("elsewhere/wasmtime48-0123456789abcdef");
        let file = elsewhere.join(name('a', "cwasm"));
        put(&file);
        // The folder itself, the folder of an engine, a file.
        symlink(root.path().join("elsewhere"), root.path().join("components")).expect("linked");
        remove_former_cache(root.path());
        fs::remove_file(root.path().join("components")).expect("the link is there");
        let components = root.path().join("components");
        fs::create_dir(&components).expect("made");
        symlink(&elsewhere, components.join("wasmtime48-0123456789abcdef")).expect("linked");
        remove_former_cache(root.path());
        let engine = components.join("wasmtime48-fedcba9876543210");
        fs::create_dir(&engine).expect("made");
        symlink(&file, engine.join(name('b', "cwasm"))).expect("linked");
        remove_former_cache(root.path());
        assert!(file.exists());
    }
}
