//! A release: the archive has what an installation needs and is the same each time; the installer checks before it changes
//! anything. The program in the archive is a script, since the real one takes half a minute to pack.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::page::root;

/// Prints what the packing of an archive and the installer ask the program for. Does not run with glibc 2.99.
const PROGRAM: &str = r#"#!/bin/sh
case $1 in
  --version)
    if [ "$(getconf GNU_LIBC_VERSION 2>/dev/null)" = "glibc 2.99" ]; then
      echo "$0: libc.so.6: version GLIBC_2.32 not found" >&2
      echo "$0: libc.so.6: version GLIBC_2.33 not found" >&2
      exit 1
    fi
    echo "reposync 9.8.7" ;;
  man) mkdir -p "$2" && echo manual > "$2/reposync.1" ;;
  completions) echo "completions for $2" ;;
esac
"#;

struct Release {
    folder: tempfile::TempDir,
}

impl Release {
    /// A folder `release` with archives for these targets and their checksums. `None` without Python.
    fn of(targets: &[&str]) -> Option<Self> {
        let release = Self { folder: tempfile::tempdir().expect("a folder") };
        let program = release.path("program");
        executable(&program, PROGRAM);
        std::fs::create_dir(release.path("components")).expect("made");
        std::fs::write(release.path("components/restructuredtext.wasm"), "component").expect("written");
        let mut sums = String::new();
        for target in targets {
            let archive = release.pack(target, "release")?;
            sums.push_str(&format!("{}  {}\n", sha256(&archive), archive.file_name()?.to_str()?));
        }
        std::fs::write(release.path("release/SHA256SUMS"), sums).expect("written");
        Some(release)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pack(&self, target: &str, out: &str) -> Option<PathBuf> {
        let script = root().join("deploy/release/archive.py");
        let mut command = Command::new("python3");
        command.arg(script).args(["--target", target, "--out"]).arg(self.path(out));
        command.arg("--program").arg(self.path("program")).arg("--components").arg(self.path("components"));
        let output = command.output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(self.path(&format!("{out}/reposync-9.8.7-{target}.tar.gz")))
    }

    /// The installer of this release on a system with this name, processor and C library.
    fn install(&self, system: &str, machine: &str, glibc: &str, args: &[&str]) -> Output {
        let tools = self.path("tools");
        std::fs::create_dir_all(&tools).expect("made");
        executable(
            &tools.join("uname"),
            &format!("#!/bin/sh\n[ \"$1\" = -s ] && echo {system} || echo {machine}\n"),
        );
        let getconf = if glibc.is_empty() { "exit 1".to_owned() } else { format!("echo glibc {glibc}") };
        executable(&tools.join("getconf"), &format!("#!/bin/sh\n{getconf}\n"));
        executable(&tools.join("sysctl"), "#!/bin/sh\necho 0\n");
        let script = std::fs::read_to_string(root().join("deploy/release/install.sh")).expect("the script");
        let script = script.replace("@REPOSYNC_VERSION@", "9.8.7");
        std::fs::write(self.path("install.sh"), script).expect("written");
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
        let from = format!("file://{}", self.path("release").display());
        let mut command = Command::new("sh");
        command.arg(self.path("install.sh")).args(["--from", &from]).args(args);
        command.env_clear().env("PATH", path).env("HOME", self.path("home")).current_dir(self.folder.path());
        command.output().expect("a shell")
    }

    #[track_caller]
    fn refuses(&self, system: &str, machine: &str, glibc: &str, args: &[&str]) -> String {
        let output = self.install(system, machine, glibc, args);
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(!self.path("home").exists(), "nothing is changed");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

fn sha256(file: &Path) -> String {
    let output = Command::new("python3")
        .args([
            "-c",
            "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())",
        ])
        .arg(file)
        .output()
        .expect("Python, which made the archive");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_installer_takes_the_archive_of_the_system() {
    let targets = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-apple-darwin"];
    let Some(release) = Release::of(&targets) else { return };
    for (system, machine, glibc, target) in [
        ("Linux", "x86_64", "2.36", "x86_64-unknown-linux-gnu"),
        ("Linux", "amd64", "2.28", "x86_64-unknown-linux-gnu"),
        ("Linux", "x86_64", "2.17", "x86_64-unknown-linux-musl"),
        ("Linux", "x86_64", "", "x86_64-unknown-linux-musl"),
        ("Darwin", "arm64", "", "aarch64-apple-darwin"),
    ] {
        let output = release.install(system, machine, glibc, &[]);
        let (said, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}{error}");
        assert!(
            said.contains(&format!("downloading reposync-9.8.7-{target}\n")),
            "{system} {machine} {glibc}: {said}"
        );
        assert!(
            said.contains("installed reposync 9.8.7 in ") && said.contains("add it to your PATH"),
            "{said}"
        );
    }
    // Everything that was installed is listed for the removal.
    let prefix = release.path("home/.local");
    let listed = std::fs::read_to_string(prefix.join("share/doc/reposync/files")).expect("a list");
    assert!(
        listed.contains("share/man/man1/reposync.1") && listed.contains("share/zsh/site-functions/_reposync")
    );
    for file in listed.lines() {
        std::fs::remove_file(prefix.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let left = Command::new("find").arg(&prefix).args(["-type", "f"]).output().expect("`find`");
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
    // Over a program that is there, into a folder by a relative path, without a hint about PATH.
    let output = release.install("Linux", "x86_64", "2.36", &["--prefix", "own"]);
    assert!(output.status.success() && release.path("own/bin/reposync").exists());
}

#[test]
fn the_installer_refuses_before_it_changes_anything() {
    let Some(release) = Release::of(&["x86_64-unknown-linux-gnu"]) else { return };
    for (system, machine, glibc, args, expected) in [
        ("Linux", "riscv64", "2.36", &[][..], "there is no release for the processor riscv64"),
        ("FreeBSD", "x86_64", "", &[], "there is no release for the system FreeBSD"),
        ("Darwin", "x86_64", "", &[], "there is no release for Macs with Intel processors"),
        (
            "Linux",
            "aarch64",
            "2.36",
            &[],
            "there is no release for aarch64-unknown-linux-gnu in version 9.8.7",
        ),
        (
            "Linux",
            "x86_64",
            "2.17",
            &["--target", "x86_64-unknown-linux-gnu"],
            "this system has glibc 2.17; 2.28 or newer",
        ),
        (
            "Linux",
            "x86_64",
            "2.36",
            &["--version", "v0.0.1"],
            "there is no release for x86_64-unknown-linux-gnu in version 0.0.1",
        ),
        (
            "Linux",
            "x86_64",
            "2.36",
            &["--from", "http://example.com"],
            "is not an https:// or file:// address",
        ),
        ("Linux", "x86_64", "2.36", &["--from", "file:///nowhere"], "cannot read /nowhere/SHA256SUMS"),
        ("Linux", "x86_64", "2.36", &["--colour"], "unknown option --colour"),
        ("Linux", "x86_64", "2.36", &["--prefix"], "--prefix needs a value"),
        ("Linux", "x86_64", "2.36", &["--prefix", "/proc/nowhere"], "/proc/nowhere/bin cannot be written"),
    ] {
        let said = release.refuses(system, machine, glibc, args);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(
        release.refuses("Linux", "x86_64", "2.99", &[]),
        "install.sh: the program does not run here: libc.so.6: version GLIBC_2.32 not found\n\
         hint: try --target x86_64-unknown-linux-musl, which needs no C library\n"
    );
    let archive = release.path("release/reposync-9.8.7-x86_64-unknown-linux-gnu.tar.gz");
    let mut bytes = std::fs::read(&archive).expect("an archive");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&archive, bytes).expect("written");
    let said = release.refuses("Linux", "x86_64", "2.36", &[]);
    assert!(
        said.contains("the checksum of reposync-9.8.7-x86_64-unknown-linux-gnu.tar.gz is wrong"),
        "{said}"
    );
    assert!(said.contains("Nothing was installed"), "{said}");
}

#[test]
fn an_archive_is_the_same_each_time() {
    let Some(release) = Release::of(&["x86_64-unknown-linux-gnu"]) else { return };
    let again = release.pack("x86_64-unknown-linux-gnu", "again").expect("packed before");
    let first = release.path("release/reposync-9.8.7-x86_64-unknown-linux-gnu.tar.gz");
    assert_eq!(std::fs::read(first).expect("an archive"), std::fs::read(again).expect("an archive"));
}
