//! Checks of the sizes that the settings of several chunkers have.

use crate::settings::Checker;

/// `max_tokens` and `overlap_tokens`.
pub(super) fn check_tokens(check: &mut Checker<'_>, most: Option<usize>, shared: Option<usize>) {
    match (most, shared) {
        (Some(most), shared) => {
            check.positive("max_tokens", &most);
            check_overlap(check, ["overlap_tokens", "max_tokens"], shared.unwrap_or(0), most);
        }
        (None, Some(_)) if check.sound(&["max_tokens"]) => {
            let hint = "add `max_tokens`, or use `chunk_overlap` with `max_chunk_size`";
            check.flag("overlap_tokens", "has no effect without `max_tokens`", hint);
        }
        (None, _) => {}
    }
}

/// An overlap must be smaller than the size. `keys` are those of the two.
pub(super) fn check_overlap(check: &mut Checker<'_>, keys: [&str; 2], shared: usize, most: usize) {
    let [shared_key, most_key] = keys;
    if shared < most || most == 0 || !check.sound(&keys) {
        return;
    }
    if check.has(shared_key) {
        let message = format!("must be less than `{most_key}` ({most})");
        check.flag(shared_key, message, "a tenth to a fifth of the size is usual");
    } else {
        let message = format!("must be more than `{shared_key}`, which is {shared} by default");
        check.flag(most_key, message, format!("add a smaller `{shared_key}`"));
    }
}
