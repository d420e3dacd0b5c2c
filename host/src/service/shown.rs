//! What is shown of a job to its tenant. What the host says names files by where they are on the
//! server; whoever asks is told where they are in what is theirs. And of the memory of the
//! TaskManager, which a status tells of, the other tenants' part is left out.

use std::path::Path;

use serde_json::Value;

use super::{Service, running::Entry};
use crate::registry::records::JobRecord;

impl Service {
    /// What there is to see of a job, or was at its end.
    pub(super) fn status_of(&self, entry: &Entry) -> Value {
        let Some(live) = &entry.live else {
            let ended = entry.record.ended.as_ref();
            return ended.and_then(|ended| ended.status.clone()).unwrap_or_default();
        };
        let mut status = serde_json::to_value(&**live.status.borrow()).unwrap_or_default();
        let own = entry.record.tenant.as_str();
        if let Some(Value::Array(tenants)) = status.pointer_mut("/memory/tenants") {
            tenants.retain(|tenant| tenant["tenant"] == own);
        }
        self.show_strings(&entry.record, &mut status);
        status
    }

    fn show_strings(&self, record: &JobRecord, value: &mut Value) {
        match value {
            Value::String(text) if text.contains('/') => *text = self.shown(record, text),
            Value::Array(all) => all.iter_mut().for_each(|each| self.show_strings(record, each)),
            Value::Object(all) => all.values_mut().for_each(|each| self.show_strings(record, each)),
            _ => {}
        }
    }

    /// A text about a job, without the server's paths.
    pub(super) fn shown(&self, record: &JobRecord, text: &str) -> String {
        let (job, tenant) = (record.id.to_string(), record.tenant.as_str());
        [&self.dir, &self.whole_dir]
            .iter()
            .fold(text.to_owned(), |text, dir| without(&text, dir, &job, tenant))
    }
}

fn without(text: &str, dir: &Path, job: &str, tenant: &str) -> String {
    let dir = dir.display().to_string();
    // A directory without a name would be everywhere.
    if dir.trim_matches(['.', '/']).is_empty() || !text.contains(&dir) {
        return text.to_owned();
    }
    text.replace(&format!("{dir}/jobs/{job}/state/capsules/"), "")
        .replace(&format!("{dir}/jobs/{job}/state/savepoints/"), "")
        .replace(&format!("{dir}/jobs/{job}/"), "")
        .replace(&format!("{dir}/files/{tenant}/"), "")
        .replace(&format!("{dir}/"), "")
        .replace(&dir, "the server's data directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_what_is_the_tenants_and_not_where_it_is() {
        let shown = |text: &str| without(text, Path::new("/srv/cofferdam"), "ab", "acme");
        for (text, expected) in [
            (
                "cofferdam replay /srv/cofferdam/jobs/ab/state/capsules/x-0-1.capsule",
                "cofferdam replay x-0-1.capsule",
            ),
            (
                "the state directory /srv/cofferdam/jobs/ab/state cannot",
                "the state directory state cannot",
            ),
            ("no file /srv/cofferdam/files/acme/in.csv", "no file in.csv"),
            ("/srv/cofferdam is full", "the server's data directory is full"),
            ("/elsewhere/in.csv", "/elsewhere/in.csv"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
