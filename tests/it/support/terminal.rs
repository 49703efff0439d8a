//! A program in a terminal: what is on the screen when it has ended, with colours, and a picture of that.

use std::fmt::Write as _;
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};

use vt100::{Cell, Color, Parser};

/// Columns of the terminal.
const COLUMNS: u16 = 100;
/// The screen is wider, so that paths of any length stay in one line.
const SCREEN: u16 = 400;

/// `sh` with a script, in a terminal without a keyboard.
pub(crate) fn shell(script: &Path) -> Command {
    let mut command = Command::new("script");
    if cfg!(target_os = "macos") {
        command.args(["-q", "/dev/null", "sh"]).arg(script);
    } else {
        command.args([
            "--quiet",
            "--return",
            "--command",
            &format!("sh '{}'", script.display()),
            "/dev/null",
        ]);
    }
    command.env("TERM", "xterm-256color").stdin(Stdio::null());
    command
}

/// The first lines of a script for [`shell`].
pub(crate) fn preamble() -> String {
    format!("stty cols {COLUMNS} rows 50\nexec < /dev/null\n")
}

/// How characters look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    /// One of the eight colours of a terminal, from 1; 0 is the colour of text.
    color: u8,
    bold: bool,
    dim: bool,
}

impl Style {
    fn of(cell: &Cell) -> Self {
        let color = match cell.fgcolor() {
            Color::Idx(index) if index < 16 => index % 8,
            _ => 0,
        };
        Self { color, bold: cell.bold(), dim: cell.dim() }
    }

    /// The classes of the picture's style sheet.
    fn classes(self) -> String {
        let mut classes = Vec::new();
        if self.color > 0 {
            classes.push(format!("c{}", self.color));
        }
        classes.extend(self.bold.then(|| "b".to_owned()));
        classes.extend(self.dim.then(|| "d".to_owned()));
        classes.join(" ")
    }
}

/// Neighbouring characters of the same style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) text: String,
    style: Style,
}

/// The lines of a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Screen(pub(crate) Vec<Vec<Run>>);

impl Screen {
    /// What a terminal shows after these bytes. Lines that were drawn over or erased are gone.
    pub(crate) fn after(bytes: &str) -> Self {
        let rows = u16::try_from(bytes.matches('\n').count() + 1).expect("a few lines");
        let size = [rows, SCREEN].map(|size| NonZero::new(size).expect("at least one"));
        let mut parser = Parser::new(size[0], size[1], 0);
        parser.process(bytes.as_bytes());
        let screen = parser.screen();
        let mut lines: Vec<Vec<Run>> = (0..rows)
            .map(|row| {
                let mut line: Vec<Run> = Vec::new();
                for cell in (0..SCREEN).filter_map(|column| screen.cell(row, column)) {
                    let text = if cell.has_contents() { cell.contents() } else { " " };
                    let style = Style::of(cell);
                    match line.last_mut().filter(|last| last.style == style) {
                        Some(last) => last.text.push_str(text),
                        None => line.push(Run { text: text.to_owned(), style }),
                    }
                }
                trimmed(line)
            })
            .collect();
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        Self(lines)
    }

    /// The screen with text replaced within runs.
    pub(crate) fn replaced(mut self, from: &str, to: &str) -> Self {
        for run in self.0.iter_mut().flatten() {
            run.text = run.text.replace(from, to);
        }
        self
    }

    /// The lines without style, each with a line feed.
    pub(crate) fn text(&self) -> String {
        let line = |line: &Vec<Run>| line.iter().map(|run| run.text.as_str()).collect::<String>() + "\n";
        self.0.iter().map(line).collect()
    }

    /// A picture of the commands after a prompt, and of this screen below them.
    pub(crate) fn svg(&self, title: &str, commands: &str) -> String {
        let prompt = Style { color: 2, ..Style::default() };
        let mut lines: Vec<Vec<Run>> = commands
            .lines()
            .map(|line| {
                let command = Run { text: line.to_owned(), style: Style { bold: true, ..Style::default() } };
                vec![Run { text: "$ ".to_owned(), style: prompt }, command]
            })
            .collect();
        lines.extend(self.0.iter().cloned());
        let longest = lines.iter().map(|line| line.iter().map(|run| run.text.chars().count()).sum::<usize>());
        let columns = longest.max().unwrap_or_default().next_multiple_of(10).max(80);
        let (width, height) = (columns * 17 / 2 + 32, lines.len() * 19 + 30);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n{STYLE}\
             <rect width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n",
            escaped(title)
        );
        for (row, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            write!(svg, "<text x=\"16\" y=\"{}\">", row * 19 + 28).expect("to a string");
            for run in line {
                let (classes, text) = (run.style.classes(), escaped(&run.text));
                match &*classes {
                    "" => write!(svg, "{text}"),
                    classes => write!(svg, "<tspan class=\"{classes}\">{text}</tspan>"),
                }
                .expect("to a string");
            }
            svg.push_str("</text>\n");
        }
        svg + "</svg>\n"
    }
}

/// A line without blanks at its end.
fn trimmed(mut line: Vec<Run>) -> Vec<Run> {
    while let Some(last) = line.last_mut() {
        last.text.truncate(last.text.trim_end().len());
        if !last.text.is_empty() {
            break;
        }
        line.pop();
    }
    line
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const STYLE: &str = "<style>
rect { fill: #16181d }
text { fill: #e6e6e6; font: 14px ui-monospace, 'SFMono-Regular', Menlo, Consolas, 'DejaVu Sans Mono', monospace; white-space: pre }
.b { font-weight: 600 }
.d { fill: #9aa0a6 }
.c1 { fill: #ff7b72 }
.c2 { fill: #7ee787 }
.c3 { fill: #e3b341 }
.c4 { fill: #79c0ff }
.c5 { fill: #d2a8ff }
.c6 { fill: #76e3ea }
</style>
";

#[test]
fn a_screen_has_what_was_not_erased() {
    let screen = Screen::after("working\r\x1b[2K\x1b[1;32mdone\x1b[0m in <1 s\r\n");
    assert_eq!(screen.text(), "done in <1 s\n");
    let svg = screen.svg("An end", "run");
    assert!(svg.contains("<tspan class=\"c2 b\">done</tspan> in &lt;1 s</text>"), "{svg}");
    assert!(svg.contains(">$ </tspan><tspan class=\"b\">run</tspan>"), "{svg}");
}
