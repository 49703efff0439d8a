//! Detects the language of a file from its name, case-insensitively.

/// The language of a path, in lower case (`rust`, `markdown`, `toml`); `None` if the name does not
/// reveal it.
pub fn language_of(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    by_name(&name).or_else(|| {
        let (stem, extension) = name.rsplit_once('.')?;
        // `.gitignore` is a name, not an extension, but `.md` alone still counts as an extension.
        by_extension(extension).or_else(|| template_of(stem, extension))
    })
}

/// True for prose, where line breaks and indentation are layout: `sentence` or a component cuts it.
/// All other languages are code, configuration or data, which must be cut at line ends.
pub(super) fn is_prose(language: &str) -> bool {
    matches!(language, "markdown" | "restructuredtext" | "asciidoc" | "org" | "tex" | "typst" | "text")
}

/// The media type of a path, for components: `text/markdown`, `text/x-rust`; `text/plain` if
/// unknown.
pub fn media_type_of(path: &str) -> String {
    match language_of(path) {
        None | Some("text") => "text/plain".into(),
        Some("json") => "application/json".into(),
        Some("toml") => "application/toml".into(),
        Some("yaml") => "application/yaml".into(),
        Some("xml") => "application/xml".into(),
        Some("sql") => "application/sql".into(),
        Some("jupyter") => "application/x-ipynb+json".into(),
        Some("svg") => "image/svg+xml".into(),
        Some(language @ ("markdown" | "html" | "css" | "csv" | "javascript")) => format!("text/{language}"),
        Some("restructuredtext") => "text/x-rst".into(),
        Some("tsv") => "text/tab-separated-values".into(),
        Some("cpp") => "text/x-c++src".into(),
        Some(language) => format!("text/x-{language}"),
    }
}

/// `config.yaml.example`, `main.tf.tmpl`: the language of the name without its template suffix.
fn template_of(stem: &str, extension: &str) -> Option<&'static str> {
    let template = matches!(
        extension,
        "example" | "sample" | "template" | "tmpl" | "tpl" | "in" | "dist" | "j2" | "jinja" | "bak" | "orig"
    );
    if !template {
        return None;
    }
    by_name(stem).or_else(|| by_extension(stem.rsplit_once('.')?.1))
}

fn by_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "makefile" | "gnumakefile" | "justfile" => "makefile",
        "dockerfile" | "containerfile" => "dockerfile",
        "cmakelists.txt" => "cmake",
        "gemfile" | "rakefile" | "podfile" | "vagrantfile" | "guardfile" | "brewfile" | "fastfile" => "ruby",
        "jenkinsfile" => "groovy",
        "build" | "build.bazel" | "workspace" | "workspace.bazel" | "module.bazel" => "starlark",
        "cargo.lock" | "poetry.lock" | "uv.lock" | "pipfile" => "toml",
        "package-lock.json" | "composer.lock" | "pipfile.lock" | "flake.lock" | ".prettierrc"
        | ".babelrc" | ".eslintrc" => "json",
        ".clang-format" | ".clang-tidy" | ".yarnrc" | "pubspec.lock" => "yaml",
        ".bashrc" | ".bash_profile" | ".profile" | ".zshrc" | ".zprofile" | ".envrc" | "pkgbuild"
        | "configure" => "shell",
        ".env" => "dotenv",
        ".editorconfig" | ".gitconfig" | ".gitmodules" | ".npmrc" | ".flake8" | ".pylintrc" => "ini",
        ".gitignore" | ".dockerignore" | ".npmignore" | ".eslintignore" | ".prettierignore" | ".ignore" => {
            "gitignore"
        }
        ".gitattributes" => "gitattributes",
        ".vimrc" => "vim",
        "go.mod" | "go.sum" | "go.work" => "go-module",
        "readme" | "license" | "licence" | "copying" | "authors" | "notice" | "changelog" | "changes"
        | "news" | "todo" | "install" | "contributors" | "maintainers" => "text",
        "codeowners" => "codeowners",
        _ if name.starts_with("dockerfile.") => "dockerfile",
        _ if name.starts_with(".env.") => "dotenv",
        _ if name.starts_with("makefile.") => "makefile",
        _ => return None,
    })
}

