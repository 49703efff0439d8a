//! No two files of the engine may depend on each other, directly or indirectly, so that each file can
//! be understood from the files it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{blank_out, is_ident, sources, words};

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
    for body in ["x::g();", "self::x::g();", "let it = X;"] {
        let child = files(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", &format!("mod x; pub use x::X; pub fn h() {{ {body} }}")),
            ("a/x.rs", "pub struct X; fn f() { super::h() }"),
        ]);
        assert_eq!(cycles(&child), ["a/mod.rs, a/x.rs"], "{body}");
    }
    let parent = files(&[
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod x; pub use x::X; pub fn h(other: y::X) { b.x::<u8>() }"),
        ("a/x.rs", "pub struct X; fn f() { super::h() }"),
    ]);
    assert_eq!(cycles(&parent), Vec::<String>::new(), "the parent passes its child on, and does not use it");
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
                let is_visibility = code[..at].ends_with("pub(in ");
                if is_path && !is_visibility && !in_use(at) && !code[..at].ends_with("::") {
                    let end =
                        code[at..].find(|c| !is_ident(c) && c != ':').map_or(code.len(), |end| at + end);
                    named.push((at, segments(&code[at..end])));
                }
            }
        }
        named.extend(self.relative(&own, code).into_iter().filter(|(at, _)| !in_use(*at)));
        let inline = inline_spans(code);
        let modules = named.into_iter().filter_map(|(at, path)| {
            // A separate tests module may name its parent.
            if inline.iter().any(|span| span.contains(&at)) {
                return None;
            }
            let (module, name) = self.find(&own, &path)?;
            Some(self.source_of(module, name))
        });
        modules.filter_map(|module| self.files.get(&module)).filter(|file| *file != path).cloned().collect()
    }

    /// What a file names of its own submodules without `use`: `child::f`, `self::child::f`, and items that it passes
    /// on and uses itself.
    fn relative(&self, own: &Module, code: &str) -> Vec<(usize, Vec<String>)> {
        let mut named = Vec::new();
        let children =
            self.files.keys().filter(|module| module.len() == own.len() + 1 && module.starts_with(own));
        for name in children.filter_map(|module| module.last()) {
            for at in words(code, name) {
                let is_path = code[at + name.len()..].starts_with("::");
                let before = code[..at].trim_end_matches("self::");
                if is_path && !before.ends_with("::") && !before.ends_with('.') {
                    let end =
                        code[at..].find(|c| !is_ident(c) && c != ':').map_or(code.len(), |end| at + end);
                    named.push((at, segments(&code[at..end])));
                }
            }
        }
        for (_, name) in self.passed_on.keys().filter(|(module, _)| module == own) {
            let bare = |at: &usize| {
                let (before, after) = (&code[..*at], &code[at + name.len()..]);
                let is_item = name.starts_with(char::is_uppercase) || after.starts_with(['(', '!']);
                is_item && !before.ends_with("::") && !before.ends_with('.') && !before.ends_with("fn ")
            };
            let path = vec!["self".to_owned(), name.clone()];
            named.extend(words(code, name).into_iter().filter(bare).map(|at| (at, path.clone())));
        }
        named
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

/// Where the inline modules of a file are.
fn inline_spans(code: &str) -> Vec<Range<usize>> {
    let starts = words(code, "mod").into_iter().filter_map(|at| {
        let open = at + code[at..].find(['{', ';'])?;
        code[open..].starts_with('{').then_some(open)
    });
    let close = |open: usize| {
        let mut level = 0;
        let end = code[open..].find(|c| {
            level += i32::from(c == '{') - i32::from(c == '}');
            level == 0
        });
        open..end.map_or(code.len(), |end| open + end)
    };
    starts.map(close).collect()
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
