//! One frame: the state on top, then throughput and log, memory and quotas, sampling and refusals, the
//! last rare events, and the keys. It fits 80 × 24 and grows from there.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};

use super::live::{History, Live, Quota};
use super::words::{UNKNOWN, bytes, clock, count, line, micros, share, span};

/// What is shown.
#[derive(Debug)]
pub struct View<'a> {
    /// The last figures; `None` before the first.
    pub live: Option<&'a Live>,
    /// Those before.
    pub history: &'a History,
    /// Where they come from.
    pub source: &'a str,
    /// Why there are no newer ones, if so.
    pub lost: Option<&'a str>,
    /// Whether a person has stopped it.
    pub paused: bool,
    /// Whether colours may be used.
    pub colours: bool,
}

/// Draws a frame.
pub fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let area = frame.area();
    let unknown = Live::default();
    let live = view.live.unwrap_or(&unknown);
    let look = Look { colours: view.colours };
    let quotas = live.quotas.len().clamp(1, 4) + 3;
    let quotas = u16::try_from(quotas).unwrap_or(u16::MAX);
    let [head, first, second, third, events, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(quotas),
        Constraint::Length(4),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    let halves = |area: Rect| -> [Rect; 2] { Layout::horizontal([Constraint::Fill(1); 2]).areas(area) };

    frame.render_widget(headline(view, live, look), head);
    let [left, right] = halves(first);
    throughput(frame, left, view, live, look);
    log(frame, right, view, live, look);
    let [left, right] = halves(second);
    memory(frame, left, live, look);
    quotas_of(frame, right, live, look);
    let [left, right] = halves(third);
    sampling(frame, left, live, look);
    refusals(frame, right, live, look);
    rare(frame, events, live, look);
    frame.render_widget(footline(view, look), foot);
}

/// How things stand out, with and without colours.
#[derive(Debug, Clone, Copy)]
struct Look {
    colours: bool,
}

impl Look {
    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.colour(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// Turned over where there is no colour.
    fn bad(self) -> Style {
        let style = self.colour(Color::Red).add_modifier(Modifier::BOLD);
        if self.colours { style } else { style.add_modifier(Modifier::REVERSED) }
    }

    fn warn(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    fn label(self) -> Style {
        if self.colours { Style::new().fg(Color::Gray) } else { Style::new() }
    }

    fn part(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// Bad if there are any.
    fn if_any(self, value: Option<f64>) -> Style {
        if value.is_some_and(|value| value > 0.0) { self.bad() } else { Style::new() }
    }
}

fn headline<'a>(view: &View<'a>, live: &Live, look: Look) -> Line<'a> {
    let state = live.state.as_deref();
    let (words, style) = match state {
        _ if view.lost.is_some() => ("DISCONNECTED".to_owned(), look.bad()),
        Some("ready" | "running") => (line(state.unwrap_or_default()).to_uppercase(), look.good()),
        Some("full" | "poisoned" | "dead") => (line(state.unwrap_or_default()).to_uppercase(), look.bad()),
        Some(other) => (line(other).to_uppercase(), look.warn()),
        None => ("CONNECTING".to_owned(), look.warn()),
    };
    let version = live.version.as_deref().map(line).unwrap_or_default();
    let rest = format!(
        " {version}  up {}  as of {} UTC  {}",
        span(live.uptime_s),
        clock(live.at_unix_ms),
        line(view.source)
    );
    let paused = if view.paused { Span::styled(" PAUSED", look.warn()) } else { Span::raw("") };
    Line::from(vec![
        Span::styled("NeuroGraph ", Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(format!("[{words}]"), style),
        paused,
        Span::raw(rest),
    ])
}

fn footline<'a>(view: &View<'a>, look: Look) -> Line<'a> {
    match view.lost {
        Some(why) => Line::styled(line(why), look.bad()),
        None => Line::styled("q quit   p pause", look.label()),
    }
}

fn block(title: String) -> Block<'static> {
    Block::bordered().title(format!(" {title} "))
}

/// A line of words: label, figure, label, figure.
fn pairs(look: Look, pairs: &[(&str, String, Style)]) -> Line<'static> {
    let mut spans = Vec::new();
    for (label, figure, style) in pairs {
        spans.push(Span::styled(format!("{label} "), look.label()));
        spans.push(Span::styled(figure.clone(), *style));
        spans.push(Span::raw("  "));
    }
    Line::from(spans)
}

