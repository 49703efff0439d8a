//! The token of API requests: `[api] token`, or one that the daemon generates and stores next to the
//! ledger, so that no other user of the machine can call the API.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::model::{Secret, StageError, StageResult, register_secrets};
use crate::private;

/// Random bytes in a generated token.
const BYTES: usize = 32;

/// The current token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    value: Secret,
    file: Option<PathBuf>,
}

impl ApiToken {
    /// The configured token, or the generated one, which is created if missing. Requires the claim
    /// on the ledger, so that two daemons do not generate different tokens.
    pub(super) fn of(config: &Config) -> StageResult<Self> {
        match &config.api.token {
            Some(value) => Ok(Self { value: value.clone(), file: None }),
            None => Self::own(config.engine.state.local()),
        }
    }

    /// The token for a later state of the file. A generated token does not change during the life
    /// of the daemon.
    pub(super) fn next(&self, config: &Config) -> StageResult<Self> {
        if config.api.token.is_none() && self.file.is_some() { Ok(self.clone()) } else { Self::of(config) }
    }

    /// Reads the generated token next to a ledger. `None`: the file is missing or invalid; the
    /// daemon replaces an invalid one.
    pub fn read(state: &Path) -> io::Result<Option<Secret>> {
        let path = Self::path(state);
        let file = match private::open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let token = parse(file)?;
        register_secrets(token.iter().map(|token| token.expose().to_owned()));
        Ok(token)
    }

    /// The path of the generated token's file.
    pub fn path(state: &Path) -> PathBuf {
        let mut path = state.as_os_str().to_owned();
        path.push(".token");
        PathBuf::from(path)
    }

    /// The value that a request must carry.
    pub fn value(&self) -> &Secret {
        &self.value
    }

    /// The file of a generated token; `None` if `[api] token` is set.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn own(state: &Path) -> StageResult<Self> {
        let path = Self::path(state);
        let token = load_or_make(&path).map_err(|error| {
            StageError::local("api", format!("cannot use `{}` for the token of the API", path.display()))
                .caused_by(error)
                .hint("remove it so that the daemon creates a new one, or set `[api] token`")
        })?;
        register_secrets([token.expose().to_owned()]);
        tracing::info!(file = %path.display(), "requests to the API need the token in this file");
        Ok(Self { value: token, file: Some(path) })
    }
}

/// Reads the token from a file. Replaces one that is malformed or that other users had access to.
fn load_or_make(path: &Path) -> io::Result<Secret> {
    let why = match private::open_regular(path) {
        Ok(file) if !private::is_own_alone(&file)? => Some("others had access to it"),
        Ok(file) => match parse(file)? {
            Some(token) => return Ok(token),
            None => Some("it held no token"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some("it could not be read"),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let token = hex::encode(bytes);
    private::replace(path, format!("{token}\n").as_bytes())?;
    if let Some(why) = why {
        tracing::warn!(file = %path.display(), why, "made a new token for the API");
    }
    Ok(Secret::new(token))
}

/// `None` if the content is not a token that [`load_or_make`] could have written.
fn parse(file: impl io::Read) -> io::Result<Option<Secret>> {
    let mut text = Vec::new();
    file.take(2 * BYTES as u64 + 2).read_to_end(&mut text)?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let is_token = text.len() == 2 * BYTES && text.iter().all(u8::is_ascii_hexdigit);
    Ok(is_token.then(|| Secret::new(String::from_utf8_lossy(text))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::mask_secrets;

    fn ledger() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state.db");
        (folder, state)
    }

    fn own(state: &Path) -> String {
        ApiToken::own(state).expect("a token").value.expose().to_owned()
    }

    #[test]
    fn a_token_is_made_once_and_masked() {
        let (_folder, state) = ledger();
        assert_eq!(ApiToken::read(&state).expect("nothing there"), None);
        let token = own(&state);
        assert_eq!((token.len(), hex::decode(&token).expect("hex").len()), (64, BYTES));
        assert_eq!(own(&state), token);
        assert_eq!(ApiToken::read(&state).expect("readable"), Some(Secret::new(token.clone())));
        assert_eq!(mask_secrets(&token), "***");
        let (_folder, other) = ledger();
        assert_ne!(own(&other), token);
    }

    #[test]
    fn a_file_that_holds_no_token_is_replaced() {
        let (_folder, state) = ledger();
        let path = ApiToken::path(&state);
        let token = own(&state);
        let long = format!("{token}\n\n");
        for text in ["", "\n", "a token", &token[1..], &format!("{token}0"), &long, &token.replace('a', "g")]
        {
            if text == token {
                continue; // a token without the digit
            }
            private::replace(&path, text.as_bytes()).expect("written");
            assert_eq!(ApiToken::read(&state).expect("readable"), None, "{text:?}");
            let made = own(&state);
            assert_eq!(fs::read_to_string(&path).expect("there"), format!("{made}\n"), "{text:?}");
        }
        // A missing final newline is accepted: an editor may have removed it.
        private::replace(&path, token.as_bytes()).expect("written");
        assert_eq!(own(&state), token);
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_could_read_is_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, state) = ledger();
        let path = ApiToken::path(&state);
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        let mut token = own(&state);
        assert_eq!(mode(), 0o600);
        for wide in [0o644, 0o640, 0o620, 0o604, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(wide)).expect("set");
            let made = own(&state);
            assert_ne!(made, token, "{wide:o}");
            assert_eq!((mode(), own(&state)), (0o600, made.clone()), "{wide:o}");
            token = made;
        }
    }

    #[cfg(unix)]
    #[test]
    fn neither_a_link_nor_a_folder_is_used() {
        let (folder, state) = ledger();
        let path = ApiToken::path(&state);
        let elsewhere = folder.path().join("elsewhere");
        private::replace(&elsewhere, "a".repeat(64).as_bytes()).expect("written");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("a link");
        let refused = ApiToken::own(&state).expect_err("a link");
        assert!(refused.one_line().contains("it is a symbolic link"), "{}", refused.one_line());
        ApiToken::read(&state).expect_err("a link");
        assert_eq!(fs::read_to_string(&elsewhere).expect("there"), "a".repeat(64));
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder");
        let refused = ApiToken::own(&state).expect_err("a folder");
        assert!(refused.one_line().contains("it is no regular file"), "{}", refused.one_line());
    }
}
