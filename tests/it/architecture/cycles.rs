//! No two files of the engine may depend on each other, directly or indirectly, so that each file can
//! be understood from the files it uses.

use std::collections::{BTreeMap, BTreeSet};

use super::{blank_out, inline_modules, is_ident, sources, words};

/// A module's path from the root: `["apply", "run"]`.
type Module = Vec<String>;

/// The parsed sources: modules, their files, and what each re-exports by `pub use`.
struct Tree {
    files: BTreeMap<Module, String>,
    passed_on: BTreeMap<(Module, String), Module>,
}

#[test]
fn no_two_files_depend_on_each_other() {
    let found = cycles(&sources("engine/src"));
    assert!(found.is_empty(), "files that depend on each other:\n{}", found.join("\n"));
}

#[test]
fn the_check_can_fail() {
    let files = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    };
    let good = files(&[
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod x; mod y; pub use x::X;"),
        ("a/x.rs", "use super::y::Y; pub struct X;"),
        ("a/y.rs", "pub struct Y; #[cfg(test)] mod tests { use super::*; use super::super::x::X; }"),
        ("b.rs", "use crate::a::X;"),
    ]);
    assert_eq!(cycles(&good), Vec::<String>::new());
    let direct = files(&[
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod x; mod y;"),
        ("a/x.rs", "use super::{y::Y, z};"),
        ("a/y.rs", "fn f() { super::x::g() }"),
    ]);
    assert_eq!(cycles(&direct), ["a/x.rs, a/y.rs"]);
    let around = files(&[
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod x; pub use x::X;"),
        ("a/x.rs", "use crate::b::B; pub struct X;"),
        ("b.rs", "use crate::a::X; pub struct B;"),
    ]);
    assert_eq!(cycles(&around), ["a/x.rs, b.rs"], "what `a` passes on is its file's");
}

/// The files that each file names, outside of its tests.
pub(super) fn dependencies(sources: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let code: Vec<(&String, String)> =
        sources.iter().filter(|(path, _)| path != "main.rs").map(|(p, text)| (p, blank_out(text))).collect();
    let files = code.iter().map(|(path, _)| (module_of(path), (*path).clone())).collect();
    let mut tree = Tree { files, passed_on: BTreeMap::new() };
    for (path, text) in &code {
        let own = module_of(path);
        for (start, end) in uses(text).into_iter().filter(|(start, _)| is_passed_on(text, *start)) {
            for used in paths(&text[start..end]) {
                if let Some((module, Some(name))) = tree.find(&own, &used) {
                    tree.passed_on.insert((own.clone(), name), module);
                }
            }
        }
    }
    code.iter().map(|(path, text)| ((*path).clone(), tree.needs(path, text))).collect()
}

/// Strongly connected groups of files, one line each.
fn cycles(sources: &[(String, String)]) -> Vec<String> {
    let needs = dependencies(sources);
    let reaches: BTreeMap<&String, BTreeSet<&String>> =
        needs.keys().map(|file| (file, reached(file, &needs))).collect();
    let mut found = BTreeSet::new();
    for (file, others) in &reaches {
        let group: Vec<&str> = others
            .iter()
            .filter(|other| reaches[**other].contains(file))
            .map(|other| other.as_str())
            .collect();
        if group.len() > 1 {
            found.insert(group.join(", "));
        }
    }
    found.into_iter().collect()
}

impl Tree {
    /// The files that a file names.
    fn needs(&self, path: &str, code: &str) -> BTreeSet<String> {
        let own = module_of(path);
        let uses = uses(code);
        let imported = uses.iter().filter(|(start, _)| !is_passed_on(code, *start));
        let mut named: Vec<(usize, Vec<String>)> = imported
            .flat_map(|(start, end)| paths(&code[*start..*end]).into_iter().map(|path| (*start, path)))
            .collect();
        let in_use = |at: usize| uses.iter().any(|(start, end)| (*start..*end).contains(&at));
        for first in ["crate", "super"] {
            for at in words(code, first) {
                let is_path = code[at + first.len()..].starts_with("::");
                if is_path && !in_use(at) && !code[..at].ends_with("::") {
                    let end =
                        code[at..].find(|c| !is_ident(c) && c != ':').map_or(code.len(), |end| at + end);
                    named.push((at, segments(&code[at..end])));
                }
            }
        }
        let modules = named.into_iter().filter_map(|(at, path)| {
            // A separate tests module may name its parent.
            if inline_modules(&code[..at]) > 0 {
                return None;
            }
            let (module, name) = self.find(&own, &path)?;
            Some(self.source_of(module, name))
        });
        modules.filter_map(|module| self.files.get(&module)).filter(|file| *file != path).cloned().collect()
    }

    /// The module that a path leads to, and the rest of the path.
    fn find(&self, own: &[String], path: &[String]) -> Option<(Module, Option<String>)> {
        let mut rest = path;
        let mut module = own.to_vec();
        match rest.first()?.as_str() {
            "crate" => (module, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
            }
            first => {
                module.push(first.to_owned());
                self.files.get(&module)?;
                rest = &rest[1..];
            }
        }
        while let Some(name) = rest.first() {
            module.push(name.clone());
            if !self.files.contains_key(&module) {
                module.pop();
                break;
            }
            rest = &rest[1..];
        }
        Some((module, rest.first().cloned()))
    }

    /// The origin of a name that a module re-exports.
    fn source_of(&self, mut module: Module, name: Option<String>) -> Module {
        let Some(name) = name else { return module };
        for _ in 0..4 {
            match self.passed_on.get(&(module.clone(), name.clone())) {
                Some(source) => module.clone_from(source),
                None => break,
            }
        }
        module
    }
}

/// All files reachable from a file by at least one step.
fn reached<'a>(from: &'a String, needs: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        open.extend(needs[file].iter().filter(|next| found.insert(*next)));
    }
    found
}

fn module_of(path: &str) -> Module {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

/// The start and end of the tree of each `use …;`.
fn uses(code: &str) -> Vec<(usize, usize)> {
    let starts = words(code, "use").into_iter();
    starts
        .filter_map(|at| Some((at, code[at..].find(';')? + at)))
        .map(|(at, end)| (at + "use".len(), end))
        .collect()
}

/// Whether the `use` at this position is `pub use` or `pub(…) use`.
fn is_passed_on(code: &str, tree: usize) -> bool {
    let before = code[..tree - "use".len()].trim_end();
    before.ends_with("pub")
        || (before.ends_with(')') && before.rfind("pub(").is_some_and(|at| !before[at..].contains(';')))
}

/// The paths of a tree: `a::{b, c::d}` holds `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<Vec<String>> {
    let Some((first, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let path = segments(path);
        return if path.is_empty() { Vec::new() } else { vec![path] };
    };
    let first = segments(first);
    let group = group.rsplit_once('}').map_or(group, |(inside, _)| inside);
    let (mut parts, mut level, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' => level -= 1,
            ',' if level == 0 => {
                parts.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[begin..]);
    let whole = parts.into_iter().flat_map(paths);
    whole.map(|path| first.iter().cloned().chain(path).collect()).collect()
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
