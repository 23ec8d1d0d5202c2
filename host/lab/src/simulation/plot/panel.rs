//! One panel of a plot: axes, lines and areas.

use super::svg::{Anchor, Point, Svg};

/// Position, size and scales of a panel. Lengths are in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// Seconds that the width covers.
    pub(super) duration: f64,
    pub(super) scale: Scale,
}

/// The vertical scale of a panel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// Seconds on a logarithmic scale from the first to the second, both above 0.
    Log(f64, f64),
    /// 0 to 1, shown in percent.
    Percent,
}

impl Scale {
    /// A logarithmic scale that contains all positive values.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        match most > 0.0 {
            // Room for a tick at each end.
            true => Self::Log(least / 1.2, (most * 1.2).max(least * 4.0)),
            false => Self::Log(0.1, 10.0),
        }
    }

    /// Position of a value: 0 is the bottom, 1 the top.
    pub(super) fn share(self, value: f64) -> f64 {
        match self {
            Self::Linear(most) => value / most,
            Self::Log(least, most) => (value.max(least) / least).ln() / (most / least).ln(),
            Self::Percent => value,
        }
    }

    /// Values that are marked, with their labels.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        match self {
            Self::Percent => [0.0, 0.5, 1.0].map(|v| (v, format!("{:.0} %", v * 100.0))).to_vec(),
            Self::Linear(most) => {
                let step = round_step(most / 2.0);
                let ticks = (0..=3).map(|i| f64::from(i) * step).filter(|v| *v <= most * 1.001);
                // Rounded, because three times 0.1 is not 0.3.
                ticks.map(|v| (v, format!("{}", (v * 1e9).round() / 1e9))).collect()
            }
            Self::Log(least, most) => {
                let sparse = most / least > 1_000.0;
                let factors: &[f64] = if sparse { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let all = (-4..6).flat_map(|e| factors.iter().map(move |f| f * 10_f64.powi(e)));
                all.filter(|v| (least..=most).contains(v)).map(|v| (v, tick(v))).collect()
            }
        }
    }
}

/// The largest of ..., 0.5, 1, 2, 5, 10, ... that is at most this.
fn round_step(at_most: f64) -> f64 {
    let power = 10_f64.powf(at_most.log10().floor());
    let factor = [5.0, 2.0].into_iter().find(|factor| factor * power <= at_most);
    factor.unwrap_or(1.0) * power
}

impl Panel {
    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub(super) fn point(&self, seconds: f64, value: f64) -> Point {
        let x = self.left + self.width * seconds / self.duration;
        (x, self.bottom() - self.height * self.scale.share(value).clamp(0.0, 1.0))
    }

    /// Draws title, ticks and grid.
    pub(super) fn axes(&self, svg: &mut Svg, title: &str) {
        svg.text((self.left, self.top - 8.0), Anchor::Start, "title", title);
        for (value, label) in self.scale.ticks() {
            let (_, y) = self.point(0.0, value);
            svg.line("grid", &[(self.left, y), (self.left + self.width, y)]);
            svg.text((self.left - 6.0, y + 4.0), Anchor::End, "faint", &label);
        }
    }

    /// Draws the times below the panel.
    pub(super) fn times(&self, svg: &mut Svg) {
        let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]
            .into_iter()
            .chain((1..).map(|days| f64::from(days) * 43_200.0))
            .find(|step| self.duration / step <= 10.0)
            .unwrap_or(self.duration);
        let mut at = 0.0;
        while at <= self.duration {
            let (x, y) = self.point(at, 0.0);
            svg.line("grid", &[(x, self.bottom()), (x, self.bottom() + 4.0)]);
            svg.text((x, y.max(self.bottom()) + 17.0), Anchor::Middle, "faint", &clock(at));
            at += step;
        }
    }

    /// Draws one value per step, at the middle of the step. A missing value breaks the line.
    pub(super) fn series(&self, svg: &mut Svg, class: &str, step: f64, values: &[Option<f64>]) {
        let mut piece = Vec::new();
        for (index, value) in (0_u32..).zip(values) {
            match value {
                Some(value) => piece.push(self.point((f64::from(index) + 0.5) * step, *value)),
                None if piece.is_empty() => {}
                None => svg.line(class, &std::mem::take(&mut piece)),
            }
        }
        if !piece.is_empty() {
            svg.line(class, &piece);
        }
    }

    /// Fills the area between two lines, which have one value per step.
    pub(super) fn band(&self, svg: &mut Svg, class: &str, step: f64, lower: &[f64], upper: &[f64]) {
        let corners = |values: &[f64]| -> Vec<Point> {
            let edges = |(index, value): (u32, &f64)| {
                [0.0, 1.0].map(|side| self.point((f64::from(index) + side) * step, *value))
            };
            (0_u32..).zip(values).flat_map(edges).collect()
        };
        let mut points = corners(upper);
        points.extend(corners(lower).into_iter().rev());
        svg.area(class, &points);
    }
}

/// Formats a tick of a time scale: `200 ms`, `5 s`.
fn tick(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{} ms", (s * 1e5).round() / 1e2),
        s => format!("{s:.0} s"),
    }
}

/// Formats a time: `30 s`, `5:00` for minutes and seconds, `2 h` on the hour.
fn clock(seconds: f64) -> String {
    match seconds {
        s if s > 0.0 && s % 3600.0 == 0.0 => format!("{} h", s / 3600.0),
        s if s >= 60.0 => format!("{}:{:02}", (s / 60.0).floor(), s % 60.0),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        let ticks = |scale: Scale| scale.ticks().into_iter().map(|(v, _)| v).collect::<Vec<_>>();
        assert_eq!(ticks(Scale::Linear(24.0)), [0.0, 10.0, 20.0]);
        assert_eq!(ticks(Scale::Linear(2.0)), [0.0, 1.0, 2.0]);
        assert_eq!(ticks(Scale::Log(0.4, 6.0)), [0.5, 1.0, 2.0, 5.0]);
        assert_eq!(ticks(Scale::Log(0.03, 60.0)), [0.1, 1.0, 10.0]);
        assert_eq!(Scale::log([].into_iter()), Scale::Log(0.1, 10.0));
    }

    #[test]
    fn a_line_is_broken_where_there_is_no_value() {
        let scale = Scale::Linear(2.0);
        let panel = Panel { left: 0.0, top: 0.0, width: 40.0, height: 10.0, duration: 4.0, scale };
        let mut svg = Svg::new(40.0);
        panel.series(&mut svg, "l", 1.0, &[Some(0.0), Some(1.0), None, Some(2.0)]);
        let file = svg.file(10.0, "");
        assert!(file.contains(r#"points="5.0,10.0 15.0,5.0"/>"#), "{file}");
        assert!(file.contains(r#"points="35.0,0.0 35.0,0.0"/>"#), "{file}");
    }
}
