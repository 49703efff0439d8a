//! The tokens of cl100k and their ranks.

use std::collections::HashMap;
use std::sync::LazyLock;

use rustc_hash::FxBuildHasher;

/// All tokens by rank: a byte with the length, then the token. `models/cl100k/README.md` says where they are from.
static TOKENS: &[u8] = include_bytes!("../../../models/cl100k/tokens.bin");
/// How many there are.
const COUNT: usize = 100_256;

static RANKS: LazyLock<HashMap<&[u8], u32, FxBuildHasher>> = LazyLock::new(|| {
    let mut ranks = HashMap::with_capacity_and_hasher(COUNT, FxBuildHasher);
    ranks.extend(tokens().zip(0..));
    ranks
});

/// The rank of a token: of two neighbouring pairs, the one whose union has the lower rank is united first.
pub(super) fn rank(bytes: &[u8]) -> Option<u32> {
    RANKS.get(bytes).copied()
}

/// All tokens by rank.
pub(super) fn tokens() -> impl Iterator<Item = &'static [u8]> {
    let mut rest = TOKENS;
    std::iter::from_fn(move || {
        let (&length, after) = rest.split_first()?;
        let (token, after) = after.split_at(length.into());
        rest = after;
        Some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the file with REPOSYNC_UPDATE_TOKENS set.
    #[test]
    fn the_tokens_are_those_of_the_reference() {
        let reference = &bpe_openai::cl100k_base().bpe;
        let mut expected = Vec::new();
        for token in 0..u32::try_from(reference.num_tokens()).expect("fits") {
            let bytes = reference.token_bytes(token);
            expected.push(u8::try_from(bytes.len()).expect("cl100k's tokens are shorter than 256 bytes"));
            expected.extend(bytes);
        }
        if std::env::var_os("REPOSYNC_UPDATE_TOKENS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/cl100k/tokens.bin");
            std::fs::write(path, &expected).expect("the file can be written");
        } else {
            assert!(expected == TOKENS, "run this test with REPOSYNC_UPDATE_TOKENS=1");
        }
        assert_eq!(reference.num_tokens(), COUNT);
    }
}
