//! Everything a chunker component needs, in one trait and one macro.
