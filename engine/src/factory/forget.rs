//! Deletes from the vector cache what earlier versions stored for embedders that are free.

use std::collections::BTreeSet;

use super::StageFactory;
use crate::config::Config;

impl StageFactory {
    /// Deletes cached vectors that nothing looks up any more. Does nothing after the first time.
    pub(crate) async fn forget_free_vectors(&self, config: &Config) {
        for components in lengths(config) {
            self.vector_cache(config).forget(components).await;
        }
    }
}

/// The lengths of vectors of embedders that are free, except those that another embedder in use has, or may have: what
/// has been paid for stays.
fn lengths(config: &Config) -> BTreeSet<usize> {
    let (mut free, mut paid) = (BTreeSet::new(), BTreeSet::new());
    for project in &config.projects {
        // A stage that lacks a variable or a file is left out of the configuration.
        let Some(embedder) = config.stage(&project.embedder).and_then(|stage| stage.settings.embedder())
        else {
            return BTreeSet::new();
        };
        match embedder.dimensions() {
            components if embedder.is_free() => free.extend(components),
            Some(components) => drop(paid.insert(components)),
            None => return BTreeSet::new(),
        }
    }
    free.difference(&paid).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Need, parse_str};

    /// Of a project with the built-in model, and of another one.
    fn of(embedder: &str) -> Vec<usize> {
        let project = |name: &str, embedder: &str| {
            format!(
                "[projects.{name}]\npipeline = [\"git\", \"prose\", \"{embedder}\", \"{name}\"]\nrepositories = [\"r\"]\n\
                 [stages.{name}]\nkind = \"sqlite\"\npath = \"{name}.db\"\n"
            )
        };
        let text = format!(
            "[stages.git]\nkind = \"git\"\n[stages.prose]\nkind = \"sentence\"\n[stages.model]\nkind = \"local\"\n\
             [stages.other]\n{embedder}\n{}{}",
            project("p", "model"),
            project("q", "other"),
        );
        let need = Need::selected(&["p".to_owned()]);
        let config = parse_str(Path::new("/none/reposync.toml"), &text, &need).expect("valid");
        lengths(&config).into_iter().collect()
    }

    #[test]
    fn lengths_that_a_paid_embedder_may_have_are_left_alone() {
        let paid = |keys: &str| of(&format!("kind = \"openai\"\nbase_url = \"http://localhost:1\"\n{keys}"));
        assert_eq!(of("kind = \"local\""), [256]);
        assert_eq!(paid("model = \"text-embedding-3-small\""), [256]);
        assert_eq!(paid("model = \"nomic\"\ndimensions = 768"), [256]);
        assert_eq!(paid("model = \"text-embedding-3-small\"\ndimensions = 256"), [0; 0]);
        assert_eq!(paid("model = \"nomic\""), [0; 0], "it may have any length");
        assert_eq!(paid("model = \"nomic\"\ndimensions = 768\napi_key = \"${NO_SUCH_KEY}\""), [0; 0]);
    }
}
