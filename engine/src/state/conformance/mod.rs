//! What every implementation of the state and of the vector cache must do. Each case is a function over a
//! [`World`]; `state_cases!` and `cache_cases!` make tests of them for one implementation.

pub(super) mod audit;
pub(super) mod cache;
pub(super) mod files;
pub(super) mod leases;
pub(super) mod plans;
pub(super) mod projects;
pub(super) mod repositories;
pub(super) mod runs;
pub(super) mod sign_ins;
pub(super) mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::model::{Fingerprint, GitSha, Place, RepoEntry, RepoRef, StageResult};

/// A test of each case for one implementation: `$world` makes an empty [`World`]; `None` skips the case.
macro_rules! cases {
    ($world:expr; $($module:ident: $($case:ident)*;)*) => {
        $($(
            #[tokio::test]
            async fn $case() {
                if let Some(world) = $world {
                    crate::state::conformance::$module::$case(world).await;
                }
            }
        )*)*
    };
}

/// The tests of an implementation of [`State`].
macro_rules! state_cases {
    ($world:expr) => {
        crate::state::conformance::cases! { $world;
            audit:
                entries_are_appended_without_a_lease_and_read_by_pages
                old_audit_entries_are_deleted_but_the_new_one_stays;
            files:
                intents_stay_open_until_the_file_is_recorded
                a_write_that_is_killed_after_any_step_is_finished_by_the_next_process
                a_file_that_moves_leaves_its_ids_behind_until_they_are_deleted
                a_failure_keeps_what_the_index_holds
                a_batch_over_several_repositories_is_one_change_of_each
                damaged_files_are_not_believed
                removed_files_leave_what_could_not_be_reached
                readers_see_each_batch_whole
                contents_and_recipes_are_found_again;
            leases:
                one_process_has_the_lease_until_it_is_dropped
                a_stale_epoch_changes_nothing_and_says_so;
            plans:
                a_plan_is_decided_once_whoever_asks_and_without_a_lease
                old_plans_and_those_beyond_a_hundred_are_deleted;
            projects:
                adoption_is_whole_and_recorded
                a_project_begins_ends_and_is_removed
                a_target_is_built_goes_live_and_is_retired
                what_is_believed_to_be_in_a_place;
            repositories:
                a_listing_is_kept_with_what_was_found_out
                a_head_makes_an_orphan_a_repository_again
                commits_are_counted_only_for_what_is_still_so
                answers_are_kept_by_key;
            runs:
                pages_follow_each_other_without_a_gap
                runs_are_found_by_trigger_start_and_status
                a_projects_history_holds_runs_over_several_projects
                a_busy_project_does_not_push_others_out_of_the_history
                runs_go_by_age_but_the_newest_of_each_project_stays
                an_id_stands_for_its_run_or_for_the_runs_of_its_request;
            sign_ins:
                a_sign_in_is_shared_by_processes_until_it_ends
                a_link_is_used_once_whoever_asks
                sign_ins_that_expired_are_deleted;
            usage:
                amounts_add_up_by_day_and_project
                a_run_that_ends_is_counted_once
                what_is_older_than_its_time_is_deleted;
        }
    };
}

/// The tests of an implementation of [`VectorCache`].
macro_rules! cache_cases {
    ($world:expr) => {
        crate::state::conformance::cases! { $world;
            cache:
                vectors_are_found_in_the_order_of_the_keys_also_by_the_next_process
                a_key_is_given_to_one_claimant_until_its_vector_is_there
                a_released_claim_is_given_again_and_those_of_others_stay
                many_claimants_get_each_key_once
                vectors_of_a_length_are_forgotten_once;
        }
    };
}

pub(crate) use {cache_cases, cases, state_cases};

/// One state, or one vector cache, that several processes open.
pub(crate) struct World<T: ?Sized>(Box<dyn Fn() -> Arc<T> + Send + Sync>);

impl<T: ?Sized> World<T> {
    pub(crate) fn new(open: impl Fn() -> Arc<T> + Send + Sync + 'static) -> Self {
        Self(Box::new(open))
    }

