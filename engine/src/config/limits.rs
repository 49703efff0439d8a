//! Checks `[engine.limits]`.

use crate::settings::{Problem, Table};
use crate::source::Limits;

/// Zero is rejected, since it would refuse every repository.
pub(super) fn check_limits(table: &Table<'_>, limits: &Limits, problems: &mut Vec<Problem>) {
    for (key, value) in [
        ("files", limits.files as u64),
        ("path_bytes", limits.path_bytes as u64),
        ("depth", limits.depth as u64),
        ("object_bytes", limits.object_bytes.0),
        ("tree_requests", limits.tree_requests as u64),
    ] {
        if let (0, Some(value)) = (value, table.inner("limits", key)) {
            let hint = "leave it out for the default";
            table.flag_at(problems, &format!("limits.{key}"), value.span(), "must be more than zero", hint);
        }
    }
}
