//! Charts over days, as SVG. Colours are classes of the style sheet, so that a chart follows the colour scheme.

use chrono::NaiveDate;
use maud::{Markup, html};

/// The size of a chart in its own units, and the margins of its plot.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 52.0;
/// The margin on the right, without an axis and with one.
const EDGE: f64 = 6.0;
const AXIS: f64 = 46.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 24.0;

/// A value as the axis and the tooltips show it.
pub(super) type Shown = fn(f64) -> String;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Bars, which are stacked on those of the series before.
    Bars,
    /// A line, which is broken where there is no value.
    Line,
    /// A line by the axis on the right.
    RightLine,
}

/// Values of all days.
pub(super) struct Series {
    pub(super) label: String,
    pub(super) form: Form,
    pub(super) values: Vec<Option<f64>>,
}

/// A chart over days.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) days: &'a [NaiveDate],
    pub(super) series: Vec<Series>,
    /// Values of the axis on the left.
    pub(super) shown: Shown,
    /// Values of the axis on the right.
    pub(super) right: Shown,
    /// The upper ends that the axis on the left may have, beyond powers of ten.
    pub(super) scale: fn(f64) -> f64,
}

impl Chart<'_> {
    pub(super) fn render(&self) -> Markup {
        let is_empty =
            self.series.iter().all(|one| one.values.iter().all(|value| value.unwrap_or(0.0) == 0.0));
        html! {
            section.card.chart {
                header {
                    h2 { (self.title) }
                    span.legend {
                        @for (at, series) in self.series.iter().enumerate() {
                            span class={ "key s" (at % COLOURS) } { (series.label) }
                        }
                    }
                }
                @if is_empty { div.body.muted { "Nothing in this time." } }
                @else { div.body { (self.plot()) (self.table()) } }
            }
        }
    }

    fn plot(&self) -> Markup {
        let left = (self.scale)(self.highest(false)).max(f64::MIN_POSITIVE);
        let right = decimal(self.highest(true)).max(f64::MIN_POSITIVE);
        let (has_right, edge) = (self.has_right(), self.edge());
        let (first, last) = (self.days.first(), self.days.last());
        let label = format!("{}, {} days", self.title, self.days.len());
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
                @for share in [0.0, 0.5, 1.0] {
                    line.grid x1=(LEFT) x2=(edge) y1=(number(y(share))) y2=(number(y(share))) {}
                    text.tick x=(LEFT - 6.0) y=(number(y(share) + 3.5)) text-anchor="end" { ((self.shown)(left * share)) }
                    @if has_right {
                        text.tick x=(edge + 6.0) y=(number(y(share) + 3.5)) { ((self.right)(right * share)) }
                    }
                }
                @if let Some(first) = first { text.tick x=(LEFT) y=(HEIGHT - 6.0) { (first) } }
                @if let Some(last) = last { text.tick x=(edge) y=(HEIGHT - 6.0) text-anchor="end" { (last) } }
                (self.bars(left))
                @for (at, series) in self.series.iter().enumerate() {
                    @let top = match series.form { Form::Bars => None, Form::Line => Some(left), Form::RightLine => Some(right) };
                    @if let Some(top) = top { (self.line(at, series, top)) }
                }
                (self.tooltips())
            }
        }
    }

    fn bars(&self, top: f64) -> Markup {
        let width = self.step() * 0.7;
        // Day, colour, lower and upper end of each bar.
        let mut bars: Vec<(usize, usize, f64, f64)> = Vec::new();
        for day in 0..self.days.len() {
            let mut below = 0.0;
            for (at, series) in self.series.iter().enumerate().filter(|(_, one)| one.form == Form::Bars) {
                let value = series.values[day].unwrap_or(0.0);
                if value > 0.0 {
                    bars.push((day, at % COLOURS, below / top, (below + value) / top));
                    below += value;
                }
            }
        }
        html! {
            @for (day, colour, lower, upper) in bars {
                rect class={ "bar s" (colour) } x=(number(self.x(day) - width / 2.0)) width=(number(width))
                    y=(number(y(upper))) height=(number(y(lower) - y(upper))) {}
            }
        }
    }

    fn line(&self, at: usize, series: &Series, top: f64) -> Markup {
        let point = |day: usize, value: f64| format!("{},{}", number(self.x(day)), number(y(value / top)));
        let mut parts: Vec<Vec<String>> = vec![Vec::new()];
        for (day, value) in series.values.iter().enumerate() {
            match value {
                Some(value) => parts.last_mut().expect("one at least").push(point(day, *value)),
                None => parts.push(Vec::new()),
            }
        }
        let class = at % COLOURS;
        html! {
            @for part in &parts {
                @match part.as_slice() {
                    [] => {}
                    // A line of one point is not seen.
                    [only] => {
                        @let (x, y) = only.split_once(',').unwrap_or_default();
                        circle class={ "dot s" (class) } cx=(x) cy=(y) r="2.5" {}
                    }
                    points => polyline class={ "line s" (class) } points=(points.join(" ")) {}
                }
            }
        }
    }

    /// What each day has, over the whole height.
    fn tooltips(&self) -> Markup {
        html! {
            @for (at, day) in self.days.iter().enumerate() {
                rect.hover x=(number(self.x(at) - self.step() / 2.0)) y=(TOP) width=(number(self.step())) height=(HEIGHT - TOP - BOTTOM) {
                    title { (day) @for (label, value) in self.values(at) { "\n" (label) ": " (value) } }
                }
            }
        }
    }

    /// The same as text, for readers of the screen.
    fn table(&self) -> Markup {
        html! {
            details {
                summary { "As a table" }
                div.scroll tabindex="0" role="region" aria-label={ (self.title) " as a table" } {
                    table {
                        thead { tr { th scope="col" { "Day" } @for series in &self.series { th.number scope="col" { (series.label) } } } }
                        tbody {
                            @for (at, day) in self.days.iter().enumerate().rev() {
                                @if self.series.iter().any(|one| one.values[at].is_some_and(|value| value > 0.0)) {
                                    tr { td.nowrap { (day) } @for (_, value) in self.values(at) { td.number { (value) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn values(&self, day: usize) -> impl Iterator<Item = (&str, String)> {
        self.series.iter().map(move |series| {
            let shown = if series.form == Form::RightLine { self.right } else { self.shown };
            (series.label.as_str(), series.values[day].map_or_else(|| "none".to_owned(), shown))
        })
    }

    /// The highest value of an axis.
    fn highest(&self, right: bool) -> f64 {
        let own = || self.series.iter().filter(|one| (one.form == Form::RightLine) == right);
        let values = |day: usize| own().map(move |one| (one.form, one.values[day].unwrap_or(0.0)));
        let of_day = |day: usize| {
            let stacked: f64 =
                values(day).filter(|(form, _)| *form == Form::Bars).map(|(_, value)| value).sum();
            values(day).map(|(_, value)| value).fold(stacked, f64::max)
        };
        (0..self.days.len()).map(of_day).fold(0.0, f64::max)
    }

    /// True if there is an axis on the right.
    fn has_right(&self) -> bool {
        self.series.iter().any(|one| one.form == Form::RightLine)
    }

    /// Where the plot ends on the right.
    fn edge(&self) -> f64 {
        WIDTH - if self.has_right() { AXIS } else { EDGE }
    }

    fn step(&self) -> f64 {
        (self.edge() - LEFT) / self.days.len().max(1) as f64
    }

    fn x(&self, day: usize) -> f64 {
        LEFT + self.step() * (day as f64 + 0.5)
    }
}

/// Colours of the style sheet.
pub(super) const COLOURS: usize = 6;

/// The height at which a share of the axis is.
fn y(share: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)
}

fn number(n: f64) -> String {
    format!("{n:.1}")
}

/// The next number above that is 1, 2 or 5 times a power of ten.
pub(super) fn decimal(highest: f64) -> f64 {
    above(highest, &[1.0, 2.0, 5.0, 10.0])
}

/// The next even number above that has one digit and zeros: half of it is whole, too.
pub(super) fn even(highest: f64) -> f64 {
    above(highest.max(2.0), &[2.0, 4.0, 6.0, 8.0, 10.0])
}

fn above(highest: f64, steps: &[f64]) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    steps.iter().map(|step| step * power).find(|end| *end >= highest).unwrap_or(highest)
}

/// The next time above that people count in, in seconds.
pub(super) fn time(highest: f64) -> f64 {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 3600.0;
    const DAY: f64 = 86_400.0;
    let ends = [
        1.0,
        2.0,
        4.0,
        10.0,
        20.0,
        30.0,
        MINUTE,
        2.0 * MINUTE,
        4.0 * MINUTE,
        10.0 * MINUTE,
        20.0 * MINUTE,
        30.0 * MINUTE,
        HOUR,
        2.0 * HOUR,
        4.0 * HOUR,
        8.0 * HOUR,
        12.0 * HOUR,
        DAY,
        2.0 * DAY,
        4.0 * DAY,
        8.0 * DAY,
    ];
    ends.into_iter().find(|end| *end >= highest).unwrap_or_else(|| decimal(highest / DAY) * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let ends = |scale: fn(f64) -> f64, highest: &[f64]| {
            highest.iter().map(|highest| scale(*highest).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ends(decimal, &[0.0, 0.3, 1.0, 7.0, 1200.0]), ["1", "0.5", "1", "10", "2000"]);
        assert_eq!(ends(even, &[0.0, 1.0, 3.0, 12.0, 9500.0]), ["2", "2", "4", "20", "10000"]);
        assert_eq!(ends(time, &[0.0, 45.0, 3000.0, 200_000.0]), ["1", "60", "3600", "345600"]);
    }

    #[test]
    fn a_chart_has_its_bars_lines_and_gaps() {
        let day = |n| NaiveDate::from_ymd_opt(2026, 1, n).expect("a day");
        let days = [day(1), day(2), day(3)];
        let series = |label: &str, form, values: [Option<f64>; 3]| Series {
            label: label.to_owned(),
            form,
            values: values.to_vec(),
        };
        let chart = |series| Chart {
            title: "Errors",
            days: &days,
            series,
            shown: |value| format!("{value:.0}"),
            right: |value| format!("{value:.2}"),
            scale: decimal,
        };
        let drawn = chart(vec![
            series("a", Form::Bars, [Some(3.0), Some(0.0), Some(5.0)]),
            series("b<", Form::Bars, [Some(2.0), None, Some(5.0)]),
            series("cost", Form::RightLine, [Some(0.5), None, Some(0.25)]),
        ]);
        let text = drawn.render().into_string();
        assert_eq!(text.matches("class=\"bar s0\"").count(), 2, "{text}");
        assert_eq!(
            text.matches("class=\"dot s2\"").count(),
            2,
            "a day without a value parts the line: {text}"
        );
        assert!(
            text.contains("b&lt;: 5") && text.contains("cost: none") && text.contains(">0.50<"),
            "{text}"
        );
        assert!(!text.contains("style="), "{text}");
        let nothing = chart(vec![series("a", Form::Line, [None, Some(0.0), None])]).render().into_string();
        assert!(nothing.contains("Nothing in this time") && !nothing.contains("<svg"), "{nothing}");
    }
}
