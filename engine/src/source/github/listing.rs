//! Which repositories there are: an owner's, narrowed, or those named.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use futures::StreamExt as _;
use futures::stream;
use serde::{Deserialize, Serialize};

use super::answer::ApiAnswer;
use super::client::{ADDRESS_HINT, ALLOW_LIST_HINT, Ask};
use super::credentials::Credentials;
use super::names::encode_name;
use super::pages::{Listed, Memory, Outcome};
use super::{GithubSource, bad_name};
use crate::model::{RepoEntry, RepoRef, StageError, StageResult};
use crate::source::permalink::encode_segment;
use crate::source::{AnswerCache, Listing, StoredAnswer};

/// More repositories of one owner than this are looked up in the owner's listing.
const FEW_NAMES: usize = 3;

/// Where an owner's repositories are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum OwnerKind {
    Organization,
    /// Another user: public repositories.
    User,
    /// The token's own user: private ones too.
    Own,
    /// What a GitHub App was given, of all owners.
    Installation,
}

type Found = Vec<(Listed, Option<SystemTime>)>;

/// An owner's repositories.
enum Owned {
    All(Found),
    TooMany,
    Denied(ApiAnswer),
}

impl GithubSource {
    pub(super) async fn list_owner(
        &self,
        owner: &str,
        keyword: Option<&str>,
        answers: &dyn AnswerCache,
        fresh: bool,
    ) -> StageResult<Listing> {
        let keyword = keyword.map(str::to_lowercase);
        match self.owned(owner, Memory { answers, fresh }, None).await? {
            Owned::All(found) => {
                let entries = found
                    .into_iter()
                    .filter(|(listed, _)| self.forks || !listed.fork)
                    .filter(|(listed, _)| self.archived || !listed.archived)
                    .filter(|(listed, _)| keyword.as_deref().is_none_or(|keyword| listed.mentions(keyword)))
                    .map(|(listed, date)| listed.entry(date));
                Ok(Listing { repositories: sorted(entries), ..Listing::default() })
            }
            Owned::Denied(answer) => Err(self.denied(owner, &answer)),
            Owned::TooMany => Err(self.client.garbage("more pages than there are")),
        }
    }

    pub(super) async fn list_named(
        &self,
        wanted: &[RepoRef],
        answers: &dyn AnswerCache,
        fresh: bool,
    ) -> StageResult<Listing> {
        let memory = Memory { answers, fresh };
        let mut listing = Listing::default();
        let mut by_owner: BTreeMap<String, Vec<&RepoRef>> = BTreeMap::new();
        for repo in wanted {
            match repo.name.split_once('/') {
                Some((owner, name)) if is_name(owner) && is_name(name) => {
                    by_owner.entry(owner.to_lowercase()).or_default().push(repo);
                }
                _ => listing.refused.push((repo.clone(), bad_name(&self.client.stage, &repo.name))),
            }
        }
        let mut entries = Vec::new();
        let mut singly = Vec::new();
        for (owner, repos) in by_owner {
            let owned = if repos.len() > FEW_NAMES {
                self.owned(&owner, memory, Some(repos.len())).await?
            } else {
                Owned::TooMany
            };
            let Owned::All(found) = owned else {
                singly.extend(repos.into_iter().cloned());
                continue;
            };
            let found: HashMap<String, RepoEntry> = found
                .into_iter()
                .map(|(listed, date)| (listed.full_name.to_lowercase(), listed.entry(date)))
                .collect();
            for repo in repos {
                match found.get(&repo.name.to_lowercase()) {
                    Some(entry) => entries.push(entry.clone()),
                    // Renamed, or not in the listing that these credentials get.
                    None => singly.push(repo.clone()),
                }
            }
        }
        let mut asked = stream::iter(singly.into_iter().map(|repo: RepoRef| async move {
            let path = format!("/repos/{}", encode_name(&repo.name));
            (repo, self.client.repository(&path, memory).await)
        }))
        .buffer_unordered(self.concurrency);
        while let Some((repo, found)) = asked.next().await {
            match found? {
                Ok((listed, date)) => entries.push(listed.entry(date)),
                Err(answer) if answer.status.as_u16() == 404 => listing.missing.push(repo),
                Err(answer) => {
                    let refused = self.client.refusal(&format!("repository {}", repo.name), &answer);
                    listing.refused.push((repo, refused));
                }
            }
        }
        listing.repositories = sorted(entries.into_iter());
        listing.missing.sort();
        listing.refused.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(listing)
    }

