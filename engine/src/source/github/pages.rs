//! Pages of repositories, asked for conditionally.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::answer::ApiAnswer;
use super::client::{Ask, Client};
use super::link;
use crate::model::{RepoEntry, RepoRef, StageError, StageResult};
use crate::source::{AnswerCache, StoredAnswer};

/// Repositories on a full page: the most that GitHub gives.
pub(super) const FULL_PAGE: usize = 100;
/// A push at the very moment of the listing may not show in its `pushed_at` yet.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// What of a repository is of use, and kept between runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) id: u64,
    pub(super) full_name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) topics: Option<Vec<String>>,
    #[serde(default)]
    pub(super) default_branch: Option<String>,
    #[serde(default)]
    pub(super) pushed_at: Option<String>,
    #[serde(default)]
    pub(super) fork: bool,
    #[serde(default)]
    pub(super) archived: bool,
}

impl Listed {
    /// The entry, judged by the server's clock at the answer that vouched for it.
    pub(super) fn entry(&self, date: Option<SystemTime>) -> RepoEntry {
        RepoEntry {
            repo: RepoRef { name: self.full_name.clone(), key: self.id.to_string() },
            default_branch: self.default_branch.clone().unwrap_or_default(),
            pushed_at: self.pushed_at.clone(),
            pushed_at_settled: self.settled(date).unwrap_or(false),
        }
    }

    fn settled(&self, date: Option<SystemTime>) -> Option<bool> {
        let pushed = chrono::DateTime::parse_from_rfc3339(self.pushed_at.as_deref()?).ok()?;
        Some(SystemTime::from(pushed).checked_add(SETTLED_AFTER)? <= date?)
    }

    /// True where a keyword (in lower case) is in name, description or topics.
    pub(super) fn mentions(&self, keyword: &str) -> bool {
        let name = self.full_name.split_once('/').map_or(self.full_name.as_str(), |(_, name)| name);
        std::iter::once(name)
            .chain(self.description.as_deref())
            .chain(self.topics.iter().flatten().map(String::as_str))
            .any(|text| text.to_lowercase().contains(keyword))
    }
}

/// A page as it is stored with its ETag.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    repositories: Vec<Listed>,
    next: Option<String>,
    last: Option<usize>,
}

/// One page, or one repository.
struct Page {
    content: Stored,
    date: Option<SystemTime>,
    /// True where the server said that it is as stored.
    unchanged: bool,
    /// The ETag to store it with.
    etag: Option<String>,
}

/// An answer to a request for pages.
pub(super) enum Outcome {
    /// All pages; each repository with the time at which it was vouched for.
    All(Vec<(Listed, Option<SystemTime>)>),
    /// There are more pages than was wanted.
    TooMany,
    /// The server said no.
    Denied(ApiAnswer),
}

enum Asked {
    Page(Page),
    Denied(ApiAnswer),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Bare(Vec<Listed>),
    Installation { repositories: Vec<Listed> },
    One(Listed),
}

/// Where answers are kept, and whether to believe them.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    pub(super) answers: &'a dyn AnswerCache,
    /// Believe nothing stored.
    pub(super) fresh: bool,
}

impl Client {
    /// The key under which an answer is stored: what one may see, another may not.
    pub(super) fn memory_key(&self, what: &str) -> String {
        format!("github {} {}{}", self.credentials.fingerprint(), self.base, what.trim_start_matches('/'))
    }

