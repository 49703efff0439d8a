//! Saves documents on which a component failed below the cache folder, so that its author can
//! replay them. Keeps a bounded number, and uses only the file name of a document's path.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Maximum number of saved documents; the oldest are deleted first.
const MAX_KEPT: usize = 20;

/// Saves a document and the details of the failure. Returns the path of the saved document.
pub(super) fn keep(
    root: &Path,
    component: &str,
    path: &str,
    text: &str,
    details: &str,
) -> std::io::Result<PathBuf> {
    let digest = hex::encode(Sha256::digest([path, "\0", text].concat()));
    let folder = root.join(format!("{}-{}", plain(component), &digest[..12]));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    let name = plain(path.rsplit('/').next().unwrap_or_default());
    let document = folder.join(name);
    fs::write(&document, text)?;
    fs::write(folder.join("failure.txt"), format!("{path}: {details}"))?;
    prune(root, MAX_KEPT)?;
    Ok(document)
}

/// A file name that stays in its folder, needs no shell quoting, and is not mistaken for an option.
fn plain(name: &str) -> String {
    const MAX_CHARS: usize = 80;
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .collect();
    // Truncate at the start, because the extension at the end identifies the file type.
    let start = plain.len().saturating_sub(MAX_CHARS);
    let plain = plain[start..].trim_start_matches(['.', '-']);
    if plain.is_empty() || plain == "failure.txt" { format!("document_{plain}") } else { plain.to_owned() }
}

fn prune(root: &Path, keep: usize) -> std::io::Result<()> {
    let mut folders: Vec<_> = fs::read_dir(root)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    folders.sort();
    let surplus = folders.len().saturating_sub(keep);
    folders.into_iter().take(surplus).try_for_each(|(_, folder)| fs::remove_dir_all(folder))
}

/// The shell command that replays a document.
pub(super) fn command(component: &Path, document: &Path, config_json: &str) -> String {
    let mut command = format!(
        "reposync plugin test {} {}",
        quoted(&component.display().to_string()),
        quoted(&document.display().to_string())
    );
    if config_json != "{}" {
        command.push_str(&format!(" --settings {}", quoted(config_json)));
    }
    command
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if !word.is_empty() && word.chars().all(bare) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_documents_stay_in_the_folder() {
        let root = tempfile::tempdir().expect("a folder");
        for path in ["../../etc/passwd", "a/..", "", "-rf", "failure.txt", "a/\u{1b}[2J x.md", "a\\b"] {
            let kept = keep(root.path(), "x 1.0.0", path, "text", "why").expect("kept");
            assert!(kept.starts_with(root.path()), "{path}");
            assert_eq!(kept.components().count(), root.path().components().count() + 2, "{path}");
            assert_eq!(fs::read_to_string(&kept).expect("there"), "text");
        }
    }

    #[test]
    fn the_number_of_saved_documents_is_bounded() {
        let root = tempfile::tempdir().expect("a folder");
        for n in 0..MAX_KEPT + 5 {
            keep(root.path(), "x", "a.md", &n.to_string(), "why").expect("kept");
        }
        assert_eq!(fs::read_dir(root.path()).expect("there").count(), MAX_KEPT);
    }

    #[test]
    fn the_command_can_be_pasted() {
        let command = command(Path::new("my plugins/x.wasm"), Path::new("/c/a.md"), r#"{"a":"it's"}"#);
        assert_eq!(
            command,
            r#"reposync plugin test 'my plugins/x.wasm' /c/a.md --settings '{"a":"it'\''s"}'"#
        );
    }
}
