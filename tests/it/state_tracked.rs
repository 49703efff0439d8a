//! The program's state must not be accepted from a clone.

use crate::support::git_repo::GitRepo;
use crate::support::local::{Local, project};
use crate::support::world::World;

/// A world whose root is a Git repository with a committed index.
fn committed() -> (World, GitRepo) {
    let world = World::new();
    let repo = GitRepo::at(&world.path(""));
    world.write("README.md", "What it is about.\n");
    world.config(&project("").replace("[\"docs\"]", "[\".\"]"));
    repo.commit("first");
    world.ok(&["apply"]);
    (world, repo)
}

#[test]
fn a_new_folder_keeps_itself_out_of_git_and_of_backups() {
    let (world, repo) = committed();
    assert!(world.read(".reposync/CACHEDIR.TAG").starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
    assert_eq!(repo.git(&["status", "--porcelain", "--", ".reposync"]), "");
    repo.commit("all");
    assert_eq!(repo.git(&["ls-files", ".reposync"]), "");
}

#[test]
fn a_ledger_or_index_that_is_tracked_is_refused() {
    let (world, repo) = committed();
    for file in ["state.db", "index.db", "CACHEDIR.TAG"] {
        repo.git(&["add", "--force", &format!(".reposync/{file}")]);
        for command in [
            &["plan"][..],
            &["apply"],
            &["query", "about"],
            &["status"],
            &["history"],
            &["verify"],
            &["daemon"],
        ] {
            let ran = world.run(command);
            assert_eq!(ran.code, Some(1), "{file} {command:?}: {}", ran.stderr);
            let told = format!("`.reposync/{file}` is tracked by the Git repository");
            assert!(ran.stderr.contains(&told), "{command:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("rm -r --cached"), "{command:?}: {}", ran.stderr);
        }
        repo.git(&["rm", "-r", "--quiet", "--cached", ".reposync"]);
        world.ok(&["apply"]);
    }
}

#[cfg(unix)]
#[test]
fn a_tracked_link_to_a_folder_of_the_clone_is_refused() {
    let (world, repo) = committed();
    std::fs::rename(world.path(".reposync"), world.path("data")).expect("moved");
    std::os::unix::fs::symlink("data", world.path(".reposync")).expect("a link");
    repo.git(&["add", "--force", ".reposync"]);
    let ran = world.run(&["plan"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("`.reposync` is tracked"), "{}", ran.stderr);
    // The link is not tracked, the files it points to are.
    repo.git(&["rm", "--quiet", "--cached", ".reposync"]);
    repo.git(&["add", "--force", "data/state.db"]);
    let ran = world.run(&["plan"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("`data/state.db` is tracked"), "{}", ran.stderr);
}

#[test]
fn a_repository_whose_index_cannot_be_read_may_track_anything() {
    let Local { world, .. } = Local::new();
    std::fs::create_dir(world.path(".git")).expect("a folder");
    world.write(".git/index", "not an index");
    let ran = world.run(&["plan"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot tell what the Git repository"), "{}", ran.stderr);
}
