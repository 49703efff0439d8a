//! Objects of a Git repository on disk, read within bounds. Used by every source that has one.

mod behind;
mod contents;
mod cost;
mod files;
mod history;
mod object;
mod open;
mod outside;
mod reading;
mod tree;
mod work_tree;

pub(super) use open::{Access, Purpose, Reader};
pub(super) use reading::{blocking, with_reader};
