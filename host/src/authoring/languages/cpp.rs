//! C++: as C, with libc++, and without exceptions: WebAssembly's are younger than the libraries
//! that distributions build.

use std::path::PathBuf;

use super::c::{Dialect, SETTINGS, compile};
use crate::authoring::{
    language::Recipe,
    project::Project,
    tool::{ToolError, Tools},
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/cpp/project",
    sources: &[
        ("guest-sdk/cpp/operators/{kind}.cpp", "src/operator.cpp"),
        ("guest-sdk/cpp/operators/{kind}_test.cpp", "tests/operator_test.cpp"),
    ],
    sdk: &[
        ("guest-sdk/c/cofferdam.h", "cofferdam.h"),
        ("guest-sdk/c/cofferdam_test.h", "cofferdam_test.h"),
        ("guest-sdk/cpp/cofferdam.hpp", "cofferdam.hpp"),
    ],
    settings: &SETTINGS,
    native_test: "make test",
    build,
};

const CPP: Dialect = Dialect {
    endings: &["cpp", "cc", "cxx"],
    clang: &["clang++-22", "clang++-21", "clang++-20", "clang++-19", "clang++"],
    zig: "c++",
    library: "libc++.a",
    flags: &["-std=c++23", "-fno-exceptions"],
    missing: [
        "clang++ for wasm32, or its libc++",
        "`apt-get install clang-22 lld-22 libclang-rt-22-dev-wasm32 wasi-libc libc++-22-dev-wasm32 \
         libc++abi-22-dev-wasm32`, or `pip install ziglang`",
    ],
};

fn build(project: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    compile(project, tools, &CPP)
}
