//! `cofferdam operator new`.

use std::path::PathBuf;

use super::{args::NewArgs, print, refuse};
use crate::{
    authoring::{language::Language, new::New},
    cli::exit::Exit,
};

pub(in crate::cli) fn new(args: &NewArgs) -> Result<Exit, Exit> {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let new = New { name: args.name.clone(), language: args.lang, kind: args.kind };
    new.make(&dir).map_err(|error| refuse(&error.to_string()))?;
    let shown = dir.display();
    if args.lang == Language::Expr {
        print(&format!(
            "made {shown}: expressions of kind {}\n\
             \n  cd {shown}\
             \n  cofferdam operator test    runs its cases in a sandbox\
             \n  cofferdam operator dev     does that again when a file changes\
             \n  README.md                  how they stand in a job file: there is nothing to push\n",
            args.kind.word(),
        ))?;
        return Ok(Exit::Success);
    }
    print(&format!(
        "made {shown}: an operator of kind {}, in {}\n\
         \n  cd {shown}\
         \n  {:<26} its own tests, without WebAssembly\
         \n  cofferdam operator test    builds it, and runs its cases in a sandbox\
         \n  cofferdam operator push    takes it to a server\n",
        args.kind.word(),
        args.lang.word(),
        args.lang.recipe().native_test,
    ))?;
    Ok(Exit::Success)
}
