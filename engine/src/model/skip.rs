//! Why a file is not indexed.

use serde::{Deserialize, Serialize};

/// The reason why a file of the tree is not in the index. Skipping is not a failure.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A NUL in the first 8,000 bytes (the rule Git itself uses).
    Binary,
    /// Neither UTF-8, nor UTF-16 with a byte order mark, nor certainly Latin-1; or a path that is not UTF-8.
    Undecodable,
    /// More than `max_file_bytes`.
    TooLarge,
    /// Nothing but white space after cleaning.
    Empty,
    /// No chunker of the pipeline accepts the file.
    NoChunker,
    /// A Git LFS pointer instead of the content.
    LfsPointer,
    /// A submodule.
    Submodule,
    /// A symbolic link.
    Symlink,
    /// Matched by `exclude_patterns`.
    Excluded,
    /// Its extension is not in `allowed_extensions`.
    OtherExtension,
    /// `linguist-generated` in `.gitattributes`.
    Generated,
    /// `linguist-vendored` in `.gitattributes`.
    Vendored,
    /// Nothing but encoded data (such as base64). Also the reason why such data in an indexed file
    /// is not embedded.
    EncodedData,
    /// Holds a secret, and the project has `secrets = "skip"`.
    Secret,
}

impl SkipReason {
    const ALL: [Self; 14] = [
        Self::Binary,
        Self::Undecodable,
        Self::TooLarge,
        Self::Empty,
        Self::NoChunker,
        Self::LfsPointer,
        Self::Submodule,
        Self::Symlink,
        Self::Excluded,
        Self::OtherExtension,
        Self::Generated,
        Self::Vendored,
        Self::EncodedData,
        Self::Secret,
    ];

    /// The reason with this [`label`](Self::label).
    pub fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label() == label)
    }

    /// The reason in messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too large",
            Self::Empty => "empty",
            Self::NoChunker => "no chunker takes it",
            Self::LfsPointer => "LFS pointer",
            Self::Submodule => "submodule",
            Self::Symlink => "symlink",
            Self::Excluded => "excluded",
            Self::OtherExtension => "other extension",
            Self::Generated => "generated",
            Self::Vendored => "vendored",
            Self::EncodedData => "encoded data",
            Self::Secret => "holds a secret",
        }
    }
}
