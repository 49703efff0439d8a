//! Detects the language of scripts, which name their interpreter in the first line.

use super::language_of;

/// The language of a file: by its name, else by the interpreter in its first line.
pub fn language_in(path: &str, text: &str) -> Option<&'static str> {
    language_of(path).or_else(|| by_interpreter(interpreter(text)?))
}

/// The interpreter in a script's first line, without its folder: `python3` for `#!/usr/bin/env
/// python3`. `None` if the text is not a script.
pub(super) fn interpreter(text: &str) -> Option<&str> {
    let command = text.lines().next()?.strip_prefix("#!")?.trim_start();
    if !command.starts_with('/') {
        return None;
    }
    let mut words = command.split_ascii_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    match words.next()? {
        // Skip the options of `env` and the variables it sets.
        "env" => words.find(|word| !word.starts_with('-') && !word.contains('=')),
        name => Some(name),
    }
}

fn by_interpreter(name: &str) -> Option<&'static str> {
    // `python3.12`, `ruby2.7`, `lua5.4`: the version does not affect the language.
    Some(match name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-') {
        "sh" | "bash" | "dash" | "ash" | "ksh" | "mksh" | "zsh" | "bats" => "shell",
        "fish" => "fish",
        "python" | "pypy" | "uv" => "python",
        "ruby" | "jruby" => "ruby",
        "node" | "nodejs" | "bun" => "javascript",
        "deno" | "ts-node" | "tsx" => "typescript",
        "php" => "php",
        "perl" => "perl",
        "lua" | "luajit" => "lua",
        "awk" | "gawk" | "mawk" => "awk",
        "make" | "just" => "makefile",
        "pwsh" => "powershell",
        "Rscript" => "r",
        "julia" => "julia",
        "groovy" => "groovy",
        "elixir" => "elixir",
        "escript" => "erlang",
        "runhaskell" | "runghc" | "stack" => "haskell",
        "ocaml" => "ocaml",
        "guile" | "racket" => "scheme",
        "emacs" => "emacs-lisp",
        "swift" => "swift",
        "kotlin" => "kotlin",
        "scala" => "scala",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_determines_the_language() {
        for (path, text, language) in [
            ("bin/tool", "#!/bin/sh\nexit\n", Some("shell")),
            ("bin/tool", "#! /usr/bin/env python3.12\n", Some("python")),
            ("bin/tool", "#!/usr/bin/env -S LANG=C node --test\n", Some("javascript")),
            ("bin/tool", "#!/usr/local/bin/ruby -w", Some("ruby")),
            ("bin/tool", "#!/opt/x/made-up\n", None),
            ("bin/tool", "#!shebang is a word\n", None),
            ("bin/tool", "#!/usr/bin/env", None),
            ("bin/tool", "text\n#!/bin/sh\n", None),
            ("a.py", "#!/bin/sh\n", Some("python")),
            ("LICENSE", "#!/bin/sh\n", Some("text")),
            ("", "", None),
        ] {
            assert_eq!(language_in(path, text), language, "{path} {text:?}");
        }
    }
}
