//! Which series of an engine's metrics tell a number: `my_metric{engine="0"}`, `used / total`.

use contract::Signal;

/// A name and labels, as Prometheus writes them. Other labels of a series do not count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Series {
    /// The whole name: `vllm:num_requests_running`.
    pub name: String,
    /// Names and values. An empty value means that a series need not have the label.
    pub labels: Vec<(String, String)>,
}

/// The source of one signal in an engine's metrics. Several series that match are summed if the
/// signal is a count, and averaged if it is a ratio.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The series itself.
    Plain(Series),
    /// A ratio that the series tells in parts of this number: 100 for percent.
    Parts(Series, u32),
    /// The first series divided by the sum of the others (one or two). For `prefix-hit` these are
    /// counters, and their growth between two scrapes counts.
    Quotient(Series, Vec<Series>),
}

/// Why a text is no source, and a remedy.
pub(super) type Wrong = (&'static str, &'static str);

const NO_SERIES: Wrong = (
    "this is not a series of Prometheus metrics",
    "write its name, and the labels that it must have: `my_metric{engine=\"0\"}`",
);
const NO_QUOTIENT: Wrong = (
    "a number of requests is no quotient",
    "name one series; only `kv` and `prefix-hit` are ratios",
);

/// Reads the source of a signal.
pub(super) fn parse(text: &str, of: Signal) -> Result<Source, Wrong> {
    let (first, rest) = series(text)?;
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Source::Plain(first));
    }
    let divisor = rest.strip_prefix('/').ok_or(NO_SERIES)?.trim();
    if !matches!(of, Signal::EngineKv | Signal::EnginePrefixHit) {
        return Err(NO_QUOTIENT);
    }
    if divisor.starts_with(|c: char| c.is_ascii_digit()) {
        let parts = divisor.parse().ok().filter(|parts| *parts > 0).ok_or((
            "a series is divided by a whole number or by another series",
            "for percent write `my_metric / 100`",
        ))?;
        return Ok(Source::Parts(first, parts));
    }
    let (second, rest) = series(divisor)?;
    let mut divisor = vec![second];
    if let Some(addend) = rest.trim().strip_prefix('+') {
        let (third, rest) = series(addend)?;
        divisor.push(third);
        return end(rest, Source::Quotient(first, divisor));
    }
    end(rest, Source::Quotient(first, divisor))
}

/// The source, if nothing follows it.
fn end(rest: &str, source: Source) -> Result<Source, Wrong> {
    if rest.trim().is_empty() { Ok(source) } else { Err(NO_SERIES) }
}

/// Reads a series at the beginning of a text. Returns what follows it.
fn series(text: &str) -> Result<(Series, &str), Wrong> {
    let text = text.trim_start();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (name, mut rest) = text.split_at(text.find(|c| !is_of_name(c)).unwrap_or(text.len()));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(NO_SERIES);
    }
    let mut labels = Vec::new();
    if let Some(inside) = rest.trim_start().strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start();
            if let Some(behind) = rest.strip_prefix('}') {
                rest = behind;
                break;
            }
            let (label, behind) = label(rest).ok_or(NO_SERIES)?;
            labels.push(label);
            rest = behind.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(behind) => behind,
                None if rest.starts_with('}') => rest,
                None => return Err(NO_SERIES),
            };
        }
    }
    Ok((Series { name: name.to_owned(), labels }, rest))
}

/// Reads `name="value"`, with `\"`, `\\` and `\n` in the value.
fn label(text: &str) -> Option<((String, String), &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let quoted = rest.trim_start().strip_prefix('"')?;
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    loop {
        value.push(match chars.next()? {
            (end, '"') => return Some(((name.to_owned(), value), &quoted[end + 1..])),
            (_, '\\') => match chars.next()?.1 {
                'n' => '\n',
                other => other,
            },
            (_, other) => other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str, labels: &[(&str, &str)]) -> Series {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Series { name: name.to_owned(), labels: labels.iter().map(own).collect() }
    }

    #[test]
    fn sources_are_read() {
        let kv = Signal::EngineKv;
        let (used, total) = (plain("used", &[]), plain("a:total_1", &[("engine", "0")]));
        for (text, source) in [
            ("used", Source::Plain(used.clone())),
            (" used { } ", Source::Plain(used.clone())),
            ("used / 100", Source::Parts(used.clone(), 100)),
            ("a:total_1{engine=\"0\"}", Source::Plain(total.clone())),
            ("used/a:total_1{engine=\"0\",}", Source::Quotient(used.clone(), vec![total.clone()])),
            (
                "used / used+ a:total_1{engine=\"0\"} ",
                Source::Quotient(used.clone(), vec![used, total]),
            ),
            (
                "m{a=\"x \\\"y\\\" {,}\", b = \"\"}",
                Source::Plain(plain("m", &[("a", "x \"y\" {,}"), ("b", "")])),
            ),
        ] {
            assert_eq!(parse(text, kv), Ok(source), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "1m",
            "m-n",
            "m{",
            "m{a}",
            "m{a=1}",
            "m{a=\"1\"",
            "m{a=\"1\" b=\"2\"}",
            "m n",
            "m +",
            "m /",
            "m / 0",
            "m / 1.5",
            "m / 99999999999",
            "m / n / o",
            "m / n +",
            "m / n + 1",
            "m / n + o + p",
            "m / 100 + n",
            "m + n",
            "sum(m)",
            "{a=\"1\"}",
            "m{a=~\"1\"}",
            "m{,}",
        ] {
            assert!(parse(text, Signal::EngineKv).is_err(), "{text}");
        }
        assert_eq!(parse("m / 2", Signal::EngineRunning), Err(NO_QUOTIENT));
    }
}
