//! Changes the text of `tenants.toml` where something is to change, and leaves the
//! rest as people wrote it. Knows where things stand from the TOML parser; what they
//! mean is not known here. (The crate that the field has for this, `toml_edit`, turns on
//! a feature of a crate below wasmtime: see `docs/decisions/0007`.)

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use crate::ids::TenantId;

/// Why the text is left to people, in words.
#[derive(Debug)]
pub(super) struct ByHand(pub(super) String);

/// Where a tenant's table stands.
struct Found {
    /// The line of its header.
    header: Range<usize>,
    /// Its entries: the key, the whole lines that it and its value take, and the value.
    entries: Vec<(String, Range<usize>, Range<usize>)>,
}

/// The text with keys of a tenant set, or taken out where there is no value. The
/// tenant is added at the end if it is not there.
pub(super) fn set(
    text: &str,
    name: &TenantId,
    changes: &[(&'static str, Option<String>)],
) -> Result<String, ByHand> {
    let Some(found) = find(text, name)? else {
        let mut text = text.to_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("\n[tenant.{name}]\n"));
        let lines = changes.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        lines.for_each(|(key, value)| text.push_str(&format!("{key} = {value}\n")));
        return Ok(text);
    };
    // Each is a range and what takes its place; ranges do not overlap.
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let end =
        found.entries.iter().map(|(_, lines, _)| lines.end).fold(found.header.end, usize::max);
    let mut added = String::new();
    for (key, value) in changes {
        let known = found.entries.iter().find(|(known, _, _)| known == key);
        match (known, value) {
            (Some((_, _, at)), Some(value)) => edits.push((at.clone(), value.clone())),
            (Some((_, lines, _)), None) => edits.push((lines.clone(), String::new())),
            (None, Some(value)) => added.push_str(&format!("{key} = {value}\n")),
            (None, None) => {}
        }
    }
    if !added.is_empty() && !text[..end].ends_with('\n') {
        added.insert(0, '\n');
    }
    edits.push((end..end, added));
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (range, new) in edits {
        out.push_str(&text[at..range.start]);
        out.push_str(&new);
        at = range.end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// The text without a tenant: without its header, its entries, and what stands
/// between them.
pub(super) fn delete(text: &str, name: &TenantId) -> Result<String, ByHand> {
    let Some(found) = find(text, name)? else { return Ok(text.to_owned()) };
    let end =
        found.entries.iter().map(|(_, lines, _)| lines.end).fold(found.header.end, usize::max);
    let (before, after) = (&text[..found.header.start], &text[end..]);
    // One of the two blank lines around it goes, too.
    let after = if before.is_empty() || before.ends_with("\n\n") {
        after.strip_prefix('\n').unwrap_or(after)
    } else {
        after
    };
    Ok(format!("{before}{after}"))
}

fn find(text: &str, name: &TenantId) -> Result<Option<Found>, ByHand> {
    let root = DeTable::parse(text).map_err(|error| ByHand(error.message().to_owned()))?;
    let Some((_, all)) = entry(root.get_ref(), "tenant") else { return Ok(None) };
    let DeValue::Table(all) = all.get_ref() else { return Ok(None) };
    let Some((key, own)) = entry(all, name.as_str()) else { return Ok(None) };
    let by_hand = || ByHand("it is not a table of its own".to_owned());
    let DeValue::Table(own) = own.get_ref() else { return Err(by_hand()) };
    let header = lines(text, key.span());
    if !is_header(&text[header.clone()], name) {
        return Err(by_hand());
    }
    let mut entries = Vec::new();
    for (key, value) in own.iter() {
        let whole = lines(text, key.span().start..value.span().end);
        if whole.start < header.end {
            return Err(by_hand());
        }
        entries.push((key.get_ref().to_string(), whole, value.span()));
    }
    Ok(Some(Found { header, entries }))
}

fn entry<'a, 'i>(
    table: &'a DeTable<'i>,
    name: &str,
) -> Option<(&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

/// The whole lines that a range touches, with the end of the last one.
fn lines(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[range.end..].find('\n').map_or(text.len(), |at| range.end + at + 1);
    start..end
}

/// Whether a line is `[tenant.NAME]`: by itself it is the same table, and empty.
fn is_header(line: &str, name: &TenantId) -> bool {
    let Ok(root) = DeTable::parse(line) else { return false };
    let own = entry(root.get_ref(), "tenant").and_then(|(_, all)| match all.get_ref() {
        DeValue::Table(all) => entry(all, name.as_str()),
        _ => None,
    });
    let empty =
        own.is_some_and(|(_, own)| matches!(own.get_ref(), DeValue::Table(t) if t.is_empty()));
    empty && line.trim_start().starts_with('[')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn acme() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    fn changed(text: &str, changes: &[(&'static str, Option<&str>)]) -> String {
        let changes: Vec<_> =
            changes.iter().map(|(key, value)| (*key, value.map(str::to_owned))).collect();
        set(text, &acme(), &changes).unwrap()
    }

    #[test]
    fn values_change_in_their_place_and_new_keys_come_last() {
        let text = "# a\n[tenant.acme] # b\nslots = 4 # c\n\n# d\njobs=1 # e\n# f\n\n[tenant.b]\nslots = 1\n";
        let out = changed(
            text,
            &[("jobs", Some("22")), ("slots", Some("5")), ("state", Some("\"1MiB\""))],
        );
        assert_eq!(
            out,
            "# a\n[tenant.acme] # b\nslots = 5 # c\n\n# d\njobs=22 # e\nstate = \"1MiB\"\n# f\n\n\
             [tenant.b]\nslots = 1\n"
        );
        let out = changed(text, &[("slots", None), ("memory", None)]);
        assert_eq!(out, text.replace("slots = 4 # c\n", ""));
    }

    #[test]
    fn a_list_over_several_lines_is_one_value() {
        let text = "[tenant.acme]\ngrants = [\n  'wasi', # all\n]\nslots = 1";
        assert_eq!(
            changed(text, &[("grants", Some("[]")), ("jobs", Some("1"))]),
            "[tenant.acme]\ngrants = []\nslots = 1\njobs = 1\n"
        );
        assert_eq!(changed(text, &[("grants", None)]), "[tenant.acme]\nslots = 1");
    }

    #[test]
    fn a_tenant_goes_with_its_lines_only() {
        let text = "# a\n[tenant.b]\nslots = 1\n\n[tenant.acme]\n# of acme\nslots = 4\n\n# of c\n[tenant.c]\n";
        let out = delete(text, &acme()).unwrap();
        assert_eq!(out, "# a\n[tenant.b]\nslots = 1\n\n# of c\n[tenant.c]\n");
        assert_eq!(delete("[tenant.acme]", &acme()).unwrap(), "");
        assert_eq!(delete("[tenant.'acme']\r\nslots = 1\r\n", &acme()).unwrap(), "");
    }

    proptest! {
        /// Whatever is done one after the other, the text says the same as a table would.
        #[test]
        fn the_text_says_what_was_set_last(
            steps in prop::collection::vec(
                (0_usize..3, 0_usize..4, prop::option::of(0_u32..100), any::<bool>()), 1..40),
        ) {
            const KEYS: [&str; 4] = ["slots", "jobs", "artifacts", "cpu_weight"];
            let mut text = "# head\n".to_owned();
            let mut model = std::collections::BTreeMap::<_, std::collections::BTreeMap<_, _>>::new();
            for (tenant, key, value, delete_it) in steps {
                let name = TenantId::new(["acme", "b", "default"][tenant]).unwrap();
                if delete_it {
                    text = delete(&text, &name).unwrap();
                    model.remove(name.as_str());
                    continue;
                }
                let own = model.entry(name.as_str().to_owned()).or_default();
                match value {
                    Some(value) => own.insert(KEYS[key].to_owned(), i64::from(value)),
                    None => own.remove(KEYS[key]),
                };
                text = set(&text, &name, &[(KEYS[key], value.map(|n| n.to_string()))]).unwrap();
            }
            prop_assert!(text.starts_with("# head\n"));
            let read: toml::Table = text.parse().unwrap();
            let read = read.get("tenant").cloned().unwrap_or(toml::Table::new().into());
            let read: std::collections::BTreeMap<String, std::collections::BTreeMap<String, i64>> =
                read.try_into().unwrap();
            prop_assert_eq!(read, model);
        }
    }
}
