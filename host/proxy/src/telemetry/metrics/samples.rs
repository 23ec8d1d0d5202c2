//! Writes the samples of one family in Prometheus' text format.

use std::fmt::Display;
use std::io::Write;

use contract::Picodollars;
use fleet::Durations;

use super::families::Family;

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// The name in the text format.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Most labels of a family.
const LABELS: usize = 5;

/// Appends samples of a family to a text.
pub(super) struct Samples<'t> {
    family: &'t Family,
    /// Indices of the labels, in the order of their names.
    order: [usize; LABELS],
    is_headed: bool,
    text: &'t mut Vec<u8>,
    /// The labels of the current sample, as text.
    labels: Vec<u8>,
}

impl<'t> Samples<'t> {
    /// `is_headed`: `HELP` and `TYPE` of the family are already written.
    pub(super) fn new(family: &'t Family, is_headed: bool, text: &'t mut Vec<u8>) -> Self {
        let mut order = std::array::from_fn(|label| label);
        order[..family.labels.len()].sort_unstable_by_key(|label| family.labels[*label]);
        Self { family, order, is_headed, text, labels: Vec::new() }
    }

    /// Whether `HELP` and `TYPE` of the family are written. They come with its first sample.
    pub(super) fn is_headed(&self) -> bool {
        self.is_headed
    }

    /// Adds a number. `values` are those of the family's labels, in their order.
    pub(super) fn add(&mut self, values: &[&str], number: f64) {
        self.begin(values);
        self.line("", None, number);
    }

    /// Adds a count, which a float might round.
    pub(super) fn count(&mut self, values: &[&str], count: u64) {
        self.begin(values);
        self.line("", None, count);
    }

    /// Adds an amount of money, in dollars.
    pub(super) fn amount(&mut self, values: &[&str], amount: Picodollars) {
        self.begin(values);
        self.line("", None, amount);
    }

    /// Adds all lines of a histogram.
    pub(super) fn durations(&mut self, values: &[&str], durations: &Durations) {
        self.begin(values);
        let cumulative = durations.cumulative();
        for (bound, count) in Durations::BOUNDS.iter().zip(&cumulative) {
            self.line("_bucket", Some(bound), count);
        }
        let all = cumulative[Durations::BOUNDS.len()];
        self.line("_bucket", Some(&"+Inf"), all);
        self.line("_sum", None, durations.seconds());
        self.line("_count", None, all);
    }

    /// Sets the labels of the lines that follow.
    fn begin(&mut self, values: &[&str]) {
        let Family { name, help, kind, labels, .. } = self.family;
        if !self.is_headed {
            self.is_headed = true;
            self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        }
        self.labels.clear();
        for label in &self.order[..labels.len()] {
            if !self.labels.is_empty() {
                self.labels.push(b',');
            }
            self.labels.extend(labels[*label].as_bytes());
            self.labels.extend(b"=\"");
            values[*label].bytes().for_each(|byte| match byte {
                b'\\' => self.labels.extend(b"\\\\"),
                b'"' => self.labels.extend(b"\\\""),
                b'\n' => self.labels.extend(b"\\n"),
                byte => self.labels.push(byte),
            });
            self.labels.push(b'"');
        }
    }

    fn line(&mut self, suffix: &str, bound: Option<&dyn Display>, number: impl Display) {
        self.text.extend(self.family.name.as_bytes());
        self.text.extend(suffix.as_bytes());
        if bound.is_some() || !self.labels.is_empty() {
            self.text.push(b'{');
            self.text.extend(&self.labels);
            if let Some(bound) = bound {
                let comma = if self.labels.is_empty() { "" } else { "," };
                self.put(format_args!("{comma}le=\"{bound}\""));
            }
            self.text.push(b'}');
        }
        self.put(format_args!(" {number}\n"));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Cannot fail: a `Vec` takes everything.
        let _ = self.text.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::families::Each;
    use super::*;

    fn family(kind: Kind, labels: &'static [&'static str]) -> Family {
        let each = Each::Fleet(|_, _| {});
        Family { name: "x_total", help: "What it is.", kind, labels, each }
    }

    fn text(family: &Family, add: impl FnOnce(&mut Samples<'_>)) -> String {
        let mut text = Vec::new();
        add(&mut Samples::new(family, false, &mut text));
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn labels_are_sorted_and_escaped() {
        let family = family(Kind::Counter, &["model", "deployment", "cause"]);
        let text = text(&family, |samples| {
            samples.count(&["a\"b", "c\\d", "e\nf"], 7);
            samples.add(&["", "é", ""], 0.25);
        });
        let expected = "# HELP x_total What it is.\n# TYPE x_total counter\n\
             x_total{cause=\"e\\nf\",deployment=\"c\\\\d\",model=\"a\\\"b\"} 7\n\
             x_total{cause=\"\",deployment=\"é\",model=\"\"} 0.25\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        assert_eq!(text(&family(Kind::Gauge, &[]), |_| {}), "");
        let text = text(&family(Kind::Gauge, &[]), |samples| samples.add(&[], 3.0));
        assert!(text.ends_with("# TYPE x_total gauge\nx_total 3\n"), "{text}");
    }

    #[test]
    fn a_histogram_has_buckets_sum_and_count() {
        let durations = Durations::default();
        durations.observe(Duration::from_millis(7));
        durations.observe(Duration::from_secs(400));
        let family = family(Kind::Histogram, &["model"]);
        let text = text(&family, |samples| samples.durations(&["m"], &durations));
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), Durations::BOUNDS.len() + 3);
        assert_eq!(lines[0], "x_total_bucket{model=\"m\",le=\"0.005\"} 0");
        assert_eq!(lines[1], "x_total_bucket{model=\"m\",le=\"0.01\"} 1");
        let last = [
            "x_total_bucket{model=\"m\",le=\"+Inf\"} 2",
            "x_total_sum{model=\"m\"} 400.007",
            "x_total_count{model=\"m\"} 2",
        ];
        assert_eq!(lines[lines.len() - 3..], last);
    }
}