/// Words in a frame, and a line of figures under them if there is room.
fn framed(frame: &mut Frame<'_>, area: Rect, title: String, words: Vec<Line<'static>>) -> Rect {
    let block = block(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let height = u16::try_from(words.len()).unwrap_or(u16::MAX);
    let [text, rest] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(inside);
    frame.render_widget(Paragraph::new(words), text);
    rest
}

fn throughput(frame: &mut Frame<'_>, area: Rect, view: &View<'_>, live: &Live, look: Look) {
    let tokens = &live.tokens;
    let plain = Style::new();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let words = vec![
        pairs(look, &[("tokens/s", count(tokens.per_s), bold), ("live", count(tokens.live), plain)]),
        pairs(
            look,
            &[
                ("made", count(tokens.made_total), plain),
                ("deleted", count(tokens.deleted_total), plain),
                ("refused", count(tokens.refused_total), plain),
            ],
        ),
    ];
    let rest = framed(frame, area, "Throughput".to_owned(), words);
    let rates = view.history.rates(rest.width.into());
    frame.render_widget(Sparkline::default().data(&rates).style(look.part()), rest);
}

fn log(frame: &mut Frame<'_>, area: Rect, view: &View<'_>, live: &Live, look: Look) {
    let log = &live.log;
    let plain = Style::new();
    let kind = match (&log.kind, &log.backend) {
        (_, Some(backend)) => line(backend),
        (Some(kind), None) => line(kind),
        (None, None) => UNKNOWN.to_owned(),
    };
    let title =
        if log.poisoned == Some(true) { format!("Log: {kind}, POISONED") } else { format!("Log: {kind}") };
    let stalls = format!("{} in {}", micros(log.stall_ms_total.map(|ms| ms * 1e3)), count(log.stalls_total));
    let words = vec![
        pairs(
            look,
            &[
                ("lag p50", micros(log.lag_p50_us), plain),
                ("p99", micros(log.lag_p99_us), Style::new().add_modifier(Modifier::BOLD)),
            ],
        ),
        pairs(look, &[("durable", count(log.durable_lsn), plain), ("behind", bytes(log.lag_bytes), plain)]),
        pairs(
            look,
            &[("stalled", stalls, plain), ("dropped", count(log.drops_total), look.if_any(log.drops_total))],
        ),
    ];
    let rest = framed(frame, area, title, words);
    let lags = view.history.lags(rest.width.into());
    frame.render_widget(Sparkline::default().data(&lags).style(look.part()), rest);
}

/// `####......` with a mark where there is one.
fn bar(part: f64, marks: &[f64], width: usize) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place among a few columns"
    )]
    let place = |part: f64| ((part.clamp(0.0, 1.0) * width as f64).round() as usize).min(width);
    let mut cells: Vec<char> = (0..width).map(|at| if at < place(part) { '█' } else { '·' }).collect();
    for mark in marks {
        if let Some(cell) = cells.get_mut(place(*mark).min(width.saturating_sub(1))) {
            *cell = '|';
        }
    }
    cells.into_iter().collect()
}

fn of(used: Option<f64>, limit: Option<f64>) -> Option<f64> {
    let limit = limit.filter(|limit| *limit > 0.0)?;
    Some(used? / limit)
}

fn memory(frame: &mut Frame<'_>, area: Rect, live: &Live, look: Look) {
    let memory = &live.memory;
    let row = |what: &str, used: Option<f64>, limit: Option<f64>| {
        let part = of(used, limit);
        let figures = format!(
            "{} of {}",
            bytes(used),
            limit.map_or_else(|| "no limit".to_owned(), |it| bytes(Some(it)))
        );
        let part_of = part.map_or_else(String::new, |part| format!(", {}", share(Some(part))));
        let style = if part.is_some_and(|part| part >= 0.95) { look.bad() } else { Style::new() };
        Line::from(vec![
            Span::styled(format!("{what} "), look.label()),
            Span::raw(figures),
            Span::styled(part_of, style),
        ])
    };
    let words = vec![
        row("resident", memory.rss_bytes, memory.cgroup_limit_bytes),
        row("counted", memory.counted_bytes, memory.limit_bytes),
        pairs(look, &[("pressure", share(memory.pressure.map(|percent| percent / 100.0)), Style::new())]),
    ];
    framed(frame, area, "Memory".to_owned(), words);
}

