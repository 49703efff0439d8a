//! `.gitattributes` as RepoSync reads them, compared with `git check-attr`.

use reposync::model::SkipReason;
use reposync::plan::Attributes;

use crate::support::git_repo::GitRepo;

const FILES: [(&str, &str); 5] = [
    (
        "",
        "# top\n\
         [attr]machine linguist-generated -text\n\
         *.pb.rs linguist-generated\n\
         third_party/** linguist-vendored\n\
         vendor/* linguist-vendored=true text\n\
         /only-top.md linguist-generated\n\
         \"with space/*.md\" linguist-generated\n\
         snapshots/** machine\n\
         **/gen/*.js linguist-generated\n\
         a/**/z.md linguist-vendored\n\
         *.lock linguist-generated=yes\n\
         [a-c]?.txt linguist-vendored\n\
         *.undone linguist-generated\n\
         *.undone !linguist-generated\n\
         folder/ linguist-vendored\n",
    ),
    ("third_party/ours", "* -linguist-vendored\n*.pb.rs linguist-generated=false\n"),
    ("docs", "/api.md linguist-generated\nguide.md linguist-generated=true\n"),
    ("docs/deep", "[attr]machine linguist-vendored\n*.md machine\n"),
    // Only a use of a macro that the top-level file defines.
    ("docs/macros", "*.txt machine\nplain.txt !machine\n*.rst -machine\n"),
];

const PATHS: [&str; 37] = [
    "src/lib.rs",
    "a.pb.rs",
    "deep/er/a.pb.rs",
    "a.PB.rs",
    "third_party/x/y.rs",
    "third_party/x.pb.rs",
    "third_party/ours/y.rs",
    "third_party/ours/deep/y.pb.rs",
    "third_party",
    "vendor/x.c",
    "vendor/deep/x.c",
    "sub/vendor/x.c",
    "only-top.md",
    "sub/only-top.md",
    "with space/a.md",
    "snapshots/a/b.snap",
    "sub/snapshots/a",
    "gen/a.js",
    "x/gen/a.js",
    "x/gen/y/a.js",
    "a/z.md",
    "a/b/c/z.md",
    "Cargo.lock",
    "a1.txt",
    "d1.txt",
    "sub/b2.txt",
    "a.undone",
    "folder/x",
    "folder",
    "docs/api.md",
    "docs/sub/api.md",
    "docs/sub/guide.md",
    "guide.md",
    "docs/deep/a.md",
    "docs/macros/a.txt",
    "docs/macros/plain.txt",
    "docs/macros/a.rst",
];

#[test]
fn generated_and_vendored_are_what_git_says() {
    let repo = GitRepo::init("r");
    for (folder, text) in FILES {
        repo.write(format!("{folder}/.gitattributes").trim_start_matches('/'), text);
    }
    let rules = Attributes::new(FILES.map(|(folder, text)| (folder.to_owned(), text.to_owned())));
    for path in PATHS {
        let says = repo.git(&["check-attr", "linguist-generated", "linguist-vendored", "--", path]);
        let holds = |name: &str| {
            says.lines().any(|line| {
                let value = line.rsplit_once(&format!(" {name}: ")).map(|(_, value)| value);
                value.is_some_and(|value| !["unset", "unspecified", "false"].contains(&value))
            })
        };
        let expected = if holds("linguist-generated") {
            Some(SkipReason::Generated)
        } else {
            holds("linguist-vendored").then_some(SkipReason::Vendored)
        };
        assert_eq!(rules.skip(path), expected, "{path}: {says}");
    }
    assert!(PATHS.iter().any(|path| rules.skip(path) == Some(SkipReason::Vendored)));
}
