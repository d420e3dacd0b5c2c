//! The terminal: drawn over and over in a screen of its own, with the keys that are pressed. The
//! only place besides `terminal` that knows escape sequences.

use std::{
    io::{self, Write as _},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use console::{Key, Term};

use super::view::cut;

/// Another screen, without a cursor; what was there before comes back afterwards.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// How many keys wait to be read.
const UNREAD: usize = 16;

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To go.
    Quit,
    /// What this key means.
    Key(char),
    /// To see what is above, or below, by so many lines.
    Scroll(isize),
}

/// A screen. Dropping it gives the terminal back.
pub(super) struct Screen {
    term: Term,
    wishes: Receiver<Wish>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let term = Term::stdout();
        let (say, wishes) = sync_channel(UNREAD);
        let keys = term.clone();
        thread::spawn(move || {
            // It ends with the program: a key that is waited for is waited for.
            while let Ok(key) = keys.read_key_raw() {
                let wish = match key {
                    Key::CtrlC | Key::Escape | Key::Char('q' | '\x04') => Wish::Quit,
                    Key::ArrowUp | Key::Char('k') => Wish::Scroll(-1),
                    Key::ArrowDown | Key::Char('j') => Wish::Scroll(1),
                    Key::PageUp => Wish::Scroll(-10),
                    Key::PageDown => Wish::Scroll(10),
                    Key::Char(key) => Wish::Key(key),
                    _ => continue,
                };
                let quits = wish == Wish::Quit;
                if say.send(wish).is_err() || quits {
                    // The terminal is left as it was found, before anybody else reads keys.
                    break;
                }
            }
        });
        io::stdout().write_all(ENTER.as_bytes())?;
        io::stdout().flush()?;
        Ok(Self { term, wishes })
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.term.size();
        (usize::from(rows), usize::from(columns))
    }

    /// Draws lines over what is there; those in `bold` stand out.
    pub(super) fn draw(&self, lines: &[String], bold: &[usize]) -> io::Result<()> {
        let (rows, columns) = self.size();
        let mut out = String::from("\x1b[H");
        for (i, line) in lines.iter().take(rows).enumerate() {
            let line = cut(line, columns);
            if i > 0 {
                out.push_str("\r\n");
            }
            match bold.contains(&i) {
                // To the end of the line, as a bar.
                true => out += &format!("\x1b[7m{line:<columns$}\x1b[0m"),
                false => out += line,
            }
            out.push_str("\x1b[K");
        }
        out.push_str("\x1b[J");
        let mut stdout = io::stdout().lock();
        stdout.write_all(out.as_bytes())?;
        stdout.flush()
    }

    /// What somebody wants, if it comes within this time.
    pub(super) fn wish(&self, within: Duration) -> Option<Wish> {
        match self.wishes.recv_timeout(within) {
            Ok(wish) => Some(wish),
            Err(RecvTimeoutError::Timeout) => None,
            // Nobody can press keys any more: it is only looked at.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(within);
                None
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut stdout = io::stdout();
        let _ = stdout.write_all(LEAVE.as_bytes()).and_then(|()| stdout.flush());
    }
}
