//! A run as a picture: imbalance, moves and bytes over time, as SVG by hand.

use std::fmt::Write as _;

use super::{Outcome, Point, Report, Scheme};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 60.0;
/// Of a panel, and from one to the next.
const PANEL: f64 = 200.0;
const PITCH: f64 = 265.0;
/// Points of a line; more could not be seen.
const POINTS_MAX: usize = 400;

/// One panel.
struct Panel {
    title: &'static str,
    unit: &'static str,
    logarithmic: bool,
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    colour: &'static str,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

/// As SVG.
#[must_use]
pub fn plot(report: &Report) -> String {
    let panels = [imbalance(report), moves(report), bytes(report)];
    let height = TOP + PITCH * panels.len() as f64 + 10.0;
    let config = &report.config;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{}: {} nodes, {} processes, seed {}</text>\n",
        config.workload.name(),
        config.nodes,
        config.processes,
        config.seed
    );
    for (index, panel) in panels.iter().enumerate() {
        draw(&mut svg, panel, TOP + PITCH * index as f64, config.span.as_secs_f64());
    }
    svg.push_str("</svg>\n");
    svg
}

fn imbalance(report: &Report) -> Panel {
    let mut lines: Vec<Line> =
        report.outcomes.iter().map(|one| line(one, |point| 100.0 * point.gap)).collect();
    let promised = line(report.own(), |point| 100.0 * point.promised_gap);
    lines.insert(1, Line { name: "peripatos, promised", dashed: true, ..promised });
    let title = "largest deviation of a node from the mean";
    Panel { title, unit: "% of the mean", logarithmic: true, lines }
}

fn moves(report: &Report) -> Panel {
    let moving =
        report.outcomes.iter().filter(|one| one.moves() > 0 || one.scheme == Scheme::Peripatos);
    let lines = moving.map(|one| line(one, |point| point.moves as f64)).collect();
    Panel { title: "moves so far", unit: "moves", logarithmic: false, lines }
}

fn bytes(report: &Report) -> Panel {
    let points = &report.own().curve.0;
    let per_second = points.iter().zip(points.iter().skip(10)).map(|(from, to)| {
        let seconds = (to.at - from.at).as_secs_f64();
        let own = (to.bytes - from.bytes) as f64 / seconds / to.nodes.max(1) as f64;
        (to.at.as_secs_f64(), own + report.membership_bytes)
    });
    let points = thinned(per_second.collect());
    let all = Line { name: "all", colour: colour(Scheme::Peripatos), dashed: false, points };
    let end = report.config.span.as_secs_f64();
    let level = report.membership_bytes;
    let points = vec![(0.0, level), (end, level)];
    let membership = Line { name: "of that, membership", colour: "#777777", dashed: true, points };
    let title = "sent by a node each second, with headers (peripatos)";
    Panel { title, unit: "bytes a second", logarithmic: false, lines: vec![all, membership] }
}

fn line(outcome: &Outcome, value: impl Fn(&Point) -> f64) -> Line {
    let points = outcome.curve.0.iter().map(|point| (point.at.as_secs_f64(), value(point)));
    let points = thinned(points.collect());
    let scheme = outcome.scheme;
    Line { name: scheme.name(), colour: colour(scheme), dashed: false, points }
}

fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(POINTS_MAX).max(1);
    points.into_iter().step_by(step).collect()
}

/// Colours that are told apart also by those who do not tell red from green (Okabe and Ito 2008).
fn colour(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Peripatos => "#0072b2",
        Scheme::Random => "#e69f00",
        Scheme::TwoChoices => "#009e73",
        Scheme::Stealing => "#d55e00",
        Scheme::Central => "#cc79a7",
        Scheme::Ideal => "#000000",
    }
}

fn draw(svg: &mut String, panel: &Panel, top: f64, end_s: f64) {
    let (right, bottom) = (WIDTH - RIGHT, top + PANEL);
    let values = || panel.lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let most = values().fold(0.0, f64::max);
    // A tenth of a percent is nothing.
    let least = if panel.logarithmic { 0.1 } else { 0.0 };
    let ticks = if panel.logarithmic { decades(least, most) } else { even_ticks(most) };
    let highest = ticks.last().copied().unwrap_or(1.0);
    let scale = |value: f64| {
        if panel.logarithmic {
            (value.max(least) / least).ln() / (highest / least).ln()
        } else {
            value / highest
        }
    };
    let (x, y) = (
        |seconds: f64| LEFT + (right - LEFT) * seconds / end_s.max(1e-9),
        |value: f64| bottom - PANEL * scale(value).clamp(0.0, 1.0),
    );
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-size=\"13\">{}</text>",
        top - 8.0,
        panel.title
    );
    for tick in &ticks {
        let at = y(*tick);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            number(*tick)
        );
    }
    for seconds in even_ticks(end_s).into_iter().filter(|tick| *tick <= end_s) {
        let at = x(seconds);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{}\" stroke=\"black\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 4.0,
            bottom + 17.0,
            number(seconds)
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{LEFT} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">seconds</text>\
         <text transform=\"translate(22 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, right),
        bottom + 32.0,
        f64::midpoint(top, bottom),
        panel.unit
    );
    for (index, line) in panel.lines.iter().enumerate() {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(seconds, value)| format!("{:.1},{:.1}", x(*seconds), y(*value)))
            .collect();
        let dashes = if line.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
        let stroke = format!("stroke=\"{}\" stroke-width=\"1.8\"{dashes}", line.colour);
        let legend = top + 10.0 + 18.0 * index as f64;
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" {stroke}/>\
             <line x1=\"{}\" x2=\"{}\" y1=\"{legend}\" y2=\"{legend}\" {stroke}/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            points.join(" "),
            right + 8.0,
            right + 28.0,
            right + 33.0,
            legend + 4.0,
            line.name
        );
    }
}

/// About five, at round numbers, from nothing to beyond the largest.
fn even_ticks(most: f64) -> Vec<f64> {
    let most = most.max(1e-9);
    let rough = most / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
    (0..=(most / step).ceil() as u32).map(|tick| f64::from(tick) * step).collect()
}

fn decades(least: f64, most: f64) -> Vec<f64> {
    let count = (most.max(10.0 * least) / least).log10().ceil() as i32;
    (0..=count).map(|decade| least * 10_f64.powi(decade)).collect()
}

fn number(value: f64) -> String {
    if value >= 1_000.0 && value % 1_000.0 == 0.0 {
        format!("{}k", value / 1_000.0)
    } else {
        format!("{}", (value * 100.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(even_ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(even_ticks(7.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(
            decades(0.1, 900.0).iter().map(|tick| number(*tick)).collect::<Vec<_>>(),
            ["0.1", "1", "10", "100", "1k"]
        );
    }
}
