//! The job that is meant: by its identifier, the beginning of that, or its name.

use serde_json::Value;

use super::{Server, refuse, text};
use crate::{
    cli::exit::Exit,
    client::Request,
    ids::{JobId, JobName},
};

/// How many jobs are asked for at once.
const PAGE: usize = 1_000;
/// How much of an identifier it takes at least.
const SHORTEST: usize = 4;

/// Which of some jobs is meant.
#[derive(Debug, PartialEq, Eq)]
enum Meant<'a> {
    One(&'a str),
    /// More than one could be.
    Several(Vec<&'a str>),
    None,
}

/// The identifier of the job that is meant. One that runs or waits comes before those that have
/// ended, and of these the newest.
pub(super) fn job(server: &Server, wanted: &JobName) -> Result<String, Exit> {
    if wanted.as_str().parse::<JobId>().is_ok() {
        return Ok(wanted.to_string());
    }
    let all = all_jobs(server)?;
    match meant(&all, wanted.as_str()) {
        Meant::One(id) => Ok(id.to_owned()),
        Meant::None => Err(refuse(&format!(
            "there is no job `{wanted}`; `cofferdam job list` shows which there are"
        ))),
        Meant::Several(ids) => Err(refuse(&format!(
            "`{wanted}` could be any of {}; name one by its identifier",
            ids.join(", ")
        ))),
    }
}

fn all_jobs(server: &Server) -> Result<Vec<Value>, Exit> {
    let (mut all, mut after): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let request = Request::get(&["v1", "jobs"])
            .query("limit", PAGE)
            .query_if("tenant", server.tenant.as_ref())
            .query_if("after", after.as_ref());
        let page = server.ask(&request)?.json;
        all.extend(page["jobs"].as_array().into_iter().flatten().cloned());
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return Ok(all);
        }
    }
}

fn meant<'a>(jobs: &'a [Value], wanted: &str) -> Meant<'a> {
    let named: Vec<&Value> = jobs.iter().filter(|job| job["name"] == wanted).collect();
    let running: Vec<&str> =
        named.iter().filter(|job| job["ended_at"].is_null()).map(|job| text(&job["id"])).collect();
    match (running.as_slice(), named.first()) {
        ([one], _) => return Meant::One(one),
        ([_, ..], _) => return Meant::Several(running),
        // The newest comes first.
        ([], Some(ended)) => return Meant::One(text(&ended["id"])),
        ([], None) => {}
    }
    let ids = jobs.iter().map(|job| text(&job["id"]));
    let begun: Vec<&str> =
        ids.filter(|id| wanted.len() >= SHORTEST && id.starts_with(wanted)).collect();
    match begun.as_slice() {
        [] => Meant::None,
        [one] => Meant::One(one),
        _ => Meant::Several(begun),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_meant_by_its_name_or_the_beginning_of_its_identifier() {
        let job = |id: &str, name: &str, ended: Option<u64>| json!({"id": id, "name": name, "ended_at": ended});
        let jobs = [
            job("aaaa1", "a", None),
            job("aaaa2", "b", Some(9)),
            job("bbbb1", "b", Some(8)),
            job("cccc1", "c", None),
            job("cccc2", "c", None),
            job("dddd1", "a", Some(7)),
            job("eeee1", "cccc1", Some(7)),
        ];
        assert_eq!(meant(&jobs, "a"), Meant::One("aaaa1"));
        assert_eq!(meant(&jobs, "b"), Meant::One("aaaa2"), "the newest");
        assert_eq!(meant(&jobs, "c"), Meant::Several(vec!["cccc1", "cccc2"]));
        assert_eq!(meant(&jobs, "aaaa"), Meant::Several(vec!["aaaa1", "aaaa2"]));
        assert_eq!(meant(&jobs, "bbbb"), Meant::One("bbbb1"));
        assert_eq!(meant(&jobs, "cccc1"), Meant::One("eeee1"), "names come first");
        assert_eq!(meant(&jobs, "bbb"), Meant::None, "too short");
        assert_eq!(meant(&jobs, "zzzz"), Meant::None);
    }
}