    /// All repositories of an owner, by the listing that shows most of them. Which one that is, is
    /// remembered, so that it costs no request each time.
    async fn owned(&self, owner: &str, memory: Memory<'_>, at_most: Option<usize>) -> StageResult<Owned> {
        let key = self.client.memory_key(&format!("owner of kind: {}", owner.to_lowercase()));
        let known: Option<OwnerKind> = memory
            .answers
            .get(&key)
            .await
            .filter(|_| !memory.fresh)
            .and_then(|stored| serde_json::from_slice(&stored.body).ok());
        let mut tried = None;
        if let Some(kind) = known {
            let owned = self.owned_by_kind(owner, kind, memory, at_most).await?;
            if !matches!(&owned, Owned::Denied(answer) if answer.status.as_u16() == 404) {
                return Ok(owned);
            }
            tried = Some(kind);
        }
        let mut kind = OwnerKind::Organization;
        let mut owned = self.owned_by_kind(owner, kind, memory, at_most).await?;
        if matches!(&owned, Owned::Denied(answer) if self.may_be_elsewhere(answer)) {
            kind = self.kind_of_user(owner).await?;
            if tried != Some(kind) {
                owned = self.owned_by_kind(owner, kind, memory, at_most).await?;
            }
        }
        if !matches!(owned, Owned::Denied(_)) {
            let body = serde_json::to_vec(&kind).unwrap_or_default();
            memory.answers.put(&key, &StoredAnswer { etag: String::new(), body }).await;
        }
        Ok(owned)
    }

    /// Whether to try the installation's listing: an App may not be allowed to read the organisation's.
    fn may_be_elsewhere(&self, answer: &ApiAnswer) -> bool {
        let installed = matches!(self.client.credentials, Credentials::Installation(_));
        answer.status.as_u16() == 404 || (answer.status.as_u16() == 403 && installed)
    }

    async fn kind_of_user(&self, owner: &str) -> StageResult<OwnerKind> {
        #[derive(Deserialize)]
        struct User {
            login: String,
        }
        match &self.client.credentials {
            Credentials::Installation(_) => return Ok(OwnerKind::Installation),
            Credentials::None => return Ok(OwnerKind::User),
            Credentials::Token(_) => {}
        }
        let user: Option<User> = self
            .client
            .ask(Ask::json("list", "/user"), |answer| match answer.status.as_u16() {
                200 => self.client.parse(&answer).map(Some),
                _ => Ok(None),
            })
            .await?;
        let own = user.is_some_and(|user| user.login.eq_ignore_ascii_case(owner));
        Ok(if own { OwnerKind::Own } else { OwnerKind::User })
    }

    async fn owned_by_kind(
        &self,
        owner: &str,
        kind: OwnerKind,
        memory: Memory<'_>,
        at_most: Option<usize>,
    ) -> StageResult<Owned> {
        // GitHub ignores case here; stored answers are found whichever way the name is written.
        let encoded = encode_segment(&owner.to_lowercase());
        // Oldest first: a new repository comes last and leaves the other pages as they are.
        let first = match kind {
            OwnerKind::Organization => {
                format!("/orgs/{encoded}/repos?per_page=100&sort=created&direction=asc")
            }
            OwnerKind::User => format!("/users/{encoded}/repos?per_page=100&sort=created&direction=asc"),
            OwnerKind::Own => {
                "/user/repos?affiliation=owner&per_page=100&sort=created&direction=asc".to_owned()
            }
            OwnerKind::Installation => "/installation/repositories?per_page=100".to_owned(),
        };
        let mut found = match self.client.pages(&first, memory, at_most).await? {
            Outcome::All(found) => found,
            Outcome::TooMany => return Ok(Owned::TooMany),
            Outcome::Denied(answer) => return Ok(Owned::Denied(answer)),
        };
        if kind == OwnerKind::Installation {
            found.retain(|(listed, _)| {
                listed.full_name.split_once('/').is_some_and(|(of, _)| of.eq_ignore_ascii_case(owner))
            });
        }
        Ok(Owned::All(found))
    }

    /// A listing that is denied says nothing of the repositories; the project ends.
    fn denied(&self, owner: &str, answer: &ApiAnswer) -> StageError {
        let client = &self.client;
        let message = format!("the repositories of `{owner}` cannot be listed ({})", answer.summary());
        let error = StageError::misconfigured(&client.stage, message);
        match answer.status.as_u16() {
            // An Enterprise Server's web pages answer so, too.
            404 if client.base.path() == "/" && !client.is_public() => {
                error.hint(format!("check the name; {ADDRESS_HINT}"))
            }
            404 if client.credentials.are_given() => {
                error.hint(format!("check the name, and that the credentials may see it at {}", client.host))
            }
            404 => error.hint("check the name; what is not public needs a `token`"),
            403 if answer.is_address_refused() => error.hint(ALLOW_LIST_HINT),
            _ => error.hint(
                "give the credentials read access to the owner's repositories, \
                 and authorise them for its single sign-on",
            ),
        }
    }
}

/// By name, each repository once: pages may shift while they are read.
fn sorted(entries: impl Iterator<Item = RepoEntry>) -> Vec<RepoEntry> {
    let mut seen = BTreeSet::new();
    let mut entries: Vec<RepoEntry> = entries.filter(|entry| seen.insert(entry.repo.key.clone())).collect();
    entries.sort_by(|a, b| a.repo.name.cmp(&b.repo.name));
    entries
}

/// A part of a repository's name that leads nowhere else in an address.
fn is_name(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains('/')
}
