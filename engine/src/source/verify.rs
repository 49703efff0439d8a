//! Is a content the blob it claims to be?

use crate::model::GitSha;

/// Checks a content against its blob id. The error says what it is instead.
///
/// The hash detects the known SHA-1 collision attacks, as Git itself does.
pub(super) fn check_blob(content: &[u8], expected: GitSha) -> Result<(), String> {
    match gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Blob, content) {
        Ok(id) if id.as_bytes() == expected.0 => Ok(()),
        Ok(id) => Err(format!("the content is blob {id}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_apart() {
        // `git hash-object` of "hello\n"
        let hello: GitSha = "ce013625030ba8dba906f756967f9e9ca394464a".parse().expect("valid");
        assert_eq!(check_blob(b"hello\n", hello), Ok(()));
        let why = check_blob(b"hello", hello).expect_err("differs");
        assert_eq!(why, "the content is blob b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0");
    }
}
