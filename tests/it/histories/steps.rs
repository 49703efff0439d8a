//! The steps of a history, and the strategies that generate them.

use proptest::prelude::*;

use crate::support::lab::{Fault, Mode, On, REFUSED};

/// Keys of the repositories. The last one appears later.
pub(super) const KEYS: [&str; 4] = ["k1", "k2", "k3", "k4"];
pub(super) const PATHS: [&str; 7] =
    ["a.md", "b.txt", "guide/a.md", "guide/b.md", "guide/c.txt", "notes/a.md", "notes/b.md"];
/// Folders that may be excluded.
pub(super) const FOLDERS: [&str; 2] = ["guide/", "notes/"];
/// Limits of file size and chunk size to choose from.
pub(super) const FILE_SIZES: [usize; 2] = [1000, 65];
pub(super) const CHUNK_SIZES: [usize; 2] = [60, 30];

/// One event.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Write {
        repo: usize,
        path: usize,
        text: usize,
    },
    Delete {
        repo: usize,
        path: usize,
    },
    Move {
        repo: usize,
        from: usize,
        to: usize,
    },
    Copy {
        from: usize,
        path: usize,
        to: usize,
    },
    ChangeMode {
        repo: usize,
        path: usize,
        mode: Mode,
    },
    /// The branch goes back to an older tree.
    Revert {
        repo: usize,
        back: usize,
    },
    /// The branch is replaced by the tree of another repository, with its history.
    ForcePush {
        repo: usize,
        from: usize,
    },
    /// The other branch becomes the default.
    SwitchDefault {
        repo: usize,
    },
    /// The repository loses all its commits, or gets its tree back.
    Empty {
        repo: usize,
    },
    /// The repository leaves the listing, or appears in it.
    Vanish {
        repo: usize,
    },
    Rename {
        repo: usize,
        name: usize,
    },
    /// The repository is deleted and recreated under the same name.
    Recreate {
        repo: usize,
    },
    Exclude(Option<usize>),
    /// Index only `.md`, or every extension.
    Extension(bool),
    FileSize(usize),
    /// The project names a branch, or follows each repository's default.
    Branch(Option<usize>),
    ChunkSize(usize),
    /// `None`: `sentence` alone; else a component of this version before it.
    Component(Option<u8>),
    Namespace(usize),
    Model(u8),
    Apply {
        fault: Option<Fault>,
        full: bool,
        prune: bool,
    },
    /// Everything is indexed, something is edited, the run fails on it, and the edit is reverted.
    Undone {
        edit: Box<Step>,
        fault: Fault,
    },
    /// The ledger is lost, and an undisturbed run follows.
    LoseLedger,
}

/// The text with this number.
pub(super) fn text(number: usize) -> String {
    match number {
        0 => "One short sentence.".into(),
        1 => "One short sentence. And another one that is longer than it.".into(),
        2 => "Something else that is said here. One short sentence. It goes on for a while.".into(),
        3 => "Same again. Same again. Same again. Same again. Same again.".into(),
        4 => format!("This is what some {REFUSED}. But not this."),
        5 => "\0binary".into(),
        6 => "   \n".into(),
        n => format!("Page number {n} says this. Page number {n} says that. And that is all of it."),
    }
}

fn faults() -> impl Strategy<Value = Fault> {
    let on = prop_oneof![
        4 => (Just(On::Upsert), 1..5usize),
        4 => (Just(On::Delete), 1..5usize),
        3 => (Just(On::Embed), 1..5usize),
        // A run of all four repositories writes about thirty times.
        6 => (Just(On::Ledger), 1..32usize),
        1 => (prop_oneof![Just(On::List), Just(On::Head), Just(On::Tree), Just(On::Fetch)], 1..5usize),
    ];
    let kill = (on.clone(), any::<bool>()).prop_map(|((on, nth), after)| Fault::Kill { on, nth, after });
    let fails = (on, any::<bool>()).prop_map(|((on, nth), after)| Fault::Fails { on, nth, after });
    let refused = prop_oneof![Just(On::Upsert), Just(On::Head), Just(On::Tree), Just(On::Fetch)];
    prop_oneof![
        8 => kill,
        4 => fails,
        2 => Just(Fault::RefusedTexts),
        2 => (refused, 1..4usize).prop_map(|(on, nth)| Fault::Refused { on, nth }),
        2 => (0..PATHS.len()).prop_map(|path| Fault::BadFile { path: PATHS[path].into() }),
        1 => Just(Fault::NothingListed),
    ]
}

/// Edits of repositories.
fn edits_of_repositories() -> impl Strategy<Value = Step> + Clone {
    let (repo, path) = (0..KEYS.len(), 0..PATHS.len());
    let mode = prop_oneof![
        2 => Just(Mode::File), 1 => Just(Mode::Executable), 2 => Just(Mode::Symlink), 1 => Just(Mode::Submodule),
    ];
    prop_oneof![
        8 => (repo.clone(), path.clone(), 0..12usize).prop_map(|(repo, path, text)| Step::Write { repo, path, text }),
        3 => (repo.clone(), path.clone()).prop_map(|(repo, path)| Step::Delete { repo, path }),
        3 => (repo.clone(), path.clone(), path.clone()).prop_map(|(repo, from, to)| Step::Move { repo, from, to }),
        2 => (repo.clone(), path.clone(), repo.clone()).prop_map(|(from, path, to)| Step::Copy { from, path, to }),
        2 => (repo.clone(), path, mode).prop_map(|(repo, path, mode)| Step::ChangeMode { repo, path, mode }),
        3 => (repo.clone(), 1..4usize).prop_map(|(repo, back)| Step::Revert { repo, back }),
        1 => (repo.clone(), repo.clone()).prop_map(|(repo, from)| Step::ForcePush { repo, from }),
        1 => repo.clone().prop_map(|repo| Step::SwitchDefault { repo }),
        2 => repo.clone().prop_map(|repo| Step::Empty { repo }),
        2 => repo.clone().prop_map(|repo| Step::Vanish { repo }),
        3 => (repo.clone(), 0..4usize).prop_map(|(repo, name)| Step::Rename { repo, name }),
        1 => repo.prop_map(|repo| Step::Recreate { repo }),
    ]
}

/// Edits of the configuration.
fn edits_of_the_file() -> impl Strategy<Value = Step> + Clone {
    prop_oneof![
        2 => prop::option::of(0..FOLDERS.len()).prop_map(Step::Exclude),
        1 => any::<bool>().prop_map(Step::Extension),
        1 => (0..FILE_SIZES.len()).prop_map(Step::FileSize),
        1 => prop::option::of(0..2usize).prop_map(Step::Branch),
        1 => (0..CHUNK_SIZES.len()).prop_map(Step::ChunkSize),
        2 => prop::option::of(1..3u8).prop_map(Step::Component),
        2 => (0..3usize).prop_map(Step::Namespace),
        1 => (0..2u8).prop_map(Step::Model),
    ]
}

fn edits() -> impl Strategy<Value = Step> + Clone {
    prop_oneof![3 => edits_of_repositories(), 1 => edits_of_the_file()]
}

/// Any step.
pub(super) fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        28 => edits(),
        9 => (prop::option::weighted(0.7, faults()), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(fault, full, prune)| Step::Apply { fault, full, prune }),
        4 => (edits(), faults()).prop_map(|(edit, fault)| Step::Undone { edit: Box::new(edit), fault }),
        1 => Just(Step::LoseLedger),
    ]
}
