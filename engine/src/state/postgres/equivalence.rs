//! Random calls give the same answers, and leave the same state, as in an SQLite file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::PostgresState;
use super::tests::migrated;
use crate::model::{
    Counts, DeclaredProject, Fingerprint, GitSha, Outcome, Place, ProjectReport, RepoEntry, RepoRef, Report,
    StoredAnswer,
};
use crate::state::sqlite::SqliteState;
use crate::state::{
    AdoptedRecord, Damaged, Fence, FileIds, FileKey, FileRow, FileStatus, IdsOf, NewRun, PlacedIds,
    ProjectEnd, ProjectRow, RepositorySync, RunQuery, SelectedRepository, State, StoredChunk,
    UnchangedRepository,
};

const PROJECTS: [&str; 2] = ["handbook", "Zoo"];
const REPOSITORIES: [&str; 3] = ["acme/a", "acme/B", "acme/_"];
const PATHS: [&str; 3] = ["a.md", "B/ä.md", "b.md"];
const IDS: [&str; 5] = ["1", "2", "3", "4", "5"];

/// A call that writes.
#[derive(Debug, Clone)]
enum Call {
    Enter { project: usize, place: usize, recipe: u8 },
    Finish { project: usize, place: usize, selection: bool, over: bool },
    RemoveProject(usize),
    Adopt { project: usize, place: usize, records: Vec<(usize, usize, usize)> },
    Listing { project: usize, names: Vec<&'static str> },
    Findings { project: usize, found: Vec<(&'static str, bool)>, complete: bool },
    SawHead { project: usize, repository: usize, head: u8 },
    Begin { project: usize, repository: usize },
    FinishRepository { project: usize, repository: usize, head: u8, settled: bool },
    Confirm { project: usize, repository: usize, head: u8 },
    Orphans { project: usize, names: Vec<&'static str> },
    RemoveRepository { project: usize, repository: usize },
    Intents { project: usize, place: usize, files: Vec<(usize, usize, Vec<&'static str>)> },
    Commit { project: usize, place: usize, files: BTreeMap<(usize, usize), Vec<&'static str>>, skipped: bool },
    Fail { project: usize, place: usize, repository: usize, path: usize },
    Damage { project: usize, files: Option<Vec<(usize, usize)>> },
    RemoveFiles { project: usize, files: Vec<(usize, usize)>, left: Vec<(usize, &'static str)> },
    CloseLeftovers { project: usize, place: usize, ids: Vec<&'static str> },
    StartRun { id: u8, project: Option<usize> },
    FinishRun { id: u8, project: usize },
    Answer(u8),
}

fn calls() -> impl Strategy<Value = Call> {
    let (project, place, repository, path) = (0..2_usize, 0..2_usize, 0..3_usize, 0..3_usize);
    let ids = || subsequence(IDS.to_vec(), 0..4);
    let names = || subsequence(REPOSITORIES.to_vec(), 0..=3);
    let files = prop::collection::vec((0..3_usize, 0..3_usize), 0..3);
    prop_oneof![
        3 => (project.clone(), place.clone(), 0..2_u8)
            .prop_map(|(project, place, recipe)| Call::Enter { project, place, recipe }),
        1 => (project.clone(), place.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(project, place, selection, over)| Call::Finish { project, place, selection, over }),
        1 => project.clone().prop_map(Call::RemoveProject),
        1 => (project.clone(), place.clone(), prop::collection::vec((0..3_usize, 0..3_usize, 0..5_usize), 0..4))
            .prop_map(|(project, place, records)| Call::Adopt { project, place, records }),
        1 => (project.clone(), names()).prop_map(|(project, names)| Call::Listing { project, names }),
        1 => (project.clone(), prop::collection::vec((select(REPOSITORIES.to_vec()), any::<bool>()), 0..3), any::<bool>())
            .prop_map(|(project, found, complete)| Call::Findings { project, found, complete }),
        2 => (project.clone(), repository.clone(), 0..3_u8)
            .prop_map(|(project, repository, head)| Call::SawHead { project, repository, head }),
        1 => (project.clone(), repository.clone())
            .prop_map(|(project, repository)| Call::Begin { project, repository }),
        1 => (project.clone(), repository.clone(), 0..3_u8, any::<bool>()).prop_map(
            |(project, repository, head, settled)| Call::FinishRepository { project, repository, head, settled }),
        1 => (project.clone(), repository.clone(), 0..3_u8)
            .prop_map(|(project, repository, head)| Call::Confirm { project, repository, head }),
        1 => (project.clone(), names()).prop_map(|(project, names)| Call::Orphans { project, names }),
        1 => (project.clone(), repository.clone())
            .prop_map(|(project, repository)| Call::RemoveRepository { project, repository }),
        3 => (project.clone(), place.clone(), prop::collection::vec((0..3_usize, 0..3_usize, ids()), 0..3))
            .prop_map(|(project, place, files)| Call::Intents { project, place, files }),
        4 => (project.clone(), place.clone(), prop::collection::btree_map((0..3_usize, 0..3_usize), ids(), 0..4), any::<bool>())
            .prop_map(|(project, place, files, skipped)| Call::Commit { project, place, files, skipped }),
        1 => (project.clone(), place.clone(), repository, path)
            .prop_map(|(project, place, repository, path)| Call::Fail { project, place, repository, path }),
        1 => (project.clone(), prop::option::of(files.clone()))
            .prop_map(|(project, files)| Call::Damage { project, files }),
        1 => (project.clone(), files, prop::collection::vec((0..2_usize, select(IDS.to_vec())), 0..2))
            .prop_map(|(project, files, left)| Call::RemoveFiles { project, files, left }),
        1 => (project.clone(), place, ids())
            .prop_map(|(project, place, ids)| Call::CloseLeftovers { project, place, ids }),
        1 => (any::<u8>(), prop::option::of(project.clone()))
            .prop_map(|(id, project)| Call::StartRun { id, project }),
        1 => (any::<u8>(), project).prop_map(|(id, project)| Call::FinishRun { id, project }),
        1 => any::<u8>().prop_map(Call::Answer),
    ]
}

fn place(n: usize) -> Place {
    Place { kind: "k".into(), host: "h".into(), index: String::new(), namespace: format!("n{n}") }
}

fn entry(repository: usize) -> RepoEntry {
    RepoEntry {
        repo: RepoRef { name: REPOSITORIES[repository].into(), key: repository.to_string() },
        default_branch: "main".into(),
        pushed_at: None,
        pushed_at_settled: true,
    }
}

fn file((repository, path): (usize, usize)) -> FileKey {
    FileKey::new(REPOSITORIES[repository], PATHS[path])
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn report(id: u8, project: usize) -> Report {
    let part = ProjectReport {
        project: PROJECTS[project].into(),
        outcome: Outcome::Partial,
        counts: Counts::default(),
        skipped: Vec::new(),
        failures: Vec::new(),
        error: None,
        retry_after: None,
        withheld: Vec::new(),
        notes: Vec::new(),
        search_quality: None,
    };
    Report {
        run: id.to_string(),
        trigger: "test".into(),
        started_at: DateTime::UNIX_EPOCH,
        seconds: 1.5,
        outcome: Outcome::Partial,
        projects: vec![part],
    }
}

/// Makes a call; its answer as text. An error counts as an answer without its words, which name the implementation.
async fn make(state: &dyn State, fence: Fence, call: Call, now: DateTime<Utc>) -> String {
    fn text<T: std::fmt::Debug>(answer: crate::model::StageResult<T>) -> String {
        answer.map_or_else(|_| "an error".into(), |answer| format!("{answer:?}"))
    }
    let name = |n: usize| PROJECTS[n];
    match call {
        Call::Enter { project, place: at, recipe } => {
            let row = ProjectRow {
                name: name(project).into(),
                organization: (recipe == 0).then(|| "acme".into()),
                filter_keyword: None,
                namespace: format!("n{at}"),
                enabled: true,
                allowed_extensions: (recipe == 1).then(|| owned(&[".md"])),
                exclude_patterns: owned(&["*.lock"]),
            };
            let recipe = Fingerprint::of([recipe.to_string().as_str()]);
            text(state.enter_project(fence, &row, &place(at), &recipe, now).await)
        }
        Call::Finish { project, place: at, selection, over } => {
            let end = ProjectEnd { selection: selection.then(|| "s".into()), first_run_over: over };
            text(state.finish_project(fence, name(project), &place(at), end, now).await)
        }
        Call::RemoveProject(project) => text(state.remove_project(fence, name(project)).await),
        Call::Adopt { project, place: at, records } => {
            let mut seen = BTreeSet::new();
            let records = records.into_iter().filter(|(_, _, id)| seen.insert(*id));
            let records = records.map(|(repository, path, id)| AdoptedRecord {
                id: IDS[id].into(),
                repository: REPOSITORIES[repository].into(),
                path: PATHS[path].into(),
                fingerprint: Fingerprint::of([IDS[id]]),
            });
            text(state.adopt(fence, name(project), &place(at), records.collect(), now).await)
        }
        Call::Listing { project, names } => {
            let names = owned(&names).into_iter().collect();
            text(state.record_listing(fence, name(project), names, "first").await)
        }
        Call::Findings { project, found, complete } => {
            let found = found.into_iter().map(|(name, empty)| {
                (name.to_owned(), SelectedRepository { error: (!empty).then(|| "gone".into()), empty })
            });
            text(state.record_findings(fence, name(project), found.collect(), complete).await)
        }
        Call::SawHead { project, repository, head } => {
            text(state.saw_head(fence, name(project), &entry(repository), GitSha([head; 20]), now).await)
        }
        Call::Begin { project, repository } => {
            text(state.begin_repository(fence, name(project), REPOSITORIES[repository]).await)
        }
        Call::FinishRepository { project, repository, head, settled } => {
            let commit = GitSha([head; 20]);
            let sync = RepositorySync { entry: entry(repository), commit, settled, basis: "b".into() };
            text(state.finish_repository(fence, name(project), sync, now).await)
        }
        Call::Confirm { project, repository, head } => {
            let unchanged = UnchangedRepository { entry: entry(repository), head: GitSha([head; 20]) };
            text(state.confirm_repositories(fence, name(project), vec![unchanged], now).await)
        }
        Call::Orphans { project, names } => {
            text(state.mark_orphans(fence, name(project), owned(&names), now).await)
        }
        Call::RemoveRepository { project, repository } => {
            text(state.remove_repository(fence, name(project), REPOSITORIES[repository]).await)
        }
        Call::Intents { project, place: at, files } => {
            let intent = |(repository, path, ids): (usize, usize, Vec<&str>)| FileIds {
                file: file((repository, path)),
                ids: owned(&ids),
            };
            let intents = files.into_iter().map(intent).collect();
            text(state.open_intents(fence, name(project), &place(at), intents).await)
        }
        Call::Commit { project, place: at, files, skipped } => {
            let row = |(key, ids): ((usize, usize), Vec<&str>)| FileRow {
                file: file(key),
                commit: GitSha([1; 20]),
                blob_sha: GitSha([2; 20]),
                recipe: Fingerprint::of(["recipe"]),
                status: if skipped { FileStatus::Skipped } else { FileStatus::Synced },
                detail: skipped.then(|| "binary".into()),
                chunks: ids
                    .iter()
                    .map(|id| StoredChunk { id: (*id).into(), fingerprint: Fingerprint::of([id]) })
                    .collect(),
            };
            let rows = files.into_iter().map(row).collect();
            text(state.commit_files(fence, name(project), &place(at), rows, now).await)
        }
        Call::Fail { project, place: at, repository, path } => {
            let key = file((repository, path));
            text(state.record_failure(fence, name(project), &place(at), &key, "refused").await)
        }
        Call::Damage { project, files } => {
            let files = files.map_or(Damaged::All, |files| {
                let once: BTreeSet<FileKey> = files.into_iter().map(file).collect();
                Damaged::Files(once.into_iter().collect())
            });
            text(state.mark_damaged(fence, name(project), files).await)
        }
        Call::RemoveFiles { project, files, left } => {
            let files: BTreeSet<FileKey> = files.into_iter().map(file).collect();
            let left = left.into_iter().map(|(at, id)| PlacedIds {
                place: place(at).into(),
                file: file((0, 0)),
                recorded: false,
                ids: vec![id.to_owned()],
            });
            text(state.remove_files(fence, name(project), files.into_iter().collect(), left.collect()).await)
        }
        Call::CloseLeftovers { project, place: at, ids } => {
            text(state.close_leftovers(fence, name(project), &place(at), owned(&ids)).await)
        }
        Call::StartRun { id, project } => {
            let run = NewRun {
                id: id.to_string(),
                request: (id / 2).to_string(),
                project: project.map(|project| name(project).to_owned()),
                trigger: "test".into(),
            };
            // Ids of runs are unique; only PostgreSQL, which tries again after a lost answer, accepts one twice.
            let known = state.runs_of(vec![run.id.clone()]).await.expect("read");
            if known.iter().any(|known| known.id == run.id) {
                return String::new();
            }
            text(state.start_run(fence, &run, Duration::from_secs(300), now).await)
        }
        Call::FinishRun { id, project } => {
            text(state.finish_run(fence, &report(id, project), Vec::new(), now).await)
        }
        Call::Answer(n) => {
            let answer = StoredAnswer { etag: n.to_string(), body: vec![n, 0, 255] };
            text(state.put_answer(fence, "key", &answer, now).await)
        }
    }
}

/// Everything that can be read.
async fn everything(state: &dyn State, now: DateTime<Utc>) -> Vec<String> {
    let mut all = Vec::new();
    let declared =
        |name: &str| DeclaredProject { name: name.into(), enabled: true, repositories: owned(&["new"]) };
    all.push(format!("{:#?}", state.status(&[declared(PROJECTS[1]), declared("unknown")], now).await));
    all.push(format!("{:?}", state.projects().await));
    let query =
        |project: Option<&str>| RunQuery { project: project.map(str::to_owned), ..RunQuery::newest(5) };
    all.push(format!("{:?}", state.runs(&query(None)).await));
    all.push(format!("{:?}", state.run_like("1").await));
    all.push(format!("{:?}", state.runs_of(owned(&["1", "2", "3"])).await));
    all.push(format!("{:?}", state.answer("key").await));
    for project in PROJECTS {
        all.push(format!("{:?}", state.runs(&query(Some(project))).await));
        all.push(format!("{:?}", state.repositories(project).await));
        all.push(format!("{:?}", state.uncounted(project, 2).await));
        all.push(format!("{:?}", state.explain_file(project, None, PATHS[0]).await));
        for of in [IdsOf::Project, IdsOf::Leftovers, IdsOf::Files(vec![file((0, 0)), file((1, 1))])] {
            all.push(format!("{of:?} {:?}", state.ids(project, of.clone()).await));
        }
        let mut found = state.files_of_blobs(project, vec![GitSha([2; 20])]).await.expect("read");
        found.sort_by(|a, b| a.file.cmp(&b.file));
        all.push(format!("{found:?}"));
        for at in [place(0), place(1)] {
            all.push(format!("{:?}", state.project(project, &at).await));
            all.push(format!("{:?}", state.owners_of_place(&at).await));
            let believed = state.believed(project, &at).await.expect("read").map(|mut believed| {
                believed.recorded.sort();
                believed.open.sort();
                believed.files.sort_by(|a, b| a.file.cmp(&b.file));
                believed.files.iter_mut().for_each(|file| file.ids.sort());
                believed
            });
            all.push(format!("{believed:?}"));
            for repository in REPOSITORIES {
                all.push(format!("{:?}", state.known_files(project, repository, &at).await));
            }
            let files = vec![file((0, 0)), file((1, 1)), file((2, 2))];
            all.push(format!("{:?}", state.held_ids_many(project, &at, files).await));
        }
    }
    all
}

proptest! {
    // A database for each case.
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_calls_are_answered_as_by_the_state_in_a_file(calls in prop::collection::vec(calls(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let differs = runtime.block_on(async {
            let url = migrated().await?;
            let server = PostgresState::open(&url, 4).await.expect("opened");
            let file = SqliteState::in_memory().expect("opened");
            let states: [&dyn State; 2] = [&file, &server];
            let mut leases = Vec::new();
            for state in states {
                leases.push(state.lease(&[]).await.expect("asked").expect("free"));
            }
            for (n, call) in (0_i64..).zip(calls) {
                let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(n);
                let mut answers = Vec::new();
                for (state, lease) in states.iter().zip(&leases) {
                    let answer = make(*state, lease.fence(), call.clone(), now).await;
                    let mut all = everything(*state, now).await;
                    all.insert(0, answer);
                    answers.push(all);
                }
                for (of_file, of_server) in answers[0].iter().zip(&answers[1]) {
                    if of_file != of_server {
                        return Some(format!("after {call:?}:\n{of_file}\nis answered by the server as\n{of_server}"));
                    }
                }
            }
            None
        });
        prop_assert!(differs.is_none(), "{}", differs.unwrap_or_default());
    }
}
