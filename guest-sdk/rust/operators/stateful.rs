//! Emits how many bytes there were so far, which it keeps in its own memory and saves.

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, Snapshot};

struct Total {
    bytes: u64,
}

impl Processor for Total {
    fn open(_: &Context) -> Result<Self, Error> {
        Ok(Self { bytes: 0 })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        for record in batch.records() {
            self.bytes += record.value().len() as u64;
            out.emit(&record).value(self.bytes.to_string().as_bytes());
        }
        Ok(())
    }
}

impl Snapshot for Total {
    /// Goes into the checkpoint. Later versions of the operator read it: choose a plain format.
    fn snapshot(&self) -> Result<Vec<u8>, Error> {
        Ok(self.bytes.to_string().into_bytes())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Error> {
        let text = str::from_utf8(state).ok().and_then(|text| text.parse().ok());
        self.bytes = text.ok_or_else(|| Error::new("the snapshot is no number"))?;
        Ok(())
    }
}

cofferdam_sdk::export!(stateful: Total);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_total_survives_a_restart() {
        let mut harness = Harness::processor::<Total>(json!({})).unwrap();
        assert_eq!(harness.values(["abc", "de"]).unwrap().texts(0), ["3", "5"]);
        harness.restart().unwrap();
        assert_eq!(harness.values(["f"]).unwrap().texts(0), ["6"]);
    }
}