    /// All pages from `first` on.
    pub(super) async fn pages(
        &self,
        first: &str,
        memory: Memory<'_>,
        at_most: Option<usize>,
    ) -> StageResult<Outcome> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Some(first.to_owned());
        while let Some(path) = next {
            if !seen.insert(path.clone()) {
                return Err(self.garbage("pages that go in a circle"));
            }
            let page = match self.page(&path, memory).await? {
                Asked::Page(page) => page,
                Asked::Denied(answer) => return Ok(Outcome::Denied(answer)),
            };
            let full = page.content.repositories.len() >= FULL_PAGE;
            next = page.content.next;
            if at_most.is_some_and(|most| {
                page.content.last.unwrap_or(0) > most || (next.is_some() && seen.len() >= most)
            }) {
                return Ok(Outcome::TooMany);
            }
            if next.is_none() && page.unchanged && full {
                // A full last page stays as it is when repositories come after it, so "unchanged"
                // does not say that it is still the last.
                next = Some(link::following_page(&path));
            }
            found.extend(page.content.repositories.into_iter().map(|listed| (listed, page.date)));
        }
        Ok(Outcome::All(found))
    }

    /// One repository, wherever it has moved; or the answer that denies it.
    pub(super) async fn repository(
        &self,
        path: &str,
        memory: Memory<'_>,
    ) -> StageResult<Result<(Listed, Option<SystemTime>), ApiAnswer>> {
        match self.page(path, memory).await? {
            Asked::Page(mut page) => match page.content.repositories.pop() {
                Some(listed) => Ok(Ok((listed, page.date))),
                None => Err(self.garbage("an answer without a repository")),
            },
            Asked::Denied(answer) => Ok(Err(answer)),
        }
    }

    async fn page(&self, path: &str, memory: Memory<'_>) -> StageResult<Asked> {
        let key = self.memory_key(path);
        let stored = memory.answers.get(&key).await.filter(|_| !memory.fresh).and_then(|stored| {
            let content: Stored = serde_json::from_slice(&stored.body).ok()?;
            Some((stored.etag, content))
        });
        let ask = Ask { etag: stored.as_ref().map(|(etag, _)| etag.as_str()), ..Ask::json("list", path) };
        let asked = self.ask(ask, |answer| match answer.status.as_u16() {
            200 => {
                self.refuse_partial(&answer)?;
                let repositories = match self.parse(&answer)? {
                    Body::Bare(repositories) | Body::Installation { repositories } => repositories,
                    Body::One(repository) => vec![repository],
                };
                let content = Stored {
                    repositories,
                    next: self.next_page(&answer, path)?,
                    last: answer
                        .header("link")
                        .and_then(|header| link::target(header, "last"))
                        .and_then(link::page_number),
                };
                let etag = answer.header("etag").map(str::to_owned);
                Ok(Asked::Page(Page { content, date: answer.date(), unchanged: false, etag }))
            }
            304 => {
                let Some((_, mut content)) = stored.clone() else {
                    return Err(self.garbage("\"not modified\" without having been asked"));
                };
                if let Some(next) = self.next_page(&answer, path)? {
                    content.next = Some(next);
                }
                Ok(Asked::Page(Page { content, date: answer.date(), unchanged: true, etag: None }))
            }
            _ => Ok(Asked::Denied(answer)),
        });
        let asked = asked.await?;
        if let Asked::Page(Page { content, etag: Some(etag), .. }) = &asked {
            let body = serde_json::to_vec(content).unwrap_or_default();
            memory.answers.put(&key, &StoredAnswer { etag: etag.clone(), body }).await;
        }
        Ok(asked)
    }

    /// The next page as the server names it, never built, and only on the API's own host.
    fn next_page(&self, answer: &ApiAnswer, path: &str) -> StageResult<Option<String>> {
        let Some(next) = answer.header("link").and_then(|header| link::target(header, "next")) else {
            return Ok(None);
        };
        match link::below(&self.base, path, next) {
            Some(next) => Ok(Some(next)),
            None => Err(StageError::misconfigured(
                &self.stage,
                format!("{} names a next page at another address", self.host),
            )
            .hint("set `api_url` to the address that the server gives in its `Link` headers")),
        }
    }

    /// Single sign-on may leave organisations out of an answer, and says so in a header alone.
    fn refuse_partial(&self, answer: &ApiAnswer) -> StageResult<()> {
        match answer.header("x-github-sso") {
            Some(sso) if sso.trim_start().starts_with("partial-results") => Err(StageError::misconfigured(
                &self.stage,
                format!("{} lists only a part: organisations with single sign-on are left out", self.host),
            )
            .hint("authorise the token for the organisation's single sign-on")),
            _ => Ok(()),
        }
    }
}

/// A fuzz target: a page of repositories, their entries and whether a keyword finds them.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(answer: &ApiAnswer) {
    let Ok(body) = serde_json::from_slice::<Body>(&answer.body) else { return };
    let listed = match body {
        Body::Bare(listed) | Body::Installation { repositories: listed } => listed,
        Body::One(listed) => vec![listed],
    };
    for listed in listed {
        listed.entry(answer.date());
        listed.mentions("docs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, pushed_at: Option<&str>) -> Listed {
        Listed {
            id: 7,
            full_name: name.into(),
            description: Some("The Handbook".into()),
            topics: Some(vec!["how-to".into()]),
            default_branch: None,
            pushed_at: pushed_at.map(Into::into),
            fork: false,
            archived: false,
        }
    }

    #[test]
    fn keywords_ignore_case_and_owner() {
        let repo = listed("docs-team/Guide", None);
        for (keyword, expected) in [("guide", true), ("handbook", true), ("how", true), ("docs", false)] {
            assert_eq!(repo.mentions(keyword), expected, "{keyword}");
        }
    }

    #[test]
    fn a_push_settles_after_ten_seconds_of_the_servers_clock() {
        let date = |text| Some(httpdate::parse_http_date(text).expect("a date"));
        let settled = |pushed, date| listed("a/b", pushed).entry(date).pushed_at_settled;
        let pushed = Some("2026-01-01T00:00:00Z");
        assert!(settled(pushed, date("Thu, 01 Jan 2026 00:00:10 GMT")));
        assert!(!settled(pushed, date("Thu, 01 Jan 2026 00:00:09 GMT")));
        assert!(!settled(pushed, date("Wed, 31 Dec 2025 23:00:00 GMT")));
        assert!(!settled(pushed, None));
        assert!(!settled(None, date("Thu, 01 Jan 2026 00:00:10 GMT")));
        assert!(!settled(Some("soon"), date("Thu, 01 Jan 2026 00:00:10 GMT")));
    }
}
