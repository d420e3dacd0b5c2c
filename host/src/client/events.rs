//! Server-sent events, out of the pieces that they come in.

use serde_json::Value;

/// The longest event that is waited for, in bytes.
const LONGEST: usize = 4 << 20;

/// What has come of an event that is not whole.
#[derive(Debug, Default)]
pub(super) struct Events(Vec<u8>);

impl Events {
    /// Takes a piece, and gives the events that are whole with it. False if that was enough.
    pub(super) fn take(
        &mut self,
        piece: &[u8],
        heard: &mut impl FnMut(&str, &Value) -> bool,
    ) -> bool {
        self.0.extend_from_slice(piece);
        while let Some(end) = self.0.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = self.0.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            // What has no data says nothing.
            let Some(data) = field("data: ") else { continue };
            let data = serde_json::from_str(data).unwrap_or_default();
            if !heard(field("event: ").unwrap_or("message"), &data) {
                return false;
            }
        }
        self.0.len() <= LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_any_pieces() {
        let text = "event: line\nid: 7\ndata: {\"a\":1}\n\n:\n\nevent: end\ndata: {}\n\nrest";
        for size in 1..text.len() {
            let (mut events, mut seen) = (Events::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                let mut heard = |name: &str, data: &Value| {
                    seen.push(format!("{name} {data}"));
                    name != "end"
                };
                if !events.take(piece, &mut heard) {
                    break;
                }
            }
            assert_eq!(seen, ["line {\"a\":1}", "end {}"]);
        }
    }
}
