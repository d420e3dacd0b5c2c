//! `cofferdam operator new`.

use std::path::PathBuf;

use super::{args::NewArgs, print, refuse};
use crate::{authoring::new::New, cli::exit::Exit};

pub(in crate::cli) fn new(args: &NewArgs) -> Result<Exit, Exit> {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let new = New { name: args.name.clone(), language: args.lang, kind: args.kind };
    new.make(&dir).map_err(|error| refuse(&error.to_string()))?;
    let shown = dir.display();
    print(&format!(
        "made {shown}: an operator of kind {}, in {}\n\
         \n  cd {shown}\
         \n  {:<26} its own tests, without WebAssembly\
         \n  cofferdam operator test    builds it, and runs its cases in a sandbox\
         \n  cofferdam operator push build/{}.wasm\n",
        args.kind.word(),
        args.lang.word(),
        args.lang.recipe().native_test,
        args.name,
    ))?;
    Ok(Exit::Success)
}