    /// Opens it as another process would.
    pub(crate) fn process(&self) -> Arc<T> {
        (self.0)()
    }
}

const PROJECT: &str = "p";
const REPOSITORY: &str = "acme/docs";

/// A process with a lease, and its project entered.
struct Writer {
    state: Arc<dyn State>,
    fence: Fence,
    _lease: Lease,
}

impl World<dyn State> {
    /// Enters the project; returns its name and place.
    pub(crate) async fn entered(&self, fence: Fence) -> (String, Place) {
        let state = self.process();
        state.enter_project(fence, &project(PROJECT), &place("n"), &recipe(), at(0)).await.expect("entered");
        (PROJECT.to_owned(), place("n"))
    }

    async fn writer(&self) -> Writer {
        let state = self.process();
        let lease = state.lease(&[]).await.expect("asked").expect("free");
        let fence = lease.fence();
        state.enter_project(fence, &project(PROJECT), &place("n"), &recipe(), at(0)).await.expect("entered");
        Writer { state, fence, _lease: lease }
    }
}

impl Writer {
    async fn see(&self, repository: &str) {
        let head = GitSha([1; 20]);
        self.state.saw_head(self.fence, PROJECT, &entry(repository), head, at(0)).await.expect("recorded");
    }

    async fn intend(&self, path: &str, ids: &[&str]) -> StageResult<()> {
        let intent = FileIds { file: file(path), ids: ids.iter().map(|id| (*id).to_owned()).collect() };
        self.state.open_intents(self.fence, PROJECT, &place("n"), vec![intent]).await
    }

    async fn commit(&self, namespace: &str, rows: Vec<FileRow>) {
        self.state.commit_files(self.fence, PROJECT, &place(namespace), rows, at(0)).await.expect("recorded");
    }

    async fn known(&self) -> KnownFiles {
        self.state.known_files(PROJECT, REPOSITORY, &place("n")).await.expect("read")
    }

    async fn held(&self, path: &str) -> HeldIds {
        let held = self.state.held_ids_many(PROJECT, &place("n"), vec![file(path)]).await.expect("read");
        held.into_iter().next().expect("one answer for one file")
    }

    /// Leftovers that may be deleted: the namespace and the id of each.
    async fn leftovers(&self) -> Vec<(String, String)> {
        let leftovers = self.state.ids(PROJECT, IdsOf::Leftovers).await.expect("read");
        let each = leftovers.into_iter().flat_map(PlacedIds::each);
        each.map(|one| (one.place.namespace.clone(), one.id)).collect()
    }
}

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
}

fn place(namespace: &str) -> Place {
    Place { kind: "k".into(), host: "h".into(), index: String::new(), namespace: namespace.into() }
}

fn project(name: &str) -> ProjectRow {
    ProjectRow {
        name: name.into(),
        organization: None,
        filter_keyword: None,
        namespace: "n".into(),
        enabled: true,
        allowed_extensions: None,
        exclude_patterns: Vec::new(),
    }
}

/// What decides what a project's runs write.
fn recipe() -> Fingerprint {
    Fingerprint::of(["recipe"])
}

fn entry(repository: &str) -> RepoEntry {
    RepoEntry {
        repo: RepoRef { name: repository.into(), key: "7".into() },
        default_branch: "main".into(),
        pushed_at: None,
        pushed_at_settled: true,
    }
}

fn file(path: &str) -> FileKey {
    FileKey::new(REPOSITORY, path)
}

pub(crate) fn row(path: &str, ids: &[&str]) -> FileRow {
    FileRow {
        file: file(path),
        commit: GitSha([1; 20]),
        blob_sha: GitSha([2; 20]),
        recipe: Fingerprint::of(["recipe"]),
        status: FileStatus::Synced,
        detail: None,
        chunks: ids
            .iter()
            .map(|id| StoredChunk { id: (*id).into(), fingerprint: Fingerprint::of([id]) })
            .collect(),
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
