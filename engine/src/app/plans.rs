//! Stored plans: plans that are kept until somebody approves or discards them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;

use super::{App, AppError, AppResult, Narrow as _, PlanRequest};
use crate::factory::{RunFlags, standing_prune};
use crate::model::{GuardKind, StageError, StageResult};
use crate::plan::{Action, Estimate, Plan};
use crate::state::{PLAN_LIFE, PlanContent, PlanStatus, StoredPlan};
use crate::sync::{SavedPlan, bases, run_id};

/// The largest saved plan that is kept, in bytes. Larger ones are for `plan --out`.
const LARGEST: u64 = 256 << 20;
/// How the folder of a plan's file begins, next to the state.
const FOLDER: &str = "plan-";
/// What to do about a plan that may not be carried out.
const PLAN_AGAIN: &str = "make a new plan";

/// What is planned and kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct StorePlanRequest {
    /// The project.
    pub project: String,
    /// Compare everything again, whatever is recorded.
    pub full: bool,
    /// Let the deletion guard pass everything.
    pub allow_deletes: bool,
    /// Let the spending guard pass everything.
    pub allow_cost: bool,
    /// Fetch and chunk the contents to count chunks, texts and tokens.
    pub exact: bool,
}

/// A stored plan in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct PlanSummary {
    /// Files that enter the index.
    pub added: u64,
    /// Files that are indexed again.
    pub changed: u64,
    /// Files that take the place of a removed file with the same content.
    pub moved: u64,
    /// Files that leave the index.
    pub removed: u64,
    /// Files that the deletion guard keeps.
    pub withheld: u64,
    /// The guards that withhold something.
    pub guards: Vec<GuardKind>,
    /// The bill.
    pub estimate: Estimate,
    /// True where chunks, texts and tokens were counted, false where they were estimated.
    pub exact: bool,
    /// Everything is compared again.
    pub full: bool,
    /// The deletion guard lets everything pass.
    pub allow_deletes: bool,
    /// The spending guard lets everything pass.
    pub allow_cost: bool,
    /// The version of the program that made it.
    pub program: String,
}

/// A stored plan.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PlanView {
    /// Its id.
    pub id: String,
    /// The project.
    pub project: String,
    /// When it was made (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub created_at: DateTime<Utc>,
    /// The name of the token that made it.
    pub created_by: String,
    /// When it is deleted (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: DateTime<Utc>,
    /// `open`, `approved` or `discarded`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// When that was decided (UTC).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<DateTime<Utc>>,
    /// The name of the token that decided it.
    pub decided_by: Option<String>,
    /// The run that carries it out.
    pub run: Option<String>,
    /// The plan in numbers; `None`: the caller may see only some repositories.
    pub summary: Option<PlanSummary>,
    /// Why it cannot be approved any more; only where the whole plan is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
    /// What it does; only where the whole plan is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// The saved plan of a stored plan, in a file that is deleted with this.
pub struct UnpackedPlan {
    saved: SavedPlan,
    folder: TempDir,
}

impl UnpackedPlan {
    /// The saved plan, and its folder, which is deleted when it is dropped.
    pub fn into_parts(self) -> (SavedPlan, TempDir) {
        (self.saved, self.folder)
    }
}

