//! A drawing in SVG, with the few shapes that plots need. Colours are CSS classes of [`STYLE`],
//! which supports light and dark mode.

use std::fmt::{Display, Write};

/// Number of colours: the classes `s0` to `s7`. Further lines repeat them.
pub(super) const COLOURS: usize = 8;

/// Colours after Okabe and Ito, which colour-blind people can distinguish. They are lighter in dark
/// mode.
pub(super) const STYLE: &str = "\
.plot{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;--ground:#fff;--ink:#1f2328;--faint:#656d76;--grid:#d8dee4;\
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b5489a;--c4:#a07800;--c5:#3fa0d8;--c6:#8250df;--c7:#59636e}\
@media(prefers-color-scheme:dark){.plot{--ground:#0d1117;--ink:#e6edf3;--faint:#9198a1;--grid:#30363d;\
--c0:#58a6e8;--c1:#ff8c42;--c2:#2ec99a;--c3:#e58ccb;--c4:#e3b341;--c5:#a5d6ff;--c6:#b998ff;--c7:#b1bac4}}\
.plot text{fill:var(--ink)}.plot .faint{fill:var(--faint)}.plot .title{font-weight:600}\
.plot .ground{fill:var(--ground)}.plot .grid{stroke:var(--grid);stroke-width:1;fill:none}\
.plot .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.plot .back{fill:var(--grid)}\
.plot .s0{--c:var(--c0)}.plot .s1{--c:var(--c1)}.plot .s2{--c:var(--c2)}.plot .s3{--c:var(--c3)}\
.plot .s4{--c:var(--c4)}.plot .s5{--c:var(--c5)}.plot .s6{--c:var(--c6)}.plot .s7{--c:var(--c7)}\
.plot .line{stroke:var(--c)}.plot .area{fill:var(--c);stroke:none}";

/// Alignment of a text at its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A point in pixels from the upper left corner.
pub(super) type Point = (f64, f64);

#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64) -> Self {
        Self { width, body: String::new() }
    }

    fn add(&mut self, element: impl Display) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.body, "{element}");
    }

    pub(super) fn text(&mut self, at: Point, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let ((x, y), text) = (at, escape(text));
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    /// Draws a line through the points. A single point becomes a dot.
    pub(super) fn line(&mut self, class: &str, points: &[Point]) {
        let points = joined(points);
        self.add(format_args!(r#"<polyline class="{class}" points="{points}"/>"#));
    }

    pub(super) fn area(&mut self, class: &str, points: &[Point]) {
        let points = joined(points);
        self.add(format_args!(r#"<polygon class="{class}" points="{points}"/>"#));
    }

    /// The drawing without its style, for a page that contains [`STYLE`].
    pub(super) fn inner(&self, height: f64, label: &str) -> String {
        self.whole(height, label, "")
    }

    /// The drawing as a standalone file.
    pub(super) fn file(&self, height: f64, label: &str) -> String {
        self.whole(height, label, &format!("<style>{STYLE}</style>\n"))
    }

    fn whole(&self, height: f64, label: &str, style: &str) -> String {
        let Self { width, body } = self;
        let label = escape(label);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
{style}<rect class="ground" width="{width}" height="{height}"/>
{body}</svg>
"#
        )
    }
}

fn joined(points: &[Point]) -> String {
    let one = |&(x, y): &Point| format!("{x:.1},{y:.1}");
    match points {
        // A line of length 0 shows its round caps.
        [alone] => format!("{0} {0}", one(alone)),
        points => points.iter().map(one).collect::<Vec<_>>().join(" "),
    }
}

/// Escapes a text for XML and HTML, including attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
