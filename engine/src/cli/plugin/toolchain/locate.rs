//! Finds tools in the project or in `PATH`.

use std::path::{Path, PathBuf};

/// The first of `places` that is a file in one of the project's [`folders`].
pub(super) fn local(dir: &Path, places: &[&str]) -> Option<PathBuf> {
    folders(dir).iter().flat_map(|dir| places.iter().map(|place| dir.join(place))).find(|tool| tool.is_file())
}

/// The folders whose `node_modules` and `.venv` belong to a project: its own and its parents, up to
/// the top of its Git work tree. Outside of a work tree only the project's own folder counts, since
/// anyone may create a `node_modules` in a shared folder such as `/tmp`.
pub(super) fn folders(dir: &Path) -> Vec<&Path> {
    let around: Vec<&Path> =
        dir.ancestors().take_while(|folder| *folder == dir || is_ours(folder, dir)).collect();
    let top = around.iter().position(|folder| folder.join(".git").exists()).unwrap_or(0);
    around[..=top].to_vec()
}

/// True if only the project's owner and root can write to the folder.
#[cfg(unix)]
fn is_ours(folder: &Path, project: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(folder), Ok(project)) = (folder.metadata(), project.metadata()) else { return false };
    let writable_by_all = folder.mode() & 0o002 != 0;
    !writable_by_all && (folder.uid() == project.uid() || folder.uid() == 0)
}

#[cfg(not(unix))]
fn is_ours(_folder: &Path, _project: &Path) -> bool {
    true
}

/// Finds a tool in `PATH`. Relative entries are ignored, since they depend on the current folder.
pub(super) fn in_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// Finds an LLVM tool, which distributions install as `clang-22` or as `clang`.
pub(super) fn newest(tool: &str) -> Option<PathBuf> {
    const NEWEST: u32 = 40;
    const OLDEST: u32 = 15;
    (OLDEST..=NEWEST)
        .rev()
        .find_map(|version| in_path(&format!("{tool}-{version}")))
        .or_else(|| in_path(tool))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `outer/work/project`; the first two folders have a tool in `node_modules`.
    fn nested() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().expect("a folder");
        let outer = root.path().canonicalize().expect("it is there").join("outer");
        let project = outer.join("work/project");
        for folder in [&outer, &outer.join("work")] {
            std::fs::create_dir_all(folder.join("node_modules/.bin")).expect("made");
            std::fs::write(folder.join("node_modules/.bin/jco"), "").expect("written");
        }
        std::fs::create_dir_all(&project).expect("made");
        (root, project)
    }

    fn jco(project: &Path) -> Option<PathBuf> {
        local(project, &["node_modules/.bin/jco"])
    }

    #[test]
    fn outside_a_work_tree_only_the_projects_own_tools_are_run() {
        let (_root, project) = nested();
        assert_eq!(jco(&project), None);
        std::fs::create_dir_all(project.join("node_modules/.bin")).expect("made");
        std::fs::write(project.join("node_modules/.bin/jco"), "").expect("written");
        assert_eq!(jco(&project), Some(project.join("node_modules/.bin/jco")));
    }

    #[test]
    fn tools_are_looked_for_up_to_the_top_of_the_work_tree() {
        let (_root, project) = nested();
        let work = project.parent().expect("a parent").to_owned();
        std::fs::create_dir(work.join(".git")).expect("made");
        assert_eq!(jco(&project), Some(work.join("node_modules/.bin/jco")));
        std::fs::remove_file(work.join("node_modules/.bin/jco")).expect("removed");
        assert_eq!(jco(&project), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_everybody_may_write_to_ends_the_search() {
        use std::os::unix::fs::PermissionsExt;
        let (_root, project) = nested();
        let work = project.parent().expect("a parent").to_owned();
        std::fs::create_dir(work.join(".git")).expect("made");
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&work, everybody).expect("set");
        assert_eq!(jco(&project), None);
    }
}
