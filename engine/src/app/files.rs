//! The files of a repository: which are indexed, which are not, and why.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::recipe_text::recipe_text;
use super::{App, AppError, AppResult};
use crate::model::Fingerprint;
use crate::state::{FileStatus, KnownFile};

/// Which files.
#[derive(Debug, Clone, Default)]
pub struct FilesRequest {
    /// The project.
    pub project: String,
    /// The repository.
    pub repository: String,
    /// A part of the path, whatever its case; empty: all paths.
    pub path: String,
    /// `indexed`, `skipped` or `failed`; empty: all files.
    pub status: String,
    /// How many of the first files are left out.
    pub offset: usize,
    /// Maximum number of files.
    pub limit: usize,
}

/// A page of files, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FilesPage {
    /// The files.
    pub files: Vec<FileView>,
    /// Number of files that match, on all pages.
    pub total: u64,
    /// The recipes of the files that match, those with the most files first.
    pub recipes: Vec<RecipeFiles>,
}

/// A recorded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FileView {
    /// Its path.
    pub path: String,
    /// `synced`, `skipped`, `failed`, `adopted` or `damaged`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// The error of the last try, or why it is skipped.
    pub detail: Option<String>,
    /// Chunks in the index.
    pub chunks: u64,
    /// The stages that made the chunks, with their versions; null: there are none, or it is not known, as of adopted files.
    pub recipe: Option<String>,
}

/// The files of one recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RecipeFiles {
    /// The stages that made the chunks, with their versions.
    pub recipe: String,
    /// Number of files, among those that match.
    pub files: u64,
}

impl App {
    /// A page of the recorded files of a repository.
    pub async fn files(&self, request: &FilesRequest) -> AppResult<FilesPage> {
        self.check_names(std::slice::from_ref(&request.project))?;
        if !["", "indexed", "skipped", "failed"].contains(&request.status.as_str()) {
            return Err(AppError::Invalid("`status` is `indexed`, `skipped` or `failed`".to_owned()));
        }
        let is_known = self.access.has_repository(&request.repository);
        let own = self.stores(std::slice::from_ref(&request.project)).into_iter().next().filter(|_| is_known);
        let Some((_, store)) = own else { return Ok(FilesPage::default()) };
        let store = store?;
        let place = store.store.place(&store.namespace).await?;
        let known = self.state.known_files(&request.project, &request.repository, &place).await?;
        let wanted = request.path.to_lowercase();
        let matches = |file: &KnownFile| {
            let status = match request.status.as_str() {
                "indexed" => file.vectors > 0,
                "skipped" => file.status == FileStatus::Skipped,
                "failed" => matches!(file.status, FileStatus::Failed | FileStatus::Damaged),
                _ => true,
            };
            status && (wanted.is_empty() || file.path.to_lowercase().contains(&wanted))
        };
        let mut found: Vec<KnownFile> = known.files.into_iter().filter(matches).collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let texts = self.recipe_texts(&found).await?;
        let mut counts: BTreeMap<&String, u64> = BTreeMap::new();
        for text in found.iter().filter_map(|file| texts.get(made_by(file)?)) {
            *counts.entry(text).or_default() += 1;
        }
        let mut recipes: Vec<RecipeFiles> =
            counts.into_iter().map(|(recipe, files)| RecipeFiles { recipe: recipe.clone(), files }).collect();
        recipes.sort_by_key(|recipe| std::cmp::Reverse(recipe.files));
        let view = |file: KnownFile| FileView {
            recipe: made_by(&file).and_then(|recipe| texts.get(recipe).cloned()),
            path: file.path,
            status: file.status.as_str(),
            detail: file.detail,
            chunks: file.vectors,
        };
        let total = found.len() as u64;
        let files = found.into_iter().skip(request.offset).take(request.limit).map(view).collect();
        Ok(FilesPage { files, total, recipes })
    }

    /// The recipes of these files in words, as far as they are known.
    async fn recipe_texts(&self, files: &[KnownFile]) -> AppResult<HashMap<Fingerprint, String>> {
        let used: HashSet<&Fingerprint> = files.iter().filter_map(made_by).collect();
        let known = self.state.recipes(used.into_iter().cloned().collect()).await?;
        let text = |parts: &str| serde_json::from_str(parts).ok().map(|parts| recipe_text(&parts));
        Ok(known.into_iter().filter_map(|(recipe, parts)| Some((recipe, text(&parts)?))).collect())
    }
}

/// The recipe of the chunks that the index holds of a file.
fn made_by(file: &KnownFile) -> Option<&Fingerprint> {
    file.recipe.as_ref().filter(|_| file.vectors > 0)
}
