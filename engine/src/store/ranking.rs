//! Keys of stores that rank by vectors and by words.

use crate::settings::Checker;

/// Checks `vector_weight` and `text_weight`.
pub(super) fn check_weights(check: &mut Checker<'_>, vector_weight: f64, text_weight: f64) {
    let weights = [("vector_weight", vector_weight), ("text_weight", text_weight)];
    for (key, _) in weights.iter().filter(|(_, weight)| !weight.is_finite() || *weight < 0.0) {
        let hint = "a number, at least 0; 1 is the default, 0 leaves the ranking out";
        check.flag(key, "not a weight", hint);
    }
    if weights.iter().all(|(_, weight)| *weight == 0.0) {
        let hint = "leave one of them out for the default, 1";
        check.flag("text_weight", "one of the weights must be more than zero", hint);
    }
}
