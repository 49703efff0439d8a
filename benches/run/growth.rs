//! How time, memory and writing grow with the number of files, chunks, repositories and projects: local
//! repositories, the built-in model, the SQLite index, so that nothing but the program is measured.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::Args;
use super::local;
use super::program::{self, Measured};

/// Chunks of a file where the number of chunks is to grow with that of files.
const CHUNKS: usize = 10;
/// Queries of a row, of which the median is shown.
const QUERIES: usize = 21;

/// All series. With `--quick`, each at a hundredth of its sizes.
pub(crate) fn measure(args: &Args) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of files")]
    let of = |sizes: [usize; 3]| {
        sizes.map(
            |size| if args.quick { size.div_ceil(100) } else { (size as f64 * args.scale).ceil() as usize },
        )
    };
    println!(
        "{:<50}{:>8}{:>8}{:>8}{:>8}{:>11}{:>10}{:>9}{:>10}",
        "run", "time s", "CPU s", "MiB", "own MiB", "written MB", "state MB", "chunks", "query ms"
    );
    let growth = Growth { args };
    growth.files(of([1_000, 10_000, 100_000]));
    let repositories = of([1_000, 5_000, 10_000]);
    let in_one = growth.series("repositories in one project", repositories, |n| local::in_one_project(n, 3));
    let projects = of([1, 100, 1_000]);
    let apart = growth.series("projects of one repository", projects, |n| local::in_a_project_each(n, 3));
    if let (Some(in_one), Some(apart)) = (in_one, apart)
        && repositories[0] == projects[2]
    {
        println!("{:<50}{:>8.2} times", "  one project to as many as repositories", in_one[0] / apart[2]);
    }
}

struct Growth<'a> {
    args: &'a Args,
}

impl Growth<'_> {
    /// One repository of files with several chunks each: a first run, one without changes, one after a commit to
    /// one file, and queries.
    fn files(&self, sizes: [usize; 3]) {
        if !"files".starts_with(&self.args.case) {
            return;
        }
        let mut firsts = Vec::new();
        for size in sizes {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let repository = folder.path().join("repo-0.git");
            local::commit(
                &repository,
                (0..size).map(|n| (format!("docs/{}/{n}.md", n / 1000), long_page(n))),
            );
            let projects = local::projects(1);
            local::write(folder.path(), &local::configuration("sentence", "", local::BUILT_IN, &projects));
            firsts.push((size, self.row(&format!("{size} files: first"), folder.path(), true)));
            self.row(&format!("{size} files: nothing changed"), folder.path(), false);
            let edited = (String::from("docs/0/0.md"), format!("{}One more sentence.\n", long_page(0)));
            local::commit_again(&repository, std::iter::once(edited));
            self.row(&format!("{size} files: one file"), folder.path(), false);
        }
        exponent(&firsts);
    }

    /// First runs and runs without changes; the times of the first runs.
    fn series(&self, what: &str, sizes: [usize; 3], world: impl Fn(usize) -> TempDir) -> Option<Vec<f64>> {
        if !what.starts_with(&self.args.case) {
            return None;
        }
        let mut firsts = Vec::new();
        for size in sizes {
            let folder = world(size);
            firsts.push((size, self.row(&format!("{size} {what}: first"), folder.path(), false)));
            self.row(&format!("{size} {what}: nothing changed"), folder.path(), false);
        }
        exponent(&firsts);
        Some(firsts.iter().map(|(_, first)| first.seconds).collect())
    }

    fn row(&self, name: &str, folder: &Path, queries: bool) -> Measured {
        let measured = program::apply(&self.args.program, folder);
        println!(
            "{name:<50}{:>8.2}{:>8}{:>8}{:>8}{:>11}{:>10.1}{:>9}{:>10}",
            measured.seconds,
            program::or_none(measured.cpu, 2),
            program::or_none(measured.peak_mib, 0),
            program::or_none(measured.own_mib, 0),
            program::or_none(measured.written_mb, 1),
            megabytes(&folder.join(".reposync")),
            measured.count("chunks"),
            program::or_none(queries.then(|| self.query(folder)), 0),
        );
        measured
    }

    /// Milliseconds of a query, with the start of its process: the median.
    fn query(&self, folder: &Path) -> f64 {
        let mut times: Vec<f64> = (0..QUERIES)
            .map(|n| {
                let words = [3, 40, 500, 2_000, 9_000].map(|rank| Words::of_rank(rank + n));
                let question = words.join(" ");
                let began = Instant::now();
                let status = Command::new(&self.args.program)
                    .args(["query", "--json", &question])
                    .current_dir(folder)
                    .env_clear()
                    .env("HOME", folder)
                    .stdout(Stdio::null())
                    .status();
                assert!(status.expect("the program").success(), "a query failed");
                began.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[QUERIES / 2]
    }
}

/// A Markdown file of [`CHUNKS`] chunks, none of which occurs elsewhere.
fn long_page(n: usize) -> String {
    let mut words = Words(n as u64 + 1);
    let mut page = format!("# Page {n}\n\n");
    for section in 0..CHUNKS {
        page.push_str(&format!("## Section {section} of {n}\n\n"));
        for _ in 0..12 {
            words.sentence(&mut page);
        }
        page.push_str("\n\n");
    }
    page
}

/// Words as often as in a language: the nth most frequent one occurs in proportion to 1/n.
struct Words(u64);

impl Words {
    const VOCABULARY: f64 = 50_000.0;

    /// A number from 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }

    /// A word of this rank, by which it is the more frequent the lower.
    fn of_rank(rank: usize) -> String {
        const SYLLABLES: [&str; 16] =
            ["ba", "co", "di", "fe", "gu", "ha", "jo", "ki", "le", "mu", "na", "po", "ri", "se", "tu", "va"];
        let mut word = String::new();
        let mut rest = rank + 16;
        while rest > 0 {
            word.push_str(SYLLABLES[rest % 16]);
            rest /= 16;
        }
        word
    }

    fn sentence(&mut self, text: &mut String) {
        text.push_str("The");
        for _ in 0..12 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
            let rank = Self::VOCABULARY.powf(self.next()) as usize;
            text.push(' ');
            text.push_str(&Self::of_rank(rank));
        }
        text.push_str(". ");
    }
}

/// Megabytes of all files below a folder.
fn megabytes(folder: &Path) -> f64 {
    let entries = std::fs::read_dir(folder).expect("the program's folder");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("readable");
        let metadata = entry.metadata().expect("readable");
        if metadata.is_dir() { megabytes(&entry.path()) } else { metadata.len() as f64 / 1e6 }
    });
    sizes.sum()
}

/// Prints the exponents of growth between the smallest and the largest size: 1 is proportional.
fn exponent(rows: &[(usize, Measured)]) {
    let (Some((small, first)), Some((large, last))) = (rows.first(), rows.last()) else { return };
    let times = (*large as f64 / *small as f64).ln();
    let of = |value: fn(&Measured) -> Option<f64>| match (value(first), value(last)) {
        (Some(first), Some(last)) if first > 0.0 && times > 0.0 => {
            format!("{:.2}", (last / first).ln() / times)
        }
        _ => "-".to_owned(),
    };
    println!(
        "{:<50}{:>8}{:>8}{:>8}{:>8}{:>11}",
        "  exponent of growth",
        of(|row| Some(row.seconds)),
        of(|row| row.cpu),
        of(|row| row.peak_mib),
        of(|row| row.own_mib),
        of(|row| row.written_mb),
    );
}