fn quotas_of(frame: &mut Frame<'_>, area: Rect, live: &Live, look: Look) {
    let row = |quota: &Quota| {
        let part = of(quota.used, quota.limit);
        let marks: Vec<f64> =
            [quota.soft, quota.aggressive].into_iter().filter_map(|mark| of(mark, quota.limit)).collect();
        let above = |at: usize| part.zip(marks.get(at).copied()).is_some_and(|(part, mark)| part >= mark);
        let (word, style) = match () {
            () if part.is_some_and(|part| part >= 1.0) => ("full", look.bad()),
            () if above(1) => ("cleanup", look.bad()),
            () if above(0) => ("soft", look.warn()),
            () => ("", Style::new()),
        };
        let name: String = line(&quota.name).chars().take(9).collect();
        Line::from(vec![
            Span::styled(format!("{name:<9} "), look.label()),
            Span::styled(
                bar(part.unwrap_or(0.0), &marks, 12),
                if word.is_empty() { look.part() } else { style },
            ),
            Span::raw(format!(" {} ", share(part))),
            Span::styled(word, style),
        ])
    };
    let room = usize::from(area.height.saturating_sub(2));
    let mut words: Vec<Line<'static>> = live.quotas.iter().take(room).map(row).collect();
    if words.is_empty() {
        words.push(Line::raw("none known"));
    }
    framed(frame, area, "Quotas (| soft and cleanup marks)".to_owned(), words);
}

fn sampling(frame: &mut Frame<'_>, area: Rect, live: &Live, look: Look) {
    let (sampling, http, plain) = (&live.sampling, &live.http, Style::new());
    let words = vec![
        pairs(
            look,
            &[
                ("rate", share(sampling.rate), Style::new().add_modifier(Modifier::BOLD)),
                ("spans", count(sampling.spans_written_total), plain),
                ("dropped", count(sampling.spans_dropped_total), look.if_any(sampling.spans_dropped_total)),
            ],
        ),
        pairs(
            look,
            &[
                ("requests", count(http.requests_total), plain),
                ("open", count(http.connections), plain),
                ("away", count(http.rejected_total), plain),
            ],
        ),
    ];
    framed(frame, area, "Sampling and requests".to_owned(), words);
}

fn refusals(frame: &mut Frame<'_>, area: Rect, live: &Live, look: Look) {
    let mut all: Vec<_> =
        live.refusals.iter().filter(|one| one.total.is_some_and(|total| total > 0.0)).collect();
    all.sort_by(|a, b| b.total.unwrap_or(0.0).total_cmp(&a.total.unwrap_or(0.0)));
    let mut words: Vec<Line<'static>> = Vec::new();
    for two in all.chunks(2).take(2) {
        let figures: Vec<_> =
            two.iter().map(|one| (line(&one.reason), count(one.total), look.if_any(one.total))).collect();
        let figures: Vec<_> =
            figures.iter().map(|(reason, total, style)| (reason.as_str(), total.clone(), *style)).collect();
        words.push(pairs(look, &figures));
    }
    if words.is_empty() {
        words.push(Line::raw("none"));
    }
    framed(frame, area, "Refusals".to_owned(), words);
}

