//! The terminal: taken at the start, given back at the end, however that comes (a key, a signal, a
//! panic). Figures are asked for by a thread of their own, so that keys answer at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::live::{History, Live};
use super::screen::{View, draw};
use super::source::{Source, SourceError};

/// The longest wait between two questions to a source that does not answer.
const LONGEST: Duration = Duration::from_secs(15);

/// How soon a signal, and figures that came, are seen.
const LOOK: Duration = Duration::from_millis(100);

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Between two questions.
    pub every: Duration,
    /// Whether colours may be used.
    pub colours: bool,
}

/// What was heard of the source.
type Heard = Result<Live, SourceError>;

/// Shows `source` until a person or a signal ends it.
///
/// # Errors
/// What the terminal says. It is as it was before, then too.
pub fn run(source: Box<dyn Source>, options: Options) -> io::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let name = source.name();
    let (heard, stop) = ask(source, options.every);
    // Installs a panic hook, too, that gives the terminal back.
    let mut terminal = ratatui::try_init()?;
    let outcome = watch(&mut terminal, &name, &heard, &ended, options);
    let given_back = ratatui::try_restore();
    drop(stop);
    outcome.and(given_back)
}

/// Asks `source` on a thread of its own, ever more seldom while it fails, until the sender is dropped.
fn ask(mut source: Box<dyn Source>, every: Duration) -> (Receiver<Heard>, Sender<()>) {
    let (tell, heard) = channel();
    let (stop, stopped) = channel::<()>();
    std::thread::spawn(move || {
        let mut wait = every;
        loop {
            let began = Instant::now();
            let answer = source.poll();
            wait = if answer.is_ok() { every } else { (wait * 2).min(LONGEST).max(every) };
            if tell.send(answer).is_err() {
                return;
            }
            let rest = wait.saturating_sub(began.elapsed());
            if !matches!(stopped.recv_timeout(rest), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    });
    (heard, stop)
}

/// What is on the screen.
#[derive(Default)]
struct Shown {
    live: Option<Live>,
    history: History,
    lost: Option<String>,
    paused: bool,
}

impl Shown {
    /// Whether there is something new to draw; an error if whoever asks is gone.
    fn hear(&mut self, heard: &Receiver<Heard>) -> io::Result<bool> {
        let mut new = false;
        loop {
            let answer = match heard.try_recv() {
                Ok(answer) => answer,
                Err(TryRecvError::Empty) => return Ok(new),
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("the thread that reads the figures has ended"));
                }
            };
            if self.paused {
                continue;
            }
            new = true;
            match answer {
                Ok(live) => {
                    self.history.push(&live);
                    (self.live, self.lost) = (Some(live), None);
                }
                Err(error) => self.lost = Some(error.to_string()),
            }
        }
    }

    fn view<'a>(&'a self, source: &'a str, colours: bool) -> View<'a> {
        View {
            live: self.live.as_ref(),
            history: &self.history,
            source,
            lost: self.lost.as_deref(),
            paused: self.paused,
            colours,
        }
    }
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    source: &str,
    heard: &Receiver<Heard>,
    ended: &AtomicBool,
    options: Options,
) -> io::Result<()> {
    let mut shown = Shown::default();
    let mut due = true;
    while !ended.load(Ordering::Relaxed) {
        due |= shown.hear(heard)?;
        if due {
            terminal.draw(|frame| draw(frame, &shown.view(source, options.colours)))?;
            due = false;
        }
        if !event::poll(LOOK)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char('p' | ' ') => {
                    shown.paused = !shown.paused;
                    due = true;
                }
                _ => {}
            },
            Event::Resize(..) => due = true,
            _ => {}
        }
    }
    Ok(())
}

/// One frame as text, without colours, of `width` columns and `height` lines; lines end with their last
/// letter.
///
/// # Errors
/// None that is known: what is drawn on is memory.
pub fn frame(view: &View<'_>, width: u16, height: u16) -> io::Result<String> {
    let failed = |_| io::Error::other("a frame in memory could not be drawn");
    let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(failed)?;
    terminal.draw(|frame| draw(frame, view)).map_err(failed)?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..height {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    Ok(text)
}
