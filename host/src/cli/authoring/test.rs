//! `cofferdam operator test`.

use super::{
    args::TestArgs,
    print, refuse,
    subject::{Ready, Writes},
    test_view as view,
};
use crate::{
    authoring::check::{Options, check},
    cli::exit::Exit,
};

pub(in crate::cli) fn test(args: &TestArgs) -> Result<Exit, Exit> {
    let writes = if args.update { Writes::Expected } else { Writes::Nothing };
    let ready = Ready::of(&args.subject, args.expect.as_ref(), writes)?;
    let options = Options { update: args.update, quick: args.quick };
    let (mut passed, mut all) = (0, 0);
    for (case, prepared) in &ready.cases {
        let run = check(&ready.runner, &ready.built.artifact, (case, prepared), options);
        let checked = ready.runtime.block_on(run);
        let checked = checked.map_err(|error| refuse(&format!("case `{}`: {error}", case.name)))?;
        all += 1;
        passed += usize::from(checked.passed());
        print(&if args.subject.json {
            format!("{}\n", view::json(&checked))
        } else {
            view::text(&checked, prepared, (&args.subject.dir, args.show))
        })?;
    }
    if !args.subject.json {
        let cases = if all == 1 { "case" } else { "cases" };
        print(&match all - passed {
            0 => format!("{all} {cases}, all as expected\n"),
            failed => format!("{failed} of {all} {cases} not as expected\n"),
        })?;
    }
    Ok(if passed == all { Exit::Success } else { Exit::JobFailed })
}
