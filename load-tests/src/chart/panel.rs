//! The two kinds of panels: bars with a value each, and lines over time.

use super::svg::{Anchor, Area, Svg};

const TITLE: &str = "font-weight=\"bold\" fill=\"#222222\"";
const LABEL: &str = "fill=\"#444444\"";
const FAINT: &str = "fill=\"#777777\" font-size=\"11\"";
const AXIS: &str = "#cccccc";
const BAR_HEIGHT: f64 = 18.0;
const BAR_STEP: f64 = 25.0;
/// What is left of a bar for its name, and right of it for its value.
const LABEL_WIDTH: f64 = 186.0;
const VALUE_WIDTH: f64 = 84.0;

/// One bar.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) shown: String,
    pub(super) colour: &'static str,
}

/// Bars below each other, from zero. `line` is a value that is to be reached, or kept to.
pub(super) fn bars(svg: &mut Svg, area: Area, title: &str, bars: &[Bar], line: Option<(f64, &str)>) {
    svg.text((area.x, area.y + 14.0), Anchor::Start, TITLE, title);
    let most = bars.iter().map(|bar| bar.value).chain(line.map(|(at, _)| at)).fold(0.0, f64::max);
    let left = area.x + LABEL_WIDTH;
    let scale = if most > 0.0 { (area.width - LABEL_WIDTH - VALUE_WIDTH) / most } else { 0.0 };
    let mut y = area.y + 28.0;
    for Bar { label, value, shown, colour } in bars {
        let middle = y + BAR_HEIGHT / 2.0 + 4.5;
        svg.text((left - 8.0, middle), Anchor::End, LABEL, label);
        let width = (value * scale).max(1.0);
        svg.rect(Area { x: left, y, width, height: BAR_HEIGHT }, colour);
        svg.text((left + width + 6.0, middle), Anchor::Start, LABEL, shown);
        y += BAR_STEP;
    }
    if let Some((at, name)) = line {
        let x = left + at * scale;
        svg.line(&[(x, area.y + 24.0), (x, y - 2.0)], "#b03030", 1.5);
        svg.text((x, y + 10.0), Anchor::Middle, FAINT, name);
    }
}

/// A line over time.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) colour: &'static str,
    /// Seconds, and a value.
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines over the same seconds, from zero.
pub(super) fn lines(svg: &mut Svg, area: Area, title: &str, unit: &str, series: &[Series]) {
    svg.text((area.x, area.y + 14.0), Anchor::Start, TITLE, title);
    let plot =
        Area { x: area.x + 58.0, y: area.y + 44.0, width: area.width - 74.0, height: area.height - 70.0 };
    let all = || series.iter().flat_map(|series| &series.points);
    let last = all().map(|(seconds, _)| *seconds).fold(0.0, f64::max);
    let step = round_up(all().map(|(_, value)| *value).fold(0.0, f64::max) / 4.0);
    if last <= 0.0 || step <= 0.0 {
        svg.text((plot.x, plot.y + 20.0), Anchor::Start, FAINT, "nothing was seen");
        return;
    }
    let place = |(seconds, value): (f64, f64)| {
        (plot.x + seconds / last * plot.width, plot.y + plot.height * (1.0 - value / (step * 4.0)))
    };
    for tick in 0..=4 {
        let value = step * f64::from(tick);
        let (x, y) = place((0.0, value));
        svg.line(&[(x, y), (x + plot.width, y)], AXIS, 1.0);
        svg.text((x - 6.0, y + 4.0), Anchor::End, FAINT, &number(value));
    }
    svg.text((plot.x - 6.0, plot.y - 8.0), Anchor::End, FAINT, unit);
    for part in [0.0, 0.5, 1.0] {
        let (x, y) = place((last * part, 0.0));
        svg.text(
            (x, y + 16.0),
            Anchor::Middle,
            FAINT,
            &format!("{} s", number((last * part * 10.0).round() / 10.0)),
        );
    }
    let mut legend = plot.x;
    for Series { name, colour, points } in series {
        let points: Vec<_> = points.iter().copied().map(place).collect();
        svg.line(&points, colour, 1.8);
        svg.rect(Area { x: legend, y: area.y + 24.0, width: 10.0, height: 10.0 }, colour);
        svg.text((legend + 14.0, area.y + 33.0), Anchor::Start, LABEL, name);
        legend += 130.0;
    }
}

/// The next of 1, 2, 2.5 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= value * 0.999_999).unwrap_or(10.0 * power)
}

/// Whole, with its thousands apart.
pub(super) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Without decimals that say nothing.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { whole(value) } else { format!("{value}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        for (value, round) in
            [(0.0, 0.0), (0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (21.0, 25.0), (26.0, 50.0), (501.0, 1000.0)]
        {
            assert!((round_up(value) - round).abs() < 1e-9, "{value}: {}", round_up(value));
        }
        for (value, shown) in [(7.0, "7"), (999.0, "999"), (1_000.0, "1,000"), (1_234_567.4, "1,234,567")] {
            assert_eq!(whole(value), shown);
        }
        assert_eq!((number(25.0), number(2.5)), ("25".to_owned(), "2.5".to_owned()));
    }

    #[test]
    fn nothing_to_draw_is_no_division_by_zero() {
        let area = Area { x: 0.0, y: 0.0, width: 400.0, height: 200.0 };
        for points in [Vec::new(), vec![(0.0, 5.0)], vec![(1.0, 0.0)]] {
            let mut svg = Svg::new(400.0, 200.0);
            lines(&mut svg, area, "title", "ms", &[Series { name: "one", colour: "#000000", points }]);
            bars(&mut svg, area, "title", &[], None);
            let svg = svg.finish();
            assert!(
                svg.contains("nothing was seen") && !svg.contains("NaN") && !svg.contains("inf"),
                "{svg}"
            );
        }
    }
}
