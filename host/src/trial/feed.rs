//! What an operator is fed: records, as somebody wrote them, made into batches as a source would.

use crate::{
    config::job::TimestampField,
    connectors::read_line,
    stream::{Batch, BatchBuilder},
};

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// On which input port it comes in.
    pub port: u32,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its event time, in milliseconds since 1970.
    pub timestamp: Option<i64>,
}

/// Records, and what happens beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// In the order in which they come in.
    pub samples: Vec<Sample>,
    /// How many of them a batch has at most; at least 1.
    pub batch_records: usize,
    /// By how many milliseconds they come out of order: the watermark follows the newest event
    /// time at this distance.
    pub out_of_orderness: i64,
    /// Whether the input ends after them: event time goes to its end, which makes every window
    /// and timer of it due, and an operator without keyed state is told.
    pub close: bool,
    /// By how many milliseconds the clock goes on then, for timers of processing time.
    pub advance_clock: i64,
    /// After how many batches, again and again, a fresh instance goes on with the state of the one
    /// before it, as after a restart; never if none.
    pub restart_every: Option<usize>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            samples: Vec::new(),
            batch_records: crate::stream::batch::TARGET_RECORDS,
            out_of_orderness: 0,
            close: true,
            advance_clock: 0,
            restart_every: None,
        }
    }
}

/// A batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Portion {
    /// Which of the records its first one is.
    pub(super) first: usize,
    pub(super) port: u32,
    pub(super) batch: Batch,
}

/// Makes a record of each line of JSON Lines that is not blank, as a `jsonl` source does: the
/// line is the value.
///
/// # Errors
/// What is wrong with the first line that is none, with its number.
pub fn samples_of_lines(
    text: &str,
    key: Option<&str>,
    timestamp: Option<&TimestampField>,
) -> Result<Vec<Sample>, String> {
    let mut samples = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (key, timestamp) =
            read_line(line, key, timestamp).map_err(|wrong| format!("line {}: {wrong}", i + 1))?;
        let key = key.map(|key| key.as_bytes().to_vec());
        samples.push(Sample { port: 0, key, value: line.as_bytes().to_vec(), timestamp });
    }
    Ok(samples)
}

impl Feed {
    /// Whether it can be fed to an operator with so many input ports.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check(&self, inputs: u32) -> Result<(), String> {
        let timed = self.samples.iter().filter(|sample| sample.timestamp.is_some()).count();
        if timed != 0 && timed != self.samples.len() {
            return Err(format!(
                "{timed} of {} records have an event time: give all of them one, or none",
                self.samples.len()
            ));
        }
        match self.samples.iter().position(|sample| sample.port >= inputs) {
            Some(i) => Err(format!(
                "record {i} is for input port {}, and the last one is {}: say how many there are \
                 with `inputs`",
                self.samples[i].port,
                inputs.saturating_sub(1)
            )),
            None => Ok(()),
        }
    }

    /// Whether its records have event times.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.samples.first().is_some_and(|sample| sample.timestamp.is_some())
    }

    /// The records in batches, each of one port. Where some have keys, the others have empty
    /// ones.
    pub(super) fn portions(&self) -> Vec<Portion> {
        let keyed = self.samples.iter().any(|sample| sample.key.is_some());
        let (mut portions, mut builder) = (Vec::new(), BatchBuilder::new());
        let mut first = 0;
        for (i, sample) in self.samples.iter().enumerate() {
            let key = keyed.then(|| sample.key.as_deref().unwrap_or_default());
            builder.push(key, &sample.value, sample.timestamp);
            let next = self.samples.get(i + 1);
            let full = builder.len() >= self.batch_records.max(1) || builder.is_full();
            if full || next.is_none_or(|next| next.port != sample.port) {
                portions.push(Portion { first, port: sample.port, batch: builder.take() });
                first = i + 1;
            }
        }
        portions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::job::TimestampFormat;

    fn sample(port: u32, key: Option<&str>) -> Sample {
        let key = key.map(|key| key.as_bytes().to_vec());
        Sample { port, key, value: b"v".to_vec(), timestamp: None }
    }

    #[test]
    fn a_batch_is_of_one_port_and_no_longer_than_asked() {
        let samples = [
            sample(0, None),
            sample(0, Some("k")),
            sample(0, None),
            sample(1, None),
            sample(0, None),
        ];
        let feed = Feed { samples: samples.to_vec(), batch_records: 2, ..Feed::default() };
        let seen: Vec<_> =
            feed.portions().iter().map(|p| (p.first, p.port, p.batch.len())).collect();
        assert_eq!(seen, [(0, 0, 2), (2, 0, 1), (3, 1, 1), (4, 0, 1)]);
        assert_eq!(feed.portions()[0].batch.key(0), b"");
        assert!(feed.check(2).is_ok());
        assert!(feed.check(1).unwrap_err().contains("record 3 is for input port 1"));
        assert_eq!(Feed::default().portions(), []);
    }

    #[test]
    fn lines_are_read_as_a_source_reads_them_and_a_bad_one_is_told_with_its_number() {
        let time = TimestampField { field: "t".into(), format: TimestampFormat::Millis };
        let read = |text| samples_of_lines(text, Some("k"), Some(&time));
        let samples = read("{\"k\":\"a\",\"t\":5}\r\n\n{\"t\":6,\"k\":7}").unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!((samples[0].key.as_deref(), samples[0].timestamp), (Some(&b"a"[..]), Some(5)));
        assert_eq!(samples[0].value, b"{\"k\":\"a\",\"t\":5}");
        let wrong = read("{\"k\":1,\"t\":1}\n{\"k\":1}").unwrap_err();
        assert_eq!(wrong, "line 2: field `t` is missing, but it is the event time");
        assert!(samples_of_lines("nul", None, None).unwrap_err().contains("line 1: is not valid"));
    }

    #[test]
    fn event_times_are_for_all_records_or_for_none() {
        let timed = Sample { timestamp: Some(1), ..sample(0, None) };
        let feed = |samples: &[Sample]| Feed { samples: samples.to_vec(), ..Feed::default() };
        assert!(feed(&[timed.clone(), timed.clone()]).check(1).is_ok());
        assert!(feed(&[timed, sample(0, None)]).check(1).unwrap_err().contains("1 of 2 records"));
    }
}
