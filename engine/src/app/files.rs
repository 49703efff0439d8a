//! The files of a repository: which are indexed, which are not, and why.

use serde::Serialize;

use super::{App, AppError, AppResult};
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
        let view = |file: KnownFile| FileView {
            path: file.path,
            status: file.status.as_str(),
            detail: file.detail,
            chunks: file.vectors,
        };
        let total = found.len() as u64;
        let files = found.into_iter().skip(request.offset).take(request.limit).map(view).collect();
        Ok(FilesPage { files, total })
    }
}
