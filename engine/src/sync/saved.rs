//! A plan as a file: what `plan --out` writes and `apply FILE` carries out. One JSON object in a line: a
//! header, the tasks of each project followed by the project's end, and a digest of everything before it.
//! It is written and read as a stream, so that a plan over a million files needs no more memory than its
//! largest repository. It holds no secret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use futures::stream::{self, Stream};
use serde::{Deserialize, Serialize};

use super::options::SavedOptions;
use super::resume::Resumable;
use super::survey::Listed;
use crate::model::{Fingerprint, StageError, StageResult, Withheld};
use crate::plan::RepositoryTask;
use crate::private;

/// The version of the form.
const VERSION: u32 = 2;

/// What a saved plan was made with. It is refused as a whole where any of it differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The version of the form.
    reposync_plan: u32,
    /// The version of the program.
    program: String,
    /// When it was made (UTC).
    created_at: DateTime<Utc>,
    /// The options of the plan, which are those of the run.
    options: SavedOptions,
    /// Each project, with a fingerprint of how its index is made; `None`: its stages cannot be made.
    projects: BTreeMap<String, Option<Fingerprint>>,
}

/// The end of a project's part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProjectEnd {
    /// Repositories whose files leave the index.
    pub(crate) dissolved: BTreeSet<String>,
    /// Files that the deletion guard keeps, by repository and path.
    pub(crate) withheld: BTreeSet<(String, String)>,
    /// Set where the spending guard withholds what would have to be embedded.
    pub(crate) embedding_withheld: Option<Withheld>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Task { project: &'a str, task: &'a RepositoryTask },
    End { project: &'a str, end: &'a ProjectEnd },
    Orphans(&'a [String]),
    Digest(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadLine {
    Task { project: String, task: Box<RepositoryTask> },
    End { project: String, end: ProjectEnd },
    Orphans(BTreeSet<String>),
    Digest(String),
}

impl Header {
    /// The header of a plan that is made now by this program.
    pub(crate) fn new(options: SavedOptions, projects: BTreeMap<String, Option<Fingerprint>>) -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { reposync_plan: VERSION, program, created_at: Utc::now(), options, projects }
    }
}

/// Writes a plan to a temporary file and renames it at the end, so that an interrupted plan leaves an existing
/// file unchanged.
pub struct PlanWriter {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
    digest: blake3::Hasher,
}

impl PlanWriter {
    /// Begins a plan. The file is for its owner alone: it names files that not everybody may see.
    pub fn create(path: &Path) -> StageResult<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let part = path.with_file_name(name);
        let file = private::options().write(true).create(true).truncate(true).open(&part);
        let file = BufWriter::new(file.map_err(|error| cannot_save(path, error))?);
        Ok(Self { path: path.to_owned(), part, file, digest: blake3::Hasher::new() })
    }

    pub(crate) fn header(&mut self, header: &Header) -> StageResult<()> {
        self.line(header)
    }

    pub(crate) fn task(&mut self, project: &str, task: &RepositoryTask) -> StageResult<()> {
        self.line(&Line::Task { project, task })
    }

    pub(crate) fn end(&mut self, project: &str, end: &ProjectEnd) -> StageResult<()> {
        self.line(&Line::End { project, end })
    }

    /// Writes which orphaned projects are removed, and puts the file in place.
    pub(crate) fn finish(mut self, orphans: &[String]) -> StageResult<()> {
        self.line(&Line::Orphans(orphans))?;
        let digest = self.digest.finalize().to_hex().to_string();
        self.line(&Line::Digest(digest))?;
        let placed = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        placed
            .and_then(|()| std::fs::rename(&self.part, &self.path))
            .map_err(|error| cannot_save(&self.path, error))
    }

    fn line(&mut self, line: &impl Serialize) -> StageResult<()> {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        self.digest.update(&text);
        self.file.write_all(&text).map_err(|error| cannot_save(&self.path, error))
    }
}

impl Drop for PlanWriter {
    fn drop(&mut self) {
        // Nothing where the plan was finished: the part is in its place.
        drop(std::fs::remove_file(&self.part));
    }
}

fn cannot_save(path: &Path, error: io::Error) -> StageError {
    StageError::local("plan", format!("cannot save the plan to `{}`", path.display())).caused_by(error)
}

/// A saved plan that was read once from beginning to end and found whole.
#[derive(Debug)]
pub struct SavedPlan {
    path: PathBuf,
    header: Header,
    projects: BTreeMap<String, Part>,
    orphans: BTreeSet<String>,
}

/// Offset and number of a project's tasks in the file, and its end.
#[derive(Debug, Default)]
struct Part {
    from: u64,
    tasks: u64,
    /// `None`: planning the project failed.
    end: Option<ProjectEnd>,
}

/// A project's part of a saved plan.
pub(crate) struct SavedProject {
    path: PathBuf,
    name: String,
    planned_at: DateTime<Utc>,
    from: u64,
    /// How many tasks it has.
    pub(crate) tasks: u64,
    pub(crate) end: ProjectEnd,
}