fn rare(frame: &mut Frame<'_>, area: Rect, live: &Live, look: Look) {
    let mut events: Vec<_> = live.events.iter().collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.at_unix_ms));
    let room = usize::from(area.height.saturating_sub(2));
    let mut words: Vec<Line<'static>> = events
        .into_iter()
        .take(room)
        .map(|event| {
            let thread: String = line(&event.thread).chars().take(10).collect();
            Line::from(vec![
                Span::styled(format!("{} ", clock(event.at_unix_ms)), look.label()),
                Span::styled(
                    format!("{:<16} ", line(&event.kind)),
                    Style::new().add_modifier(Modifier::BOLD),
                ),
                Span::raw(format!("{thread:<10} {}", line(&event.text))),
            ])
        })
        .collect();
    if words.is_empty() {
        words.push(Line::raw("none known"));
    }
    framed(frame, area, "Rare events, the latest first".to_owned(), words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::terminal::frame;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn live() -> Live {
        serde_json::from_value(serde_json::json!({
            "at_unix_ms": 1_764_050_059_000_u64, "uptime_s": 4321, "state": "ready", "version": "9.8.7",
            "tokens": {"live": 7_654_321, "made_total": 19_876_543, "deleted_total": 12_222_222,
                "refused_total": 17, "per_s": 3_211_000},
            "log": {"kind": "log", "backend": "uring", "durable_lsn": 19_876_001, "lag_p50_us": 1480,
                "lag_p99_us": 3900, "lag_bytes": 34_688, "stalls_total": 4, "stall_ms_total": 12.5,
                "drops_total": 0, "poisoned": false},
            "memory": {"rss_bytes": 580_000_000, "counted_bytes": 489_876_544, "limit_bytes": 1_000_000_000,
                "cgroup_limit_bytes": 2_147_483_648_u64, "pressure": 0.3},
            "quotas": [{"name": "tokens", "used": 7_654_321, "limit": 10_000_000, "soft": 8_000_000,
                    "aggressive": 9_500_000},
                {"name": "lane-7", "used": 870, "limit": 1000, "soft": 800, "aggressive": 950}],
            "sampling": {"rate": 0.01, "spans_written_total": 198_700, "spans_dropped_total": 65},
            "refusals": [{"reason": "quota", "total": 17}, {"reason": "log", "total": 0}],
            "events": [{"at_unix_ms": 1_764_050_050_000_u64, "kind": "mark_crossed", "thread": "guardian",
                    "text": "pool lane-7"},
                {"at_unix_ms": 1_764_050_055_000_u64, "kind": "wal_failed", "thread": "maker-0",
                    "text": "a\u{1b}[2Jb"}],
            "http": {"connections": 3, "requests_total": 991, "rejected_total": 0},
        }))
        .unwrap()
    }

    fn view<'a>(live: Option<&'a Live>, history: &'a History) -> View<'a> {
        View { live, history, source: "127.0.0.1:9464", lost: None, paused: false, colours: false }
    }

    #[test]
    fn a_frame_of_80_by_24_shows_every_part_and_no_line_is_longer() {
        let (live, mut history) = (live(), History::default());
        (0..100).for_each(|_| history.push(&live));
        let text = frame(&view(Some(&live), &history), 80, 24).unwrap();
        for shown in [
            "NeuroGraph [READY] 9.8.7  up 1 h 12 min  as of 05:54:19 UTC  127.0.0.1:9464",
            "tokens/s 3.21M",
            "live 7.65M",
            "made 19.9M",
            "Log: uring",
            "p99 3.90 ms",
            "behind 33.9 KiB",
            "stalled 12.5 ms in 4",
            "553 MiB of 2.00 GiB, 27.0 %",
            "467 MiB of 954 MiB, 49.0 %",
            "pressure 0.30 %",
            "tokens    █████████·|| 76.5 %",
            "87.0 % soft",
            "rate 1.00 %",
            "dropped 65",
            "requests 991",
            "quota 17",
            "05:54:15 wal_failed       maker-0    a [2Jb",
            "q quit",
        ] {
            assert!(text.contains(shown), "no {shown:?} in\n{text}");
        }
        assert!(!text.contains("log 0"), "a reason without a refusal is not shown");
        assert_eq!(text.lines().count(), 24);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
        // The latest event is above the others.
        assert!(text.find("wal_failed").unwrap() < text.find("mark_crossed").unwrap());
    }

    #[test]
    fn a_lost_service_and_a_failed_log_are_said_in_words() {
        let (mut live, history) = (live(), History::default());
        let lost = View { lost: Some("nobody answers"), ..view(Some(&live), &history) };
        let text = frame(&lost, 80, 24).unwrap();
        assert!(
            text.contains("[DISCONNECTED]") && text.contains("nobody answers") && text.contains("05:54:19")
        );
        live.state = Some("poisoned".to_owned());
        live.log.poisoned = Some(true);
        let text = frame(&view(Some(&live), &history), 80, 24).unwrap();
        assert!(text.contains("[POISONED]") && text.contains("Log: uring, POISONED"), "{text}");
        let text = frame(&view(None, &history), 80, 24).unwrap();
        assert!(
            text.contains("[CONNECTING]") && text.contains("tokens/s –") && text.contains("none known"),
            "{text}"
        );
    }

    #[test]
    fn without_colours_no_cell_has_one_and_what_is_bad_is_turned_over() {
        let (live, history) = (live(), History::default());
        for colours in [false, true] {
            let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
            let view = View { colours, ..view(Some(&live), &history) };
            terminal.draw(|frame| draw(frame, &view)).unwrap();
            let cells = terminal.backend().buffer().content();
            let coloured = cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
            assert_eq!(coloured, colours);
            let turned = cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED));
            assert_eq!(turned, !colours);
        }
    }

    #[test]
    fn a_terminal_too_small_for_it_all_is_no_reason_to_fail() {
        let (live, history) = (live(), History::default());
        for (width, height) in [(1, 1), (20, 5), (80, 10), (300, 100)] {
            assert!(frame(&view(Some(&live), &history), width, height).is_ok());
        }
    }

    #[test]
    fn a_bar_is_as_full_as_its_part_and_keeps_its_marks() {
        assert_eq!(bar(0.5, &[], 4), "██··");
        assert_eq!(bar(2.0, &[0.5], 4), "██|█");
        assert_eq!(bar(-1.0, &[1.0], 4), "···|");
        assert_eq!(bar(f64::NAN, &[], 2), "··");
    }
}
