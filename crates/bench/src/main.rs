//! The `roas-bench` program. All of it lives in the library, where it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    roas_bench::cli::main()
}