fn by_extension(extension: &str) -> Option<&'static str> {
    Some(match extension {
        // documents
        "md" | "markdown" | "mdown" | "mdwn" | "mkd" | "mkdn" | "mkdown" | "mdx" | "rmd" | "qmd" => {
            "markdown"
        }
        "rst" | "rest" => "restructuredtext",
        "adoc" | "asciidoc" | "asc" => "asciidoc",
        "org" => "org",
        "tex" | "sty" | "cls" | "ltx" => "tex",
        "bib" => "bibtex",
        "txt" | "text" | "log" => "text",
        "typ" => "typst",
        "po" | "pot" => "gettext",
        // The most common languages with a grammar; see `code/syntax.rs` for all.
        "rs" => "rust",
        "py" | "pyi" | "pyw" | "pyx" | "pxd" => "python",
        "js" | "mjs" | "cjs" | "jsx" => "javascript",
        "ts" | "mts" | "cts" => "typescript",
        "tsx" => "tsx",
        "go" => "go",
        "java" => "java",
        "c" | "h" => "c",
        "cc" | "cpp" | "cxx" | "c++" | "hpp" | "hh" | "hxx" | "h++" | "ipp" | "inl" | "tpp" | "cu"
        | "cuh" | "ino" => "cpp",
        // other languages
        "cs" | "csx" => "csharp",
        "fs" | "fsx" | "fsi" => "fsharp",
        "vb" => "visual-basic",
        "kt" | "kts" => "kotlin",
        "scala" | "sc" | "sbt" => "scala",
        "groovy" | "gradle" | "gvy" => "groovy",
        "clj" | "cljs" | "cljc" | "edn" => "clojure",
        "rb" | "rake" | "gemspec" | "ru" => "ruby",
        "erb" => "erb",
        "php" | "phtml" | "php5" => "php",
        "pl" | "pm" | "pod" | "t" => "perl",
        "swift" => "swift",
        "m" | "mm" => "objective-c",
        "dart" => "dart",
        "lua" => "lua",
        "r" => "r",
        "jl" => "julia",
        "hs" | "lhs" => "haskell",
        "ml" | "mli" => "ocaml",
        "elm" => "elm",
        "ex" | "exs" | "heex" => "elixir",
        "erl" | "hrl" => "erlang",
        "zig" | "zon" => "zig",
        "nim" => "nim",
        "d" => "d",
        "v" | "sv" | "svh" | "vh" => "verilog",
        "vhd" | "vhdl" => "vhdl",
        "f" | "f90" | "f95" | "f03" | "f08" | "for" => "fortran",
        "pas" | "pp" | "dpr" => "pascal",
        "adb" | "ads" => "ada",
        "cob" | "cbl" => "cobol",
        "lisp" | "lsp" | "cl" => "lisp",
        "el" => "emacs-lisp",
        "scm" | "ss" | "rkt" => "scheme",
        "asm" | "s" | "nasm" => "assembly",
        "wat" | "wast" => "webassembly",
        "wit" => "wit",
        "sol" => "solidity",
        "cr" => "crystal",
        "gd" => "gdscript",
        "coffee" => "coffeescript",
        "vim" => "vim",
        "sh" | "bash" | "zsh" | "ksh" | "bats" => "shell",
        "fish" => "fish",
        "ps1" | "psm1" | "psd1" => "powershell",
        "bat" | "cmd" => "batch",
        "awk" => "awk",
        "sql" | "psql" | "ddl" => "sql",
        "graphql" | "gql" => "graphql",
        "proto" => "protobuf",
        "thrift" => "thrift",
        "capnp" => "capnproto",
        // the web
        "html" | "htm" | "xhtml" => "html",
        "css" => "css",
        "scss" | "sass" => "scss",
        "less" => "less",
        "vue" => "vue",
        "svelte" => "svelte",
        "astro" => "astro",
        "hbs" | "handlebars" | "mustache" => "handlebars",
        "j2" | "jinja" | "jinja2" => "jinja",
        "svg" => "svg",
        // data and configuration
        "json" | "jsonc" | "json5" | "jsonl" | "ndjson" | "geojson" | "webmanifest" => "json",
        "yaml" | "yml" => "yaml",
        "toml" => "toml",
        "ini" | "cfg" | "conf" | "properties" | "editorconfig" | "desktop" | "service" => "ini",
        "env" => "dotenv",
        "xml" | "xsd" | "xsl" | "xslt" | "wsdl" | "plist" | "csproj" | "vcxproj" | "props" | "targets" => {
            "xml"
        }
        "csv" => "csv",
        "tsv" => "tsv",
        "ipynb" => "jupyter",
        "tf" | "tfvars" | "hcl" | "nomad" => "terraform",
        "nix" => "nix",
        "bzl" | "star" | "bazel" => "starlark",
        "cmake" => "cmake",
        "mk" | "mak" | "make" | "just" => "makefile",
        "dockerfile" => "dockerfile",
        "diff" | "patch" => "diff",
        "rego" => "rego",
        "cue" => "cue",
        "dhall" => "dhall",
        "jsonnet" | "libsonnet" => "jsonnet",
        "http" | "rest-client" => "http",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_determine_the_language() {
        for (path, language) in [
            ("src/main.rs", Some("rust")),
            ("A/B/README.MD", Some("markdown")),
            ("docs/page.mdx", Some("markdown")),
            ("Cargo.toml", Some("toml")),
            ("Cargo.lock", Some("toml")),
            ("x/Dockerfile", Some("dockerfile")),
            ("Dockerfile.dev", Some("dockerfile")),
            ("Makefile", Some("makefile")),
            ("CMakeLists.txt", Some("cmake")),
            (".github/workflows/ci.YML", Some("yaml")),
            (".gitignore", Some("gitignore")),
            (".env.local", Some("dotenv")),
            ("app.component.tsx", Some("tsx")),
            ("a.b/noextension", None),
            ("LICENSE", Some("text")),
            ("config.yaml.example", Some("yaml")),
            ("main.h", Some("c")),
            ("main.hpp", Some("cpp")),
            ("weird.", None),
            ("", None),
            ("ünïcode.PY", Some("python")),
        ] {
            assert_eq!(language_of(path), language, "{path}");
        }
    }

    #[test]
    fn languages_map_to_media_types() {
        for (path, media) in [
            ("a.md", "text/markdown"),
            ("a.rs", "text/x-rust"),
            ("a.json", "application/json"),
            ("a", "text/plain"),
            ("a.txt", "text/plain"),
            ("a.cpp", "text/x-c++src"),
        ] {
            assert_eq!(media_type_of(path), media, "{path}");
        }
    }
}