impl SavedPlan {
    /// Reads a plan and checks that it is whole. An error of kind `Local` is of reading, any other
    /// refuses the plan.
    pub fn read(path: &Path) -> StageResult<Self> {
        let cannot = |error: io::Error| {
            StageError::local("plan", format!("cannot read the plan `{}`", path.display())).caused_by(error)
        };
        let refused = |what: &str| {
            StageError::refused("plan", format!("`{}` {what}", path.display()))
                .hint("make a new plan with `reposync plan --out FILE`")
        };
        let mut file = BufReader::new(File::open(path).map_err(cannot)?);
        let (mut line, mut digest, mut at) = (Vec::new(), blake3::Hasher::new(), 0_u64);
        let mut next = |line: &mut Vec<u8>| -> StageResult<u64> {
            line.clear();
            file.read_until(b'\n', line).map(|bytes| bytes as u64).map_err(cannot)
        };
        let bytes = next(&mut line)?;
        let header: Header = serde_json::from_slice(&line)
            .ok()
            .filter(|header: &Header| header.reposync_plan == VERSION)
            .ok_or_else(|| refused("is no plan that this version of RepoSync saved"))?;
        if header.program != env!("CARGO_PKG_VERSION") {
            return Err(refused(&format!("was saved by RepoSync {}", header.program)));
        }
        digest.update(&line);
        at += bytes;
        let mut plan =
            Self { path: path.to_owned(), header, projects: BTreeMap::new(), orphans: BTreeSet::new() };
        loop {
            let bytes = next(&mut line)?;
            let damaged = || refused("is truncated or was edited");
            let read: ReadLine = serde_json::from_slice(&line).map_err(|_| damaged())?;
            match read {
                ReadLine::Task { project, .. } => {
                    let part = plan.projects.entry(project).or_insert(Part { from: at, ..Part::default() });
                    part.tasks += 1;
                }
                ReadLine::End { project, end } => plan.projects.entry(project).or_default().end = Some(end),
                ReadLine::Orphans(orphans) => plan.orphans = orphans,
                ReadLine::Digest(expected) if digest.finalize().to_hex().as_str() == expected => {
                    return Ok(plan);
                }
                ReadLine::Digest(_) => return Err(damaged()),
            }
            digest.update(&line);
            at += bytes;
        }
    }

    /// The options that it was made with.
    pub fn options(&self) -> SavedOptions {
        self.header.options
    }

    /// Its projects.
    pub fn projects(&self) -> Vec<String> {
        self.header.projects.keys().cloned().collect()
    }

    /// Refuses the plan where a project is made in another way now.
    pub(crate) fn check(&self, projects: &BTreeMap<String, Option<Fingerprint>>) -> StageResult<()> {
        let planned = |name: &str| self.projects.get(name).is_some_and(|part| part.end.is_some());
        let failed = self.header.projects.iter().find(|(name, basis)| basis.is_some() && !planned(name));
        if let Some((name, _)) = failed {
            // What its guards would have withheld is not known.
            return Err(StageError::refused(
                "plan",
                format!("the saved plan is incomplete: planning project `{name}` failed"),
            )
            .hint("make a new plan with `reposync plan --out FILE`"));
        }
        let differs = |(name, basis): &(&String, &Option<Fingerprint>)| projects.get(*name) != Some(*basis);
        let Some((name, _)) = self.header.projects.iter().find(differs) else { return Ok(()) };
        let message = format!(
            "the saved plan is out of date: the configuration or a component of project `{name}` has changed since"
        );
        Err(StageError::refused("plan", message).hint("make a new plan with `reposync plan --out FILE`"))
    }

    /// A project's part.
    pub(crate) fn project(&self, name: &str) -> SavedProject {
        let part = self.projects.get(name);
        SavedProject {
            path: self.path.clone(),
            name: name.to_owned(),
            planned_at: self.header.created_at,
            from: part.map_or(0, |part| part.from),
            tasks: part.map_or(0, |part| part.tasks),
            end: part.and_then(|part| part.end.clone()).unwrap_or_default(),
        }
    }

    /// Orphaned projects that it removes.
    pub(crate) fn orphans(&self) -> &BTreeSet<String> {
        &self.orphans
    }
}

impl SavedProject {
    /// The tasks in their order, each with the repository as it is listed now.
    pub(crate) fn resumable(
        &self,
        listed: Vec<Listed>,
    ) -> StageResult<impl Stream<Item = StageResult<Box<Resumable>>> + Send + use<>> {
        let cannot = {
            let path = self.path.clone();
            move |error: io::Error| {
                StageError::local("plan", format!("cannot read the plan `{}`", path.display()))
                    .caused_by(error)
            }
        };
        let mut listed: HashMap<String, Listed> =
            listed.into_iter().map(|listed| (listed.entry.repo.name.clone(), listed)).collect();
        let mut file = BufReader::new(File::open(&self.path).map_err(&cannot)?);
        file.seek(SeekFrom::Start(self.from)).map_err(&cannot)?;
        let (name, planned_at) = (self.name.clone(), self.planned_at);
        let tasks = usize::try_from(self.tasks).unwrap_or(usize::MAX);
        let mut lines = file.lines();
        let tasks = (0..tasks).map(move |_| {
            let changed =
                || StageError::refused("plan", "the saved plan was changed while it was carried out");
            let line = lines.next().ok_or_else(changed)?.map_err(&cannot)?;
            match serde_json::from_str(&line) {
                Ok(ReadLine::Task { project, task }) if project == name => {
                    let listed = listed.remove(task.repository());
                    Ok(Box::new(Resumable { task: *task, listed, planned_at }))
                }
                _ => Err(changed()),
            }
        });
        Ok(stream::iter(tasks))
    }
}
