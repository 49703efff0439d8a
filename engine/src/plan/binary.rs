//! Files that are binary by their name, for estimates: what is indexed, contents decide.

/// Extensions of images, sound, films, fonts, archives, programs and documents that hold no plain text.
const EXTENSIONS: &[&str] = &[
    "7z", "a", "aac", "avi", "avif", "bin", "bmp", "br", "bz2", "class", "db", "dll", "dmg", "doc", "docx",
    "ear", "eot", "exe", "flac", "gif", "gz", "heic", "icns", "ico", "iso", "jar", "jpeg", "jpg", "lz4",
    "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "o", "odp", "ods", "odt", "ogg", "otf",
    "parquet", "pdf", "png", "ppt", "pptx", "psd", "pyc", "rar", "rlib", "so", "sqlite", "sqlite3", "tar",
    "tgz", "tif", "tiff", "ttf", "wasm", "wav", "webm", "webp", "whl", "woff", "woff2", "xls", "xlsx", "xz",
    "zip", "zst",
];

/// Whether the name says that a file is binary.
pub fn is_binary_by_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, extension)) = name.rsplit_once('.') else { return false };
    EXTENSIONS.binary_search(&extension.to_ascii_lowercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_files_are_known_by_their_extension() {
        assert!(EXTENSIONS.is_sorted());
        for (path, expected) in [
            ("a/Logo.PNG", true),
            ("x.tar.gz", true),
            ("png", false),
            ("a.png/readme.md", false),
            ("b.svg", false),
        ] {
            assert_eq!(is_binary_by_name(path), expected, "{path}");
        }
    }
}
