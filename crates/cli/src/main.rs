//! The `roas` program. All of it lives in the library, where it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    roas_cli::run()
}