impl PlanSummary {
    fn of(plan: &Plan, request: &StorePlanRequest) -> Self {
        let parts = || plan.projects.iter();
        let count = |action| {
            let repositories = parts().flat_map(|part| &part.repositories);
            let files = repositories.flat_map(|repository| &repository.files);
            files.filter(|file| file.action == action).count() as u64
        };
        Self {
            added: count(Action::Add),
            changed: count(Action::Change),
            moved: count(Action::Move),
            removed: count(Action::Remove),
            withheld: count(Action::Withhold),
            guards: parts().flat_map(|part| &part.guards).map(|withheld| withheld.guard).collect(),
            estimate: parts().next().map(|part| part.estimate.clone()).unwrap_or_default(),
            exact: plan.exact,
            full: request.full,
            allow_deletes: request.allow_deletes,
            allow_cost: request.allow_cost,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// True where a guard withholds something or is overridden: whoever approves or discards the plan needs the scope
    /// `admin`.
    pub fn concerns_guards(&self) -> bool {
        !self.guards.is_empty() || self.allow_deletes || self.allow_cost
    }
}

impl App {
    /// Plans a run of a project, for a plan that will be stored. Does not write to the state.
    pub async fn make_stored_plan(
        &self,
        request: &StorePlanRequest,
        by: &str,
    ) -> AppResult<(StoredPlan, PlanContent)> {
        self.check_names(std::slice::from_ref(&request.project))?;
        let folder = self.plan_folder()?;
        let out = folder.path().join("plan");
        let flags = RunFlags {
            full: request.full,
            prune: standing_prune(&self.config),
            allow_deletes: request.allow_deletes,
            allow_cost: request.allow_cost,
            whole_file: false,
        };
        let wanted = PlanRequest {
            projects: vec![request.project.clone()],
            flags,
            exact: request.exact,
            out: Some(out.clone()),
        };
        // It is kept whole; readers see what they may see.
        let plan = self.clone().seen_by(std::sync::Arc::default()).plan(wanted).await?;
        if let Some(error) = plan.projects.iter().find_map(|part| part.error.as_ref()) {
            let failed = StageError::refused(&error.stage, format!("planning failed: {}", error.error));
            return Err(match &error.hint {
                Some(hint) => failed.hint(hint),
                None => failed,
            }
            .into());
        }
        let summary = PlanSummary::of(&plan, request);
        let content = off_executor(move || {
            Ok(PlanContent { shown: pack(json!(plan).to_string().as_bytes()), saved: pack(&read(&out)?) })
        })
        .await?;
        let created_at = Utc::now();
        let stored = StoredPlan {
            id: run_id(created_at),
            project: request.project.clone(),
            created_at,
            created_by: by.to_owned(),
            summary: json!(summary),
            status: PlanStatus::Open,
            decided_at: None,
            decided_by: None,
            run: None,
        };
        Ok((stored, content))
    }

    /// The stored plans that the caller may see, newest first; of a project, or of all.
    pub async fn stored_plans(&self, project: Option<&str>) -> StageResult<Vec<PlanView>> {
        let wanted = |plan: &StoredPlan| {
            self.access.has_project(&plan.project) && project.is_none_or(|name| name == plan.project)
        };
        let plans = self.state.plans(Utc::now()).await?;
        Ok(plans.into_iter().filter(wanted).map(|plan| self.plan_view(plan)).collect())
    }

    /// A stored plan in numbers.
    pub async fn stored_plan(&self, id: &str) -> AppResult<PlanView> {
        Ok(self.plan_view(self.find_plan(id).await?))
    }

    /// A stored plan with all that it does.
    pub async fn whole_stored_plan(&self, id: &str) -> AppResult<PlanView> {
        let stored = self.find_plan(id).await?;
        let content = self.state.plan_content(id).await?.ok_or_else(|| absent(id))?;
        let shown = content.shown;
        let plan = off_executor(move || {
            serde_json::from_slice::<Plan>(&unpack(&shown)?)
                .map_err(|error| StageError::local("plan", "the stored plan is damaged").caused_by(error))
        });
        let mut plan = plan.await?;
        plan.narrow(&self.access);
        let is_open = stored.status == PlanStatus::Open;
        let mut view = self.plan_view(stored);
        if is_open {
            view.stale = self.unpack_plan(&view, content.saved).await.err().map(|error| error.message);
        }
        view.plan = Some(plan);
        Ok(view)
    }

    /// The saved plan of a stored plan, if it may be carried out.
    pub async fn ready_plan(&self, id: &str) -> AppResult<UnpackedPlan> {
        let view = self.stored_plan(id).await?;
        let content = self.state.plan_content(id).await?.ok_or_else(|| absent(id))?;
        let ready = self.unpack_plan(&view, content.saved).await;
        ready.map_err(|error| AppError::Conflict {
            code: "stale",
            message: format!("{} ({PLAN_AGAIN})", error.message),
        })
    }

    /// Deletes files that a process left behind that was killed.
    pub fn clear_plans(&self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(self.local_folder())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(FOLDER) && entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    async fn find_plan(&self, id: &str) -> AppResult<StoredPlan> {
        let found = self.state.plan(id, Utc::now()).await?;
        found.filter(|plan| self.access.has_project(&plan.project)).ok_or_else(|| absent(id))
    }

    fn plan_view(&self, plan: StoredPlan) -> PlanView {
        let summary = serde_json::from_value(plan.summary).ok();
        PlanView {
            expires_at: plan.created_at + PLAN_LIFE,
            id: plan.id,
            project: plan.project,
            created_at: plan.created_at,
            created_by: plan.created_by,
            status: plan.status.as_str(),
            decided_at: plan.decided_at,
            decided_by: plan.decided_by,
            run: plan.run,
            summary: summary.filter(|_| self.access.is_of_all_repositories()),
            stale: None,
            plan: None,
        }
    }

    /// Writes the saved plan to a file and reads it. Refuses it where the configuration, a component or the program has
    /// changed since.
    async fn unpack_plan(&self, view: &PlanView, packed: Vec<u8>) -> StageResult<UnpackedPlan> {
        let program = view.summary.as_ref().map_or(env!("CARGO_PKG_VERSION"), |summary| &summary.program);
        if program != env!("CARGO_PKG_VERSION") {
            return Err(StageError::refused(
                "plan",
                format!(
                    "the plan was made by RepoSync {program}, and this is RepoSync {}",
                    env!("CARGO_PKG_VERSION")
                ),
            ));
        }
        let project = view.project.as_str();
        if self.config.project(project).is_none_or(|project| !project.enabled) {
            let message = format!("project `{project}` is no longer in the file, or disabled");
            return Err(StageError::refused("plan", message));
        }
        let candidates = self.candidates(&[project.to_owned()]).await?;
        let folder = self.plan_folder()?;
        let unpacked = off_executor(move || {
            let path = folder.path().join("plan");
            let written = File::create(&path).and_then(|mut file| file.write_all(&unpack_bytes(&packed)?));
            written.map_err(|error| cannot_keep(&path, error))?;
            Ok(UnpackedPlan { saved: SavedPlan::read(&path)?, folder })
        });
        let unpacked = unpacked.await?;
        unpacked.saved.check(&bases(&candidates))?;
        Ok(unpacked)
    }

    /// A new folder for the file of a plan, for this user alone.
    fn plan_folder(&self) -> StageResult<TempDir> {
        let parent = self.local_folder();
        let made = tempfile::Builder::new().prefix(FOLDER).tempdir_in(&parent);
        made.map_err(|error| cannot_keep(&parent, error))
    }

    /// The folder of the files that this machine keeps next to the state.
    fn local_folder(&self) -> PathBuf {
        self.config.engine.state.local().parent().unwrap_or(Path::new(".")).to_owned()
    }
}

fn absent(id: &str) -> AppError {
    let id: String = id.chars().take(100).collect();
    AppError::Absent(format!("there is no plan `{id}`; plans are kept for {} days", PLAN_LIFE.num_days()))
}

fn cannot_keep(path: &Path, error: std::io::Error) -> StageError {
    StageError::local("plan", format!("cannot write the plan to `{}`", path.display())).caused_by(error)
}

fn read(path: &Path) -> StageResult<Vec<u8>> {
    let read = || {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut content = Vec::new();
        file.take(LARGEST).read_to_end(&mut content)?;
        Ok::<_, std::io::Error>((bytes, content))
    };
    let (bytes, content) = read().map_err(|error| cannot_keep(path, error))?;
    if bytes > LARGEST {
        return Err(StageError::refused(
            "plan",
            format!("the plan is too large to be kept ({} MiB)", bytes >> 20),
        )
        .hint("use `reposync plan --out FILE` and `reposync apply FILE`"));
    }
    Ok(content)
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    packed.write_all(bytes).and_then(|()| packed.finish()).unwrap_or_default()
}

fn unpack(packed: &[u8]) -> StageResult<Vec<u8>> {
    unpack_bytes(packed)
        .map_err(|error| StageError::local("plan", "the stored plan is damaged").caused_by(error))
}

fn unpack_bytes(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(packed).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs work on files and with large texts on a blocking thread.
async fn off_executor<T: Send + 'static>(
    work: impl FnOnce() -> StageResult<T> + Send + 'static,
) -> StageResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StageError::new("plan", crate::model::ErrorKind::Bug, "working on a stored plan panicked")
            .caused_by(error)
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let text = "{\"path\":\"guide/start.md\"}\n".repeat(1000);
        let packed = pack(text.as_bytes());
        assert!(packed.len() < text.len() / 10, "{} bytes", packed.len());
        assert_eq!(unpack(&packed).expect("whole"), text.as_bytes());
        let cut = unpack(&packed[..packed.len() / 2]).expect_err("cut");
        assert!(cut.message.contains("damaged"), "{}", cut.message);
    }

    #[test]
    fn only_plans_that_concern_a_guard_need_an_administrator() {
        let plain = PlanSummary::default();
        assert!(!plain.concerns_guards());
        for concerned in [
            PlanSummary { guards: vec![GuardKind::Deletion], ..plain.clone() },
            PlanSummary { allow_deletes: true, ..plain.clone() },
            PlanSummary { allow_cost: true, ..plain },
        ] {
            assert!(concerned.concerns_guards(), "{concerned:?}");
        }
    }
}
