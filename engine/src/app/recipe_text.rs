//! A recorded recipe in one line.

use serde_json::Value;

/// The stages of a recipe with their versions, from its parts as the state has them: `prose (sentence 1), ada (…);
/// secrets off`.
pub fn recipe_text(parts: &Value) -> String {
    let stage = |part: &Value| {
        let text = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
        format!("{} ({})", text("stage"), text("label"))
    };
    let chunkers = parts["chunkers"].as_array().into_iter().flatten().map(stage);
    let secrets = parts["secrets"].as_str().unwrap_or_default();
    let stages: Vec<String> = chunkers.chain([stage(&parts["embedder"])]).collect();
    format!("{}; secrets {secrets}", stages.join(", "))
}
